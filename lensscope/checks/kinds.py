"""Checks by kind: a value, the name of its argument and an error in; what is given on out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sized
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lensscope.checks.plain import (
    INDEX,
    LONGEST,
    expanded,
    length,
    number,
    plain,
    seen,
    whole_number,
)
from lensscope.errors import LensscopeError

Check: TypeAlias = Callable[[Any, str, type[LensscopeError]], Any]


def whole(least: int = 0, most: int = INDEX, instead: int | None = None) -> Check:
    """A whole number in a range."""

    def check(value: Any, name: str, error: type[LensscopeError]) -> int:
        return whole_number(value, name, least, least if instead is None else instead, error, most)

    return check


def real(least: float = -math.inf, most: float = math.inf, instead: float = 0.5) -> Check:
    """A finite number in a range."""

    def check(value: Any, name: str, error: type[LensscopeError]) -> float:
        return number(value, name, least, instead, error, most)

    return check


def share(value: Any, name: str, error: type[LensscopeError]) -> float:
    """A number between 0 and 1, neither of them."""
    found = number(value, name, 0, 0.95, error, 1)
    if not 0 < found < 1:
        raise error(
            f"{name} lies between 0 and 1.",
            got=f"{name}={seen(value)}",
            expected="above 0, below 1",
            instead=f"{name}=0.95",
        )
    return found


def flag(value: Any, name: str, error: type[LensscopeError]) -> bool:
    """``True`` or ``False``."""
    found = plain(value)
    if isinstance(found, bool):
        return found
    raise error(
        f"{name} is a flag.",
        got=f"{name}={seen(value)}",
        expected="True or False",
        instead=f"{name}=True",
    )


def one_of(*known: str) -> Check:
    """One of some words."""

    def check(value: Any, name: str, error: type[LensscopeError]) -> str:
        if isinstance(value, str) and value in known:
            return str(value)
        raise error(
            f"There is no such {name}.",
            got=f"{name}={seen(value)}",
            expected=" or ".join(f'"{word}"' for word in known),
            instead=f'{name}="{near(value, known) or known[0]}"',
        )

    return check


def text(value: Any, name: str, error: type[LensscopeError]) -> str:
    """A text."""
    if isinstance(value, str):
        return str(value)
    raise error(
        f"{name} is a text.",
        got=f"{name}={seen(value)}",
        expected="a string",
        instead=f'{name}="…"',
    )


def stops(value: Any, name: str, error: type[LensscopeError]) -> tuple[str, ...]:
    """The texts at which a text ends: one, or several, none of them empty."""
    given = (value,) if isinstance(value, str) else value
    good = isinstance(given, Iterable) and not isinstance(given, bytes | bytearray | Mapping)
    found = tuple(expanded(given, name, error)) if good else (given,)
    wrong = [one for one in found if not isinstance(one, str) or not one]
    if wrong:
        raise error(
            "A text cannot end at this.",
            got=f"{name}={seen(wrong[0])}",
            expected="a text that is not empty, or several",
            instead=f'{name}="\\n"',
        )
    return found


def path(value: Any, name: str, error: type[LensscopeError]) -> str | Path:
    """The path of a file or folder."""
    found = value
    if isinstance(value, PathLike):
        found = value.__fspath__()
    good = isinstance(found, str) and bool(found) and "\0" not in found
    try:
        good = good and bool(found.encode())
    except UnicodeEncodeError:  # a half of a character, in no file's name
        good = False
    if not good:
        raise error(
            f"{name} is not a path.",
            got=f"{name}={seen(value)}",
            expected="a string or a pathlib.Path",
            instead=f'{name}=Path("result.html")',
        )
    return value if isinstance(value, str | Path) else Path(found)


def device(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A device that torch has here."""
    try:
        if not isinstance(value, str | torch.device):
            raise TypeError(f"{type(value).__name__} is no device")
        found = torch.device(value)
        torch.empty(0, device=found)
    except Exception as reason:  # torch says it in many ways: RuntimeError, AssertionError, …
        raise error(
            "There is no such device.",
            got=f"{name}={seen(value)}: {str(reason).splitlines()[0]}",
            expected='"cpu", "cuda", or another that torch has here',
            instead=f'{name}="cpu"',
        ) from None
    return value


def dtype(value: Any, name: str, error: type[LensscopeError]) -> torch.dtype:
    """A floating-point dtype of torch."""
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return value
    raise error(
        "This is not a dtype for states or weights.",
        got=f"{name}={seen(value)}",
        expected="a floating-point dtype of torch",
        instead=f"{name}=torch.float32",
    )


def function(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """Something that can be called."""
    if callable(value):
        return value
    raise error(
        f"{name} is not a function.",
        got=f"{name}={seen(value)}",
        expected="a function",
        instead=f"{name}=lambda x: …",
    )


def listed(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """What can be gone through only once, or is only counted out, as a list; the rest as it is."""
    if isinstance(value, str | bytes | bytearray | Mapping | Tensor | np.ndarray):
        return plain(value)
    if isinstance(value, Sized) and not isinstance(value, range) and length(value) <= LONGEST:
        return value
    return expanded(value, name, error) if isinstance(value, Iterable) else value


def lists(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """Lists of lists, each as `listed` has it."""
    found = listed(value, name, error)
    if isinstance(found, list | tuple):
        return [listed(one, f"A list of {name}", error) for one in found]
    return found


def stream(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """Many texts, which may be gone through only once, as they come."""
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | Mapping):
        if not isinstance(value, range):
            return value
    elif isinstance(value, PathLike):
        return path(value, name, error)
    raise error(
        f"{name} are no texts.",
        got=f"{type(value).__name__}: {seen(value)}",
        expected="an iterable of texts or token ids, or a pathlib.Path",
        instead=f'{name}=["The Eiffel Tower is in the city of Paris."]',
    )


def numbers_or_word(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """As `whole_numbers`; a word, ``ALL`` or ``None`` is left to the function."""
    left = value is None or isinstance(value, str) or type(value).__name__ == "All"
    return value if left else whole_numbers(value, name, error)


def whole_numbers(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """Numbers of layers, heads or prompts, as Python's: one, or a list of them."""
    found = plain(value)
    if isinstance(found, Iterable) and not isinstance(found, str | bytes | bytearray | Mapping):
        if not isinstance(found, list | tuple):
            found = expanded(found, name, error)
        kind = tuple if isinstance(found, tuple) else list
        return kind(whole_number(one, name, -INDEX, 3, error) for one in found)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise error(
        f"{name} are whole numbers.",
        got=f"{name}={seen(value)}",
        expected="a list of whole numbers",
        instead=f"{name}=[3, 5]",
    )


def named(value: Any, name: str, error: type[LensscopeError]) -> Mapping[str, Any]:
    """Things by name."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: listed(one, f"{name}[{key!r}]", error) for key, one in value.items()}
    raise error(
        f"{name} have names here.",
        got=f"{name}={seen(value)}",
        expected="a dict from names to what they stand for",
        instead=f'{name}={{"subject": 3}}',
    )


def instance(kind: str, instead: str, *others: str) -> Check:
    """A value of a class of lensscope, or of one of several, by name: the class may not be
    importable here."""
    kinds = (kind, *others)

    def check(value: Any, name: str, error: type[LensscopeError]) -> Any:
        if any(one.__name__ in kinds for one in type(value).__mro__):
            return value
        raise error(
            f"{name} is something else than it should be.",
            got=f"{name}={seen(value)}",
            expected=" or ".join(f"a {one}" for one in kinds),
            instead=instead,
        )

    return check


def optional(check: Check) -> Check:
    """The same, or ``None``."""

    def checked(value: Any, name: str, error: type[LensscopeError]) -> Any:
        return None if value is None else check(value, name, error)

    return checked


def scalar(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A single number as Python's own; the function looks itself whether it is one."""
    return plain(value)


def anything(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """Whatever: the function looks itself."""
    return value


def near(word: Any, known: Iterable[str]) -> str | None:
    """The known word that is most like one."""
    close = difflib.get_close_matches(word[:80], known, 1) if isinstance(word, str) else []
    return close[0] if close else None
