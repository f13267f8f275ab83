"""What of a batch is unembedded, and what of its logits is kept: all, the top k, or a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.checks import called
from lensscope.errors import PlanError

Metric: TypeAlias = Callable[[Tensor], Tensor]
"""From logits ``[row, position, d_vocab]`` to one or several numbers a row, ``[row, …]``."""


class Picks:
    """What of a batch is unembedded: cells of it, each once, in the order asked for.

    Attributes:
        rows: the rows of the sweep that the batch runs, in order, so that their logits need not be
            put in order afterwards.
        cells: rows and columns of the batch, with their numbers.
    """

    def __init__(
        self,
        where: Sequence[tuple[int, int, int]],
        asked: Sequence[Sequence[int]],
        prefix: int,
        last: int | None,
    ) -> None:
        """
        Args:
            where: for each row of the sweep, its row in the batch, and its padding.
            asked: the tokens that each row of the sweep wants logits of.
            prefix: tokens that the batch does not run; nothing of them is picked.
            last: a column that is picked besides.
        """
        self.rows = [row for row, _, _ in sorted(where)]
        self.cells: dict[tuple[int, int], int] = {}
        self._asked = [asked[row] for row in self.rows]
        self._found: list[list[int]] = []
        self._lasts: list[int] = []
        for row, place, pad in sorted(where):
            columns = [(token, pad + token - prefix) for token in asked[row]]
            self._found.append(
                [
                    self.cells.setdefault((place, c), len(self.cells)) if token >= prefix else -1
                    for token, c in columns
                ]
            )
            if last is not None:
                self._lasts.append(self.cells.setdefault((place, last), len(self.cells)))

    def lasts(
        self, logits: Float[Tensor, "pick d_vocab"], *, copy: bool
    ) -> Float[Tensor, "run position d_vocab"] | None:
        """What the column that is picked besides gave; ``copy`` if others hold the logits too."""
        if not self._lasts:
            return None
        whole = self._lasts == list(range(len(logits))) and not copy
        return (logits if whole else logits[self._lasts])[:, None]

    def asked_for(
        self, logits: Float[Tensor, "pick d_vocab"] | None, shared: Mapping[int, Tensor]
    ) -> Float[Tensor, "run position d_vocab"] | None:
        """What each row asked for, of its own cells or of the prefix, which all share; NaN where a
        row asks for less than another; ``None`` if none asks for anything."""
        width = max(map(len, self._asked))
        if not width:
            return None
        whole = len(self.rows) * width
        found = [cell for row in self._found for cell in row]
        if logits is not None and found == list(range(whole)):
            return logits[:whole].view(-1, width, logits.shape[-1])
        like = next(iter(shared.values())) if logits is None else logits
        full = like.new_full((len(self.rows), width, like.shape[-1]), torch.nan)
        for n, (tokens, cells) in enumerate(zip(self._asked, self._found, strict=True)):
            for slot, (token, cell) in enumerate(zip(tokens, cells, strict=True)):
                full[n, slot] = shared[token] if logits is None or cell < 0 else logits[cell]
        return full


@dataclass(eq=False)
class KeptLogits:
    """Takes the logits of one batch after the other, and keeps what is wanted of them.

    Attributes:
        asked: for each row, the tokens whose logits are wanted.
        metric: kept in place of the logits, if given.
        top_k: so many most probable tokens are kept in place of the logits, if given.
        at_once: reduce each batch's logits at once; otherwise hold them all until the end.
    """

    asked: Sequence[Sequence[int]]
    metric: Metric | None = None
    top_k: int | None = None
    at_once: bool = True
    _kept: dict[str, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.width = max(map(len, self.asked))
        self.ragged = len(set(map(len, self.asked))) > 1
        if self.reduces and not self.width:
            raise PlanError(
                "There are no logits to make a metric or a top k of.",
                got="positions=None",
                expected="the tokens whose logits are wanted",
                instead="positions=-1",
            )
        if self.top_k is not None and (
            not isinstance(self.top_k, int) or isinstance(self.top_k, bool) or self.top_k < 1
        ):
            raise PlanError(
                "So many most probable tokens cannot be kept.",
                got=f"top_k={self.top_k}",
                expected="a whole number, at least 1",
                instead="top_k=5",
            )
        if self.metric is not None and (self.ragged or not callable(self.metric)):
            raise PlanError(
                "This metric cannot be taken.",
                got="rows with different numbers of positions"
                if callable(self.metric)
                else repr(self.metric),
                expected="a function of logits [row, position, d_vocab], as many for each row",
                instead="metric=lambda logits: logits[:, -1, 7], positions=-1",
            )

    @property
    def reduces(self) -> bool:
        """Whether logits themselves are not kept."""
        return self.metric is not None or self.top_k is not None

    def put(self, rows: Sequence[int], logits: Float[Tensor, "run position d_vocab"]) -> None:
        """Take a batch's logits, a row of them for each of ``rows``."""
        if not self.width:
            return
        if self.reduces and self.at_once:
            for name, value in self._reduced(logits).items():
                self._store(name, rows, value)
        else:
            self._store("logits", rows, logits)

    def share(self, rows: Sequence[int], twin: int) -> None:
        """Give rows what another one has."""
        for kept in self._kept.values():
            kept[list(rows)] = kept[twin].clone()

    def finish(self) -> dict[str, Tensor]:
        """``logits``, or ``metric``, ``top_tokens`` and ``top_log_probabilities``, of all rows."""
        if "logits" in self._kept and self.reduces:
            return self._reduced(self._kept["logits"])
        return self._kept

    def _store(self, name: str, rows: Sequence[int], value: Tensor) -> None:
        total = len(self.asked)
        if name not in self._kept and list(rows) == list(range(total)):
            self._kept[name] = value  # all there is: nothing to copy
            return
        by_position = name != "metric"
        if name not in self._kept:
            rest = (self.width, *value.shape[2:]) if by_position else value.shape[1:]
            fill = torch.nan if value.is_floating_point() else -1
            self._kept[name] = torch.full(
                (total, *rest), fill, dtype=value.dtype, device=value.device
            )
        kept = self._kept[name]
        if by_position:
            kept[list(rows), : value.shape[1]] = value
        else:
            kept[list(rows)] = value

    def _reduced(self, logits: Tensor) -> dict[str, Tensor]:
        found = {}
        if self.metric is not None:
            found["metric"] = _measured(self.metric, logits)
        if self.top_k is not None:
            scores = logits.float()
            best = scores.topk(min(self.top_k, scores.shape[-1]))
            missing = scores[..., :1].isnan()  # a row that asks for less than another
            found["top_tokens"] = best.indices.masked_fill(missing, -1)
            found["top_log_probabilities"] = best.values - scores.logsumexp(-1, keepdim=True)
        return found


def taken(metric: Metric, what: str, logits: Tensor) -> Any:
    """What a user's metric gives for logits; ``what`` it is called.

    Raises:
        PlanError: it cannot be called with them, or asks for what is not there.
    """
    try:
        return called(metric, what, PlanError, logits)
    except IndexError as wrong:
        raise PlanError(
            f"{what} asks for logits that are not there.",
            got=str(wrong),
            expected=f"indices within [row, position, d_vocab] = {tuple(logits.shape)}: there are "
            "only the positions that were asked for",
            instead="metric=lambda logits: logits[:, -1, 7]; positions=ls.ALL in run_many for all",
        ) from wrong


def _measured(metric: Metric, logits: Tensor) -> Tensor:
    version = logits._version
    value = taken(metric, "The metric", logits)
    if logits._version != version:
        raise PlanError(
            "The metric has changed the logits that it was given.",
            got="an operation in place",
            expected="a function that leaves its argument as it is",
            instead="metric=lambda logits: logits.softmax(-1)[:, -1, 7]",
        )
    if not isinstance(value, Tensor) or value.ndim < 1 or value.shape[0] != logits.shape[0]:
        raise PlanError(
            "The metric does not give one value for each row.",
            got=tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__,
            expected=f"a tensor [row, …] with {logits.shape[0]} rows, of logits "
            f"[row, position, d_vocab] = {tuple(logits.shape)}",
            instead="metric=lambda logits: logits[:, -1, 7] - logits[:, -1, 9]",
        )
    return value
