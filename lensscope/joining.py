"""Rows that join the batch at their layer.

Below the first layer that a row writes, it is the unpatched run. So one pass goes up the blocks
with the unpatched row alone, and at each layer the rows that first write there join it as copies of
that row: the batch grows on its way up, and one pass serves every layer. Embedding, mask and
positions are those of one row and broadcast; final norm and head are the model's own.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lensscope.backend import Backend
from lensscope.batch import Batch, Row
from lensscope.patches import Patch
from lensscope.sites import Site


def joining_layer(row: Row, n_layers: int, *, read: bool) -> int | None:
    """The block before which a row must have joined; ``None`` if it cannot wait at all.

    Args:
        row: the row.
        n_layers: number of blocks.
        read: whether activations are kept, so that a row must be there where it is written.
    """
    first: int | None = n_layers
    for write in row.writes:
        layer = write.site.layer
        if layer is None:
            return None
        if write.site.kind == "resid_post" and not read and layer + 1 < n_layers:
            layer += 1  # what a block gives can as well be written where the next one takes it
        first = min(first or 0, layer)
    return first


class Joining:
    """One batch of rows of one prompt, on its way up.

    Attributes:
        batch: the unpatched row, and the rows that have joined it.
        place_of: for each of the rows given, its row in the batch.
        token_layers: tokens run through a block, summed over blocks, so far.
    """

    def __init__(self, backend: Backend, rows: Sequence[Row], *, read: bool) -> None:
        self.backend = backend
        self.batch = Batch([Row(rows[0].prompt)], "left")
        self.token_layers = 0
        self.place_of = [0] * len(rows)
        self.joiners: dict[int, list[Row]] = {}
        layers = [joining_layer(row, backend.n_layers, read=read) for row in rows]
        order = sorted(range(len(rows)), key=lambda n: (layers[n] or 0, n))
        seen: dict[Any, int] = {(): 0}
        for n in order:
            key = rows[n].signature
            if key not in seen:
                seen[key] = 1 + sum(map(len, self.joiners.values()))
                self.joiners.setdefault(layers[n] or 0, []).append(rows[n])
            self.place_of[n] = seen[key]
        self.batch.waiting = [row for group in self.joiners.values() for row in group]

    @contextmanager
    def growing(self) -> Iterator[None]:
        """While this lasts, a forward of one row grows at each block."""
        handles = [
            self.backend.model.blocks[layer].register_forward_pre_hook(
                self._before(layer), with_kwargs=True
            )
            for layer in range(self.backend.n_layers)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, layer: int) -> Any:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]
            group = self.joiners.get(layer, [])
            if group:
                hidden = self._join(layer, hidden, group)
            self.token_layers += hidden.shape[0] * hidden.shape[1]
            if args:
                return (hidden, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": hidden}

        return hook

    def _join(self, layer: int, hidden: Tensor, group: list[Row]) -> Tensor:
        """The batch with copies of the unpatched row, and what they write before this block."""
        size = len(self.batch.rows)
        self.batch.join(group)
        hidden = torch.cat([hidden, hidden[:1].expand(len(group), *hidden.shape[1:])])
        before = ("resid_post", layer - 1)
        new = range(size, size + len(group))
        if any(w.place == before for row in group for w in row.writes):
            patched = self.batch.patched(before, hidden, new)
            hidden = hidden if patched is None else patched
        return hidden


_CAN_JOIN: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def why_not(backend: Backend) -> str:
    """Why rows cannot join at their layer in this model; empty if they can.

    An architecture may build what depends on the size of the batch outside its blocks. So it is
    tried out, once for each model: a joined pass against a plain one.
    """
    if backend.model not in _CAN_JOIN:
        with backend.alone():
            _CAN_JOIN[backend.model] = _try(backend)
    return _CAN_JOIN[backend.model]


def _try(backend: Backend) -> str:
    from lensscope.batch import resolve_row
    from lensscope.execution import Execution
    from lensscope.prompts import tokenize

    prompt = tokenize(backend, [37 * t % backend.d_vocab for t in range(3, 7)])[0]
    layer = backend.n_layers - 1
    sites = [Site("resid_post", layer // 2), Site("resid_pre", layer)]
    patches: list[list[Patch]] = [[site.at(p).scale(0.5)] for site in sites for p in (2, 3)]
    rows = [resolve_row(backend, prompt, p) for p in [*patches, []]]
    results = []
    for off in (frozenset({"depth"}), frozenset()):
        execution = Execution(backend, rows, [], "left", None, off=frozenset(off), probing=True)
        try:
            execution.run(logits_at=[[3]] * len(rows))
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as failure:
            return f"its blocks do not take a batch that grows ({type(failure).__name__})"
        results.append(execution.logits().float())
    plain, joined = results
    spread = float(plain.max() - plain.min())
    error = float((plain - joined).abs().max())
    # Rounding is below this by far, and a batch that is mixed up above.
    tolerance = 5e-3 if backend.dtype == torch.float32 else 5e-2
    return "" if error <= tolerance * spread else f"its logits would differ by {error:.2g}"
