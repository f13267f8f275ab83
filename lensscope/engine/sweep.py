"""A sweep: rows that are to be run, and which of them go together.

Rows of one prompt share what they have in common, where the model bears it and it takes less work;
the others go side by side, by length. Batches keep to a memory budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lensscope.engine.batch import PaddingSide, Row
from lensscope.engine.budget import check_budget, chunks, default_budget, result_bytes, row_bytes
from lensscope.engine.logits import KeptLogits
from lensscope.engine.planning import (
    Held,
    Plan,
    Reach,
    SharedPrefix,
    groups,
    pass_tokens,
    reach,
    token_layers,
)
from lensscope.engine.sampling import Sampling
from lensscope.engine.states import KeptStates
from lensscope.errors import PromptError
from lensscope.model.backend import Backend
from lensscope.values.site_kinds import Place


def distinct(rows: Sequence[Row]) -> dict[int, list[int]]:
    """Each row that is run, and the rows that it stands for: itself, and those that do the same."""
    first: dict[object, int] = {}
    found: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        found.setdefault(first.setdefault((row.prompt.ids, row.signature), i), []).append(i)
    return found


def by_input(
    rows: Sequence[Row], run: Iterable[int], *, share: bool
) -> tuple[list[Row], list[list[int]]]:
    """The rows that are run, by input: by prompt, and by embedding, where several write the same
    into it. What is so written counts as given in the rows that come back, and rows join above it.
    """
    rows = list(rows)
    together: dict[tuple[tuple[int, ...], tuple[object, ...]], list[int]] = {}
    for i in run:
        given: tuple[object, ...] = tuple(
            (w.tokens, w.when, w.operation.signature) for w in rows[i].input_writes
        )
        together.setdefault((rows[i].prompt.ids, given), []).append(i)
    found: dict[object, list[int]] = {}
    for (ids, given), numbers in together.items():
        shared = bool(given) and len(numbers) > 1 and share
        for i in numbers:
            if shared:
                rows[i] = rows[i].starting(len(given))
            found.setdefault((ids, given if shared else ()), []).append(i)
    return rows, list(found.values())


@dataclass(frozen=True, eq=False)
class Sweep:
    """Rows that are to be run, what is wanted of them, and how they go together.

    Attributes:
        backend: the model.
        rows: all of them.
        logits: takes the logits that are asked for.
        states: takes what is kept.
        plan: the savings in use.
        sampling: how texts go on, if they do.
        side: where shorter prompts are padded.
        memory_budget: bytes that it may take, if that is told.
        why_not_joined: says why rows cannot join at their layer in a model; without, they join
            whatever it costs, to try that out.
    """

    backend: Backend
    rows: Sequence[Row]
    logits: KeptLogits
    states: KeptStates
    plan: Plan
    sampling: Sampling | None
    side: PaddingSide
    memory_budget: int | None
    why_not_joined: Callable[[Backend], str] | None

    @property
    def new(self) -> int:
        """How many tokens are to come."""
        return self.sampling.max_new_tokens if self.sampling is not None else 0

    def check_context(self) -> None:
        """Refuse prompts that do not fit into the context with what is to come.

        Raises:
            PromptError: one of them.
        """
        longest, n_ctx = max(len(row.prompt) for row in self.rows), self.backend.n_ctx
        if n_ctx is not None and longest + max(0, self.new - 1) > n_ctx:
            raise PromptError(
                "Prompt and new tokens do not fit into the model's context.",
                got=f"{longest} tokens and {self.new} new ones",
                expected=f"at most {n_ctx} together",
                instead="a smaller max_new_tokens, or a shorter prompt",
            )

    # ---------------------------------------------------------------- together, or not

    def way(self, rows: Sequence[int]) -> tuple[bool, str]:
        """Whether rows of one prompt share what they have in common, and why they do not join at
        their layer, if so."""
        plan, width = self.plan, len(self.rows[rows[0]].prompt)
        if len(rows) == 1:
            return False, "one row of a prompt has nothing to share"
        if not (plan.prefix or plan.depth or plan.unchanged):
            return False, "it was switched off"
        if self.sampling is not None and not self.sampling.use_cache:
            return False, "the key-value cache is off"
        if self.new > 1 and (why := self.why_whole(width)):
            return False, why
        if self.why_not_joined is not None:
            reaches, _ = self.reaches(rows)
            found = self.prefixes(reaches, width, joined=plan.depth)
            n_layers = self.backend.n_layers
            shared = (width + self._extra * (1 + len(found))) * n_layers
            shared += token_layers(found, reaches, width, n_layers, joined=plan.depth)
            if shared > (len(rows) * width + self._extra) * n_layers:
                return False, "so few rows take less work that way"
        if not plan.depth:
            return True, "it was switched off"
        return True, "" if self.why_not_joined is None else self.why_not_joined(self.backend)

    def why_whole(self, width: int) -> str:
        """Why prompts of this length are run in one piece, also at each new token; empty if they
        need not be."""
        return self.backend.why_no_steps(width, max(0, self.new - 1))

    def shares(self, width: int) -> bool:
        """Whether rows of a prompt of this length share the keys and values of its first tokens."""
        return self.plan.prefix and not self.why_whole(width)

    def reaches(
        self, rows: Sequence[int], held: Mapping[Place, Held] | None = None
    ) -> tuple[dict[int, Reach], list[int]]:
        """Where each row of a prompt begins to differ from its unpatched run; and the rows that
        never do, which are taken to do so at its end."""
        n_layers, read = self.backend.n_layers, bool(self.states.sites)
        found = {i: reach(self.rows[i], n_layers, held, read=read) for i in rows}
        end = Reach(len(self.rows[rows[0]].prompt) - 1, n_layers)
        idle = [i for i, where in found.items() if where is None]
        return {i: where or end for i, where in found.items()}, idle

    def prefixes(
        self, reaches: Mapping[int, Reach], width: int, *, joined: bool
    ) -> list[SharedPrefix]:
        """Rows of a prompt of so many tokens by the prefix that they share."""
        if not self.shares(width):
            return [SharedPrefix(tuple(reaches), 0)]
        return groups(reaches, width, self.backend.n_layers, self._extra, joined=joined)

    @property
    def _extra(self) -> int:
        """What a pass costs beyond its tokens, with the steps of decoding that it brings."""
        return pass_tokens(self.backend.device) * max(1, self.new)

    def side_by_side(self, rows: Sequence[int]) -> list[list[int]]:
        """Rows that may share a batch, by length, so that they need little padding: none where it
        changes something, and where lengths are told apart, only what is alike at each step."""
        lengths = {i: len(self.rows[i].prompt) for i in rows}
        if len(set(lengths.values())) < 2:
            return [list(rows)] if rows else []
        unpadded = self.backend.why_not_padded
        found: dict[tuple[int, int], list[int]] = {}
        for i in sorted(rows, key=lambda i: (lengths[i], i)):
            first, last = (self.backend.length_class(lengths[i] + n) for n in (0, self.new))
            apart = bool(unpadded) or first != last
            found.setdefault((first, lengths[i] if apart else -1), []).append(i)
        return list(found.values())

    # ---------------------------------------------------------------- memory

    @property
    def _results_needed(self) -> int:
        """The bytes that the results of all rows take."""
        reduced = self.logits.reduces and self.plan.outputs
        logits = (0 if reduced else self.logits.width) + bool(self.new)
        return result_bytes(self.backend, self.states, len(self.rows) * logits)

    def _needed(self, i: int, prefix: int) -> int:
        """The bytes that a row takes."""
        wanted, width = self.logits, len(self.rows[i].prompt)
        asked = len(wanted.asked[i]) + bool(self.new) if self.plan.outputs else width - prefix
        logits = asked * (3 if wanted.reduces else 1)
        return row_bytes(self.backend, width, width - prefix, self.new, logits)

    def check_budget(self, ways: Sequence[tuple[Sequence[int], bool]]) -> None:
        """Refuse a budget that the results and a single row exceed, before anything is run.

        Raises:
            BudgetError: it is one.
        """
        if self.memory_budget is None:
            return
        most = 0
        for rows, together in ways:
            first = min(r.token for r in self.reaches(rows)[0].values())
            shares = together and self.shares(len(self.rows[rows[0]].prompt))
            prefix = first if shares else 0
            most = max(most, *(self._needed(i, prefix) for i in rows))
        check_budget(self.memory_budget, self._results_needed, most)

    def chunks(self, rows: Sequence[int], prefix: int) -> Iterator[list[int]]:
        """Batches that fit into memory."""
        if not self.plan.chunks:
            return iter([list(rows)] if rows else [])
        if self.memory_budget is None:
            room = default_budget(self.backend.device)
        else:
            room = self.memory_budget - self._results_needed
        return chunks(rows, lambda i: self._needed(i, prefix), room)
