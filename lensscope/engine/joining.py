"""Rows that join the batch at their layer.

Below the first block that a row changes, it is the unpatched run. So one pass goes up the blocks
with the unpatched row alone, and before each block the rows that first change there join it as
copies of that row: the batch grows on its way up, and one pass serves every layer. Mask and
positions are those of one row and broadcast; final norm and head are the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lensscope.engine.batch import Batch, Row, resolve_row
from lensscope.engine.outputs import Outputs
from lensscope.engine.planning import Plan
from lensscope.model.backend import Backend, Hook, KeyValues
from lensscope.model.tokens import tokenize
from lensscope.model.trials import Trial, once, trial_tokens, verdict
from lensscope.values.patches import Patch
from lensscope.values.sites import Site


class Joining:
    """One batch of rows of one prompt, on its way up.

    Attributes:
        batch: the unpatched row, and the rows that have joined it, in the order given.
        token_layers: tokens run through a block, summed over blocks, so far.
    """

    def __init__(self, backend: Backend, rows: Sequence[Row], layers: Sequence[int]) -> None:
        """Rows in the order in which they join: -1 at the embedding, else before that block."""
        self.backend = backend
        self.token_layers = 0
        self.batch = Batch([rows[0].unpatched], "left")
        self.batch.waiting = list(rows)
        self._joiners: dict[int, list[Row]] = {}
        for row, layer in zip(rows, layers, strict=True):
            self._joiners.setdefault(layer, []).append(row)

    def at_embedding(self, hooks: dict[Any, list[Hook]]) -> None:
        """Let the rows that write the embedding join there, before the hooks that write it."""
        if -1 in self._joiners:
            point = self.backend.hook_point(Site("embed"))
            hooks[point].insert(0, lambda embedded: self._grown(-1, embedded))

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """The batch before a block, or after the last one, with the rows that join it there."""
        hidden = self._grown(layer, hidden)
        if layer < self.backend.n_layers:
            self.token_layers += hidden.shape[0] * hidden.shape[1]
        return hidden

    def _grown(self, layer: int, hidden: Tensor) -> Tensor:
        group = self._joiners.pop(layer, [])
        if not group:
            return hidden
        size = len(self.batch.rows)
        self.batch.join(group)
        hidden = torch.cat([hidden, hidden[:1].expand(len(group), *hidden.shape[1:])])
        before = ("resid_post", layer - 1)
        patched = self.batch.patched(before, hidden, range(size, size + len(group)))
        return hidden if patched is None else patched

    def settle(self, key_values: KeyValues | None) -> None:
        """Go on without the unpatched row, every row with keys and values in every layer."""
        rows = range(1, len(self.batch.rows))
        if key_values is not None:
            key_values.settle(rows)
        self.batch.keep(rows)


def joins(backend: Backend) -> Trial:
    """Whether rows can join at their layer in this model.

    An architecture may build what depends on the size of the batch outside its blocks. So a joined
    pass is tried against a plain one.
    """
    limit = 5e-3 if backend.dtype == torch.float32 else 5e-2
    return once(
        backend, "joins", lambda: verdict("joining", lambda: _joined_and_plain(backend), limit)
    )


def why_not(backend: Backend) -> str:
    """Why rows cannot join at their layer in this model; empty if they can."""
    trial = joins(backend)
    return "" if trial.holds else f"its blocks do not take a batch that grows: {trial.seen}"


def _joined_and_plain(backend: Backend) -> tuple[Tensor, Tensor]:
    from lensscope.engine.execution import Execution

    # As many tokens as no number of rows here divides: what was made for one row cannot be taken
    # for that of several.
    prompt = tokenize(backend, trial_tokens(backend, 5)[0])[0]
    layer, last = backend.n_layers - 1, len(prompt) - 1
    middle = len(prompt) // 2
    patches: list[list[Patch]] = [
        [site.at(p).scale(0.5)]
        for site, p in [
            (Site("embed"), middle),
            (Site("resid_post", layer // 2), last),
            (Site("resid_pre", layer), middle),
        ]
    ]
    rows = [resolve_row(backend, prompt, p) for p in [*patches, []]]
    results = []
    for plan in (Plan(), Plan.none()):
        execution = Execution(backend, rows, [], "left", plan=plan, trusted=True)
        execution.run(Outputs([[last]] * len(rows)))
        results.append(execution.results["logits"].float())
    return results[0], results[1]
