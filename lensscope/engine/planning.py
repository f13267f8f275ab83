"""What a sweep need not do, and how its rows are put together.

A sweep is many small changes to one run. Six savings follow from that, each with a switch in
`Plan`; none changes a result:

1. ``source``: the run that values are read from is made once, and keeps what is read;
2. ``prefix``: tokens before the first one that a row changes are run once, for all rows;
3. ``depth``: blocks below the first one that a row changes are run once, for all rows;
4. ``unchanged``: a row that changes nothing, or does what another does, is not run;
5. ``outputs``: only positions that are asked for reach the unembedding, and of their logits only
   the top k or the metric is kept, where those are asked for;
6. ``chunks``: rows are cut into batches that fit into memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lensscope import checks
from lensscope.engine.batch import Row, Write
from lensscope.errors import PlanError
from lensscope.values.operations import Apply
from lensscope.values.site_kinds import Place

_SWITCHES: Final = ("source", "prefix", "depth", "unchanged", "outputs", "chunks")
PASS_TOKENS = {"cpu": 40, "cuda": 400}
"""What a forward costs beyond its tokens, in tokens: what splitting a sweep has to save. It decides
how fast a sweep is, and no result."""


@checks.constructor(PlanError, **dict.fromkeys(_SWITCHES, checks.flag))
@dataclass(frozen=True)
class Plan:
    """Which savings a sweep may use; all by default. Switched off, results stay the same.

    Attributes:
        source: run the prompt that moves read from once, not once for each row.
        prefix: run the tokens before a row's first change once for all rows.
        depth: run the blocks below a row's first change once for all rows.
        unchanged: do not run rows that change nothing or do what another row does.
        outputs: unembed only the positions that are asked for, and reduce logits batch by batch.
        chunks: cut rows into batches that fit into memory.

    Example:
        >>> ls.run_many(model, "Paris is", [[], []], plan=ls.Plan(unchanged=False)).plan.run
        2
    """

    source: bool = True
    prefix: bool = True
    depth: bool = True
    unchanged: bool = True
    outputs: bool = True
    chunks: bool = True

    @classmethod
    def of(cls, plan: Plan | Mapping[str, bool] | None) -> Plan:
        """A plan from switches by name.

        Raises:
            PlanError: there is no such saving.
        """
        if plan is None or isinstance(plan, Plan):
            return plan or cls()
        if not isinstance(plan, Mapping) or not set(plan) <= set(_SWITCHES):
            raise PlanError(
                "There is no such plan.",
                got=repr(plan),
                expected=f"switches for {', '.join(_SWITCHES)}",
                instead="plan=ls.Plan(depth=False)",
            )
        return cls(**{name: bool(on) for name, on in plan.items()})

    @classmethod
    def none(cls) -> Plan:
        """Every row in full, all in one batch: the plain way."""
        return cls(**dict.fromkeys(_SWITCHES, False))

    @property
    def off(self) -> tuple[str, ...]:
        """The savings that are switched off."""
        return tuple(name for name in _SWITCHES if not getattr(self, name))


@dataclass(frozen=True)
class PlanReport:
    """What a sweep did, in numbers; printed, in words.

    Attributes:
        rows: patched runs that were asked for.
        run: those that were run; the others change nothing, or do what one of these does.
        chunks: rows of each batch, in order.
        prefixes: tokens of each batch's prompts that were not run again.
        prompt_tokens: length of the longest prompt.
        token_layers: tokens run through a block, summed over blocks; new tokens not counted.
        plain_token_layers: the same with one whole forward for each row.
        unembedded: positions that reached the unembedding; new tokens not counted.
        plain_unembedded: the same with one whole forward for each row.
        apart: why rows were run from the first layer on; empty if all joined at their layer.
        apart_rows: how many of those that were run.
        off: savings that were switched off.
        prompts: how many different prompts the rows are of.
    """

    rows: int
    run: int
    chunks: tuple[int, ...]
    prefixes: tuple[int, ...]
    prompt_tokens: int
    token_layers: int
    plain_token_layers: int
    unembedded: int
    plain_unembedded: int
    apart: str
    apart_rows: int
    off: tuple[str, ...] = ()
    prompts: int = 1

    @property
    def shared_prefix(self) -> int:
        """Tokens that were run once for all rows."""
        return min(self.prefixes)

    def __str__(self) -> str:
        first, last = min(self.prefixes), max(self.prefixes)
        shared = f"{first}" if first == last else f"{first} to {last}"
        sizes = "/".join(str(n) for n in sorted(set(self.chunks), reverse=True))
        parts = [
            f"{self.rows} rows, {self.run} of them run, in {len(self.chunks)} batch(es) of {sizes}",
            f"{shared} of {self.prompt_tokens} tokens run once for all",
            f"{'all' if self.apart_rows == self.run else self.apart_rows} side by side, for "
            + self.apart
            if self.apart
            else "each joins at its layer",
            f"{self.token_layers:,} token-layers of {self.plain_token_layers:,}",
            f"{self.unembedded:,} positions unembedded of {self.plain_unembedded:,}",
        ]
        if self.prompts > 1:
            parts.insert(1, f"{self.prompts} prompts, row n of prompt n under list n")
        return "; ".join(parts + [f"switched off: {', '.join(self.off)}"] * bool(self.off))


# ------------------------------------------------------- where a row begins to differ


@dataclass(frozen=True)
class Reach:
    """Where a row begins to differ from the unpatched run.

    Attributes:
        token: the first token that it changes.
        layer: the block before which it must have left the unpatched run: -1 where it writes the
            embedding, the number of blocks where it writes only what the last one gives.
    """

    token: int
    layer: int


@dataclass(frozen=True, eq=False)
class Held:
    """What the unpatched run had at a place, at the tokens that are written there."""

    column: Mapping[int, int]
    states: Tensor


def joining_layer(write: Write, *, read: bool) -> int:
    """The block before which a row must be there for this write.

    What a block gives can as well be written where the next one takes it, unless it is read.
    """
    if write.site.layer is None:
        return -1
    return write.site.layer + (write.site.kind == "resid_post" and not read)


def reach(
    row: Row, n_layers: int, held: Mapping[Place, Held] | None = None, *, read: bool = False
) -> Reach | None:
    """Where a row begins to differ from the unpatched run; ``None`` if it never does.

    Nothing changes before the first token, or below the first layer, at which some write gives
    something else than the unpatched run has: up to there, each write is given what that run has.

    Args:
        row: the row.
        n_layers: number of blocks.
        held: what the unpatched run has; without, every write is taken to change something.
        read: whether sites are kept, so that rows must be there where they are written.
    """
    found = [(min(tokens), write) for write in row.writes if (tokens := _changed(write, held))]
    if not found:
        return None
    return Reach(
        min(token for token, _ in found),
        min(joining_layer(write, read=read) for _, write in found),
    )


def _changed(write: Write, held: Mapping[Place, Held] | None) -> tuple[int, ...]:
    """The tokens at which a write gives something else than it is given."""
    if held is None:
        return write.tokens
    if not write.operation.changes:
        return ()
    here = held.get(write.place)
    # A user's own function is called once a write, and no more.
    if here is None or write.when != "prefill" or isinstance(write.operation, Apply):
        return write.tokens
    states = here.states[[here.column[t] for t in write.tokens]]
    if write.site.head is not None:
        states = states[:, write.site.head]
    new = write.operation(states).to(states.dtype)
    differs = (new != states).flatten(1).any(1).tolist()
    return tuple(t for t, d in zip(write.tokens, differs, strict=True) if d)


# ------------------------------------------------------- which rows go together


@dataclass(frozen=True)
class SharedPrefix:
    """Rows that go through the model together, and how much of the prompt they need not run."""

    rows: tuple[int, ...]
    prefix: int


def groups(
    reaches: Mapping[int, Reach], width: int, n_layers: int, extra: int, *, joined: bool
) -> list[SharedPrefix]:
    """Rows of one prompt, by the first token that they change, at the least cost.

    A group runs from its own first token on. Many groups run few tokens twice; few groups make few
    passes. The best cut of the rows, in order of their first token, is found exactly.

    Args:
        reaches: of each row.
        width: tokens of the prompt.
        n_layers: number of blocks.
        extra: what a pass costs beyond its tokens, in tokens.
        joined: whether a row costs only the blocks from its own layer on.
    """
    order = sorted(reaches, key=lambda i: (reaches[i].token, i))
    starts = sorted({r.token for r in reaches.values()})
    starts = starts[:: 1 + len(starts) // 256]  # a finer cut of a long prompt saves nothing
    tokens = [reaches[i].token for i in order]
    bounds = [bisect_left(tokens, start) for start in starts] + [len(order)]
    blocks = [n_layers - max(0, reaches[i].layer) if joined else n_layers for i in order]
    total = [0]
    for n in blocks:
        total.append(total[-1] + n)
    best: list[tuple[int, int]] = [(0, 0)] * (len(starts) + 1)
    for first in reversed(range(len(starts))):
        columns = width - starts[first]
        best[first] = min(
            (
                extra * n_layers
                + columns * (n_layers * joined + total[bounds[end]] - total[bounds[first]])
                + best[end][0],
                end,
            )
            for end in range(first + 1, len(starts) + 1)
        )
    found, first = [], 0
    while first < len(starts):
        end = best[first][1]
        found.append(SharedPrefix(tuple(order[bounds[first] : bounds[end]]), starts[first]))
        first = end
    return found


def token_layers(
    found: Sequence[SharedPrefix],
    reaches: Mapping[int, Reach],
    width: int,
    n_layers: int,
    *,
    joined: bool,
) -> int:
    """Tokens that groups run through a block, summed over blocks."""
    return sum(
        (width - group.prefix)
        * (
            n_layers * joined
            + sum(n_layers - max(0, reaches[i].layer) if joined else n_layers for i in group.rows)
        )
        for group in found
    )


def pass_tokens(device: torch.device) -> int:
    """What a forward costs on this device beyond its tokens, in tokens."""
    return PASS_TOKENS.get(device.type, PASS_TOKENS["cuda"])
