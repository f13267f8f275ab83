"""How rows go through a model: what is to be run, in which batches.

An `Execution` plans what a sweep need not do (`lensscope.engine.planning`), and does the rest:

1. of rows that do the same, one is run;
2. the prompt is run once without patches. That shows which rows change nothing, and from which
   token and block on the others differ, and leaves the keys and values that they share;
3. rows that differ from about the same token on go up the blocks together, in batches under a
   memory budget, each joining at its block (`lensscope.engine.joining`);
4. each batch is unembedded where it is asked for (`lensscope.engine.outputs`), and goes on to new
   tokens (`lensscope.engine.decoding`); `lensscope.engine.passes` puts these together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lensscope.engine.batch import PaddingSide, Place, Row
from lensscope.engine.budget import check_budget, chunks, default_budget, result_bytes, row_bytes
from lensscope.engine.hooks import Reader
from lensscope.engine.joining import why_not
from lensscope.engine.outputs import Outputs
from lensscope.engine.passes import Passes
from lensscope.engine.planning import (
    Group,
    Held,
    Plan,
    PlanReport,
    Reach,
    groups,
    pass_tokens,
    reach,
    token_layers,
)
from lensscope.engine.runs import Generation
from lensscope.engine.sampling import Sampling
from lensscope.engine.unpatched import Unpatched, run_unpatched
from lensscope.errors import PromptError
from lensscope.model.backend import Backend
from lensscope.model.token_texts import labels_of, text_of
from lensscope.values.cache import Cache
from lensscope.values.sites import Site


@dataclass(eq=False)
class Execution:
    """Rows on their way through a model, and what they leave behind."""

    backend: Backend
    rows: list[Row]
    keep: list[Site]
    side: PaddingSide
    memory_budget: int | None = None
    plan: Plan = field(default_factory=Plan)
    grad: bool = False
    trusted: bool = False
    results: dict[str, Tensor] = field(init=False)
    report: PlanReport = field(init=False)

    def __post_init__(self) -> None:
        prompts = [row.prompt for row in self.rows]
        self.reader = Reader(self.backend, self.keep, prompts, detach=not self.grad)
        self.provenance = self.backend.provenance([p.ids for p in prompts])
        self._apart: dict[str, int] = {}
        self._whole: dict[int, str] = {}
        self._off = self.plan.off
        if self.backend.has_own_hooks and self.plan.prefix:
            # They may look at all tokens of a prompt, so it is run in one piece.
            self.plan = replace(self.plan, prefix=False)
            self._off += ("prefix (the model has hooks of its own)",)

    # ---------------------------------------------------------------- planning

    def run(self, outputs: Outputs, *, sampling: Sampling | None = None, bar: Any = None) -> None:
        """Run all rows.

        Args:
            outputs: takes the logits.
            sampling: how to go on writing, if at all.
            bar: a progress bar.
        """
        self.outputs, self.sampling = outputs, sampling
        self.new = sampling.max_new_tokens if sampling is not None else 0
        self._check_context()
        self.stands_for = self._distinct()
        by_input = self._by_input()
        self._passes = Passes(
            self.backend,
            self.rows,
            self.stands_for,
            self.reader,
            outputs,
            sampling,
            self.plan,
            self.side,
            bar,
        )
        ways = [(rows, *self._way(rows)) for rows in by_input]
        self._check_budget([(rows, together) for rows, together, _ in ways])
        alone: list[int] = []
        with torch.set_grad_enabled(self.grad):
            for rows, together, apart in ways:
                if apart:
                    self._apart[apart] = self._apart.get(apart, 0) + len(rows)
                if together:
                    self._run_together(rows, joined=not apart)
                else:
                    alone += rows
            for rows in self._side_by_side(alone):
                for chunk in self._chunks(rows, 0):
                    self._passes.run(chunk)
        self.results = outputs.finish()
        self.report = self._reported()

    def _distinct(self) -> dict[int, list[int]]:
        """Each row that is run, and the rows that it stands for: itself, and those that do the
        same."""
        if not self.plan.unchanged:
            return {i: [i] for i in range(len(self.rows))}
        first: dict[object, int] = {}
        found: dict[int, list[int]] = {}
        for i, row in enumerate(self.rows):
            found.setdefault(first.setdefault((row.prompt.ids, row.signature), i), []).append(i)
        return found

    def _by_input(self) -> list[list[int]]:
        """Rows of one input: of one prompt, and of one embedding, where several write the same into
        it. What is so written counts as given, and rows join above it."""
        by_input: dict[tuple[tuple[int, ...], tuple[object, ...]], list[int]] = {}
        for i in self.stands_for:
            row = self.rows[i]
            given: tuple[object, ...] = tuple(
                (w.tokens, w.when, w.operation.signature) for w in row.input_writes
            )
            by_input.setdefault((row.prompt.ids, given), []).append(i)
        found: dict[object, list[int]] = {}
        for (ids, given), rows in by_input.items():
            shared = bool(given) and len(rows) > 1 and self.plan.depth
            for i in rows:
                if shared:
                    self.rows[i] = self.rows[i].starting(len(given))
                found.setdefault((ids, given if shared else ()), []).append(i)
        return list(found.values())

    def _way(self, rows: Sequence[int]) -> tuple[bool, str]:
        """Whether rows of one prompt share what they have in common, and why they do not join at
        their layer, if so."""
        plan, width = self.plan, len(self.rows[rows[0]].prompt)
        if len(rows) == 1:
            return False, "one row of a prompt has nothing to share"
        if not (plan.prefix or plan.depth or plan.unchanged):
            return False, "it was switched off"
        if self.sampling is not None and not self.sampling.use_cache:
            return False, "the key-value cache is off"
        if self.new > 1 and (why := self._why_whole(width)):
            return False, why
        if not self.trusted:
            reaches = self._reaches(rows, None)
            found = self._groups(reaches, width, joined=plan.depth)
            n_layers = self.backend.n_layers
            shared = (width + self._extra * (1 + len(found))) * n_layers
            shared += token_layers(found, reaches, width, n_layers, joined=plan.depth)
            if shared > (len(rows) * width + self._extra) * n_layers:
                return False, "so few rows take less work that way"
        if not plan.depth:
            return True, "it was switched off"
        return True, "" if self.trusted else why_not(self.backend)

    def _why_whole(self, width: int) -> str:
        """Why prompts of this length are run in one piece, also at each new token; empty if they
        need not be."""
        if width not in self._whole:
            self._whole[width] = self.backend.why_no_steps(width, max(0, self.new - 1))
        return self._whole[width]

    def _shares(self, width: int) -> bool:
        """Whether rows of a prompt of this length share the keys and values of its first tokens."""
        return self.plan.prefix and not self._why_whole(width)

    def _side_by_side(self, rows: Sequence[int]) -> list[list[int]]:
        """Rows that may share a batch, by length, so that they need little padding: none where it
        changes something, and where lengths are told apart, only what is alike at each step."""
        lengths = {i: len(self.rows[i].prompt) for i in rows}
        if len(set(lengths.values())) < 2:
            return [list(rows)] if rows else []
        unpadded = self.backend.why_not_padded
        if unpadded:
            self._drop("padding", unpadded)
        found: dict[tuple[int, int], list[int]] = {}
        for i in sorted(rows, key=lambda i: (lengths[i], i)):
            first, last = (self.backend.length_class(lengths[i] + n) for n in (0, self.new))
            apart = bool(unpadded) or first != last
            found.setdefault((first, lengths[i] if apart else -1), []).append(i)
        return list(found.values())

    def _drop(self, saving: str, why: str) -> None:
        """Note a saving that the model does not bear."""
        self._off += tuple({f"{saving} ({why})"} - set(self._off))

    def _reaches(self, rows: Sequence[int], held: Mapping[Place, Held] | None) -> dict[int, Reach]:
        """Where each row begins to differ; one stands for all that never do."""
        n_layers = self.backend.n_layers
        last = len(self.rows[rows[0]].prompt) - 1
        found: dict[int, Reach] = {}
        idle: int | None = None
        for i in rows:
            where = reach(self.rows[i], n_layers, held, read=bool(self.keep))
            if where is None and held is not None and idle is not None:
                self.stands_for[idle] += self.stands_for.pop(i)
                continue
            if where is None:
                idle = i
            found[i] = where or Reach(last, n_layers)
        return found

    @property
    def _extra(self) -> int:
        """What a pass costs beyond its tokens, with the steps of decoding that it brings."""
        return pass_tokens(self.backend.device) * max(1, self.new)

    def _groups(self, reaches: Mapping[int, Reach], width: int, *, joined: bool) -> list[Group]:
        if not self._shares(width):
            return [Group(tuple(reaches), 0)]
        return groups(reaches, width, self.backend.n_layers, self._extra, joined=joined)

    def _needed(self, i: int, prefix: int) -> int:
        """The bytes that a row takes."""
        outputs, width = self.outputs, len(self.rows[i].prompt)
        asked = len(outputs.asked[i]) + bool(self.new) if self.plan.outputs else width - prefix
        logits = asked * (3 if outputs.reduces else 1)
        return row_bytes(self.backend, width, width - prefix, self.new, logits)

    @property
    def _results_needed(self) -> int:
        """The bytes that the results of all rows take."""
        reduced = self.outputs.reduces and self.plan.outputs
        logits = (0 if reduced else self.outputs.width) + bool(self.new)
        return result_bytes(self.backend, self.reader, len(self.rows) * logits)

    def _check_budget(self, ways: Sequence[tuple[Sequence[int], bool]]) -> None:
        """Refuse a budget that the results and a single row exceed, before anything is run."""
        if self.memory_budget is None:
            return
        most = 0
        for rows, together in ways:
            first = min(r.token for r in self._reaches(rows, None).values())
            shares = together and self._shares(len(self.rows[rows[0]].prompt))
            prefix = first if shares else 0
            most = max(most, *(self._needed(i, prefix) for i in rows))
        check_budget(self.memory_budget, self._results_needed, most)

    def _chunks(self, rows: Sequence[int], prefix: int) -> Iterator[list[int]]:
        """Batches that fit into memory."""
        if not self.plan.chunks:
            return iter([list(rows)] if rows else [])
        if self.memory_budget is None:
            room = default_budget(self.backend.device)
        else:
            room = self.memory_budget - self._results_needed
        return chunks(rows, lambda i: self._needed(i, prefix), room)

    def _check_context(self) -> None:
        longest, n_ctx = max(len(row.prompt) for row in self.rows), self.backend.n_ctx
        if n_ctx is not None and longest + max(0, self.new - 1) > n_ctx:
            raise PromptError(
                "Prompt and new tokens do not fit into the model's context.",
                got=f"{longest} tokens and {self.new} new ones",
                expected=f"at most {n_ctx} together",
                instead="a smaller max_new_tokens, or a shorter prompt",
            )

    def _reported(self) -> PlanReport:
        lengths, passes = [len(row.prompt) for row in self.rows], self._passes
        return PlanReport(
            rows=len(self.rows),
            run=len(self.stands_for),
            chunks=tuple(n for n, _ in passes.batches),
            prefixes=tuple(prefix for _, prefix in passes.batches),
            prompt_tokens=max(lengths),
            token_layers=passes.token_layers,
            plain_token_layers=sum(lengths) * self.backend.n_layers,
            unembedded=passes.unembedded,
            plain_unembedded=sum(lengths),
            apart="; ".join(self._apart),
            apart_rows=sum(self._apart.values()),
            off=self._off,
        )

    # ---------------------------------------------------------------- executing

    def _run_together(self, rows: Sequence[int], *, joined: bool) -> None:
        """Rows of one prompt, with what they share."""
        plan, width = self.plan, len(self.rows[rows[0]].prompt)
        shares = self._shares(width)
        if plan.prefix and not shares:
            self._drop("prefix", self._why_whole(width))
        known = self._unpatched(rows, share=shares) if shares or plan.unchanged else None
        held = known.held if known is not None and plan.unchanged else None
        reaches = self._reaches(rows, held)
        for group in self._groups(reaches, width, joined=joined):
            order = sorted(group.rows, key=lambda i: (reaches[i].layer if joined else 0, i))
            for chunk in self._chunks(order, group.prefix):
                layers = [reaches[i].layer for i in chunk] if joined else None
                self._passes.run(chunk, known, group.prefix, layers)

    def _unpatched(self, rows: Sequence[int], *, share: bool) -> Unpatched:
        """The run that rows of one prompt differ from."""
        last = len(self.rows[rows[0]].prompt) - 1
        # A row always runs its own last token.
        asked = sorted({token for i in rows for token in self.outputs.asked[i]} - {last})
        flat = [j for i in rows for j in self.stands_for[i]]
        self.reader.begin(flat, [0] * len(flat))
        patched = [self.rows[i] for i in rows]
        known = run_unpatched(
            self.backend, patched, asked, self.reader, compare=self.plan.unchanged, share=share
        )
        self._passes.token_layers += (last + 1) * self.backend.n_layers
        self._passes.unembedded += len(asked)
        return known

    # ---------------------------------------------------------------- results

    def cache(self) -> Cache:
        """The sites that were kept."""
        return Cache(self.reader.entries(), [row.prompt for row in self.rows], self.provenance)

    def generation(self, *, single: bool = False) -> Generation:
        """The new tokens of all rows."""
        new = self._passes.new
        return Generation(
            tuple(tuple(row) for row in new),
            tuple(
                text_of(self.backend, ids, row.prompt.ids)
                for ids, row in zip(new, self.rows, strict=True)
            ),
            tuple(labels_of(self.backend, row) for row in new),
            self._passes.first.finish()["logits"][:, 0],
            tuple(row.prompt for row in self.rows),
            self.provenance,
            single,
        )
