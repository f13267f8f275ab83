"""Studies that write states of items into inspection prompts and score what is generated."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from lensscope.backend import Backend
from lensscope.engine import capture, generate, run_many
from lensscope.errors import StudyError
from lensscope.lenses.checks import whole_number
from lensscope.patchscope import Patchscope, TargetLayers, layers_of
from lensscope.prompts import TokenizedPrompt
from lensscope.sites import Site
from lensscope.studies.study import Study
from lensscope.transforms import Affine, ScaledTo, identity

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE: Final = 32
_LINES: Final = 1024
"""Prompts, and rows of a sweep, that are run together."""


@dataclass(frozen=True)
class Sample:
    """Where states of an item are read.

    Attributes:
        item: its number.
        variant: the number of the way in which it is put.
        prompt: the source prompt.
        tokens: which tokens are read, the last one of the item last.
        name_tokens: how many tokens the item's name has.
    """

    item: int
    variant: int
    prompt: TokenizedPrompt
    tokens: tuple[int, ...]
    name_tokens: int


@dataclass(frozen=True, eq=False)
class SweepStudy(Study):
    """A study over items x source layers x target layers x inspection prompts.

    Attributes:
        scopes: the patchscopes, which read and write at one kind of site.
        layers: source layers; all by default.
        target_layers: ``"same"``, ``"all"``, or a list.
        max_new_tokens: how much is generated for each cell.
        random_draws: random vectors for each source layer.
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
    def score(self, text: str, item: int) -> Sequence[float]:
        """A text about an item, by each of `metrics`."""

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

    # ---------------------------------------------------------------- parts

    def keys(self) -> list[str]:
        controls = [
            f"control-{scope:03d}-{draw:03d}"
            for scope in range(len(self.scopes))
            for draw in range(1 + self.random_draws)
        ]
        cells = [
            f"cells-{item:06d}-{variant:02d}"
            for item in range(len(self.names))
            for variant in range(len(self.variants))
        ]
        return [*controls, *cells]

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
            scope.check_models(self.backend, self.target)
        for item in range(len(self.names)):
            for variant in range(len(self.variants)):
                self.sample(item, variant)

    def prepare(self) -> Mapping[str, Tensor]:
        """The mean state of each layer over items and variants, and random vectors.

        Each random vector is as long as the state of one of the items.
        """
        sources = self.sources()
        draws = self.random_draws
        pairs = [(i, v) for i in range(len(self.names)) for v in range(len(self.variants))]
        drawn = np.random.default_rng(self.seed)
        lengths_of = drawn.choice(len(pairs), draws, replace=draws > len(pairs)).tolist()
        total = torch.zeros(len(sources), 1, dtype=torch.float64)
        lengths = torch.zeros(draws, len(sources), dtype=torch.float64)
        for first in range(0, len(pairs), _AT_ONCE):
            some = pairs[first : first + _AT_ONCE]
            for n, states in enumerate(self.states([self.sample(i, v) for i, v in some])):
                last = states[:, -1].double().cpu()
                total = total + last
                for draw, at in enumerate(lengths_of):
                    if at == first + n:
                        lengths[draw] = last.norm(dim=-1)
        mean = total / len(pairs)
        noise = torch.randn(
            draws, *mean.shape, generator=torch.Generator().manual_seed(self.seed)
        ).double()
        random = noise * (lengths / noise.norm(dim=-1))[..., None]
        return {"mean": mean.float(), "random": random.float()}

    def states(self, samples: Sequence[Sample]) -> list[Tensor]:
        """What is read of each sample, ``[source layer, token, width]``."""
        sites = [self.site(self.scopes[0])(layer) for layer in self.sources()]
        cache = capture(
            self.backend.model,
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
            return pd.DataFrame(self._control(int(first), int(second), shared))
        return pd.DataFrame(self._cells(int(first), int(second)))

    def _control(
        self, number: int, draw: int, shared: Mapping[str, Tensor]
    ) -> list[dict[str, Any]]:
        """Texts of one vector a layer that is no item's; with the mean also of no vector."""
        scope = self.scopes[number]
        vectors = shared["random"][draw - 1] if draw else shared["mean"]
        cells = [(s, t, n) for n, s in enumerate(self.sources()) for t in self.targets(s)]
        texts = self.texts(scope, [(vectors[n], s, t) for s, t, n in cells])
        condition = "random" if draw else "mean"
        lines = [
            {
                "condition": condition,
                "scope": number,
                "draw": draw,
                "source_layer": s,
                "target_layer": t,
                "text": text,
            }
            for (s, t, _), text in zip(cells, texts, strict=True)
        ]
        if not draw:
            inspection = scope.inspection
            (prior,) = self.generated([inspection.text], inspection.prepend_bos)
            lines.append(
                {
                    "condition": "prior",
                    "scope": number,
                    "draw": 0,
                    "source_layer": -1,
                    "target_layer": -1,
                    "text": prior,
                }
            )
        return lines

    def _cells(self, item: int, variant: int) -> list[dict[str, Any]]:
        """Texts of an item's states, scored for it and for another one."""
        sample = self.sample(item, variant)
        (states,) = self.states([sample])
        other = self.others()[item]
        same = {
            "item": item,
            "name": self.names[item],
            "variant": variant,
            "name_tokens": sample.name_tokens,
        }
        lines: list[dict[str, Any]] = []
        for number in self.asked(item):
            scope = self.scopes[number]
            asked = self.unpatched(item, number)
            if asked is not None:
                (text,) = self.generated([asked], scope.inspection.prepend_bos)
                scores = self.score(text, item)
                lines.append(self._line(same, "answer", number, (-1, -1, -1), sample, text, scores))
                if not scores[0]:
                    continue
            cells = [
                (place, n, s, t)
                for place in range(len(sample.tokens))
                for n, s in enumerate(self.sources())
                for t in self.targets(s)
            ]
            texts = self.texts(scope, [(states[n, p], s, t) for p, n, s, t in cells])
            for (place, _, s, t), text in zip(cells, texts, strict=True):
                line = self._line(
                    same, "state", number, (s, t, place), sample, text, self.score(text, item)
                )
                names = (f"{metric}_shuffled" for metric in self.metrics)
                line |= dict(zip(names, self.score(text, other), strict=True))
                lines.append(line)
        return lines

    def _line(
        self,
        same: Mapping[str, Any],
        condition: str,
        scope: int,
        cell: tuple[int, int, int],
        sample: Sample,
        text: str,
        scores: Sequence[float],
    ) -> dict[str, Any]:
        source, target, place = cell
        token = sample.tokens[place]
        return {
            **same,
            "condition": condition,
            "scope": scope,
            "source_layer": source,
            "target_layer": target,
            "place": len(sample.tokens) - 1 - place if place >= 0 else -1,
            "position": token,
            "token": sample.prompt.labels[token],
            "text": text,
            **dict(zip(self.metrics, map(float, scores), strict=True)),
        }

    # ---------------------------------------------------------------- generating

    def texts(self, scope: Patchscope, writes: Sequence[tuple[Tensor, int, int]]) -> list[str]:
        """What the target model says of states, each with its source and its target layer."""
        prompt, places = (
            scope.inspection.tokenized(self.target),
            scope.inspection.placed(self.target),
        )
        kind = scope.write.whole
        found: list[str] = []
        for first in range(0, len(writes), _LINES):
            patchsets = []
            for state, source, target in writes[first : first + _LINES]:
                value = self.value(scope, state, source, target)
                patchsets.append([scope.patch(kind(target).at(p), value) for p in places])
            runs = run_many(
                self.target.model,
                list(prompt.ids),
                patchsets,
                positions=None,
                max_new_tokens=self.max_new_tokens,
                prepend_bos=False,
                memory_budget=self.memory_budget,
            )
            assert runs.generation is not None
            found += runs.generation.texts
        return found

    def generated(self, prompts: Sequence[str], prepend_bos: bool | None = None) -> list[str]:
        """What the target model says after a prompt, unpatched."""
        out = generate(
            self.target.model,
            list(prompts),
            max_new_tokens=self.max_new_tokens,
            prepend_bos=prepend_bos,
            memory_budget=self.memory_budget,
        )
        return list(out.texts)


def signature(transform: Any) -> str | None:
    """What tells a transform apart from another.

    Raises:
        StudyError: nothing does.
    """
    if transform is None:
        return None
    found = getattr(transform, "signature", None)
    if isinstance(found, str):
        return found
    if isinstance(transform, Affine | ScaledTo) or transform is identity:
        numbers = list(vars(transform).values()) if transform is not identity else []
        parts = [v.tolist() if isinstance(v, Tensor) else v for v in numbers]
        return hashlib.sha256(repr((type(transform).__name__, parts)).encode()).hexdigest()[:16]
    raise StudyError(
        "Of a transform it cannot be told whether it is the same later.",
        got=repr(transform),
        expected="a map of lensscope, or an object with a text `signature`",
        instead="ls.affine(A, b), ls.scaled_to(norm), or a fitted AffineLens",
    )


def derangement(answers: Sequence[Sequence[str]], seed: int) -> list[int]:
    """For each item another one that has none of its answers, each about as often.

    Raises:
        StudyError: some item has no such other.
    """
    order = np.random.default_rng(seed).permutation(len(answers)).tolist()
    own = [{answer.casefold() for answer in of_item} for of_item in answers]
    found = [0] * len(answers)
    for n, item in enumerate(order):
        rest = (order[(n + step) % len(order)] for step in range(1, len(order)))
        other = next((o for o in rest if not own[item] & own[o]), None)
        if other is None:
            raise StudyError(
                "The control with another item needs items of different answers.",
                got=f"item {item} and {len(answers) - 1} others, all answered "
                f"{', '.join(answers[item])!r}",
                expected="at least two items that differ in what is right",
                instead="more items",
            )
        found[item] = other
    return found
