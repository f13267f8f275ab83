"""The type checker that the tests run the package under: beartype, an int passing for a float.

jaxtyping binds each call of each function anew, and makes its checks anew for each inner function,
which in a sweep is thousands of times; both are most of what the tests would do. So its own way is
taken by functions that name the axes of a tensor, and beartype alone by all others; functions
within functions are of the function that they stand in.
"""

from __future__ import annotations

import functools
import inspect
import re
from types import FunctionType
from typing import Any, Final

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping._decorator import _destring_annotation

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
_OF_AXES: Final = re.compile(r"\b(Float|Int|Bool|Shaped|Num|Inexact)\[")
_by_jaxtyping = jaxtyping.jaxtyped


def jaxtyped(function: Any = None, *, typechecker: Any = check) -> Any:
    """What jaxtyping's import hook puts on every function and class."""
    if function is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if inspect.isclass(function) and hasattr(function.__init__, "__wrapped__"):
        return function  # what it is made of has come through a door already
    if not isinstance(function, FunctionType) or not function.__annotations__:
        return _by_jaxtyping(function, typechecker=typechecker)
    if "<locals>" in function.__qualname__:
        return function
    hints = {
        name: _destring_annotation(hint, function.__globals__)
        for name, hint in function.__annotations__.items()
    }
    # a block is known by the frame that entered it; of wrappers, jaxtyping's is told apart from it
    if function.__name__ == "__enter__" or any(
        _OF_AXES.search(str(hint)) for hint in hints.values()
    ):
        return _by_jaxtyping(function, typechecker=typechecker)
    return _by_beartype(function, hints)


def _by_beartype(function: FunctionType, hints: dict[str, Any]) -> Any:
    """A function with beartype's checks; names that only type checkers know mean anything."""
    bare = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    bare.__kwdefaults__ = function.__kwdefaults__
    bare.__qualname__, bare.__module__ = function.__qualname__, function.__module__
    bare.__annotations__ = hints
    if inspect.isgeneratorfunction(function):
        bare.__annotations__.pop("return", None)
    return functools.wraps(function)(check(bare))


jaxtyping.jaxtyped = jaxtyped
