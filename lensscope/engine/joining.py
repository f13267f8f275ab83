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

from lensscope.engine.batch import Batch, Row
from lensscope.model.backend import Backend
from lensscope.model.key_values import KeyValues
from lensscope.model.passing import Hook
from lensscope.values.sites import Site


class JoiningBatch:
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
