"""Does the state of "Spain" hold its largest city? Patchscopes, probes and lenses on one relation.

Ghandeharioun et al. 2024, "Patchscopes", section 4.2: zero-shot feature extraction.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.lenses.lens import Lens
from lensscope.lenses.logit import LogitLens
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import TargetLayers
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.experiments.attribute_extraction.items import Mentions, Subjects
from lensscope.studies.experiments.attribute_extraction.probing import (
    Probing,
    check_installed,
    probed,
    probing,
)
from lensscope.studies.experiments.attribute_extraction.summary import attribute_result
from lensscope.studies.folder import Folder
from lensscope.studies.given import as_lenses
from lensscope.studies.parts import LENSES, PROBES, Part
from lensscope.studies.relations import Relation
from lensscope.studies.relations import relation as read_relation
from lensscope.studies.result import StudyResult
from lensscope.studies.scoring import Match
from lensscope.studies.study import BUDGET
from lensscope.studies.sweep import Grid
from lensscope.studies.swept import SweptStudy

if TYPE_CHECKING:
    import pandas as pd

_NULLS: Final = ("mean", "drawn", "random")
_SUBJECTS: Final = 8
"""So many subjects are read by a lens in a part."""


@dataclass(frozen=True, eq=False, repr=False)
class AttributeExtraction(SweptStudy):
    """See `attribute_extraction`."""

    relation: Relation
    lenses: tuple[Lens, ...]
    probe: bool
    only_known: bool
    match: Match
    kind: ClassVar[str] = "attribute_extraction"

    @functools.cached_property
    def items(self) -> Subjects:
        """The subjects as they are read and scored."""
        return Subjects(self.backend, self.relation, self.match, self.only_known, self.seed)

    @functools.cached_property
    def _probing(self) -> Probing | None:
        if not self.probe:
            return None
        each = len(self.items.variants)
        objects = [own[0].casefold() for own in self.relation.objects for _ in range(each)]
        subjects = [n for n in range(len(self.relation)) for _ in range(each)]
        return probing(objects, subjects, self.seed)

    def arguments(self) -> dict[str, Any]:
        plan = self._probing
        return {
            **self.sweep.arguments(),
            "title": self.relation.name,
            "relation": asdict(self.relation),
            "lenses": {lens.name: lens.signature for lens in self.lenses},
            "probe": self.probe,
            "probe_folds": plan and ("subjects" if plan.by_subject else "sentences"),
            "only_known": self.only_known,
            "match": self.match,
            "first_tokens": [sorted(own) for own in self.items.score.firsts],
            **self.sweep.places(),
        }

    # ---------------------------------------------------------------- parts

    def parts(self) -> list[Part]:
        probes = [] if self._probing is None else range(len(self.sweep.sources))
        batches = range(-(-len(self.relation) // _SUBJECTS))
        return [
            *super().parts(),
            *(PROBES.part(layer, 0) for layer in probes),
            *(LENSES.part(n, batch) for n in range(len(self.lenses)) for batch in batches),
        ]

    def check(self) -> None:
        super().check()
        self.items.others()
        for lens in self.lenses:
            readable = [s for s in self.sweep.sites if lens.knows(self.backend, s)]
            lens.check(self.backend, readable or self.sweep.sites)

    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        if part.kind == PROBES:
            return self._probe(part.numbers[0])
        if part.kind == LENSES:
            lens, batch = part.numbers
            return self._lens(self.lenses[lens], batch, shared)
        return super().measure(part, shared)

    def _probe(self, source: int) -> pd.DataFrame:
        """A line a sample that the probe of a layer is tested on."""
        plan = self._probing
        assert plan is not None
        pairs = [self.sweep.pairs[n] for n in plan.kept]
        step = 4 * _SUBJECTS
        states = [
            own[source, -1].float().cpu().numpy()
            for first in range(0, len(pairs), step)
            for own in self.sweep.states([self.items.sample(*p) for p in pairs[first:][:step]])
        ]
        columns = {
            "item": [item for item, _ in pairs],
            "variant": [variant for _, variant in pairs],
            "source_layer": self.sweep.sources[source],
            "by_subject": plan.by_subject,
        }
        return PROBES.frame({**columns, **probed(np.stack(states), plan)})

    def _lens(self, lens: Lens, batch: int, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """Whether a lens' most probable token begins the object, by sample and layer."""
        lens = lens.on(self.backend.device)
        each = len(self.items.variants) * _SUBJECTS
        samples = [self.items.sample(*pair) for pair in self.sweep.pairs[batch * each :][:each]]
        states = torch.stack([own[:, -1] for own in self.sweep.states(samples)])
        others, firsts = self.items.others(), self.items.score.firsts
        lines = []
        for n, site in enumerate(self.sweep.sites):
            if not lens.knows(self.backend, site):
                continue
            nulls = {name: shared[name].reshape(-1, *shared["mean"].shape)[0, n] for name in _NULLS}
            control = torch.stack(list(nulls.values())).to(states)
            rows = torch.cat([states[:, n], control])
            best = lens.logits(self.backend.model, rows, site).argmax(-1).tolist()
            said_of = dict(zip(nulls, best[len(samples) :], strict=True))
            for sample, said in zip(samples, best[: len(samples)], strict=True):
                right, wrong = firsts[sample.item], firsts[others[sample.item]]
                lines.append(
                    {
                        "item": sample.item,
                        "variant": sample.variant,
                        "lens": lens.name,
                        "source_layer": site.layer,
                        "state": said in right,
                        "shuffled": said in wrong,
                        **{name: own in right for name, own in said_of.items()},
                    }
                )
        return LENSES.frame(lines)

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        own = folder.manifest()["arguments"]
        score = Mentions(own["relation"]["objects"], own["first_tokens"], own["match"])
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
        StudyError: no such relation, fewer than two different objects, lenses of one name, probes
            without scikit-learn.
        LensError, BasisError: a lens of another model, or that reads none of the layers.
        PromptError, SiteError: an inspection prompt without its placeholder, no such layers.

    Example:
        >>> few = ls.studies.relation("capital").first(subjects=4, sentences=1)
        >>> study = ls.studies.attribute_extraction(model, few, layers=[6, 8], target_layers=[2],
        ...     inspection="The capital city of x", max_new_tokens=5, probe=False)
        >>> study.run().data.correct.dims
        ('condition', 'variant', 'inspection', 'source_layer', 'target_layer')
    """
    found = relation if isinstance(relation, Relation) else read_relation(relation)
    found = found.first(None, sentences)
    if subjects is not None:
        found = found.drawn(subjects, seed)
    if lenses is None:
        lenses = LogitLens()
    none = isinstance(lenses, list | tuple) and not lenses
    if probe:
        check_installed()
    return AttributeExtraction(
        model=model,
        seed=seed,
        memory_budget=memory_budget,
        grid=Grid.of(
            inspection, found.inspection, layers, target_layers, max_new_tokens, random_draws
        ),
        relation=found,
        lenses=() if none else as_lenses(lenses),
        probe=probe,
        only_known=only_known,
        match=match,
    )
