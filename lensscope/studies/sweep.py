"""Studies that write states of items into inspection prompts and score what is generated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import torch
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.engine.generate import generate
from lensscope.engine.run_many import run_many
from lensscope.engine.runs import Generation
from lensscope.errors import StudyError
from lensscope.lenses.checks import whole_number
from lensscope.model.backend import Backend
from lensscope.patchscope.layers import TargetLayers, layers_of
from lensscope.patchscope.scope import Patchscope
from lensscope.studies.controls import of_no_item
from lensscope.studies.given import signature
from lensscope.studies.places import LEAD_IN, Placed
from lensscope.studies.study import Study
from lensscope.studies.sweep_lines import cell_lines, control_lines
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Site

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE: Final = 32
_LINES: Final = 1024
"""Prompts, and rows of a sweep, that are run together."""
_ROWS: Final = 96
"""About so many rows make a part."""


class Said(NamedTuple):
    """What was generated, and its first token; -1 where there is none."""

    text: str
    first: int


def said(generation: Generation) -> list[Said]:
    """What was generated of each row."""
    rows = zip(generation.texts, generation.token_ids, strict=True)
    return [Said(text, ids[0] if ids else -1) for text, ids in rows]


@dataclass(frozen=True)
class Sample:
    """Where states of an item are read.

    Attributes:
        item: its number.
        variant: the number of the way in which it is put.
        prompt: the source prompt.
        tokens: which tokens are read, the last one of the item last.
        name_tokens: how many tokens the item's name has.
        inside: whether the name stands only within other words.
        led: whether a lead-in was put before the text.
    """

    item: int
    variant: int
    prompt: TokenizedPrompt
    tokens: tuple[int, ...]
    name_tokens: int
    inside: bool = False
    led: bool = False

    @classmethod
    def of(cls, item: int, variant: int, found: Placed, *, every: bool) -> Sample:
        """Of a name that was found, all its tokens or the last one."""
        tokens = found.tokens if every else found.tokens[-1:]
        return cls(item, variant, found.prompt, tokens, len(found.tokens), found.inside, found.led)


@dataclass(frozen=True, eq=False)
class SweepStudy(Study):
    """A study over items x source layers x target layers x inspection prompts.

    Attributes:
        scopes: the patchscopes, which read and write at one kind of site.
        layers: source layers; all by default.
        target_layers: ``"same"``, ``"all"``, or a list.
        max_new_tokens: how much is generated for each cell.
        random_draws: random vectors for each source layer, and as many that are drawn as states
            are spread.
    """

    scopes: tuple[Patchscope, ...]
    layers: tuple[int, ...] | None
    target_layers: TargetLayers
    max_new_tokens: int
    random_draws: int
    pooled: ClassVar[bool] = False
    """Whether variants are samples of one kind."""

    # ---------------------------------------------------------------- what a study says of itself

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """What a text is scored by; the first is 1 for a right one and 0 for a wrong one."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The items."""

    @property
    @abstractmethod
    def variants(self) -> Sequence[str]:
        """The ways in which an item is put."""

    @abstractmethod
    def sample(self, item: int, variant: int) -> Sample:
        """Where an item's states are read."""

    @abstractmethod
    def score(self, text: str, item: int, first: int = -1) -> Sequence[float]:
        """A text about an item, by each of `metrics`.

        Args:
            text: what was generated.
            item: the number of the item.
            first: the first token of it; -1 where there is none.
        """

    @abstractmethod
    def others(self) -> Sequence[int]:
        """For each item another one, for which its texts must not be right."""

    def asked(self, item: int) -> Sequence[int]:
        """The inspection prompts that an item is written into."""
        return range(len(self.scopes))

    def unpatched(self, item: int, scope: int) -> str | None:
        """The inspection prompt with the item's own name in it, if only those items count which
        the model itself then answers rightly."""
        return None

    @property
    def target(self) -> Backend:
        """The model that states are written into."""
        return self.backend

    # ---------------------------------------------------------------- layers

    def site(self, scope: Patchscope) -> Site:
        """The kind of site that is read."""
        return (scope.read or scope.write).whole

    def sources(self) -> list[int]:
        """Source layers, as numbers."""
        return layers_of(self.backend, self.site(self.scopes[0]), self.layers)

    def targets(self, source: int) -> list[int]:
        """Target layers of a source layer, as numbers."""
        kind = self.scopes[0].write.whole
        if self.target_layers == "same":
            return layers_of(self.target, kind, [source])
        wanted = None if isinstance(self.target_layers, str) else self.target_layers
        return layers_of(self.target, kind, wanted)

    def common(self) -> dict[str, Any]:
        """Arguments that all sweeps have."""
        first = self.scopes[0]
        sources = self.sources()
        return {
            "inspection": [
                {
                    "text": scope.inspection.text,
                    "placeholder": scope.inspection.placeholder,
                    "prepend_bos": scope.inspection.prepend_bos,
                    "transform": signature(scope.transform),
                    "mix": scope.mix,
                    "match_norm": scope.match_norm,
                }
                for scope in self.scopes
            ],
            "read": repr(self.site(first)),
            "write": repr(first.write),
            "metrics": list(self.metrics),
            "variants": list(self.variants),
            "pooled": self.pooled,
            "source_layers": sources,
            "target_layers": None if self.target_layers == "same" else self.targets(sources[0]),
            "max_new_tokens": self.max_new_tokens,
            "random_draws": self.random_draws,
            "seed": self.seed,
            "memory_budget": self.memory_budget,
        }

    def places(self) -> dict[str, Any]:
        """What must be said of where names are read: how many samples have a lead-in, and which
        names stand only within other words."""
        samples = [
            self.sample(item, variant)
            for item in range(len(self.names))
            for variant in range(len(self.variants))
        ]
        inside = dict.fromkeys(self.names[s.item] for s in samples if s.inside)
        at_start = [scope.inspection.placed(self.target)[0] == 0 for scope in self.scopes]
        return {
            "lead_in": LEAD_IN,
            "samples_with_lead_in": sum(s.led for s in samples),
            "names_inside_words": list(inside),
            "placeholders_at_the_first_token": sum(at_start),
        }

    # ---------------------------------------------------------------- parts

    def keys(self) -> list[str]:
        controls = [
            f"control-{scope:03d}-{draw:03d}"
            for scope in range(len(self.scopes))
            for draw in range(1 + 2 * self.random_draws)
        ]
        batches = -(-len(self.names) * len(self.variants) // self.together())
        cells = [f"cells-{batch:06d}-000" for batch in range(batches)]
        return [*controls, *cells]

    def together(self) -> int:
        """How many samples a part has: enough for a batch to be worth its while, and not so many
        that much is lost with a part."""
        return max(1, _ROWS // sum(len(self.targets(source)) for source in self.sources()))

    def check(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            StudyError: no items, or one that no other can be told from.
            PromptError, PositionError, SiteError: of inspection prompts, sources and layers.
        """
        whole_number(self.max_new_tokens, "max_new_tokens", 1, 20, error=StudyError)
        whole_number(self.random_draws, "random_draws", 1, 2, error=StudyError)
        if not self.names:
            raise StudyError(
                "The study has no items.",
                got="an empty set",
                expected="at least one",
                instead="ls.studies.entities(), or ls.studies.relation('capital')",
            )
        for source in self.sources():
            self.targets(source)
        for scope in self.scopes:
            scope.inspection.placed(self.target)
            self.check_models(scope)
        for item in range(len(self.names)):
            for variant in range(len(self.variants)):
                self.sample(item, variant)

    def check_models(self, scope: Patchscope) -> None:
        """Refuse to go from one model to the other without a map.

        Raises:
            BasisError: two bases, or a map that was fitted on other models.
        """
        scope.check_models(self.backend, self.target)

    def prepare(self) -> Mapping[str, Tensor]:
        """The mean state of each layer over items and variants, vectors drawn as these states are
        spread, and random ones."""
        pairs = [(i, v) for i in range(len(self.names)) for v in range(len(self.variants))]
        batches = (pairs[first : first + _AT_ONCE] for first in range(0, len(pairs), _AT_ONCE))
        last = (
            states[:, -1]
            for some in batches
            for states in self.states([self.sample(*pair) for pair in some])
        )
        return of_no_item(last, len(pairs), self.random_draws, self.seed)

    def states(self, samples: Sequence[Sample]) -> list[Tensor]:
        """What is read of each sample, ``[source layer, token, width]``."""
        sites = [self.site(self.scopes[0])(layer) for layer in self.sources()]
        cache = capture(
            self.backend,
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
        return scope.mapped(
            state.to(self.backend.device, self.backend.dtype), self.target, self.site(scope)(source)
        )

    def measure(self, key: str, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """A line for each text, with the scores that it gets."""
        import pandas as pd

        kind, first, second = key.split("-")
        if kind == "control":
            return pd.DataFrame(control_lines(self, int(first), int(second), shared))
        return pd.DataFrame(cell_lines(self, int(first)))

    # ---------------------------------------------------------------- generating

    def texts(self, scope: Patchscope, writes: Sequence[tuple[Tensor, int, int]]) -> list[Said]:
        """What the target model says of states, each with its source and its target layer."""
        prompt, places = (
            scope.inspection.tokenized(self.target),
            scope.inspection.placed(self.target),
        )
        kind = scope.write.whole
        found: list[Said] = []
        for first in range(0, len(writes), _LINES):
            patchsets = []
            for state, source, target in writes[first : first + _LINES]:
                value = self.value(scope, state, source, target)
                patchsets.append([scope.patch(kind(target).at(p), value) for p in places])
            runs = run_many(
                self.target,
                list(prompt.ids),
                patchsets,
                positions=None,
                max_new_tokens=self.max_new_tokens,
                prepend_bos=False,
                memory_budget=self.memory_budget,
            )
            assert runs.generation is not None
            found += said(runs.generation)
        return found

    def generated(self, prompts: Sequence[str], prepend_bos: bool | None = None) -> list[Said]:
        """What the target model says after a prompt, unpatched."""
        out = generate(
            self.target,
            list(prompts),
            max_new_tokens=self.max_new_tokens,
            prepend_bos=prepend_bos,
            memory_budget=self.memory_budget,
        )
        return said(out)
