"""Patches: one write each, as values.

A `Patch` is a site with a position, an operation, and when it acts. It holds no result and
touches no model; the engine applies it. `Move` is ``read >> transform >> write``: a patch whose
value is still to be read from a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

from lensscope import checks
from lensscope.errors import PatchError
from lensscope.values.operations import (
    Add,
    Apply,
    Lerp,
    Map,
    Operation,
    ProjectOut,
    Scale,
    Set,
    Zero,
    as_map,
    as_number,
    as_value,
)

if TYPE_CHECKING:
    from lensscope.values.cache import Cache
    from lensscope.values.sites import Site

When: TypeAlias = Literal["prefill", "every_step"]


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
        from lensscope.values.sites import Site

        if self.write is not None:
            raise PatchError(
                "A move already ends in a site.",
                got=f"{self!r} >> {other!r}",
                expected="read >> transform >> … >> write",
                instead="put the transform before the last site",
            )
        if isinstance(other, Site):
            return Move(self.read, self.transforms, other)
        return Move(self.read, (*self.transforms, as_map(other)), None)

    def apply(self, value: Tensor) -> Tensor:
        """The transforms, in order, on what was read."""
        for transform in self.transforms:
            value = checks.called(transform, "A transform", PatchError, value.clone())
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

    @checks.door(PatchError)
    def set(self, value: Any, when: When = "prefill") -> Patch:
        """Replace the activations by ``value``, ``[…]`` or ``[pos, …]``.

        Raises:
            PatchError: not a tensor of floats, or not finite.
        """
        return Patch(self._site, Set(as_value(value)), when, "set")

    @checks.door(PatchError)
    def add(self, value: Any, when: When = "prefill") -> Patch:
        """Add ``value`` to the activations."""
        return Patch(self._site, Add(as_value(value)), when, "add")

    @checks.door(PatchError, factor=checks.scalar)
    def scale(self, factor: float, when: When = "prefill") -> Patch:
        """Multiply the activations by a number."""
        return Patch(self._site, Scale(as_number(factor)), when, "scale")

    @checks.door(PatchError, weight=checks.scalar)
    def lerp(self, value: Any, weight: float, when: When = "prefill") -> Patch:
        """Go from the activations (``weight=0``) to ``value`` (``weight=1``) along a line."""
        return Patch(self._site, Lerp(as_value(value), as_number(weight)), when, "lerp")

    @checks.door(PatchError)
    def zero(self, when: When = "prefill") -> Patch:
        """Replace the activations by zeros."""
        return Patch(self._site, Zero(), when, "zero")

    @checks.door(PatchError)
    def map(self, function: Map, when: When = "prefill") -> Patch:
        """Replace the activations ``x``, ``[pos, …]``, by ``function(x)`` of the same shape."""
        return Patch(self._site, Apply(as_map(function)), when, "map")

    @checks.door(PatchError)
    def project_out(self, basis: Any, when: When = "prefill") -> Patch:
        """Remove the part of the activations that lies in the span of ``basis``, ``[width]`` or
        ``[k, width]``; the rows need be neither orthogonal nor of unit length.

        Raises:
            PatchError: a basis of zeros.
        """
        rows = as_value(basis)
        rows = rows[None] if rows.ndim == 1 else rows
        if not rows.numel():
            raise PatchError(
                "The basis spans nothing.",
                got=f"shape {tuple(rows.shape)}",
                expected="at least one row that is not zero",
                instead="site.project_out(direction)",
            )
        _, singular, directions = torch.linalg.svd(rows.double(), full_matrices=False)
        rounding = max(rows.shape) * torch.finfo(rows.dtype).eps
        kept = singular > singular.max() * rounding
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


def _name(function: Map) -> str:
    return getattr(function, "__name__", None) or repr(function)
