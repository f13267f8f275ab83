"""What a cache holds of a site: a tensor, in memory or in a file, and the tokens it is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lensscope.errors import CacheError
from lensscope.store.tensors import DamagedError, TensorFile


@dataclass(frozen=True, eq=False)
class Held:
    """A tensor in memory."""

    tensor: Tensor

    def __call__(self) -> Tensor:
        return self.tensor


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, read anew at each call.

    Raises:
        CacheError: the file is gone, is another one by now, or is damaged.
    """

    file: TensorFile
    name: str
    device: str | torch.device = "cpu"
    dtype: torch.dtype | None = None

    def __call__(self) -> Tensor:
        try:
            tensor = self.file.read(self.name)
        except DamagedError as error:
            raise CacheError(
                f"{self.file.path} is not the cache any more that was loaded.",
                got=str(error),
                expected="the file as it was when it was loaded",
                instead="ls.Cache.load(path) again for what is there now; cache.save under "
                "another name where both are wanted",
            ) from error
        return tensor.to(self.device, self.dtype)


@dataclass(frozen=True, eq=False)
class Entry:
    """One site's tensor: how to get it, and which tokens its position axis stands for.

    Attributes:
        read: gives the tensor, ``[prompt, position, …]``.
        positions: the token indices of each prompt along the position axis.
    """

    read: Callable[[], Tensor]
    positions: tuple[tuple[int, ...], ...]

    def copy(self) -> Tensor:
        """The tensor, for somebody who may write into it; one that gradients flow through is no
        copy, for they would not reach it."""
        tensor = self.read()
        held = isinstance(self.read, Held)
        return tensor.clone() if held and not tensor.requires_grad else tensor

    def to(self, device: str | torch.device | None, dtype: torch.dtype | None) -> Entry:
        """The same on another device or in another dtype."""
        read = self.read
        if isinstance(read, Stored):
            moved: Callable[[], Tensor] = replace(
                read, device=device or read.device, dtype=dtype or read.dtype
            )
        else:
            moved = Held(read().to(device=device, dtype=dtype))
        return Entry(moved, self.positions)


def hold(tensor: Tensor, positions: Sequence[tuple[int, ...]]) -> Entry:
    """An entry in memory."""
    return Entry(Held(tensor), tuple(positions))


def at_tokens(
    tensor: Tensor, stored: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]
) -> Tensor:
    """Along the position axis, the wanted tokens of each prompt; NaN where a prompt has fewer."""
    width = max(len(row) for row in wanted)
    rows = []
    for values, have, want in zip(tensor, stored, wanted, strict=True):
        index = {token: n for n, token in enumerate(have)}
        chosen = values[[index[token] for token in want]]
        if len(want) < width:
            missing = torch.full((width - len(want), *chosen.shape[1:]), torch.nan).to(chosen)
            chosen = torch.cat([chosen, missing])
        rows.append(chosen)
    return torch.stack(rows)
