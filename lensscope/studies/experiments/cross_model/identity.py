"""The token-identity patchscope from one model to another, over texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from lensscope.errors import StudyError
from lensscope.lenses.states import Asked, Gathered, asked, gathered
from lensscope.model.backend import Backend
from lensscope.model.token_texts import labels_of
from lensscope.patchscope.controls import as_long_as
from lensscope.patchscope.scope import Patchscope
from lensscope.patchscope.writing import write_and_decode
from lensscope.studies.controls import Spread
from lensscope.studies.parts import IDENTITY
from lensscope.studies.said import ROWS
from lensscope.studies.texts import Text
from lensscope.values.sites import resid_post
from lensscope.values.transforms import Affine

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE: Final = 32
"""Texts that are run together."""


def same_word(one: str, other: str) -> bool:
    """Whether two tokens say the same, upper or lower case, with spaces around them or not.

    Example:
        >>> from lensscope.studies.experiments.cross_model.identity import same_word
        >>> same_word(" Paris", "paris"), same_word(" ", chr(10))
        (True, False)
    """
    plain = one.strip().casefold()
    return plain == other.strip().casefold() if plain else one == other


@dataclass(frozen=True)
class Identity:
    """What the target says of mapped states of texts' last tokens.

    Attributes:
        source: the model that texts are read in.
        target: the model that says something.
        scope: the token-identity patchscope.
        pairs: source and target layers.
        random_draws: random vectors for each text and layer, and drawn ones for each layer.
        seed: of them.
        memory_budget: bytes that a batch may take.
        maps: by source and target layer.
    """

    source: Backend
    target: Backend
    scope: Patchscope
    pairs: Sequence[tuple[int, int]]
    random_draws: int
    seed: int
    memory_budget: int
    maps: Mapping[tuple[int, int], Affine] = field(default_factory=dict)

    @property
    def sources(self) -> list[int]:
        """Source layers, each once."""
        return list(dict.fromkeys(source for source, _ in self.pairs))

    def check(self, texts: Sequence[Text]) -> None:
        """Refuse texts that cannot be read.

        Raises:
            PromptError: an empty or too long one.
            StudyError: one of a single token.
        """
        self._reads(texts)

    def nulls(self, texts: Sequence[Text]) -> Tensor:
        """The mean state of each source layer over texts, and vectors drawn as these states are
        spread: ``[1 + draw, layer, width]``."""
        spread = Spread(self.random_draws, self.seed)
        for first in range(0, len(texts), _AT_ONCE):
            states, _ = self._states(texts[first : first + _AT_ONCE], final=False)
            spread.add(states)
        return torch.cat([spread.mean()[None], spread.drawn()])

    def measure(self, items: Sequence[int], texts: Sequence[Text], nulls: Tensor) -> pd.DataFrame:
        """A line for each text, pair of layers and condition.

        Args:
            items: the numbers of some texts.
            texts: all of them.
            nulls: the mean of each source layer, and what is drawn.
        """
        pairs = self.pairs
        own = [texts[item] for item in items]
        states, said = self._states(own, final=True)
        at = {layer: n for n, layer in enumerate(self.sources)}
        draws = [self._random(states, items, draw) for draw in range(self.random_draws)]
        written = [
            (n, condition, draw, s, t, of[n, at[s]])
            for condition, draw, of in [
                ("state", 0, states),
                *(("random", draw, of) for draw, of in enumerate(draws)),
            ]
            for n in range(len(items))
            for s, t in pairs
        ]
        shared = [("mean", 0), *(("drawn", draw) for draw in range(self.random_draws))]
        written += [
            (0, condition, draw, s, t, of[at[s]].to(states))
            for (condition, draw), of in zip(shared, nulls, strict=True)
            for s, t in pairs
        ]
        prior, *words = self._words([(s, t, state) for *_, s, t, state in written])
        names = [one.prompt.text for one in self._reads(own)]
        lines: list[dict[str, Any]] = []

        def line(n: int, condition: str, draw: int, s: int, t: int, word: str) -> None:
            lines.append(
                {
                    "item": items[n],
                    "name": names[n],
                    "variant": 0,
                    "condition": condition,
                    "draw": draw,
                    "source_layer": s,
                    "target_layer": t,
                    "text": word,
                    "source_says": said[n],
                    "precision_at_1": float(same_word(word, said[n])),
                }
            )

        for (n, condition, draw, s, t, _), word in zip(written, words, strict=True):
            if condition == "state":
                # what is said of a text is the control of the one before it
                line((n - 1) % len(items), "shuffled", 0, s, t, word)
            for each in range(len(items)) if condition in ("mean", "drawn") else [n]:
                line(each, condition, draw, s, t, word)
        for n in range(len(items)):
            line(n, "prior", 0, -1, -1, prior)
        return IDENTITY.frame(lines)

    def _reads(self, texts: Sequence[Text]) -> list[Asked]:
        prompts = [text if isinstance(text, str) else list(text) for text in texts]
        found = asked(self.source, prompts, -1)
        first = [one.prompt.text for one in found if one.tokens == (0,)]
        if first:
            raise StudyError(
                "The last token of a text is its first, which is an attention sink.",
                got=repr(first[0]),
                expected="texts of at least two tokens",
                instead="longer texts",
            )
        return found

    def _states(self, texts: Sequence[Text], *, final: bool) -> tuple[Tensor, list[str]]:
        """States of last tokens, ``[text, source layer, width]``, and what the source says next."""
        reads = self._reads(texts)
        sites = [resid_post(layer) for layer in self.sources]
        budget = self.memory_budget
        states = [torch.empty(0)] * len(texts)
        said = [""] * len(texts)
        for part in gathered(self.source, reads, sites, final=final, memory_budget=budget):
            stacked = torch.stack([part.states[site] for site in sites], 1)
            for n, own in zip(part.prompts, stacked, strict=True):
                states[n] = own
            if final:
                for n, word in zip(part.prompts, self._said(part), strict=True):
                    said[n] = word
        return torch.stack(states), said

    def _said(self, part: Gathered) -> Sequence[str]:
        best = part.final(self.source, slice(None)).log_p.argmax(-1)
        return labels_of(self.source, best.tolist())

    def _random(self, states: Tensor, items: Sequence[int], draw: int) -> Tensor:
        """For each state a random vector of its length."""
        seeds = [(self.seed, item, draw) for item in items]
        pairs = zip(states, seeds, strict=True)
        return torch.stack([as_long_as(own, np.random.default_rng(seed)) for own, seed in pairs])

    def _words(self, written: Sequence[tuple[int, int, Tensor]]) -> list[str]:
        """What the target says after its prompt as it is, then with each state written."""
        target, scope = self.target, self.scope
        kind, inspection = scope.write.whole, scope.inspection
        writes = (
            (kind(layer), self.maps[source, layer](state.float()).to(target.device, target.dtype))
            for source, layer, state in written
        )
        found: list[int] = []
        for runs in write_and_decode(
            target,
            inspection.tokenized(target),
            inspection.placed(target),
            chain([None], writes),
            patch=scope.patch,
            top_k=1,
            at_once=ROWS,
            memory_budget=self.memory_budget,
        ):
            assert runs.top_tokens is not None
            found += runs.top_tokens[:, 0, 0].tolist()
        return list(labels_of(target, found))
