"""Does the state of "Spain" hold its largest city? Patchscopes, probes and lenses on one relation.

Ghandeharioun et al. 2024, "Patchscopes", section 4.2: zero-shot feature extraction.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.lenses.checks import whole_number
from lensscope.lenses.lens import Lens
from lensscope.lenses.logit import LogitLens
from lensscope.model.tokens import ids_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import TargetLayers
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.controls import derangement
from lensscope.studies.experiments.attribute_extraction.probing import Probing, probed, probing
from lensscope.studies.experiments.attribute_extraction.summary import attribute_result
from lensscope.studies.folder import Folder
from lensscope.studies.given import as_layers, as_lenses, as_scopes, as_targets
from lensscope.studies.places import placed
from lensscope.studies.relations import Relation
from lensscope.studies.relations import relation as read_relation
from lensscope.studies.result import StudyResult
from lensscope.studies.scoring import Match, contains
from lensscope.studies.study import BUDGET
from lensscope.studies.sweep import Sample, SweepStudy

if TYPE_CHECKING:
    import pandas as pd

_NULLS: Final = ("mean", "drawn", "random")
_SUBJECTS: Final = 8
"""So many subjects are read by a lens in a part."""


@dataclass(frozen=True, eq=False)
class AttributeExtraction(SweepStudy):
    """See `attribute_extraction`."""

    relation: Relation
    lenses: tuple[Lens, ...]
    probe: bool
    only_known: bool
    match: Match
    kind: ClassVar[str] = "attribute_extraction"
    pooled: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("correct", "first_token")

    @property
    def names(self) -> Sequence[str]:
        return self.relation.subjects

    @property
    def variants(self) -> Sequence[str]:
        return [f"sentence {n}" for n in range(len(self.relation.sentences[0]))]

    def sample(self, item: int, variant: int) -> Sample:
        sentence = self.relation.sentences[item][variant]
        own = (self.relation.subjects[item], self.relation.occurrences[item])
        return Sample.of(item, variant, placed(self.backend, sentence, *own), every=False)

    def score(self, text: str, item: int, first: int = -1) -> Sequence[float]:
        right = contains(text, self.relation.objects[item], self.match)
        return (float(right), float(first in self._first_tokens(item)))

    def others(self) -> Sequence[int]:
        return derangement(self.relation.objects, self.seed)

    def unpatched(self, item: int, scope: int) -> str | None:
        if not self.only_known:
            return None
        return self.scopes[scope].inspection.filled(self.relation.subjects[item])

    # ---------------------------------------------------------------- probes and lenses

    @functools.cached_property
    def _probing(self) -> Probing | None:
        if not self.probe:
            return None
        each = len(self.variants)
        objects = [own[0].casefold() for own in self.relation.objects for _ in range(each)]
        subjects = [n for n in range(len(self.relation)) for _ in range(each)]
        return probing(objects, subjects, self.seed)

    def keys(self) -> list[str]:
        keys = super().keys()
        if self._probing is not None:
            keys += [f"probe-{n:03d}-000" for n in range(len(self.sources()))]
        batches = -(-len(self.relation) // _SUBJECTS)
        keys += [f"lens-{n:03d}-{b:05d}" for n in range(len(self.lenses)) for b in range(batches)]
        return keys

    def check(self) -> None:
        """Refuse what cannot be run, before anything is."""
        super().check()
        self.others()
        for lens in self.lenses:
            readable = [s for s in self._sites() if lens.knows(self.backend, s)]
            lens.check(self.backend, readable or self._sites())

    def _sites(self) -> list[Any]:
        kind = self.site(self.scopes[0])
        return [kind(layer) for layer in self.sources()]

    def measure(self, key: str, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        kind, first, second = key.split("-")
        if kind == "probe":
            return self._probe(int(first))
        if kind == "lens":
            return self._lens(self.lenses[int(first)], int(second), shared)
        return super().measure(key, shared)

    def _probe(self, source: int) -> pd.DataFrame:
        """A line a sample that the probe of a layer is tested on."""
        import pandas as pd

        plan = self._probing
        assert plan is not None
        each = len(self.variants)
        pairs = [divmod(n, each) for n in plan.kept]
        states = [
            own[source, -1].float().cpu().numpy()
            for first in range(0, len(pairs), 4 * _SUBJECTS)
            for own in self.states([self.sample(*p) for p in pairs[first : first + 4 * _SUBJECTS]])
        ]
        right = probed(np.stack(states), plan)
        return pd.DataFrame(
            {
                "item": [item for item, _ in pairs],
                "variant": [variant for _, variant in pairs],
                "source_layer": self.sources()[source],
                "by_subject": plan.by_subject,
                **right,
            }
        )

    def _lens(self, lens: Lens, batch: int, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """Whether a lens' most probable token begins the object, by sample and layer."""
        import pandas as pd

        lens = lens.on(self.backend.device)
        items = range(len(self.relation))[batch * _SUBJECTS :][:_SUBJECTS]
        samples = [self.sample(i, v) for i in items for v in range(len(self.variants))]
        states = torch.stack([own[:, -1] for own in self.states(samples)])
        others = self.others()
        lines = []
        for n, (site, layer) in enumerate(zip(self._sites(), self.sources(), strict=True)):
            if not lens.knows(self.backend, site):
                continue
            nulls = {name: shared[name].reshape(-1, *shared["mean"].shape)[0, n] for name in _NULLS}
            control = torch.stack(list(nulls.values())).to(states)
            rows = torch.cat([states[:, n], control])
            best = lens.logits(self.backend.model, rows, site).argmax(-1).tolist()
            said_of = dict(zip(nulls, best[len(samples) :], strict=True))
            for sample, said in zip(samples, best[: len(samples)], strict=True):
                right, wrong = (self._first_tokens(i) for i in (sample.item, others[sample.item]))
                lines.append(
                    {
                        "item": sample.item,
                        "variant": sample.variant,
                        "lens": lens.name,
                        "source_layer": layer,
                        "state": said in right,
                        "shuffled": said in wrong,
                        **{name: own in right for name, own in said_of.items()},
                    }
                )
        return pd.DataFrame(lines)

    def _first_tokens(self, item: int) -> set[int]:
        """Tokens that an object begins with in the middle of a text."""
        return self._begins[item]

    @functools.cached_property
    def _begins(self) -> list[set[int]]:
        return [self._first(item) for item in range(len(self.relation))]

    def _first(self, item: int) -> set[int]:
        return {ids_of(self.backend, f" {o}", False)[0] for o in self.relation.objects[item]}

    # ---------------------------------------------------------------- what it is, what it says

    def arguments(self) -> dict[str, Any]:
        return {
            **self.common(),
            "title": self.relation.name,
            "relation": asdict(self.relation),
            "lenses": {lens.name: lens.signature for lens in self.lenses},
            "probe": self.probe,
            "probe_folds": None
            if self._probing is None
            else "subjects"
            if self._probing.by_subject
            else "sentences",
            "only_known": self.only_known,
            "match": self.match,
            "first_tokens": [sorted(self._first_tokens(n)) for n in range(len(self.relation))],
            **self.places(),
        }

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        arguments = folder.manifest()["arguments"]
        objects, match = arguments["relation"]["objects"], arguments["match"]
        firsts = arguments["first_tokens"]

        def score(text: str, item: int, first: int = -1) -> Sequence[float]:
            return (float(contains(text, objects[item], match)), float(first in firsts[item]))

        return attribute_result(folder, score)


@checks.door(StudyError, match=checks.one_of("words", "substring"))
def attribute_extraction(
    model: Any,
    relation: str | Path | Mapping[str, Any] | Relation,
    *,
    sentences: int | None = None,
    subjects: int | None = None,
    layers: Iterable[int] | None = None,
    target_layers: TargetLayers | int = "all",
    inspection: str | InspectionPrompt | Patchscope | Iterable[Any] | None = None,
    max_new_tokens: int = 20,
    only_known: bool = True,
    match: Match = "words",
    lenses: Lens | Iterable[Lens] | None = None,
    probe: bool = True,
    random_draws: int = 2,
    seed: int = 0,
    memory_budget: int = BUDGET,
) -> AttributeExtraction:
    """Whether a subject's state holds the object of a relation: a study, to be `run`.

    Zero-shot: the state of the subject's last token in a source sentence is written over the
    placeholder of an inspection prompt ("The largest city in x"), for source layers x target
    layers. A cell is ``correct`` where the object (or a spelling of it) occurs in what is
    generated: as whole words in upper or lower case, which is stricter than the paper's test of a
    substring (``match="substring"``). It is right by its ``first_token`` where what is generated
    begins with a token that the object begins with. As in the paper, only those subjects count for
    which the model, asked with the subject's name in place of the placeholder, gives the object.
    Beside it, on the same states: probes (`probing.py`), and lenses that read the object's first
    token.

    A subject is found in its sentence as whole words, and within a word only where it must, which
    the result then says. If it would be read at the first token of the text, which is an attention
    sink, the sentence gets a lead-in; the result says this too.

    Args:
        model: the model, or a function without arguments that loads it.
        relation: one, its name (`relations`), or one in the LRE format: the path of a file, or
            what JSON makes of it.
        sentences: only so many source sentences for each subject.
        subjects: only so many subjects, drawn with the seed.
        layers: source layers; all by default.
        target_layers: ``"all"``, ``"same"``, one layer, or a list.
        inspection: one or several inspection prompts with the placeholder ``x``, or patchscopes;
            the relation's by default.
        max_new_tokens: for each cell.
        only_known: count only subjects that the unpatched model answers rightly.
        match: what is correct: ``"words"``, or ``"substring"``, as in the paper.
        lenses: of other names each; the logit lens by default, ``[]`` for none.
        probe: fit probes (extra ``probes``).
        random_draws: random vectors for each layer, and as many with the states' own mean and
            covariance.
        seed: of random vectors, of which other subject is the control, of folds and halves.
        memory_budget: bytes that the batches of a part may take.

    Raises:
        StudyError: no such relation, fewer than two different objects, lenses of one name.
        PromptError: an inspection prompt without its placeholder.

    Example:
        >>> few = ls.studies.relation("capital").first(subjects=4, sentences=1)
        >>> study = ls.studies.attribute_extraction(model, few, layers=[6, 8], target_layers=[2],
        ...     inspection="The capital city of x", max_new_tokens=5, probe=False)
        >>> study.run().data.correct.dims
        ('condition', 'variant', 'inspection', 'source_layer', 'target_layer')
    """
    found = relation if isinstance(relation, Relation) else read_relation(relation)
    for name, value in (("subjects", subjects), ("sentences", sentences)):
        if value is not None:
            whole_number(value, name, 1, 2, error=StudyError)
    found = found.first(None, sentences)
    if subjects is not None:
        found = found.drawn(subjects, seed)
    if lenses is None:
        lenses = LogitLens()
    none = isinstance(lenses, list | tuple) and not lenses
    return AttributeExtraction(
        model=model,
        seed=seed,
        memory_budget=memory_budget,
        scopes=as_scopes(found.inspection if inspection is None else inspection),
        layers=as_layers(layers),
        target_layers=as_targets(target_layers),
        max_new_tokens=max_new_tokens,
        random_draws=random_draws,
        relation=found,
        lenses=() if none else as_lenses(lenses),
        probe=probe,
        only_known=only_known,
        match=match,
    )
