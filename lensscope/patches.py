"""Patches: one write each, as values.

A `Patch` is a site with a position, an operation, and when it acts. It holds no result and
touches no model; the engine applies it. `Move` is ``read >> transform >> write``: a patch whose
value is still to be read from a run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import PatchError

if TYPE_CHECKING:
    from lensscope.cache import Cache
    from lensscope.sites import Site

When: TypeAlias = Literal["prefill", "every_step"]
Map: TypeAlias = Callable[[Tensor], Tensor]


class Operation(ABC):
    """What a patch does to the activations at its tokens, ``[pos, …]`` to ``[pos, …]``."""

    @abstractmethod
    def __call__(self, x: Float[Tensor, "pos *axes"]) -> Float[Tensor, "pos *axes"]: ...

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The tensors it writes, for checks of width, dtype and device before the run."""
        return ()


@dataclass(frozen=True, eq=False)
class _Valued(Operation):
    value: Tensor

    @property
    def values(self) -> tuple[Tensor, ...]:
        return (self.value,)


class Set(_Valued):
    def __call__(self, x: Tensor) -> Tensor:
        return self.value.expand_as(x)


class Add(_Valued):
    def __call__(self, x: Tensor) -> Tensor:
        return x + self.value


@dataclass(frozen=True, eq=False)
class Lerp(_Valued):
    weight: float

    def __call__(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.value.expand_as(x), self.weight)


class ProjectOut(_Valued):
    """``value`` is an orthonormal basis, ``[k, width]``."""

    def __call__(self, x: Tensor) -> Tensor:
        return x - (x @ self.value.mT) @ self.value


@dataclass(frozen=True)
class Scale(Operation):
    factor: float

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.factor


class Zero(Operation):
    def __call__(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True, eq=False)
class Apply(Operation):
    function: Map

    def __call__(self, x: Tensor) -> Tensor:
        y = self.function(x.clone())
        if not isinstance(y, Tensor) or y.shape != x.shape:
            raise PatchError(
                "The mapped function returned something else than it was given.",
                got=tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__,
                expected=f"a tensor of shape {tuple(x.shape)}",
                instead="site.map(lambda x: 2 * x)",
            )
        check_finite(y, "The mapped function returned NaN or infinity.")
        return y.to(x.dtype)


@dataclass(frozen=True, eq=False)
class Patch:
    """One write: a site with a position, an operation, and when it acts.

    Made by the verbs of a site: ``site.set(v)``, ``add``, ``scale``, ``lerp``, ``zero``, ``map``,
    ``project_out``. Patches on the same place act in the order listed.

    Attributes:
        site: where.
        operation: what is done to the activations there.
        when: ``"prefill"`` acts on the tokens that the position names, once, when they are first
            processed; ``"every_step"`` acts on those and on every token generated after them.
        verb: the verb it was made with, for printing.

    Example:
        >>> ls.resid_post(12).at(-1).scale(0.5)
        resid_post(12).at(-1).scale(…)
    """

    site: Site
    operation: Operation
    when: When = "prefill"
    verb: str = "set"

    def __post_init__(self) -> None:
        if self.when not in ("prefill", "every_step"):
            raise PatchError(
                "A patch does not know when to act.",
                got=f"when={self.when!r}",
                expected='"prefill" or "every_step"',
                instead='site.add(v, when="every_step") to steer',
            )

    def __repr__(self) -> str:
        arguments = "" if self.verb == "zero" else "…"
        if self.when != "prefill":
            arguments += f'{", " if arguments else ""}when="{self.when}"'
        return f"{self.site!r}.{self.verb}({arguments})"


@dataclass(frozen=True, eq=False)
class Move:
    """``read >> transform >> write``: a patch whose value is read from a run.

    A bare ``Move`` among the patches of `run`, `generate` or `run_many` reads from an unpatched
    run of ``source`` (by default the same prompt). `patch` binds it to a cache by hand.

    Example:
        >>> ls.resid_post(12).at(-1) >> torch.tanh >> ls.resid_pre(3).at("x")
        resid_post(12).at(-1) >> tanh >> resid_pre(3).at('x')
    """

    read: Site
    transforms: tuple[Map, ...] = ()
    write: Site | None = None

    def __rshift__(self, other: Site | Map) -> Move:
        from lensscope.sites import Site

        if self.write is not None:
            raise PatchError(
                "A move already ends in a site.",
                got=f"{self!r} >> {other!r}",
                expected="read >> transform >> … >> write",
                instead="put the transform before the last site",
            )
        if isinstance(other, Site):
            return Move(self.read, self.transforms, other)
        return Move(self.read, (*self.transforms, _callable(other)), None)

    def apply(self, value: Tensor) -> Tensor:
        """The transforms, in order, on what was read."""
        for transform in self.transforms:
            value = transform(value)
        return value

    def patch(self, cache: Cache, prompt: int = 0) -> Patch:
        """The patch that writes what ``cache`` holds at the place that is read.

        Raises:
            PatchError: the move does not end in a site.
            CacheError: the cache lacks the site.
        """
        if self.write is None:
            raise PatchError(
                "A move without an end cannot be written.",
                got=repr(self),
                expected="read >> … >> write",
                instead=f'{self!r} >> ls.resid_pre(3).at("x")',
            )
        value = self.apply(cache.value(self.read, prompt))
        return self.write.set(value)

    def __repr__(self) -> str:
        parts = [repr(self.read), *(_name(t) for t in self.transforms)]
        return " >> ".join(parts + ([repr(self.write)] if self.write is not None else []))


class Writable:
    """The verbs of a site: each makes a `Patch`. Values are copied, so a patch never changes."""

    def set(self, value: Any, when: When = "prefill") -> Patch:
        """Replace the activations by ``value``, ``[…]`` or ``[pos, …]``.

        Raises:
            PatchError: not a tensor of floats, or not finite.
        """
        return Patch(self._site, Set(as_value(value)), when, "set")

    def add(self, value: Any, when: When = "prefill") -> Patch:
        """Add ``value`` to the activations."""
        return Patch(self._site, Add(as_value(value)), when, "add")

    def scale(self, factor: float, when: When = "prefill") -> Patch:
        """Multiply the activations by a number."""
        return Patch(self._site, Scale(as_number(factor)), when, "scale")

    def lerp(self, value: Any, weight: float, when: When = "prefill") -> Patch:
        """Go from the activations (``weight=0``) to ``value`` (``weight=1``) along a line."""
        return Patch(self._site, Lerp(as_value(value), as_number(weight)), when, "lerp")

    def zero(self, when: When = "prefill") -> Patch:
        """Replace the activations by zeros."""
        return Patch(self._site, Zero(), when, "zero")

    def map(self, function: Map, when: When = "prefill") -> Patch:
        """Replace the activations ``x``, ``[pos, …]``, by ``function(x)`` of the same shape."""
        return Patch(self._site, Apply(_callable(function)), when, "map")

    def project_out(self, basis: Any, when: When = "prefill") -> Patch:
        """Remove the part of the activations that lies in the span of ``basis``, ``[width]`` or
        ``[k, width]``; the rows need be neither orthogonal nor of unit length.

        Raises:
            PatchError: a basis of zeros.
        """
        rows = torch.atleast_2d(as_value(basis))
        _, singular, directions = torch.linalg.svd(rows.double(), full_matrices=False)
        kept = singular > singular.max() * 1e-10 if singular.numel() else singular > 0
        if not bool(kept.any()):
            raise PatchError(
                "The basis spans nothing.",
                got="rows of zeros",
                expected="at least one row that is not zero",
                instead="site.project_out(direction)",
            )
        return Patch(self._site, ProjectOut(directions[kept].to(rows.dtype)), when, "project_out")

    def __rshift__(self, other: Site | Map) -> Move:
        return Move(self._site) >> other

    @property
    def _site(self) -> Site:
        return self  # type: ignore[return-value]


def as_value(value: Any) -> Tensor:
    """A private copy of a value as a tensor of floats, checked to be finite."""
    if isinstance(value, Tensor):
        tensor = value.clone()
    else:
        try:
            tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).clone()
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
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise PatchError(
            "A factor is NaN or infinite.",
            got=number,
            expected="a finite number",
            instead="site.scale(0.5)",
        )
    return number


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


def _callable(function: Any) -> Map:
    if not callable(function):
        raise PatchError(
            "This is not a transform.",
            got=repr(function),
            expected="a function from a tensor to a tensor",
            instead="ls.affine(A, b), or lambda x: 2 * x",
        )
    return function  # type: ignore[no-any-return]


def _name(function: Map) -> str:
    return getattr(function, "__name__", None) or repr(function)
