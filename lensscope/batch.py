"""One batch: its rows, how they are laid out, and the hooks that patch and read them.

A row is a prompt with its patches, resolved to tokens of the unpadded prompt. A `Batch` knows at
which absolute column each of those tokens lies and which columns the forward under way covers, so
that a patch acts on the token it names whatever the padding, the shared prefix or the decoding
step: it is found by its absolute position, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from lensscope.backend import Backend, Hook, StopForward
from lensscope.cache import Entry, hold
from lensscope.errors import PatchError, SiteError
from lensscope.patches import Operation, Patch, When
from lensscope.positions import ALL, resolve
from lensscope.prompts import TokenizedPrompt
from lensscope.sites import KINDS, Site

PaddingSide: TypeAlias = Literal["left", "right"]
Place: TypeAlias = tuple[str, int | None]


@dataclass(frozen=True, eq=False)
class Write:
    """A patch, resolved on one prompt."""

    site: Site
    tokens: tuple[int, ...]
    operation: Operation
    when: When

    @property
    def place(self) -> Place:
        return (self.site.kind, self.site.layer)


@dataclass(frozen=True, eq=False)
class Row:
    """One prompt with what is written into it."""

    prompt: TokenizedPrompt
    writes: tuple[Write, ...] = ()

    @property
    def first_written(self) -> int:
        """The earliest token that is written; the prompt's length if none is."""
        return min((t for w in self.writes for t in w.tokens), default=len(self.prompt))


def resolve_row(backend: Backend, prompt: TokenizedPrompt, patches: Iterable[Patch]) -> Row:
    """The row of a prompt and its patches, everything checked before anything runs.

    Raises:
        SiteError, PositionError, PatchError: see there.
    """
    writes = []
    for patch in patches:
        if not isinstance(patch, Patch):
            raise PatchError(
                "This is not a patch.",
                got=repr(patch),
                expected="a Patch, such as site.set(value), or a Move",
                instead='ls.resid_post(12).at("Wales").set(value)',
            )
        for site in backend.concrete(patch.site):
            position = ALL if site.position is None else site.position
            tokens = resolve(position, prompt, site.occurrence)
            _check_values(backend, patch, site, len(tokens), len(prompt))
            writes.append(Write(site, tokens, patch.operation, patch.when))
    backend.check_additive({w.place for w in writes})
    return Row(prompt, tuple(writes))


def _check_values(backend: Backend, patch: Patch, site: Site, n: int, n_keys: int) -> None:
    shape = backend.shape(site, n, n_keys)
    if patch.when == "every_step":
        shape = (1, *shape[1:])
    for value in patch.operation.values:
        fits = value.shape[-1] == shape[-1]
        try:
            fits = fits and torch.broadcast_shapes(value.shape, shape) == torch.Size(shape)
        except RuntimeError:
            fits = False
        if patch.verb == "project_out":
            fits = value.shape[-1] == shape[-1]
        if not fits:
            axes = ", ".join(site.axes[2:])
            raise PatchError(
                f"The value of {patch!r} has the wrong shape.",
                got=tuple(value.shape),
                expected=f"[{axes}] = {shape[1:]} or [position, {axes}] = {shape}",
                instead="a value of the site's width; a transform such as ls.affine(A, b) maps widths",
            )
        if value.dtype != backend.dtype:
            raise PatchError(
                f"The value of {patch!r} has another dtype than the model.",
                got=value.dtype,
                expected=backend.dtype,
                instead=f"value.to({backend.dtype})",
            )
        if value.device != backend.device and backend.device.type != "meta":
            raise PatchError(
                f"The value of {patch!r} is on another device than the model.",
                got=value.device,
                expected=backend.device,
                instead=f'value.to("{backend.device}")',
            )


@dataclass(eq=False)
class Batch:
    """Rows that go through the model together.

    Attributes:
        rows: what is run; shrinks as rows finish.
        side: where shorter prompts are padded.
        start: absolute column of the first token of the forward under way.
        width: columns of the padded prompts; generated tokens come after.
    """

    rows: list[Row]
    side: PaddingSide = "right"
    start: int = 0
    width: int = field(init=False)
    pads: list[int] = field(init=False)
    reached: set[Place] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.width = max(len(row.prompt) for row in self.rows)
        self.pads = [
            self.width - len(row.prompt) if self.side == "left" else 0 for row in self.rows
        ]

    @property
    def padded(self) -> bool:
        return any(len(row.prompt) != self.width for row in self.rows)

    def tokens(self, backend: Backend) -> Int[Tensor, "row pos"]:
        """The padded prompts. What is padded with does not matter: it is masked."""
        out = torch.zeros(len(self.rows), self.width, dtype=torch.long)
        for b, (row, pad) in enumerate(zip(self.rows, self.pads, strict=True)):
            out[b, pad : pad + len(row.prompt)] = torch.tensor(row.prompt.ids)
        return out.to(backend.device)

    def mask(self, backend: Backend) -> Int[Tensor, "row pos"] | None:
        """1 where a token is real; ``None`` where all are."""
        if not self.padded:
            return None
        out = torch.zeros(len(self.rows), self.width, dtype=torch.long)
        for b, (row, pad) in enumerate(zip(self.rows, self.pads, strict=True)):
            out[b, pad : pad + len(row.prompt)] = 1
        return out.to(backend.device)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        self.rows = [self.rows[b] for b in rows]
        self.pads = [self.pads[b] for b in rows]

    def columns(self, b: int, tokens: Iterable[int], size: int) -> list[int]:
        """Where tokens of row ``b`` lie in a forward of ``size`` columns, if they do."""
        local = (self.pads[b] + token - self.start for token in tokens)
        return [column for column in local if 0 <= column < size]

    def generated(self, size: int) -> list[int]:
        """The columns of a forward that hold generated tokens."""
        return list(range(max(0, self.width - self.start), size))

    # ---------------------------------------------------------------- writing

    def patched(self, place: Place, tensor: Tensor) -> Tensor | None:
        """A copy of the activations at a place with every row's patches done, in order.

        ``None`` if no patch of that place falls into the forward under way.
        """
        self.reached.add(place)
        x = _canonical(place[0], tensor)
        out: Tensor | None = None
        for b, row in enumerate(self.rows):
            for write in row.writes:
                if write.place != place:
                    continue
                spots = [self.columns(b, write.tokens, x.shape[1])]
                if write.when == "every_step":
                    spots.append(self.generated(x.shape[1]))
                for columns in filter(None, spots):
                    out = x.clone() if out is None else out
                    self._write(out, b, columns, write)
        return None if out is None else _canonical(place[0], out)

    def _write(self, out: Tensor, b: int, columns: list[int], write: Write) -> None:
        index: tuple[Any, ...] = (b, columns)
        axis = KINDS[write.site.kind].head_axis
        if write.site.head is not None:
            # head is the axis after position in every kind that has heads
            index = (b, columns, write.site.head)
        piece = out[index]
        if "key" in write.site.axes and axis is not None:
            first = self.pads[b]
            keys = slice(first, first + len(self.rows[b].prompt)) if self.padded else slice(None)
            piece = piece.clone()
            piece[..., keys] = write.operation(piece[..., keys])
            out[index] = piece
        else:
            out[index] = write.operation(piece).to(piece.dtype)


def _canonical(kind: str, tensor: Tensor) -> Tensor:
    """``[row, position, …]``: attention patterns come as ``[row, head, position, key]``."""
    return tensor.transpose(1, 2) if kind == "pattern" else tensor


class Reader:
    """Gathers what sites held, over all batches, into one tensor each."""

    def __init__(self, backend: Backend, sites: Sequence[Site], prompts: Sequence[TokenizedPrompt]):
        self.sites = {
            s: self._positions(s, prompts) for site in sites for s in backend.concrete(site)
        }
        self.prompts = prompts
        self.buffers: dict[Site, Tensor] = {}
        self.rows: list[int] = []
        self.read: set[Site] = set()

    @staticmethod
    def _positions(site: Site, prompts: Sequence[TokenizedPrompt]) -> tuple[tuple[int, ...], ...]:
        position = ALL if site.position is None else site.position
        return tuple(resolve(position, prompt, site.occurrence) for prompt in prompts)

    def begin(self, rows: Sequence[int]) -> None:
        """The next forward runs these rows of the whole."""
        self.rows = list(rows)
        self.read = set()

    @property
    def done(self) -> bool:
        """Whether the forward under way has given all that is asked for."""
        return len(self.read) == len(self.sites)

    def take(self, place: Place, tensor: Tensor, batch: Batch) -> None:
        """Copy what is asked for out of the activations at a place."""
        for site, positions in self.sites.items():
            if (site.kind, site.layer) != place:
                continue
            x = _canonical(site.kind, tensor)
            if site.head is not None:
                x = x.select(2, site.head)
            out = self._buffer(site, x)
            for b, row in enumerate(self.rows):
                columns = batch.columns(b, positions[row], x.shape[1])
                n = len(columns)
                contiguous = n > 0 and columns == list(range(columns[0], columns[0] + n))
                source = x[b, columns[0] : columns[0] + n] if contiguous else x[b, columns]
                if site.kind == "pattern":
                    first, keys = batch.pads[b], len(self.prompts[row])
                    out[row, :n, ..., :keys] = source[..., first : first + keys]
                else:
                    out[row, :n] = source
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
    written = {write.place for row in batch.rows for write in row.writes}
    read = {(s.kind, s.layer) for s in reader.sites} if reader is not None else set()
    order = list(KINDS)

    def patch(place: Place) -> Hook:
        return lambda tensor: batch.patched(place, tensor)

    def take(place: Place, reader: Reader) -> Hook:
        def hook(tensor: Tensor) -> None:
            reader.take(place, tensor.detach(), batch)
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

    On a bridge the hook point lies behind the branching, on the way to the MLP only. So the
    change is added to the attention's output (which then carries it into the residual stream),
    and the MLP's input is set to exactly what was written.
    """
    held: dict[str, Tensor] = {}

    def remember(resid_pre: Tensor) -> None:
        held["pre"] = resid_pre

    def carry(attn_out: Tensor) -> Tensor | None:
        mid = held.pop("pre") + attn_out
        new = batch.patched(place, mid)
        if new is None:
            held.pop("new", None)
            return None
        held["new"], held["changed"] = new, new != mid
        return attn_out + (new - mid)

    def exact(mlp_in: Tensor) -> Tensor | None:
        if "new" not in held:
            return None
        return torch.where(held.pop("changed"), held.pop("new"), mlp_in)

    layer = place[1]
    hooks.setdefault(backend.hook_point(Site("resid_pre", layer)), []).append(remember)
    hooks.setdefault(backend.hook_point(Site("attn_out", layer)), []).append(carry)
    hooks[backend.hook_point(_site(place))].insert(0, exact)


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
