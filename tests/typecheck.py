"""The type checker that the tests run the package under: beartype, an int passing for a float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))
_made: dict[Any, Callable[..., Any]] = {}


def check(stub: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype's checks of a signature, made once.

    jaxtyping asks with a stub that has a function's signature and no more, and asks again whenever
    an inner function is made anew, which in a sweep is thousands of times.
    """
    given = [*(stub.__defaults__ or ()), *(stub.__kwdefaults__ or {}).values()]
    key = (
        *(stub.__module__, stub.__qualname__, stub.__code__),
        *(f"{name}: {hint!r}" for name, hint in stub.__annotations__.items()),
        *map(type, given),
    )
    if key not in _made:
        _made[key] = _beartype(stub)
    return _made[key]
