"""What is asked of arguments, once, at the public door.

`door` is put on a public function or method: it looks at each argument by its name, gives it on as
Python's own number, flag or list, and refuses everything else in the words of the house. One name
means the same everywhere, so most checks are named here once (`COMMON`); a door adds its own.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Mapping, Sized
from decimal import Decimal
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from lensscope.errors import LensError, LensscopeError

Check: TypeAlias = Callable[[Any, str, type[LensscopeError]], Any]
"""Given a value, the name of its argument and the error to raise, what is given on."""
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=type)

INDEX: Final = 2**63 - 1
"""The largest number that an index, or a seed, can be."""
LONGEST: Final = 1_000_000
"""So many things may be listed; a billion positions are a mistake, and would fill the memory."""
REPEATS: Final = 100_000
"""So often something may be drawn or repeated."""


# ---------------------------------------------------------------- what a value is


def plain(value: Any) -> Any:
    """A single number of numpy's or torch's as Python's own; anything else as it is."""
    if isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0:
        if isinstance(value, Tensor) and value.device.type == "meta":  # holds no number
            return value
        return value.item()
    return value


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
    found = _expanded(value, what, error) if isinstance(value, Iterable) else []
    if not found or isinstance(value, str | bytes | bytearray | Mapping):
        raise error(
            f"These are not {what}.",
            got=seen(value)[:80],
            expected=f"a list of {what}, at least one",
            instead=instead,
        )
    return found


def _expanded(value: Iterable[Any], name: str, error: type[LensscopeError]) -> list[Any]:
    """A list of what is given one by one, which is not longer than could be meant."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        return []
    long = isinstance(value, Sized) and _length(value) > LONGEST
    found = [] if long else list(islice(value, LONGEST + 1))
    if long or len(found) > LONGEST:
        raise error(
            f"{name} is too long.",
            got=seen(value)[:80] if long else f"{type(value).__name__} of more than {LONGEST:,}",
            expected=f"at most {LONGEST:,}",
            instead="those that are meant",
        )
    return found


def _length(value: Sized) -> int:
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


# ---------------------------------------------------------------- checks by kind


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
            instead=f'{name}="{_near(value, known) or known[0]}"',
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
    if isinstance(value, Sized) and not isinstance(value, range) and _length(value) <= LONGEST:
        return value
    return _expanded(value, name, error) if isinstance(value, Iterable) else value


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


def layer_numbers(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """As `whole_numbers`; a word, or ``ALL``, is left to the function."""
    left = isinstance(value, str) or type(value).__name__ == "All"
    return value if left else whole_numbers(value, name, error)


def whole_numbers(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """Numbers of layers, heads or prompts, as Python's: one, or a list of them."""
    found = plain(value)
    if isinstance(found, Iterable) and not isinstance(found, str | bytes | bytearray | Mapping):
        if not isinstance(found, list | tuple):
            found = _expanded(found, name, error)
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


def instance(kind: str, instead: str) -> Check:
    """A value of a class of lensscope, by its name: the class may not be importable here."""

    def check(value: Any, name: str, error: type[LensscopeError]) -> Any:
        if any(one.__name__ == kind for one in type(value).__mro__):
            return value
        raise error(
            f"{name} is something else than it should be.",
            got=f"{name}={seen(value)}",
            expected=f"a {kind}",
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


_DRAWN: Final = whole(0, REPEATS, 10)

COMMON: Final[Mapping[str, Check]] = {
    # what is run
    "prompt": listed,
    "prompts": listed,
    "clean": listed,
    "corrupted": listed,
    "source": listed,
    "reference": listed,
    "texts": stream,
    "held_out": stream,
    "text": text,
    "placeholder": text,
    "prepend_bos": flag,
    "padding_side": one_of("right", "left"),
    "memory_budget": whole(1, instead=2 << 30),
    # where
    "sites": listed,
    "site": listed,
    "keep": listed,
    "senders": listed,
    "receivers": listed,
    "positions": listed,
    "occurrence": whole(-INDEX, instead=0),
    "layers": layer_numbers,
    "target_layers": layer_numbers,
    "heads": layer_numbers,
    "window": whole(1, instead=1),
    # what is written
    "patches": listed,
    "patchsets": lists,
    "when": one_of("prefill", "every_step"),
    "mix": real(instead=1),
    "match_norm": flag,
    # what is kept
    "labels": listed,
    "top_k": whole(1, instead=5),
    "grad": flag,
    "measures": listed,
    "targets": listed,
    "full": flag,
    # how a text goes on
    "max_new_tokens": whole(1, instead=20),
    "temperature": real(0, instead=0.7),
    "top_p": real(0, 1),
    "stop_at_eos": flag,
    "use_cache": flag,
    # how it is measured
    "direction": one_of("denoising", "noising"),
    "mlps": one_of("frozen", "live"),
    "ablation": one_of("corrupted", "mean"),
    "threshold": real(0, instead=0.05),
    "edges": flag,
    "qk_fix": flag,
    "grad_drop": flag,
    "renormalise": flag,
    "ig_steps": whole(1, REPEATS, 5),
    "verify": whole(0, instead=10),
    "sample": whole(0, instead=20),
    "noise": real(0, instead=3),
    "samples": whole(1, REPEATS, 10),
    "subsets": _DRAWN,
    "random_draws": _DRAWN,
    "max_nodes": whole(1, instead=30),
    "top": whole(1, instead=10),
    "level": share,
    "resamples": whole(1, REPEATS, 1000),
    "seed": whole(0),
    # lenses and studies
    "lenses": listed,
    "length": whole(1, LONGEST, 64),
    "skip_first": whole(0, instead=1),
    "ridge": real(0, instead=1e-3),
    "max_tokens": optional(whole(1, instead=20_000)),
    "max_pieces": optional(whole(1, instead=100)),
    "allow_pickle": flag,
    "inspection": listed,
    "entities": listed,
    "questions": listed,
    "variants": listed,
    "kinds": listed,
    "limit": whole(1, instead=60),
    "n": whole(1, LONGEST, 100),
    "all_tokens": flag,
    "only_known": flag,
    "probe": flag,
    "sentences": whole(1, instead=2),
    "subjects": whole(1, instead=2),
    # files
    "path": path,
    "out": path,
    "folder": path,
    "checkpoint": path,
    "device": device,
    "dtype": dtype,
}
"""What a name means wherever it is taken, unless a door says otherwise."""


# ---------------------------------------------------------------- the door


def door(error: type[LensscopeError], **own: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check a public function's arguments as they come in.

    ``None`` passes where it is the default.

    Args:
        error: what is raised of an argument that cannot be meant.
        **own: checks by the name of the argument, in place of those of `COMMON`.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        parameters = signature.parameters
        found = {name: own.get(name, COMMON.get(name)) for name in {*parameters, *own}}
        asked = {name: check for name, check in found.items() if check is not None}
        none = {name for name, one in parameters.items() if one.default is None}
        rest = next((n for n, one in parameters.items() if one.kind is one.VAR_KEYWORD), "")

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as wrong:
                raise _miscalled(function, signature, kwargs, error, str(wrong)) from None
            for given in (bound.arguments, bound.arguments.get(rest, {})):
                for name in asked.keys() & given.keys():
                    if given[name] is not None or name not in none:
                        given[name] = asked[name](given[name], name, error)
            return function(*bound.args, **bound.kwargs)

        return checked

    return decorate


def constructor(error: type[LensscopeError], **own: Check) -> Callable[[T], T]:
    """As `door`, for a dataclass."""

    def decorate(cls: T) -> T:
        cls.__init__ = door(error, **own)(cls.__init__)  # type: ignore[misc]
        return cls

    return decorate


def _miscalled(
    function: Callable[..., Any],
    signature: inspect.Signature,
    given: Mapping[str, Any],
    error: type[LensscopeError],
    reason: str,
) -> LensscopeError:
    """What to say of arguments that a function does not have."""
    known = [name for name in signature.parameters if name not in ("self", "cls")]
    near = [(name, _near(name, known)) for name in given if name not in known]
    meant = ", ".join(f"{close}= in place of {name}=" for name, close in near if close)
    called = function.__qualname__.removesuffix(".__init__")
    return error(
        f"{called} does not take these arguments.",
        got=reason,
        expected=", ".join(known),
        instead=meant or f"help({called})",
    )


def _near(word: Any, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word[:80], known, 1) if isinstance(word, str) else []
    return close[0] if close else None
