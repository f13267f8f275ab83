"""What a value is: a number, a list, a function that can be called; whoever made it."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterable, Mapping, Sized
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import numpy as np
from torch import Tensor

from lensscope.errors import LensError, LensscopeError

INDEX: Final = 2**63 - 1
"""The largest number that an index, or a seed, can be."""
LONGEST: Final = 1_000_000
"""So many things may be listed; a billion positions are a mistake, and would fill the memory."""
REPEATS: Final = 100_000
"""So often something may be drawn or repeated."""


def plain(value: Any) -> Any:
    """A single number of numpy's or torch's as Python's own; anything else as it is."""
    if isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0:
        if isinstance(value, Tensor) and value.device.type == "meta":  # holds no number
            return value
        return value.item()
    return value


def goes_through(value: Any) -> bool:
    """Whether it can be gone through; a tensor or array of no axes only looks so."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0


def seen(value: Any) -> str:
    """What a value looks like, also one that cannot say so itself."""
    try:
        text = repr(value)
    except Exception:  # whatever an object of somebody else raises
        text = f"an object of {type(value).__name__}"
    return text


def whole_number(
    value: Any,
    name: str,
    least: int,
    instead: int,
    error: type[LensscopeError] = LensError,
    most: int = INDEX,
) -> int:
    """A whole number from ``least`` to ``most``.

    Raises:
        error: it is none.
    """
    found = plain(value)
    big = isinstance(found, int) and found > most
    try:
        if isinstance(found, bool | np.ndarray | Tensor):
            raise TypeError
        found = operator.index(found)
        if not least <= found <= most:
            raise TypeError
    except TypeError:
        raise error(
            f"{name} is a whole number.",
            got=f"{name}={seen(value)}",
            expected=f"at least {least}" + (f", at most {most}" if most < INDEX or big else ""),
            instead=f"{name}={instead}",
        ) from None
    return int(found)


def number(
    value: Any,
    name: str,
    least: float,
    instead: float,
    error: type[LensscopeError] = LensError,
    most: float = math.inf,
) -> float:
    """A finite number from ``least`` to ``most``.

    Raises:
        error: it is none.
    """
    found = plain(value)
    good = isinstance(found, numbers.Real | Decimal) and not isinstance(found, bool)
    try:
        found = float(found) if good else math.nan
    except (OverflowError, ValueError):  # an int, or a signalling Decimal, that no float can be
        found = math.nan
    if not (least <= found <= most and math.isfinite(found)):
        bounds = [f"at least {least:g}"] * math.isfinite(least)
        bounds += [f"at most {most:g}"] * math.isfinite(most)
        raise error(
            f"{name} is a number.",
            got=f"{name}={seen(value)}",
            expected=", ".join(bounds) or "a finite number",
            instead=f"{name}={instead:g}",
        )
    return found


def several(
    value: Any, what: str, instead: str, error: type[LensscopeError] = LensError
) -> list[Any]:
    """What can be gone through, as a list of at least one.

    Raises:
        error: it cannot, or is empty, or does not end.
    """
    found = expanded(value, what, error) if isinstance(value, Iterable) else []
    if not found or isinstance(value, str | bytes | bytearray | Mapping):
        raise error(
            f"These are not {what}.",
            got=seen(value)[:80],
            expected=f"a list of {what}, at least one",
            instead=instead,
        )
    return found


def expanded(value: Iterable[Any], name: str, error: type[LensscopeError]) -> list[Any]:
    """A list of what is given one by one, which is not longer than could be meant."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        return []
    long = isinstance(value, Sized) and length(value) > LONGEST
    found = [] if long else list(islice(value, LONGEST + 1))
    if long or len(found) > LONGEST:
        raise error(
            f"{name} is too long.",
            got=seen(value)[:80] if long else f"{type(value).__name__} of more than {LONGEST:,}",
            expected=f"at most {LONGEST:,}",
            instead="those that are meant",
        )
    return found


def length(value: Sized) -> int:
    """How many things it holds."""
    try:
        return len(value)
    except OverflowError:  # a range may be longer than an index
        return INDEX


def called(
    function: Callable[..., Any], what: str, error: type[LensscopeError], *given: Any
) -> Any:
    """What a user's function gives; an error inside of it is its own, and passes.

    Raises:
        error: it cannot be called with what it is given.
    """
    try:
        return function(*given)
    except (TypeError, ValueError, RuntimeError, AttributeError) as wrong:
        inside = wrong.__traceback__ is not None and wrong.__traceback__.tb_next is not None
        if inside or isinstance(wrong, LensscopeError):
            raise
        raise error(
            f"{what} cannot be called with what it is given.",
            got=f"{seen(function)}: {wrong}",
            expected="a function of " + ", ".join(type(one).__name__ for one in given),
            instead="lambda x: 2 * x",
        ) from wrong
