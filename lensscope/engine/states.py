"""What sites held, gathered over all batches of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lensscope.engine.batch import Batch
from lensscope.model.backend import Backend
from lensscope.values.entries import Entry, hold
from lensscope.values.positions import ALL, resolve
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.site_kinds import KINDS, Place
from lensscope.values.sites import Site


class KeptStates:
    """Gathers what sites held, over all batches, into one tensor each."""

    def __init__(
        self,
        backend: Backend,
        sites: Sequence[Site],
        prompts: Sequence[TokenizedPrompt],
        *,
        detach: bool = True,
    ) -> None:
        self.detach = detach
        self.sites = {
            s: self._positions(s, prompts) for site in sites for s in backend.concrete(site)
        }
        self.prompts = prompts
        self.buffers: dict[Site, Tensor] = {}
        self.rows: list[int] = []
        self.place_of: list[int] = []
        self.read: set[Site] = set()

    @staticmethod
    def _positions(site: Site, prompts: Sequence[TokenizedPrompt]) -> tuple[tuple[int, ...], ...]:
        position = ALL if site.position is None else site.position
        return tuple(resolve(position, prompt, site.occurrence) for prompt in prompts)

    def begin(self, rows: Sequence[int], place_of: Sequence[int] | None = None) -> None:
        """The next forward runs these rows of the whole, at these rows of the batch; one that has
        not joined the batch yet is as its row 0."""
        self.rows = list(rows)
        self.place_of = list(range(len(self.rows)) if place_of is None else place_of)
        self.read = set()

    @property
    def beyond_first_attention(self) -> bool:
        """Whether a forward that ends at the last read has passed the first block's attention,
        which is where its keys and values are stored."""
        order = list(KINDS)
        after = order.index("head_out")
        return any(s.layer or order.index(s.kind) >= after for s in self.sites if s.kind != "embed")

    @property
    def done(self) -> bool:
        """Whether the forward under way has given all that is asked for."""
        return len(self.read) == len(self.sites)

    def take(self, place: Place, tensor: Tensor, batch: Batch) -> None:
        """Copy what is asked for out of the activations at a place, ``[row, position, …]``."""
        for site, positions in self.sites.items():
            if (site.kind, site.layer) != place:
                continue
            x = tensor
            if site.head is not None:
                x = x.select(2, site.head)
            out = self._buffer(site, x)
            alike: dict[Any, list[tuple[int, int]]] = {}
            for b, row in zip(self.place_of, self.rows, strict=True):
                b = b if b < x.shape[0] else 0
                layout = (positions[row], batch.pads[b], len(self.prompts[row]))
                alike.setdefault(layout, []).append((row, b))
            for (tokens, pad, length), pairs in alike.items():
                places = list(enumerate(pad + t - batch.start for t in tokens))
                here = [(slot, c) for slot, c in places if 0 <= c < x.shape[1]]
                if not here:
                    continue
                slots, columns = (_index(numbers) for numbers in zip(*here, strict=True))
                rows, at = (_index(numbers) for numbers in zip(*pairs, strict=True))
                source = x[at][:, columns]
                if isinstance(rows, list) and isinstance(slots, list):
                    rows = [[row] for row in rows]
                if site.kind == "pattern":
                    # Keys come after the padding; there are none beyond the newest token.
                    source = source[..., pad : pad + length]
                    n_keys = source.shape[-1]
                    out[rows, slots, ..., :n_keys] = source
                    out[rows, slots, ..., n_keys:length] = 0
                else:
                    out[rows, slots] = source
            self.read.add(site)

    def _buffer(self, site: Site, x: Tensor) -> Tensor:
        if site not in self.buffers:
            positions = self.sites[site]
            width = max(map(len, positions))
            shape = [len(self.prompts), width, *x.shape[2:]]
            if site.kind == "pattern":
                shape[-1] = max(map(len, self.prompts))
            ragged = len({len(p) for p in positions}) > 1 or (
                site.kind == "pattern" and len(set(map(len, self.prompts))) > 1
            )
            make = torch.full if ragged else torch.empty
            self.buffers[site] = make(
                tuple(shape), *([torch.nan] if ragged else []), dtype=x.dtype, device=x.device
            )
        return self.buffers[site]

    def entries(self) -> dict[Site, Entry]:
        """What was read, for a cache."""
        return {site: hold(self.buffers[site], self.sites[site]) for site in self.sites}


def _index(numbers: Sequence[int]) -> Any:
    """Numbers as an index, a slice where they are in a row or all the same (which broadcasts), so
    that reading copies nothing twice."""
    first, n = numbers[0], len(numbers)
    if len(set(numbers)) == 1:
        return slice(first, first + 1)
    return (
        slice(first, first + n) if list(numbers) == list(range(first, first + n)) else list(numbers)
    )
