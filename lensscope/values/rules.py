"""Rules of writing, as values: what becomes of a state when a vector is written over it.

With ``h`` for what is there, and ``v`` for what is written:

========================  ============================  =========================================
``replace()``             ``v``                         Patchscopes
``replace(length=s)``     ``s v / ‖v‖``                 natural-language autoencoders, oracle lenses
``replace(length="own")`` ``‖h‖ v / ‖v‖``               SelfIE
… and ``times=c``         ``c ‖h‖ v / ‖v‖``             Activation Oracles of before 2025-10-26
``add()``                 ``h + v``                     steering
``add(times=c)``          ``h + c ‖h‖ v / ‖v‖``         Activation Oracles
``interpolate(w)``        ``h + w (v - h)``
========================  ============================  =========================================

Example:
    >>> ls.resid_pre(2).at("x").write([1.0] * 576, ls.rules.replace(length="own"))
    resid_pre(2).at('x').write(…)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Final, Literal

from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.errors import LensscopeError, PatchError
from lensscope.values.operations import Add, AddScaled, Lerp, Operation, Resize, Set


class Rule(ABC):
    """How a vector is written over a state.

    Example:
        >>> rules = [ls.rules.replace(), ls.rules.add(times=1.0), ls.rules.interpolate(0.5)]
        >>> all(isinstance(rule, ls.rules.Rule) for rule in rules)
        True
    """

    @abstractmethod
    def operation(self, value: Float[Tensor, "*axes"]) -> Operation:
        """What writes this value by the rule."""


@dataclass(frozen=True)
class Replace(Rule):
    """The value in place of what is there, at its own length or another."""

    length: float | Literal["own"] | None = None
    times: float = 1.0

    def operation(self, value: Tensor) -> Operation:
        if self.length is None:
            return Set(value)
        if self.length == "own":
            return Resize(value, 1.0, self.times)
        return Set(value * (self.length / _lengths(value)))

    def __repr__(self) -> str:
        length = [] if self.length is None else [f"length={self.length!r}"]
        times = [] if self.times == 1 else [f"times={self.times}"]
        return f"replace({', '.join(length + times)})"


@dataclass(frozen=True)
class Added(Rule):
    """The value on top of what is there, as it is or at a multiple of that one's length."""

    times: float | None = None

    def operation(self, value: Tensor) -> Operation:
        return Add(value) if self.times is None else AddScaled(value / _lengths(value), self.times)

    def __repr__(self) -> str:
        return f"add({'' if self.times is None else f'times={self.times}'})"


@dataclass(frozen=True)
class Interpolate(Rule):
    """Some of the way from what is there to the value."""

    weight: float

    def operation(self, value: Tensor) -> Operation:
        return Lerp(value, self.weight)

    def __repr__(self) -> str:
        return f"interpolate({self.weight})"


def _length(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A check: a length, or that of what was there."""
    return "own" if isinstance(value, str) and value == "own" else _LENGTH(value, name, error)


_LENGTH: Final = checks.real(0, instead=150)


@checks.door(PatchError, length=_length, times=checks.real(instead=1.0))
def replace(length: float | Literal["own"] | None = None, times: float = 1.0) -> Replace:
    """The value in place of what is there.

    Args:
        length: that the value is given; ``"own"`` for that of what it replaces; its own by default.
        times: of ``"own"``, the length in lengths of what it replaces.

    Raises:
        PatchError: not a length, or ``times`` of another length than that of what is there.

    Example:
        >>> scope = ls.Patchscope("Tell me about x", rule=ls.rules.replace(length="own"))
        >>> scope.rule
        replace(length='own')
    """
    if times != 1 and length != "own":
        raise PatchError(
            "times= is a multiple of the length of what is replaced.",
            got=f"length={length!r}, times={times}",
            expected="length='own'",
            instead=f"ls.rules.replace(length='own', times={times})",
        )
    return Replace(length, times)


@checks.door(PatchError, times=checks.real(instead=1.0))
def add(times: float | None = None) -> Added:
    """The value on top of what is there.

    Args:
        times: the length that the value is given, in lengths of what is there; its own by default.

    Raises:
        PatchError: not a number.

    Example:
        >>> ls.resid_post(1).at("x").write([1.0] * 576, ls.rules.add(times=1.0))
        resid_post(1).at('x').write(…)
    """
    return Added(times)


@checks.door(PatchError, weight=checks.real(instead=0.5))
def interpolate(weight: float) -> Interpolate:
    """Some of the way from what is there (0) to the value (1).

    Raises:
        PatchError: not a number.

    Example:
        >>> ls.rules.interpolate(0.5)
        interpolate(0.5)
    """
    return Interpolate(weight)


def as_rule(value: Any, name: str, error: type[LensscopeError]) -> Rule:
    """A check: a rule of writing."""
    if isinstance(value, Rule):
        return value
    raise error(
        f"{name} is no rule of writing.",
        got=f"{name}={checks.seen(value)}",
        expected="ls.rules.replace(), .add() or .interpolate(0.5)",
        instead=f"{name}=ls.rules.replace(length='own')",
    )


def _lengths(value: Tensor) -> Tensor:
    """The length of each vector, which must have a direction."""
    found = value.norm(dim=-1, keepdim=True)
    if bool((found == 0).any()):
        raise PatchError(
            "A vector of zeros has no direction, so it cannot be given a length.",
            got="a value of length 0",
            expected="a vector that is not zero",
            instead="ls.rules.replace(), which writes it as it is",
        )
    return found


__all__ = ["Rule", "add", "interpolate", "replace"]
