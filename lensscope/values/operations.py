"""What a patch does to the activations at its tokens, and the values it may do it with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.checks import called, listed, number, seen
from lensscope.errors import PatchError

Map: TypeAlias = Callable[[Tensor], Tensor]

_LARGE: Final = 1e3
"""Above this, what is scaled is looked at afterwards; below it, float16 alone could overflow."""


class Operation(ABC):
    """What a patch does to the activations at its tokens, ``[pos, …]`` to ``[pos, …]``."""

    @abstractmethod
    def __call__(self, x: Float[Tensor, "pos *axes"]) -> Float[Tensor, "pos *axes"]: ...

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The tensors it writes, for checks of width, dtype and device before the run."""
        return ()

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers it works with, for checks of their size."""
        return tuple(held for held in vars(self).values() if isinstance(held, float | int))

    @property
    def changes(self) -> bool:
        """Whether it can change anything."""
        return True

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for operations that do the same."""
        return (type(self), id(self))

    def widened(self, dtype: torch.dtype) -> Operation:
        """The same in a model's dtype, where that holds all that its values can be."""
        return self

    def only(self, positions: Sequence[int], ndim: int) -> Operation:
        """The same at some of its positions; ``ndim`` is that of what it acts on."""
        return self


@dataclass(frozen=True, eq=False)
class _Valued(Operation):
    value: Tensor

    @property
    def signature(self) -> tuple[object, ...]:
        raw = self.value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        rest = tuple(v for name, v in vars(self).items() if name != "value")
        return (type(self), self.value.shape, self.value.dtype, raw, *rest)

    @property
    def values(self) -> tuple[Tensor, ...]:
        return (self.value,)

    def widened(self, dtype: torch.dtype) -> Operation:
        own = self.value.dtype
        # what float16 can be is less than a state can: whoever takes it for whole casts it
        exact = own != torch.float16 and torch.promote_types(own, dtype) == dtype
        return replace(self, value=self.value.to(dtype)) if exact and own != dtype else self

    def only(self, positions: Sequence[int], ndim: int) -> Operation:
        each = self.value.ndim == ndim and len(self.value) > 1
        return replace(self, value=self.value[list(positions)]) if each else self


class Set(_Valued):
    """``x`` becomes the value."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.value.to(x.device).expand_as(x)


class Add(_Valued):
    """``x + value``."""

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.value.to(x.device)


@dataclass(frozen=True, eq=False)
class AddScaled(_Valued):
    """``x + factor * ‖x‖ * value``, with a value of length 1."""

    factor: float

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.value.to(x.device) * (self.factor * x.norm(dim=-1, keepdim=True))


@dataclass(frozen=True, eq=False)
class Lerp(_Valued):
    """``x + weight * (value - x)``."""

    weight: float

    def __call__(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.value.to(x.device).expand_as(x), self.weight)


@dataclass(frozen=True, eq=False)
class Resize(_Valued):
    """From ``x`` (``weight=0``) to the value at ``times`` the length of ``x`` (``weight=1``)."""

    weight: float
    times: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        value = self.value.to(x.device)
        length = value.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        own = self.times * x.norm(dim=-1, keepdim=True)
        return torch.lerp(x, value * (own / length), self.weight)


class ProjectOut(_Valued):
    """``value`` is an orthonormal basis, ``[k, width]``."""

    @classmethod
    def of(cls, basis: Any) -> ProjectOut:
        """What removes the span of ``[width]`` or ``[k, width]``, of whatever lengths and angles.

        Raises:
            PatchError: it spans nothing.
        """
        rows = as_value(basis)
        rows = rows[None] if rows.ndim == 1 else rows
        spanned = rows[:0]
        if rows.numel():
            _, singular, directions = torch.linalg.svd(rows.double(), full_matrices=False)
            rounding = max(rows.shape) * torch.finfo(rows.dtype).eps
            spanned = directions[singular > singular.max() * rounding]
        if not len(spanned):
            raise PatchError(
                "The basis spans nothing.",
                got="rows of zeros" if rows.numel() else f"shape {tuple(rows.shape)}",
                expected="at least one row that is not zero",
                instead="site.project_out(direction)",
            )
        return cls(spanned.to(rows.dtype))

    def only(self, positions: Sequence[int], ndim: int) -> Operation:
        return self

    def __call__(self, x: Tensor) -> Tensor:
        basis = self.value.to(x.device)
        return x - (x @ basis.mT) @ basis


@dataclass(frozen=True)
class Scale(Operation):
    """``factor * x``."""

    factor: float

    @property
    def changes(self) -> bool:
        return self.factor != 1

    @property
    def signature(self) -> tuple[object, ...]:
        return (type(self), self.factor)

    def __call__(self, x: Tensor) -> Tensor:
        y = x * self.factor
        if abs(self.factor) > _LARGE:
            check_finite(y, "The scaled activations are too large for their dtype.")
        return y


class Zero(Operation):
    """``x`` becomes zero."""

    @property
    def signature(self) -> tuple[object, ...]:
        return (type(self),)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True, eq=False)
class Apply(Operation):
    """``x`` becomes ``function(x)``."""

    function: Map

    @property
    def signature(self) -> tuple[object, ...]:
        return (type(self), object())  # it may draw: no two calls are the same

    def __call__(self, x: Tensor) -> Tensor:
        y = called(self.function, "The mapped function", PatchError, x.clone())
        if not isinstance(y, Tensor) or y.shape != x.shape:
            raise PatchError(
                "The mapped function returned something else than it was given.",
                got=tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__,
                expected=f"a tensor of shape {tuple(x.shape)}",
                instead="site.map(lambda x: 2 * x)",
            )
        check_finite(y, "The mapped function returned NaN or infinity.")
        return y.to(x.dtype)


def as_value(value: Any) -> Tensor:
    """A private copy of a value as a tensor of floats, checked to be finite."""
    if isinstance(value, Tensor):
        tensor = value.clone()
    else:
        try:
            held = listed(value, "A value", PatchError)
            tensor = torch.as_tensor(held, dtype=torch.get_default_dtype()).clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise PatchError(
                "The value of a patch is not a tensor.",
                got=type(value).__name__,
                expected="a tensor of floats, […] or [pos, …]",
                instead="site.set(cache[site][0])",
            ) from error
    if not tensor.is_floating_point():
        raise PatchError(
            "The value of a patch is not of a floating-point dtype.",
            got=tensor.dtype,
            expected="the model's dtype, such as torch.float32",
            instead="value.to(torch.float32)",
        )
    if tensor.ndim == 0:
        raise PatchError(
            "The value of a patch is a single number.",
            got=float(tensor),
            expected="a vector as wide as the site",
            instead="site.scale(number) or site.map(lambda x: …)",
        )
    check_finite(tensor, "The value of a patch holds NaN or infinity.")
    return tensor


def as_number(value: Any) -> float:
    """A finite number."""
    try:
        return number(value, "factor", -math.inf, 0.5, PatchError)
    except PatchError:
        raise PatchError(
            "A factor is NaN or infinite, or no number.",
            got=seen(value),
            expected="a finite number",
            instead="site.scale(0.5)",
        ) from None


def check_finite(tensor: Tensor, what: str) -> None:
    """Refuse NaN and infinity."""
    if tensor.device.type == "meta":  # holds no numbers
        return
    bad = ~torch.isfinite(tensor)
    if bool(bad.any()):
        raise PatchError(
            what,
            got=f"{int(bad.sum())} of {tensor.numel()} entries not finite",
            expected="finite numbers only",
            instead="look where they come from; torch.nan_to_num(value) replaces them",
        )


def as_map(function: Any) -> Map:
    """A function from a tensor to a tensor."""
    if not callable(function):
        raise PatchError(
            "This is not a transform.",
            got=repr(function),
            expected="a function from a tensor to a tensor",
            instead="ls.affine(A, b), or lambda x: 2 * x",
        )
    return function
