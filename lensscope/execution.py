"""How rows go through a model: the only place in the package that runs one.

An `Execution`

1. cuts its rows (prompts with their patches) into chunks under a memory budget;
2. runs the tokens before the earliest write once and shares their keys and values;
3. runs the rest as rows of a batch, with the patches and reads of `lensscope.hooks`;
4. decodes; rows that are finished leave the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.backend import Backend, KeyValues, StopForward
from lensscope.batch import Batch, PaddingSide, Row
from lensscope.cache import Cache
from lensscope.errors import BudgetError, PromptError
from lensscope.hooks import Reader, check_reached, hooks_for
from lensscope.joining import Joining, joining_layer, why_not
from lensscope.prompts import TokenizedPrompt, labels_of, text_of
from lensscope.runs import Generation, Plan
from lensscope.sampling import Sampling
from lensscope.sites import Site

STRETCH = 256
"""Tokens of a long prompt that are read at a time."""


def default_budget(device: torch.device) -> int:
    """Bytes that a batch may take: a quarter of what is free, at most 2 GiB on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    import psutil

    return min(2 << 30, int(psutil.virtual_memory().available) // 4)


@dataclass(eq=False)
class Execution:
    """Rows on their way through a model, and what they leave behind."""

    backend: Backend
    rows: list[Row]
    keep: list[Site]
    side: PaddingSide
    memory_budget: int | None
    off: frozenset[str] = frozenset()
    probing: bool = False
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        prompts = [row.prompt for row in self.rows]
        self.reader = Reader(self.backend, self.keep, prompts)
        self.provenance = self.backend.provenance([p.ids for p in prompts])
        self._logits: list[Tensor | None] = [None] * len(self.rows)
        self._first: list[Tensor | None] = [None] * len(self.rows)
        self._new: list[list[int]] = [[] for _ in self.rows]
        self._shared: KeyValues | None = None

    def run(
        self,
        *,
        logits_at: Sequence[Sequence[int]] | None,
        sampling: Sampling | None = None,
        bar: Any = None,
    ) -> None:
        """Run all rows.

        Args:
            logits_at: the tokens of each row whose logits are kept; ``None`` for none.
            sampling: how to go on writing, if at all.
            bar: a progress bar.
        """
        new = sampling.max_new_tokens if sampling is not None else 0
        prompts = [row.prompt for row in self.rows]
        self._check_context(prompts, new)
        prefix = self._shared_prefix(logits_at, sampling)
        apart = self._why_not_joined(sampling)
        layers = [joining_layer(r, self.backend.n_layers, read=False) or 0 for r in self.rows]
        # By length, so that prompts of one batch need little padding.
        order = sorted(
            range(len(self.rows)), key=lambda i: (len(prompts[i]), 0 if apart else layers[i], i)
        )
        chunks = self._chunks(order, prefix, new, logits_at)
        longest = max(map(len, prompts))
        self.token_layers = 0
        with torch.no_grad():
            for chunk in chunks:
                if apart:
                    self._run_chunk(chunk, prefix, logits_at, sampling, bar)
                else:
                    self._run_joined(chunk, prefix, logits_at, sampling, bar)
        self.plan = Plan(
            len(self.rows),
            tuple(map(len, chunks)),
            prefix,
            longest,
            self.token_layers,
            sum(map(len, prompts)) * self.backend.n_layers,
            apart,
        )

    def _why_not_joined(self, sampling: Sampling | None) -> str:
        """Why the rows are run side by side from the first layer on; empty if they are not."""
        prompts = {row.prompt.ids for row in self.rows}
        reasons = (
            (len(self.rows) == 1, "there is one row"),
            (len(prompts) > 1, "the prompts differ"),
            ("depth" in self.off, "it was switched off"),
            (sampling is not None and not sampling.use_cache, "the key-value cache is off"),
            (
                any(w.site.layer is None for row in self.rows for w in row.writes),
                "the embedding is written",
            ),
        )
        for holds, reason in reasons:
            if holds:
                return reason
        return "" if self.probing else why_not(self.backend)

    def _check_context(self, prompts: Sequence[TokenizedPrompt], new: int) -> None:
        longest = max(map(len, prompts)) + max(0, new - 1)
        if self.backend.n_ctx is not None and longest > self.backend.n_ctx:
            raise PromptError(
                "Prompt and new tokens do not fit into the model's context.",
                got=f"{max(map(len, prompts))} tokens and {new} new ones",
                expected=f"at most {self.backend.n_ctx} together",
                instead="a smaller max_new_tokens, or a shorter prompt",
            )

    def _shared_prefix(
        self, logits_at: Sequence[Sequence[int]] | None, sampling: Sampling | None
    ) -> int:
        """How many tokens all rows have in common before anything is written or asked for."""
        same = all(row.prompt.ids == self.rows[0].prompt.ids for row in self.rows)
        uncached = sampling is not None and not sampling.use_cache
        if not same or uncached or self.keep or self.touches_patterns:
            return 0
        first = min(row.first_written for row in self.rows)
        asked = [t for tokens in logits_at or () for t in tokens]
        prefix = min([first, *asked, len(self.rows[0].prompt) - 1])
        return prefix if len(self.rows) > 1 else 0

    @property
    def touches_patterns(self) -> bool:
        """Whether a pattern is read or written. Its keys are only all there when a prompt is run in
        one piece: the key-value cache of a sliding window drops those out of sight."""
        kinds = {site.kind for site in self.keep}
        kinds |= {w.site.kind for row in self.rows for w in row.writes}
        return "pattern" in kinds

    def _chunks(
        self,
        order: Sequence[int],
        prefix: int,
        new: int,
        logits_at: Sequence[Sequence[int]] | None,
    ) -> list[list[int]]:
        """Batches under the memory budget, each sized by its own longest prompt.

        Raises:
            BudgetError: not even one row fits into the budget that was given.
        """
        device = self.backend.device
        budget = default_budget(device) if self.memory_budget is None else self.memory_budget
        chunks: list[list[int]] = []
        for row in order:
            needed = self._row_bytes(row, prefix, new, logits_at)
            if needed > budget and self.memory_budget is not None:
                raise BudgetError(
                    "The memory budget does not hold a single row.",
                    got=f"{budget:,} bytes",
                    expected=f"at least {needed:,} bytes",
                    instead=f"memory_budget={needed}",
                )
            # Rows come by length, so the newest is the longest, and the others are padded to it.
            if chunks and (len(chunks[-1]) + 1) * needed <= budget:
                chunks[-1].append(row)
            else:
                chunks.append([row])
        return chunks

    def _row_bytes(
        self, row: int, prefix: int, new: int, logits_at: Sequence[Sequence[int]] | None
    ) -> int:
        """An upper estimate of what a row of a batch takes."""
        b = self.backend
        width = len(self.rows[row].prompt)
        columns = width - prefix
        d_mlp = int(getattr(b.model.cfg, "d_mlp", None) or 4 * b.d_model)
        cached = 2 * b.n_layers * b.n_kv_heads * b.d_head * (width + new) if new or prefix else 0
        # A forward holds the residual, a norm, and either an MLP or the scores of one attention.
        working = columns * (8 * b.d_model + 4 * d_mlp + 4 * b.n_heads * width)
        logits = 3 * len(logits_at[row]) * b.d_vocab if logits_at else 0
        return (cached + working + logits) * b.dtype.itemsize

    # ---------------------------------------------------------------- executing

    def _run_chunk(
        self,
        chunk: list[int],
        prefix: int,
        logits_at: Sequence[Sequence[int]] | None,
        sampling: Sampling | None,
        bar: Any,
    ) -> None:
        batch = Batch([self.rows[i] for i in chunk], self.side)
        tokens, mask = batch.tokens(self.backend), batch.mask(self.backend)
        cached = sampling is not None and sampling.use_cache
        key_values = self._prefix(tokens, prefix).repeat(len(chunk)) if prefix else None
        if key_values is None and cached:
            key_values = self.backend.new_key_values(len(chunk))
        if logits_at is None and sampling is None:
            self._read_only(batch, tokens, mask, key_values, prefix, chunk)
            if bar is not None:
                bar.update(len(chunk))
            return
        batch.start = prefix
        wanted = [
            sorted({batch.pads[b] + t - prefix for t in logits_at[i]}) if logits_at else []
            for b, i in enumerate(chunk)
        ]
        columns = sorted({c for row in wanted for c in row})
        logits = self._forward(batch, tokens[:, prefix:], mask, key_values, columns, chunk)
        for b, i in enumerate(chunk):
            if wanted[b]:
                assert logits is not None
                every = wanted[b] == columns
                at = slice(None) if every else [columns.index(c) for c in wanted[b]]
                self._logits[i] = logits[b, at]
        if bar is not None:
            bar.update(len(chunk))
        if sampling is not None and sampling.max_new_tokens:
            assert logits is not None
            last = torch.stack([logits[b, columns.index(w[-1])] for b, w in enumerate(wanted)])
            self._decode(batch, chunk, last, tokens, mask, key_values, sampling, bar)

    def _run_joined(
        self,
        chunk: list[int],
        prefix: int,
        logits_at: Sequence[Sequence[int]] | None,
        sampling: Sampling | None,
        bar: Any,
    ) -> None:
        """One pass up the blocks that every row joins at its layer; see `lensscope.joining`."""
        backend = self.backend
        joining = Joining(backend, [self.rows[i] for i in chunk], read=bool(self.keep))
        batch, places = joining.batch, joining.place_of
        tokens = batch.tokens(backend)
        decodes = sampling is not None and sampling.max_new_tokens > 0
        key_values: KeyValues | None = None
        if prefix or decodes:
            shared = self._prefix(tokens, prefix) if prefix else backend.new_key_values(1)
            key_values = shared.growing(keep=decodes)
        batch.start = prefix
        wanted = [[t - prefix for t in logits_at[i]] if logits_at else [] for i in chunk]
        columns = sorted({c for row in wanted for c in row})
        with joining.growing():
            logits = self._forward(
                batch, tokens[:, prefix:], None, key_values, columns, chunk, places
            )
        self.token_layers += joining.token_layers
        for n, i in enumerate(chunk):
            if wanted[n]:
                assert logits is not None
                at = [columns.index(c) for c in wanted[n]]
                self._logits[i] = logits[places[n], at]
        if bar is not None:
            bar.update(len(chunk))
        if not decodes:
            return
        assert sampling is not None
        assert logits is not None
        assert key_values is not None
        # Rows that do the same have one place; it is decoded once.
        first = {place: n for n, place in reversed(list(enumerate(places)))}
        batch.rows, batch.pads, batch.waiting = [batch.rows[p] for p in first], [0] * len(first), []
        key_values.settle(list(first))
        last = torch.stack([logits[p, columns.index(wanted[n][-1])] for p, n in first.items()])
        decoded = [chunk[n] for n in first.values()]
        prompts = tokens.expand(len(first), -1)
        self._decode(batch, decoded, last, prompts, None, key_values, sampling, bar)
        for n, i in enumerate(chunk):
            twin = chunk[first[places[n]]]
            self._first[i], self._new[i] = self._first[twin], self._new[twin]

    def _read_only(
        self,
        batch: Batch,
        tokens: Int[Tensor, "row pos"],
        mask: Int[Tensor, "row pos"] | None,
        key_values: KeyValues | None,
        prefix: int,
        chunk: Sequence[int],
    ) -> None:
        """Run as far up as the sites that are kept; a long prompt in stretches, which bounds the
        memory of attention's scores."""
        whole = (
            batch.padded
            or self.touches_patterns
            or any(row.writes for row in batch.rows)
            or not self.reader.beyond_first_attention
        )
        step = batch.width if whole else STRETCH
        if batch.width - prefix > step and key_values is None:
            key_values = self.backend.new_key_values(len(chunk))
        for start in range(prefix, batch.width, step):
            batch.start = start
            part = tokens[:, start : start + step]
            self._forward(batch, part, mask, key_values, [], chunk)

    def _prefix(self, tokens: Int[Tensor, "row pos"], prefix: int) -> KeyValues:
        """Keys and values of the shared tokens, run once and handed to every chunk."""
        if self._shared is None:
            self._shared = self.backend.new_key_values(1)
            self.backend.forward(tokens[:1, :prefix], key_values=self._shared, logits_at=[0])
            self.token_layers += prefix * self.backend.n_layers
        return self._shared

    def _forward(
        self,
        batch: Batch,
        tokens: Int[Tensor, "row pos"],
        mask: Int[Tensor, "row all"] | None,
        key_values: KeyValues | None,
        columns: Sequence[int],
        chunk: Sequence[int],
        places: Sequence[int] | None = None,
    ) -> Float[Tensor, "grown asked d_vocab"] | None:
        """One patched pass over the prompts; ``None`` if it ended before the logits."""
        reader = self.reader if self.keep else None
        stop_early = not columns
        hooks = hooks_for(self.backend, batch, reader, stop_early=stop_early)
        self.reader.begin(chunk, places)
        if places is None:
            self.token_layers += tokens.numel() * self.backend.n_layers
        logits: Tensor | None = None
        with self.backend.attached(hooks), suppress(StopForward):
            logits = self.backend.forward(
                tokens, mask=mask, key_values=key_values, logits_at=columns or [0]
            )
        read = {(s.kind, s.layer) for s in self.reader.sites}
        seen = {(s.kind, s.layer) for s in self.reader.read}
        # A forward that ended at the last read did not come to what is written above it.
        written = batch.written if logits is not None else set()
        check_reached(written | read, batch.reached | seen)
        return logits

    def _decode(
        self,
        batch: Batch,
        chunk: Sequence[int],
        logits: Float[Tensor, "row d_vocab"],
        tokens: Int[Tensor, "row pos"],
        mask: Int[Tensor, "row pos"] | None,
        key_values: KeyValues | None,
        sampling: Sampling,
        bar: Any,
    ) -> None:
        """Write on, one token a step, until every row has ended."""
        eos = self.backend.eos_ids() if sampling.stop_at_eos else frozenset()
        active = list(chunk)
        for b, i in enumerate(active):
            self._first[i] = logits[b]
        generators = sampling.generators(chunk)
        again = key_values is None or any(
            w.when == "every_step" for row in batch.rows for w in row.writes
        )
        with self.backend.attached(hooks_for(self.backend, batch) if again else {}):
            for step in range(sampling.max_new_tokens):
                chosen = sampling.choose(logits, [generators[i] for i in active])
                for token, i in zip(chosen, active, strict=True):
                    self._new[i].append(token)
                if bar is not None:
                    bar.update(len(active))
                going = [b for b, token in enumerate(chosen) if token not in eos]
                if not going or step + 1 == sampling.max_new_tokens:
                    return
                if len(going) < len(active):
                    active = [active[b] for b in going]
                    chosen = [chosen[b] for b in going]
                    tokens = tokens[going]
                    mask = None if mask is None else mask[going]
                    batch.keep(going)
                    if key_values is not None:
                        key_values.select(going)
                new = torch.tensor(chosen, device=tokens.device)[:, None]
                tokens = torch.cat([tokens, new], dim=1)
                if mask is not None:
                    mask = torch.cat([mask, torch.ones_like(new)], dim=1)
                if key_values is not None:
                    batch.start = tokens.shape[1] - 1
                    fed, at = new, 0
                else:
                    fed, at = tokens, tokens.shape[1] - 1
                logits = self.backend.forward(
                    fed, mask=mask, key_values=key_values, logits_at=[at]
                )[:, 0]

    # ---------------------------------------------------------------- results

    def logits(self) -> Float[Tensor, "row position d_vocab"]:
        """What was asked for, as one tensor; NaN where a row has fewer positions."""
        rows = [row for row in self._logits if row is not None]
        width = max(len(row) for row in rows)
        if any(len(row) < width for row in rows):
            fill = torch.full((width, rows[0].shape[-1]), torch.nan).to(rows[0])
            rows = [torch.cat([row, fill[len(row) :]]) for row in rows]
        return torch.stack(rows)

    def cache(self) -> Cache:
        """The sites that were kept."""
        return Cache(self.reader.entries(), [row.prompt for row in self.rows], self.provenance)

    def generation(self, *, single: bool = False) -> Generation:
        """The new tokens of all rows."""
        first = [row for row in self._first if row is not None]
        return Generation(
            tuple(tuple(row) for row in self._new),
            tuple(text_of(self.backend, row) for row in self._new),
            tuple(labels_of(self.backend, row) for row in self._new),
            torch.stack(first),
            tuple(row.prompt for row in self.rows),
            self.provenance,
            single,
        )
