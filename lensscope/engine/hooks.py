"""The hooks that patch and read a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from lensscope.engine.batch import Batch, Place
from lensscope.errors import SiteError
from lensscope.model.backend import Backend, Hook, StopForward
from lensscope.values.cache import Entry, hold
from lensscope.values.positions import ALL, resolve
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import KINDS, Site


class Reader:
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


def hooks_for(
    backend: Backend, batch: Batch, reader: Reader | None = None, *, stop_early: bool = False
) -> dict[Any, list[Hook]]:
    """The hooks that patch and read a batch; at each place, writes come before reads.

    Args:
        backend: the model.
        batch: the rows; the hooks follow it as it shrinks and moves on.
        reader: what is to be read.
        stop_early: end the forward once everything is read.
    """
    hooks: dict[Any, list[Hook]] = {}
    written = batch.written
    read = {(s.kind, s.layer) for s in reader.sites} if reader is not None else set()
    order = list(KINDS)

    def patch(place: Place) -> Hook:
        layout = backend.layout(place)

        def hook(tensor: Tensor) -> Tensor | None:
            patched = batch.patched(place, layout.canonical(tensor))
            return None if patched is None else layout.original(patched)

        return hook

    def take(place: Place, reader: Reader) -> Hook:
        layout = backend.layout(place)

        def hook(tensor: Tensor) -> None:
            tensor = layout.canonical(tensor)
            reader.take(place, tensor.detach() if reader.detach else tensor, batch)
            if stop_early and reader.done:
                raise StopForward

        return hook

    for place in sorted(written | read, key=lambda p: (p[1] or 0, order.index(p[0]))):
        functions = hooks.setdefault(backend.hook_point(_site(place)), [])
        if place in written and (place[0] != "resid_mid" or backend.writes_resid_mid):
            functions.append(patch(place))
        if place in read and reader is not None:
            functions.append(take(place, reader))
    if not backend.writes_resid_mid:
        for place in sorted(p for p in written if p[0] == "resid_mid"):
            _write_resid_mid(backend, batch, place, hooks)
    return hooks


def _write_resid_mid(
    backend: Backend, batch: Batch, place: Place, hooks: dict[Any, list[Hook]]
) -> None:
    """Make a write at ``resid_mid`` reach the residual stream itself.

    On a bridge the hook point lies behind the branching, on the way to the MLP only. So the MLP's
    input is set to what was written, and what the block gives is made of that and the MLP's output.
    """
    held: dict[str, Tensor] = {}
    layer = place[1]

    def read_pre(resid_pre: Tensor) -> None:
        held["pre"] = resid_pre

    def write(attn_out: Tensor) -> None:
        mid = held.pop("pre") + attn_out
        new = batch.patched(place, mid)
        if new is not None:
            held["new"], held["changed"] = new, new != mid

    def feed_mlp(mlp_in: Tensor) -> Tensor | None:
        return torch.where(held["changed"], held["new"], mlp_in) if "new" in held else None

    def read_mlp(mlp_out: Tensor) -> None:
        held["mlp"] = mlp_out

    def give(resid_post: Tensor) -> Tensor | None:
        mlp_out = held.pop("mlp")
        if "new" not in held:
            return None
        return torch.where(held.pop("changed"), held.pop("new") + mlp_out, resid_post)

    def at(kind: str) -> list[Hook]:
        return hooks.setdefault(backend.hook_point(_site((kind, layer))), [])

    # After the writes of these places, and before those of what comes from it.
    at("resid_pre").append(read_pre)
    at("attn_out").append(write)
    at("mlp_out").append(read_mlp)
    at("resid_mid").insert(0, feed_mlp)
    at("resid_post").insert(0, give)


def check_reached(places: Iterable[Place], reached: set[Place]) -> None:
    """Refuse a write or read that never happened, such as of a pattern under fused attention.

    Raises:
        SiteError: the forward passed some hook points by.
    """
    missing = [repr(_site(place)) for place in places if place not in reached]
    if missing:
        raise SiteError(
            "The model ran without passing some of the sites.",
            got=", ".join(missing[:4]),
            expected="a forward through every hook point that is asked for",
            instead='attn_implementation="eager" for attention patterns',
        )


def _site(place: Place) -> Site:
    return Site(place[0], place[1])  # type: ignore[arg-type]
