"""Choosing the next token: greedy, or drawn with a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import PatchError


@dataclass(frozen=True)
class Sampling:
    """How a text goes on; see `lensscope.generate` for the arguments."""

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_at_eos: bool = True
    use_cache: bool = True

    def __post_init__(self) -> None:
        wrong = [
            text
            for bad, text in (
                (not 0 <= self.temperature < float("inf"), f"temperature={self.temperature}"),
                (self.top_p is not None and not 0 < self.top_p <= 1, f"top_p={self.top_p}"),
                (self.temperature > 0 and self.seed is None, "temperature without a seed"),
            )
            if bad
        ]
        if wrong:
            raise PatchError(
                "The next token cannot be chosen like this.",
                got=", ".join(wrong),
                expected="max_new_tokens >= 1, temperature >= 0 (with a seed above 0), "
                "top_k >= 1, 0 < top_p <= 1",
                instead="temperature=0.7, seed=0",
            )

    def ended(self, text: str) -> bool:
        """Whether a text holds what ends it."""
        return any(stop in text for stop in self.stop)

    def cut(self, text: str) -> str:
        """A text up to what ends it."""
        return text[: min((n for n in map(text.find, self.stop) if n >= 0), default=len(text))]

    def generators(self, rows: Sequence[int]) -> dict[int, torch.Generator | None]:
        """One source of randomness for each row, so that a row draws as it would alone."""
        if self.temperature == 0 or self.seed is None:
            return dict.fromkeys(rows)
        return {row: torch.Generator().manual_seed(self.seed) for row in rows}

    def choose(
        self,
        logits: Float[Tensor, "row d_vocab"],
        generators: Sequence[torch.Generator | None],
    ) -> list[int]:
        """The next token of each row."""
        if self.temperature == 0:
            return [int(i) for i in logits.argmax(-1)]
        scores = logits.float().cpu()
        scores = (scores - scores.max(-1, keepdim=True).values) / self.temperature
        if self.top_k is not None:
            least = scores.topk(min(self.top_k, scores.shape[-1])).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        probabilities = scores.softmax(-1)
        if self.top_p is not None:
            ranked, order = probabilities.sort(descending=True)
            beyond = ranked.cumsum(-1) - ranked >= self.top_p
            dropped = torch.zeros_like(beyond).scatter(-1, order, beyond)
            probabilities = probabilities.masked_fill(dropped, 0.0)
        return [
            int(torch.multinomial(row, 1, generator=generator))
            for row, generator in zip(probabilities, generators, strict=True)
        ]
