"""The fingerprint of a model's weights: a hash of their values, kept for as long as they stay."""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lensscope.model.structure import Structure, structure_of


def fingerprint(model: Any, structure: Structure | None = None) -> str:
    """A hash over names, shapes, sums and norms of all weights.

    Whether the last one still holds is asked at every call, of a sample of the values: vectors in
    full, and of each matrix entries on a line that winds through it, at least one of each row and
    one of each column. So an edit of a whole tensor, a row, a column or a head is seen, in whatever
    way it was made, through ``.data`` too. An edit of single weights is seen where PyTorch counts
    it, as it does all but those through ``.data``; of these, where it meets the sample, which holds
    one weight in some hundreds. What only changes places within a tensor, sums and norm as before,
    may keep the hash. Buffers are no weights, and do not count.

    Args:
        model: the model.
        structure: its structure, where that was just looked up.
    """
    structure, known = structure or structure_of(model), _KNOWN.get(model)
    state = [(p.data_ptr(), _version(p)) for _, p in structure.named]
    if known is None or known.structure is not structure or known.state != state:
        lines = _lines([p for _, p in structure.named])
        sample = _sample(lines)
    else:
        lines, sample = known.lines, _sample(known.lines)
        if _same(sample, known.sample):
            return known.hash
    found = weights_hash(structure.named)
    _KNOWN[model] = _Known(structure, state, lines, sample, found)
    return found


def weights_hash(named: Sequence[tuple[str, Tensor]]) -> str:
    """A hash over names, shapes, sums and norms of weights."""
    digest = hashlib.sha256()
    with torch.no_grad():
        numbers = [
            torch.stack(
                [
                    p.sum(dtype=torch.float64),
                    torch.linalg.vector_norm(p, dtype=torch.float64),
                    p.flatten()[:: max(1, p.numel() // 255)].sum(dtype=torch.float64),
                ]
            ).cpu()
            for _, p in named
        ]
    for (name, parameter), found in zip(named, numbers, strict=True):
        digest.update(f"{name}{tuple(parameter.shape)}{found.tolist()}".encode())
    return digest.hexdigest()[:16]


def _version(parameter: Tensor) -> int:
    """How often it was written, as far as PyTorch counts it."""
    return 0 if parameter.is_inference() else parameter._version


@dataclass(frozen=True, eq=False)
class _Known:
    """A hash, and what it is of."""

    structure: Structure
    state: object
    lines: list[list[Tensor]]
    sample: list[Tensor]
    hash: str


_KNOWN: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()


def _lines(weights: Sequence[Tensor]) -> list[list[Tensor]]:
    """Views on some entries of each tensor, by dtype and device."""
    found: dict[object, list[Tensor]] = {}
    for weight in weights:
        if weight.device.type != "meta":  # holds no numbers
            found.setdefault((weight.dtype, weight.device), []).extend(_line(weight.detach()))
    return list(found.values())


def _line(weight: Tensor) -> list[Tensor]:
    """Views on some entries: at least one of each row and of each column."""
    weight = weight.view(torch.uint8) if weight.element_size() == 1 else weight
    axes = sorted(range(weight.ndim), key=weight.stride, reverse=True)
    dense = weight.permute(axes)
    if weight.ndim > 1 and dense.is_contiguous():
        return [dense.view(-1)[:: _step(dense)]]
    if weight.ndim != 2 or not weight.numel():
        return [weight]
    tall = weight if weight.shape[0] > weight.shape[1] else weight.T
    width = tall.shape[1]  # diagonals, one below the other
    below = tall.unfold(0, width, width).diagonal(dim1=1, dim2=2)
    return [below, tall[-width:].diagonal()]


def _step(weight: Tensor) -> int:
    """The largest step, at most a row or a column long, that comes to every column in turn."""
    columns = max(1, weight.shape[-1])
    step = max(1, min(columns, weight.numel() // columns))
    while math.gcd(step, columns) > 1:
        step -= 1
    return step


def _sample(lines: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [torch.cat([view.flatten() for view in views]).view(torch.uint8) for views in lines]


def _same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Whether two samples are the same to the last bit, NaN too."""
    return len(a) == len(b) and all(map(torch.equal, a, b))
