"""Can one model say what the states of another one hold?

Ghandeharioun et al. 2024, "Patchscopes", section 4.4: an affine map takes states of one model to
states of another, fitted where tokens of both end at the same character; then the identity and the
entity-description patchscopes read the source model in the words of the target model.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import torch
from torch import Tensor

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.lenses.affine import AffineLens
from lensscope.lenses.corpus import python_docs
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import layers_of
from lensscope.patchscope.scope import Patchscope
from lensscope.store.json_text import hash_of
from lensscope.studies.controls import groups
from lensscope.studies.described import Described, Scores
from lensscope.studies.entities import Entity, entities_of
from lensscope.studies.entities import entities as read_entities
from lensscope.studies.experiments.cross_model.identity import Identity
from lensscope.studies.experiments.cross_model.summary import cross_model_result
from lensscope.studies.folder import Folder
from lensscope.studies.given import as_layers, as_scope, as_targets
from lensscope.studies.parts import IDENTITY, Part
from lensscope.studies.result import StudyResult
from lensscope.studies.study import BUDGET
from lensscope.studies.sweep import Grid, Sweep
from lensscope.studies.sweep_lines import measured
from lensscope.studies.swept import SweptStudy
from lensscope.studies.texts import Text, texts_of
from lensscope.values.sites import resid_post
from lensscope.values.transforms import Affine

if TYPE_CHECKING:
    import pandas as pd

_GROUP: Final = 8
"""Held-out texts of a part."""
_LAYERS: Final = 8
"""So many source layers unless told otherwise."""


@dataclass(frozen=True, eq=False, repr=False)
class CrossModel(SweptStudy):
    """See `cross_model`."""

    given: tuple[Entity, ...]
    target_model: Any
    corpus: tuple[Text, ...]
    with_docs: bool
    identity: Patchscope
    ridge: float
    max_tokens: int | None
    kind: ClassVar[str] = "cross_model"

    @property
    def models(self) -> dict[str, Any]:
        return {"model": self.model, "target_model": self.target_model}

    @property
    def target(self) -> Backend:
        """The model that states are written into."""
        return backend_of(self.target_model)

    # ---------------------------------------------------------------- layers

    def layers(self) -> dict[int, list[int]]:
        """Source layers, by default a few of them, evenly spaced; each with its target layers: the
        one as deep in its model, or those asked for."""
        here, there = self.backend.n_layers, self.target.n_layers
        if self.grid.layers is None:
            spaced = np.linspace(0, here - 1, min(here, _LAYERS)).tolist()
            sources = sorted({round(x) for x in spaced})
        else:
            sources = layers_of(self.backend, resid_post, self.grid.layers)
        asked = self.grid.target_layers
        if asked == "same":
            return {s: [round(s * (there - 1) / max(here - 1, 1))] for s in sources}
        wanted = None if isinstance(asked, str) else asked
        return dict.fromkeys(sources, layers_of(self.target, resid_post, wanted))

    def pairs(self) -> list[tuple[int, int]]:
        """Source and target layers."""
        return self.sweep.cells

    # ---------------------------------------------------------------- what is run

    @functools.cached_property
    def items(self) -> Described:
        """The entities as they are read and scored."""
        return Described(self.backend, self.given, ("bare",), False, None, self.seed)

    @functools.cached_property
    def sweep(self) -> Sweep:
        """What is run of the entities, before there are maps."""
        models, budget = (self.backend, self.target), self.memory_budget
        return Sweep(self.items, self.grid, *models, self.layers(), self.seed, budget, {})

    @functools.cached_property
    def words(self) -> Identity:
        """What is run of the texts, before there are maps."""
        models, draws = (self.backend, self.target), self.grid.random_draws
        pairs, budget = self.pairs(), self.memory_budget
        return Identity(*models, self.identity, pairs, draws, self.seed, budget)

    def split(self) -> tuple[list[Text], list[Text]]:
        """The texts that maps are fitted on, and those that are held out."""
        order = np.random.default_rng(self.seed).permutation(len(self.corpus)).tolist()
        held = max(2, len(order) // 2)
        fit = [self.corpus[n] for n in sorted(order[held:])]
        return fit, [self.corpus[n] for n in sorted(order[:held])]

    def groups(self) -> list[list[int]]:
        """The held-out texts of each part."""
        return groups(len(self.split()[1]), _GROUP, self.seed)

    # ---------------------------------------------------------------- running

    def arguments(self) -> dict[str, Any]:
        fit, held = self.split()
        scope = self.identity
        return {
            **self.sweep.arguments(),
            "title": f"{len(held)} texts and {len(self.given)} entities",
            **self.items.arguments(),
            **self.sweep.places(),
            "pairs": [list(pair) for pair in self.pairs()],
            "identity": [scope.inspection.told, scope.inspection.placeholder],
            "texts": [text if isinstance(text, str) else list(text) for text in held],
            "fitted_on": hash_of(fit),
            "and_on_python_docs": hash_of(python_docs()) if self.with_docs else None,
            "ridge": self.ridge,
            "max_tokens": self.max_tokens,
        }

    def parts(self) -> list[Part]:
        return [*(IDENTITY.part(n) for n in range(len(self.groups()))), *self.sweep.parts()]

    def check(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            StudyError: too few texts or entities.
            PromptError, SiteError, ModelError: of prompts, layers and models.
        """
        if len(self.corpus) < 3:
            raise StudyError(
                "There are too few texts to fit on some and measure on others.",
                got=f"{len(self.corpus)}",
                expected="at least three, two of which are held out",
                instead="more texts, or texts=None for those that come with lensscope",
            )
        self.sweep.check()
        if self.identity != Patchscope.token_identity():
            self.identity.inspection.placed(self.target)
        self.words.check(self.split()[1])

    def check_whole(self) -> None:
        self.sweep.check_whole()
        self.identity.inspection.placed(self.target)

    def prepare(self) -> Mapping[str, Tensor]:
        """Means and random vectors, and for each pair of layers a map."""
        found = dict(self.sweep.prepare())
        held = self.split()[1]
        found["nulls-text"] = self.words.nulls(held)
        pairs = self.pairs()
        for target in dict.fromkeys(t for _, t in pairs):
            own = [s for s, t in pairs if t == target]
            for source, affine in self._fitted(own, target).items():
                found[f"map-{source}-{target}-matrix"] = affine.matrix
                found[f"map-{source}-{target}-bias"] = affine.bias
        return found

    def _fitted(self, sources: Sequence[int], target: int) -> dict[int, Affine]:
        """The maps to a target layer; from a place to itself, the identity."""
        same = self.backend.model is self.target.model
        width = self.backend.d_model
        found = {s: Affine(torch.eye(width), torch.zeros(width)) for s in sources}
        rest = [s for s in sources if not same or s != target]
        if rest:
            texts: list[Any] = [t if isinstance(t, str) else list(t) for t in self.split()[0]]
            lens = AffineLens.fit(
                self.backend.model,
                texts + (python_docs() if self.with_docs else []),
                sites=[resid_post(source) for source in rest],
                target=resid_post(target),
                target_model=None if same else self.target_model,
                ridge=self.ridge,
                max_tokens=self.max_tokens,
            )
            found |= {source: lens.at(resid_post(source)) for source in rest}
        return found

    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """One part: of held-out texts, of an entity, or of a control."""
        maps = {
            (s, t): Affine(shared[f"map-{s}-{t}-matrix"], shared[f"map-{s}-{t}-bias"])
            for s, t in self.pairs()
        }
        if part.kind == IDENTITY:
            items, held = self.groups()[part.numbers[0]], self.split()[1]
            return replace(self.words, maps=maps).measure(items, held, shared["nulls-text"])
        return measured(replace(self.sweep, maps=maps), part, shared)

    @classmethod
    def summary(cls, folder: Folder) -> StudyResult:
        arguments = folder.manifest()["arguments"]
        given = [Entity(**row) for row in arguments["entities"]]
        return cross_model_result(folder, Scores(given, None))


@checks.door(StudyError, source=checks.anything)
def cross_model(
    source: Any,
    target: Any,
    texts: Iterable[Any] | Path | None = None,
    *,
    entities: Iterable[Entity | str] | str | Path | None = None,
    layers: Iterable[int] | int | None = None,
    target_layers: Iterable[int] | int | Literal["proportional", "all"] = "proportional",
    identity: Patchscope | None = None,
    inspection: str | InspectionPrompt | Patchscope | None = None,
    ridge: float = 1e-3,
    max_tokens: int | None = 5000,
    max_new_tokens: int = 15,
    random_draws: int = 1,
    seed: int = 0,
    memory_budget: int = BUDGET,
) -> CrossModel:
    """What a target model says of states of a source model: a study, to be `run`.

    For each pair of layers an affine map is fitted on a part of the texts (`AffineLens.fit`), whose
    tokens are matched where those of both models end at the same character; so the two tokenizers
    may differ. Then, on the rest of the texts, the mapped state of the last token is written over
    the placeholder of the target's token-identity prompt, and ``precision_at_1`` is whether the
    target then says what the *source* says next, as text without spaces around it, upper or lower
    case (a token that the target's tokenizer cuts in two is counted as wrong). And entities are
    described and scored as in `entity_resolution`. Controls go through the same maps: the state of
    another text or entity, the mean state of the layer, vectors with the states' own mean and
    covariance, random vectors as long as states; and the inspection prompts as they are.

    Args:
        source: the model whose states are read, or a function without arguments that loads it.
        target: the model that they are written into; it may be the same.
        texts: texts or token ids, half of which are held out; a ``Path`` to a text file with a text
            a line; by default those that come with lensscope, and to fit on also the chapters of
            the Python language reference.
        entities: some, names alone, or the path of a file of them, as in `entity_resolution`; by
            default those that come with lensscope.
        layers: source layers of block outputs; by default eight, evenly spaced.
        target_layers: ``"proportional"``, for each source layer the one at the same relative depth;
            or a list, or ``"all"``: with each source layer. Each target layer is a pass over the
            texts, each pair a map that is kept.
        identity: the token-identity patchscope, where its words are not the target's.
        inspection: what describes entities; by default the paper's prompt.
        ridge: of the fit, relative to the variance of each entry of a state.
        max_tokens: fit on about so many tokens; ``None`` for all.
        max_new_tokens: of each description.
        random_draws: random vectors for each text and layer, and for each layer of the entities,
            and as many that are drawn as states are spread.
        seed: of what is held out, random vectors, controls and halves.
        memory_budget: bytes that the batches of a part may take.

    Raises:
        StudyError: no texts or entities, several inspection prompts.
        PromptError: a file that cannot be read.

    Example:
        >>> study = ls.studies.cross_model(
        ...     model, model, ["The cat sat on the mat.", "Two and two make", "It rained today."],
        ...     entities=ls.studies.entities(limit=2), layers=[8], max_new_tokens=3)
        >>> study.run().data["precision_at_1"].dims
        ('condition', 'source_layer')
    """
    if entities is None or isinstance(entities, str | Path):
        entities = read_entities(entities)
    return CrossModel(
        model=source,
        seed=seed,
        memory_budget=memory_budget,
        grid=Grid(
            (as_scope(Patchscope.entity_description() if inspection is None else inspection),),
            as_layers(layers),
            # the same relative depth is the same layer, in models of as many layers
            as_targets("same" if target_layers == "proportional" else target_layers),
            max_new_tokens,
            random_draws,
            inspection is not None,
        ),
        given=entities_of(entities),
        target_model=target,
        corpus=texts_of(texts),
        with_docs=texts is None,
        identity=as_scope(Patchscope.token_identity() if identity is None else identity),
        ridge=ridge,
        max_tokens=max_tokens,
    )
