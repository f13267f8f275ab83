"""Batches of rows on their way up the blocks, and on to new tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lensscope.engine.batch import Batch
from lensscope.engine.decoding import decode
from lensscope.engine.finite import check_finite
from lensscope.engine.hooks import check_reached, hooks_for
from lensscope.engine.joining import JoiningBatch
from lensscope.engine.logits import KeptLogits, Picks
from lensscope.engine.sweep import Sweep
from lensscope.engine.unpatched import Unpatched, run_unpatched
from lensscope.model.key_values import KeyValues

STRETCH = 256
"""Tokens of a long prompt that are read at a time."""


@dataclass(eq=False)
class BatchRunner:
    """Runs the batches of a sweep, and holds what comes of them.

    Attributes:
        sweep: what is to be run.
        stands_for: for each row that is run, the rows that it stands for.
        bar: a progress bar.
        on_token: told of each new token, with its row, as it is found.
        first: takes the logits that the first new token is chosen by.
        new: the new tokens of each row.
        batches: rows and prefix of each batch so far.
        token_layers: tokens run through a block, summed over blocks, so far.
        unembedded: positions unembedded so far.
    """

    sweep: Sweep
    stands_for: dict[int, list[int]]
    bar: Any
    on_token: Callable[[int, int], Any] | None = None
    first: KeptLogits = field(init=False)
    new: list[list[int]] = field(init=False)
    batches: list[tuple[int, int]] = field(init=False, default_factory=list)
    token_layers: int = 0
    unembedded: int = 0

    def __post_init__(self) -> None:
        rows = self.sweep.rows
        self.first = KeptLogits([[len(row.prompt) - 1] for row in rows])
        self.new = [[] for _ in rows]

    def unpatched(self, rows: Sequence[int], *, share: bool) -> Unpatched:
        """The run that rows of one prompt differ from; ``share`` keys and values with them."""
        sweep, backend = self.sweep, self.sweep.backend
        last = len(sweep.rows[rows[0]].prompt) - 1
        # A row always runs its own last token.
        asked = sorted({token for i in rows for token in sweep.logits.asked[i]} - {last})
        flat = [j for i in rows for j in self.stands_for[i]]
        sweep.states.begin(flat, [0] * len(flat))
        patched = [sweep.rows[i] for i in rows]
        compare = sweep.plan.unchanged
        known = run_unpatched(backend, patched, asked, sweep.states, compare=compare, share=share)
        self.token_layers += (last + 1) * backend.n_layers
        self.unembedded += len(asked)
        return known

    def merge(self, rows: Sequence[int]) -> None:
        """Let the first of some rows stand for the others too, which turn out to do the same."""
        for i in rows[1:]:
            self.stands_for[rows[0]] += self.stands_for.pop(i)

    def run(
        self,
        chunk: Sequence[int],
        known: Unpatched | None = None,
        prefix: int = 0,
        layers: Sequence[int] | None = None,
    ) -> None:
        """One batch of rows: up the blocks, and on to new tokens.

        Args:
            chunk: the rows.
            known: what their prompt gives without patches.
            prefix: how many of its tokens are not run again.
            layers: where rows join; without, they go side by side from the first block on.
        """
        sweep, backend = self.sweep, self.sweep.backend
        sampling, steps = sweep.sampling, sweep.new
        rows = [sweep.rows[i].after(prefix) for i in chunk]
        joining = None if layers is None else JoiningBatch(backend, rows, layers)
        batch = Batch(rows, sweep.side) if joining is None else joining.batch
        pads = batch.pads if joining is None else [0] * len(rows)
        places = [n + (joining is not None) for n in range(len(rows))]
        tokens, mask = batch.tokens(backend), batch.mask(backend)
        prefix, key_values = self._key_values(tokens, known, prefix)
        if key_values is None:
            pass
        elif joining is not None:
            key_values.grow(keep=steps > 1)
        elif prefix:
            key_values.repeat(len(rows))
        flat = [
            (j, place) for i, place in zip(chunk, places, strict=True) for j in self.stands_for[i]
        ]
        sweep.states.begin([j for j, _ in flat], [place for _, place in flat])
        batch.start = prefix
        where = list(zip(chunk, places, pads, strict=True))
        last = batch.width - 1 - prefix
        picks = Picks(where, sweep.logits.asked, prefix, last if steps else None)
        self.batches.append((len(chunk), prefix))
        shared = known.logits if known is not None else {}
        logits = None
        if picks.cells:
            cells = list(picks.cells)
            logits = self._forward(batch, tokens[:, prefix:], mask, key_values, cells, joining)
        elif sweep.states.sites:
            self._read_only(batch, tokens, mask, key_values, joining)
        self._put(sweep.logits, picks.rows, picks.asked_for(logits, shared))
        if logits is not None:  # after a metric, which says more of what it cannot take
            check_finite(backend, logits, rows)
        self._advance(len(flat))
        if not steps or sampling is None or logits is None:
            return
        self._put(self.first, picks.rows, picks.lasts(logits, copy=bool(sweep.logits.width)))
        ends = [picks.cells[place, last] for place in places]
        if joining is not None:
            joining.settle(key_values if steps > 1 else None)
            tokens = tokens.expand(len(rows), -1)
        new = decode(
            backend,
            batch,
            tokens,
            mask,
            key_values,
            logits[ends],
            sampling,
            merge=sweep.plan.unchanged,
            step_done=lambda found: self._step(chunk, found),
        )
        for i, ids in zip(chunk, new, strict=True):
            for j in self.stands_for[i]:
                self.new[j] = ids

    def _step(self, chunk: Sequence[int], found: Sequence[tuple[int, int]]) -> None:
        self._advance(len(found))
        if self.on_token is not None:
            for place, token in found:
                for row in self.stands_for[chunk[place]]:
                    self.on_token(row, token)

    def _advance(self, rows: int) -> None:
        if self.bar is not None:
            self.bar.update(rows)

    def _key_values(
        self, tokens: Tensor, known: Unpatched | None, prefix: int
    ) -> tuple[int, KeyValues | None]:
        """How many tokens are not run again, and their keys and values, in a cache of their own."""
        if prefix and known is not None and known.key_values is not None:
            return prefix, known.key_values.first(prefix)
        # The first new token comes from the prompt's own logits.
        sampling, backend = self.sweep.sampling, self.sweep.backend
        decodes = sampling is not None and sampling.use_cache and self.sweep.new > 1
        if not decodes or self.sweep.why_whole(tokens.shape[1]):
            return 0, None
        return 0, backend.new_key_values(len(tokens))

    def _put(self, kept: KeptLogits, rows: Sequence[int], logits: Tensor | None) -> None:
        """Hand over logits of rows, and of those that they stand for."""
        if logits is None:
            return
        kept.put(rows, logits)
        for i in rows:
            if len(self.stands_for[i]) > 1:
                kept.share(self.stands_for[i], i)

    def _read_only(
        self,
        batch: Batch,
        tokens: Tensor,
        mask: Tensor | None,
        key_values: KeyValues | None,
        joining: JoiningBatch | None,
    ) -> None:
        """Run as far up as the sites that are kept; a long prompt in stretches, which bounds the
        memory of attention's scores."""
        backend, states = self.sweep.backend, self.sweep.states
        whole = (
            batch.padded
            or joining is not None
            or any(row.all_writes for row in batch.rows)
            or any(site.kind == "pattern" for site in states.sites)
            or not states.beyond_first_attention
            or backend.has_own_hooks
            or batch.width <= STRETCH
            or bool(backend.why_no_steps(STRETCH, batch.width - STRETCH))
        )
        step = batch.width if whole else STRETCH
        if batch.width - batch.start > step and key_values is None:
            key_values = backend.new_key_values(len(tokens))
        for start in range(batch.start, batch.width, step):
            batch.start = start
            states.read = set()
            part = tokens[:, start : start + step]
            self._forward(batch, part, mask, key_values, [], joining)

    def _forward(
        self,
        batch: Batch,
        tokens: Tensor,
        mask: Tensor | None,
        key_values: KeyValues | None,
        picks: Sequence[tuple[int, int]],
        joining: JoiningBatch | None,
    ) -> Float[Tensor, "pick d_vocab"] | None:
        """One patched pass over the prompts, unembedded at these rows and columns."""
        backend, states = self.sweep.backend, self.sweep.states
        in_full = not self.sweep.plan.outputs
        at = [row for row, _ in picks], [column for _, column in picks]

        def pick(residual: Tensor) -> Tensor:
            found = residual if in_full else residual[at][:, None]
            self.unembedded += found.shape[0] * found.shape[1]
            return found

        hooks = hooks_for(backend, batch, states if states.sites else None, stop_early=not picks)
        if joining is not None:
            joining.at_embedding(hooks)
        with backend.attached(hooks):
            logits = backend.run(
                tokens,
                mask=mask,
                key_values=key_values,
                enter=None if joining is None else joining.enter,
                pick=pick if picks else None,
            )
        if joining is None:
            self.token_layers += tokens.numel() * backend.n_layers
        else:
            self.token_layers += joining.token_layers
        read = {(s.kind, s.layer) for s in states.sites}
        seen = {(s.kind, s.layer) for s in states.read}
        # A forward that ended at the last read did not come to what is written above it.
        check_reached((batch.written if picks else set()) | read, batch.reached | seen)
        if logits is None:
            return None
        return logits[at] if in_full else logits[:, 0]
