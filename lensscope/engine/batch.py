"""One batch: its rows, how they are laid out, and how they are patched.

A row is a prompt with its patches, resolved to tokens of the unpadded prompt. A `Batch` knows at
which absolute column each of those tokens lies and which columns the forward under way covers, so
that a patch acts on the token it names whatever the padding, the shared prefix or the decoding
step: it is found by its absolute position, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from lensscope.errors import PatchError
from lensscope.model.backend import Backend
from lensscope.model.trials import check_writable
from lensscope.values.operations import Operation
from lensscope.values.positions import ALL, resolve
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.site_kinds import Place
from lensscope.values.sites import Patch, Site, When

PaddingSide: TypeAlias = Literal["left", "right"]


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

    def after(self, prefix: int) -> Write:
        """The same at those of its tokens that come after a prefix."""
        kept = [n for n, token in enumerate(self.tokens) if token >= prefix]
        if len(kept) == len(self.tokens):
            return self
        tokens = tuple(self.tokens[n] for n in kept)
        operation = self.operation.only(kept, len(self.site.axes) - 1)
        return replace(self, tokens=tokens, operation=operation)


@dataclass(frozen=True, eq=False)
class Row:
    """One prompt with what is written into it.

    Attributes:
        prompt: its tokens.
        writes: what it does not share.
        given: what is written into the embedding before, of it and all rows that it goes with: to
            them it is as good as another prompt.
    """

    prompt: TokenizedPrompt
    writes: tuple[Write, ...] = ()
    given: tuple[Write, ...] = ()

    @property
    def all_writes(self) -> tuple[Write, ...]:
        """Everything that is written, in order."""
        return (*self.given, *self.writes)

    @property
    def input_writes(self) -> tuple[Write, ...]:
        """What is written into the embedding before anything else."""
        first = 0
        writes = self.all_writes
        while first < len(writes) and writes[first].site.kind == "embed":
            first += 1
        return writes[:first]

    @property
    def unpatched(self) -> Row:
        """The run that it is compared with."""
        return Row(self.prompt, (), self.given)

    def starting(self, given: int) -> Row:
        """The same, with so many of its first writes as given."""
        return Row(self.prompt, self.all_writes[given:], self.all_writes[:given])

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for rows that do the same; empty for one that does nothing."""
        return tuple(
            (w.site, w.tokens, w.when, w.operation.signature)
            for w in self.all_writes
            if w.operation.changes
        )

    def after(self, prefix: int) -> Row:
        """The same without what is written in a prefix."""
        kept = (
            tuple(
                w
                for w in (write.after(prefix) for write in writes)
                if w.tokens or w.when == "every_step"
            )
            for writes in (self.writes, self.given)
        )
        return Row(self.prompt, *kept)


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
        operation = patch.operation.widened(backend.dtype)
        if operation is not patch.operation:
            patch = replace(patch, operation=operation)
        for site in backend.concrete(patch.site):
            position = ALL if site.position is None else site.position
            tokens = resolve(position, prompt, site.occurrence)
            _check_values(backend, patch, site, len(tokens), len(prompt))
            writes.append(Write(site, tokens, patch.operation, patch.when))
    check_writable(backend, {w.place for w in writes})
    return Row(prompt, tuple(writes))


def _check_values(backend: Backend, patch: Patch, site: Site, n: int, n_keys: int) -> None:
    shape = backend.shape(site, n, n_keys)
    if site.kind == "pattern" and patch.when == "every_step" and patch.operation.values:
        raise PatchError(
            f"{patch!r} has a number for each key of the prompt, and new tokens bring new keys.",
            got='a value with when="every_step" at a pattern',
            expected='zero, scale or map, or when="prefill"',
            instead=f'{site!r}.zero(when="every_step")',
        )
    if patch.when == "every_step":
        shape = (1, *shape[1:])
    most = torch.finfo(backend.dtype).max
    wrong = [number for number in patch.operation.numbers if abs(number) > most]
    if wrong:
        raise PatchError(
            f"The number of {patch!r} is infinite in the model's dtype.",
            got=wrong[0],
            expected=f"at most {most:g} in {backend.dtype}",
            instead=f"{site!r}.scale(2.0)",
        )
    for value in patch.operation.values:
        fits = value.shape[-1] == shape[-1]
        try:
            fits = fits and value.expand(shape).shape == torch.Size(shape)
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
                instead="a value of the site's width; ls.affine(A, b) maps from another",
            )
        if value.dtype != backend.dtype:
            raise PatchError(
                f"The value of {patch!r} has another dtype than the model.",
                got=value.dtype,
                expected=backend.dtype,
                instead=f"value.to({backend.dtype})",
            )
        if value.device not in backend.devices and backend.device.type != "meta":
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
        waiting: rows that will join, for their hooks.
        start: absolute column of the first token of the forward under way.
        width: columns of the padded prompts; generated tokens come after.
    """

    rows: list[Row]
    side: PaddingSide = "right"
    start: int = 0
    waiting: list[Row] = field(default_factory=list)
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
        return self._placed(backend, [row.prompt.ids for row in self.rows])

    def mask(self, backend: Backend) -> Int[Tensor, "row pos"] | None:
        """1 where a token is real; ``None`` where all are."""
        ones = [(1,) * len(row.prompt) for row in self.rows]
        return self._placed(backend, ones) if self.padded else None

    def _placed(self, backend: Backend, numbers: Sequence[Sequence[int]]) -> Tensor:
        out = torch.zeros(len(self.rows), self.width, dtype=torch.long)
        for b, (own, pad) in enumerate(zip(numbers, self.pads, strict=True)):
            out[b, pad : pad + len(own)] = torch.tensor(own)
        return out.to(backend.device)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        self.rows = [self.rows[b] for b in rows]
        self.pads = [self.pads[b] for b in rows]

    def join(self, rows: Sequence[Row]) -> None:
        """Take in rows of the same prompt."""
        self.rows = [*self.rows, *rows]
        self.pads = [*self.pads, *(0 for _ in rows)]

    @property
    def written(self) -> set[Place]:
        """The places that any row writes, now or once it has joined."""
        return {w.place for row in (*self.rows, *self.waiting) for w in row.all_writes}

    def columns(self, b: int, tokens: Iterable[int], size: int) -> list[int]:
        """Where tokens of row ``b`` lie in a forward of ``size`` columns, if they do."""
        local = (self.pads[b] + token - self.start for token in tokens)
        return [column for column in local if 0 <= column < size]

    def generated(self, size: int) -> list[int]:
        """The columns of a forward that hold generated tokens."""
        return list(range(max(0, self.width - self.start), size))

    # ---------------------------------------------------------------- writing

    def patched(
        self, place: Place, tensor: Tensor, rows: Iterable[int] | None = None
    ) -> Tensor | None:
        """A copy of the activations at a place, ``[row, position, …]``, with every row's patches
        done, in order.

        ``None`` if no patch of that place falls into the forward under way.
        """
        self.reached.add(place)
        x = tensor
        out: Tensor | None = None
        for b in range(len(self.rows)) if rows is None else rows:
            for write in self.rows[b].all_writes:
                if write.place != place:
                    continue
                spots = [self.columns(b, write.tokens, x.shape[1])]
                if write.when == "every_step":
                    spots.append(self.generated(x.shape[1]))
                for columns in filter(None, spots):
                    out = x.clone() if out is None else out
                    self._write(out, b, columns, write)
        return out

    def _write(self, out: Tensor, b: int, columns: list[int], write: Write) -> None:
        index: tuple[Any, ...] = (b, columns)
        if write.site.head is not None:
            # head is the axis after position in every kind that has heads
            index = (b, columns, write.site.head)
        piece = out[index]
        if "key" in write.site.axes:
            # A value has a number for each key of the prompt; what has none acts on all there are.
            # Of a sliding window's cache, keys that are out of sight are gone.
            gone = self.start + out.shape[1] - out.shape[-1]
            first = max(0, self.pads[b] - gone)
            last = self.pads[b] + len(self.rows[b].prompt) - gone
            keys = slice(first, last if write.operation.values else None)
            piece = piece.clone()
            piece[..., keys] = write.operation(piece[..., keys])
            out[index] = piece
        else:
            out[index] = write.operation(piece).to(piece.dtype)
