"""A sweep: states of items written into inspection prompts, over source x target layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.checks import whole_number
from lensscope.engine.capture import capture
from lensscope.engine.generate import generate
from lensscope.errors import StudyError
from lensscope.model.backend import Backend
from lensscope.patchscope.layers import TargetLayers, layers_of
from lensscope.patchscope.mapping import check_models, mapped
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.controls import of_no_item
from lensscope.studies.given import as_layers, as_scopes, as_targets, told_of
from lensscope.studies.items import Items, Sample
from lensscope.studies.parts import CELLS, CONTROLS, Part
from lensscope.studies.places import LEAD_IN
from lensscope.studies.said import Said, said, said_after
from lensscope.values.chats import Chat
from lensscope.values.sites import Site
from lensscope.values.transforms import Affine

_AT_ONCE: Final = 32
"""Prompts that are run together."""
_ROWS: Final = 96
"""About so many rows make a part."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells that are asked for.

    Attributes:
        scopes: the patchscopes, which read and write at one kind of site.
        layers: source layers; all by default.
        target_layers: ``"same"``, ``"all"``, or a list.
        max_new_tokens: how much is generated for each cell.
        random_draws: random vectors for each source layer, and as many that are drawn as states
            are spread.
        prompts_given: whether the inspection prompts were chosen, and do not come along.
    """

    scopes: tuple[Patchscope, ...]
    layers: tuple[int, ...] | None
    target_layers: TargetLayers
    max_new_tokens: int
    random_draws: int
    prompts_given: bool = True

    @classmethod
    def of(
        cls, inspection: Any, usual: Any, layers: Any, targets: Any, tokens: int, draws: int
    ) -> Grid:
        """What the arguments of a study ask for; its usual inspection prompts if it has no own."""
        scopes = as_scopes(usual if inspection is None else inspection)
        where = (as_layers(layers), as_targets(targets))
        return cls(scopes, *where, tokens, draws, inspection is not None)

    @property
    def read(self) -> Site:
        """The kind of site that is read."""
        return (self.scopes[0].read or self.write).whole

    @property
    def write(self) -> Site:
        """The kind of site that is written."""
        return self.scopes[0].write

    def within(self, model: Backend) -> dict[int, list[int]]:
        """Source layers, each with its target layers, where a model is read by itself."""
        wanted = None if isinstance(self.target_layers, str) else self.target_layers
        same = self.target_layers == "same"
        return {
            source: layers_of(model, self.write.whole, [source] if same else wanted)
            for source in layers_of(model, self.read, self.layers)
        }


@dataclass(frozen=True, eq=False)
class Sweep:
    """Items x source layers x target layers x inspection prompts, in models that are loaded.

    Attributes:
        items: what is swept over.
        grid: the cells that were asked for.
        source: the model that states are read in.
        target: the model that they are written into.
        layers: source layers, each with its target layers.
        seed: of vectors that are drawn.
        memory_budget: bytes that a batch may take.
        maps: what states go through, by source and target layer, in place of what the patchscopes
            say.
    """

    items: Items
    grid: Grid
    source: Backend
    target: Backend
    layers: Mapping[int, Sequence[int]]
    seed: int
    memory_budget: int
    maps: Mapping[tuple[int, int], Affine] | None = None

    @property
    def sources(self) -> list[int]:
        """Source layers."""
        return list(self.layers)

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Source and target layers."""
        return [(source, target) for source, targets in self.layers.items() for target in targets]

    @property
    def sites(self) -> list[Site]:
        """Where states are read."""
        return [self.grid.read(layer) for layer in self.layers]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All samples: items and variants."""
        variants = range(len(self.items.variants))
        return [(item, variant) for item in range(len(self.items.names)) for variant in variants]

    # ---------------------------------------------------------------- what it is

    def arguments(self) -> dict[str, Any]:
        """Everything that decides its results, but the items themselves."""
        grid = self.grid
        return {
            "inspection": [told_of(scope) for scope in grid.scopes],
            "read": repr(grid.read),
            "write": repr(grid.write),
            "metrics": list(self.items.metrics),
            "variants": list(self.items.variants),
            "pooled": self.items.pooled,
            "source_layers": self.sources,
            "target_layers": None
            if grid.target_layers == "same"
            else list(self.layers[self.sources[0]]),
            "max_new_tokens": grid.max_new_tokens,
            "random_draws": grid.random_draws,
            "seed": self.seed,
            "memory_budget": self.memory_budget,
        }

    def places(self) -> dict[str, Any]:
        """What must be said of where names are read: how many samples have a lead-in, and which
        names stand only within other words."""
        samples = [self.items.sample(*pair) for pair in self.pairs]
        inside = dict.fromkeys(self.items.names[s.item] for s in samples if s.inside)
        at_start = [scope.inspection.placed(self.target)[0] == 0 for scope in self.grid.scopes]
        return {
            "lead_in": LEAD_IN,
            "samples_with_lead_in": sum(s.led for s in samples),
            "names_inside_words": list(inside),
            "placeholders_at_the_first_token": sum(at_start),
        }

    def check(self) -> None:
        """Refuse what was given and cannot be run.

        Raises:
            StudyError: no items.
            SiteError, PromptError, PositionError: of layers, inspection prompts and sources.
            BasisError: two bases without a map, or a map that was fitted on other models.
        """
        whole_number(self.grid.random_draws, "random_draws", 1, 2, error=StudyError)
        if not self.items.names:
            raise StudyError(
                "The study has no items.",
                got="an empty set",
                expected="at least one",
                instead="ls.studies.entities(), or ls.studies.relation('capital')",
            )
        for scope in self.grid.scopes:
            if self.grid.prompts_given:
                scope.inspection.placed(self.target)
            if self.maps is None:
                check_models(scope, self.source, self.target)
        for pair in self.pairs:
            self.items.sample(*pair)
        self.items.score("", 0)

    def check_whole(self) -> None:
        """Refuse prompts that come along and do not suit the model, and items of which none is the
        control of another.

        Raises:
            StudyError, PromptError: of these.
        """
        for scope in self.grid.scopes:
            scope.inspection.placed(self.target)
        self.items.others()

    # ---------------------------------------------------------------- parts

    def parts(self) -> list[Part]:
        """Its parts, in order."""
        controls = [
            CONTROLS.part(scope, draw)
            for scope in range(len(self.grid.scopes))
            for draw in range(1 + 2 * self.grid.random_draws)
        ]
        batches = -(-len(self.pairs) // self.together)
        return [*controls, *(CELLS.part(batch, 0) for batch in range(batches))]

    @property
    def together(self) -> int:
        """How many samples a part has: enough for a batch to be worth its while, and not so many
        that much is lost with a part."""
        return max(1, _ROWS // len(self.cells))

    def prepare(self) -> Mapping[str, Tensor]:
        """The mean state of each layer over items and variants, vectors drawn as these states are
        spread, and random ones."""
        pairs = self.pairs
        batches = (pairs[first : first + _AT_ONCE] for first in range(0, len(pairs), _AT_ONCE))
        last = (
            states[:, -1]
            for some in batches
            for states in self.states([self.items.sample(*pair) for pair in some])
        )
        return of_no_item(last, len(pairs), self.grid.random_draws, self.seed)

    def states(self, samples: Sequence[Sample]) -> list[Tensor]:
        """What is read of each sample, ``[source layer, token, width]``."""
        sites = self.sites
        cache = capture(
            self.source,
            [list(s.prompt.ids) for s in samples],
            sites,
            prepend_bos=False,
            memory_budget=self.memory_budget,
        )
        return [
            torch.stack([cache[site][n, list(sample.tokens)] for site in sites])
            for n, sample in enumerate(samples)
        ]

    def value(self, scope: Patchscope, state: Tensor, source: int, target: int) -> Tensor:
        """What is written of a state."""
        if self.maps is not None:
            value = self.maps[source, target](state.float())
            return value.to(self.target.device, self.target.dtype)
        own = state.to(self.source.device, self.source.dtype)
        return mapped(scope, own, self.target, self.grid.read(source))

    def texts(self, scope: Patchscope, writes: Iterable[tuple[Tensor, int, int]]) -> list[Said]:
        """What the target model says of states, each with its source and its target layer."""
        kind, inspection = scope.write.whole, scope.inspection
        return said_after(
            self.target,
            inspection.tokenized(self.target),
            inspection.placed(self.target),
            ((kind(t), self.value(scope, state, s, t)) for state, s, t in writes),
            self.grid.max_new_tokens,
            self.memory_budget,
            scope.patch,
        )

    def generated(
        self, prompts: Sequence[str | Chat], prepend_bos: bool | None = None
    ) -> list[Said]:
        """What the target model says after a prompt, unpatched."""
        out = generate(
            self.target,
            list(prompts),
            max_new_tokens=self.grid.max_new_tokens,
            prepend_bos=prepend_bos,
            memory_budget=self.memory_budget,
        )
        return said(out)
