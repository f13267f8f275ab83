"""What is asked of arguments, once, at the public door.

`door` is put on a public function or method: it looks at each argument by its name, gives it on as
Python's own number, flag or list, and refuses everything else in the words of the house. One name
means the same everywhere, so most checks are named here once (`COMMON`); a door adds its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from lensscope.checks.kinds import (
    Check,
    device,
    dtype,
    flag,
    listed,
    lists,
    near,
    numbers_or_word,
    one_of,
    optional,
    path,
    real,
    share,
    stops,
    stream,
    text,
    whole,
)
from lensscope.checks.layers import Layers, layer_numbers
from lensscope.checks.plain import INDEX, LONGEST, REPEATS
from lensscope.errors import LensscopeError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=type)

_LISTED: Final = """prompt prompts clean corrupted source reference sites site keep senders
receivers positions patches labels names measures targets lenses inspection entities questions
variants kinds"""
_FLAGS: Final = """prepend_bos match_norm grad full stop_at_eos use_cache edges qk_fix grad_drop
renormalise allow_pickle all_tokens only_known probe"""

COMMON: Final[Mapping[str, Check]] = {
    **dict.fromkeys(_LISTED.split(), listed),
    **dict.fromkeys(_FLAGS.split(), flag),
    **dict.fromkeys(("path", "out", "folder", "checkpoint"), path),
    # what is run
    **dict.fromkeys(("texts", "held_out"), stream),
    **dict.fromkeys(("text", "placeholder"), text),
    "padding_side": one_of("right", "left"),
    "memory_budget": whole(1, instead=2 << 30),
    # where
    "occurrence": whole(-INDEX, instead=0),
    **dict.fromkeys(("layers", "target_layers"), layer_numbers),
    "heads": numbers_or_word,
    "window": whole(1, instead=1),
    # what is written
    "patchsets": lists,
    "when": one_of("prefill", "every_step"),
    "mix": real(instead=1),
    # how a text goes on
    "top_k": whole(1, instead=5),
    "max_new_tokens": whole(1, instead=20),
    "temperature": real(0, instead=0.7),
    "top_p": real(0, 1),
    "stop": stops,
    # how it is measured
    "direction": one_of("denoising", "noising"),
    "mlps": one_of("frozen", "live"),
    "ablation": one_of("corrupted", "mean"),
    "threshold": real(0, instead=0.05),
    "ig_steps": whole(1, REPEATS, 5),
    "verify": whole(0, instead=10),
    "sample": whole(0, instead=20),
    "noise": real(0, instead=3),
    "samples": whole(1, REPEATS, 10),
    **dict.fromkeys(("subsets", "random_draws"), whole(0, REPEATS, 10)),
    "max_nodes": whole(1, instead=30),
    "top": whole(1, instead=10),
    "level": share,
    "resamples": whole(1, REPEATS, 1000),
    "seed": whole(0),
    # lenses and studies
    "length": whole(1, LONGEST, 64),
    "skip_first": whole(0, instead=1),
    "ridge": real(0, instead=1e-3),
    "max_tokens": optional(whole(1, instead=20_000)),
    "max_pieces": optional(whole(1, instead=100)),
    "limit": whole(1, instead=60),
    "n": whole(1, LONGEST, 100),
    **dict.fromkeys(("sentences", "subjects"), whole(1, instead=2)),
    "device": device,
    "dtype": dtype,
}
"""What a name means wherever it is taken, unless a door says otherwise."""

SYNONYMS: Final = (
    ("position", "positions"),
    ("positions", "position"),
    ("prompt", "prompts"),
    ("prompts", "prompt"),
    ("layers", "sites"),
    ("sites", "layers"),
    ("sites", "site"),
)
"""Other words for an argument, and the argument; where a function takes both, they are two."""


# ---------------------------------------------------------------- the door


def door(error: type[LensscopeError], **own: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check a public function's arguments as they come in.

    ``None`` passes where it is the default. An argument goes by its other names too (`SYNONYMS`).

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
        others = {o: n for o, n in SYNONYMS if n in parameters and o not in parameters}
        shapes = _shapes(signature)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if not others.keys().isdisjoint(kwargs):
                taken = list(parameters)[: len(args)]
                kwargs = _renamed(kwargs, others, taken, error)  # type: ignore[assignment]
            n, given = len(args), kwargs.keys()
            if n < len(shapes) and shapes[n].needed <= given <= shapes[n].allowed:
                filled = list(args)
                for i, name in shapes[n].taken:
                    if name in asked and (filled[i] is not None or name not in none):
                        filled[i] = asked[name](filled[i], name, error)
                for name in asked.keys() & given:
                    if kwargs[name] is not None or name not in none:
                        kwargs[name] = asked[name](kwargs[name], name, error)
                return function(*filled, **kwargs)  # type: ignore[arg-type]
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as wrong:
                raise _miscalled(function, others, kwargs, error, str(wrong)) from None
            for known in (bound.arguments, bound.arguments.get(rest, {})):
                for name in asked.keys() & known.keys():
                    if known[name] is not None or name not in none:
                        known[name] = asked[name](known[name], name, error)
            return function(*bound.args, **bound.kwargs)

        return checked

    return decorate


@dataclass(frozen=True)
class _Shape:
    """A call with so many arguments in order: which those are, and which others there must and may
    be by name."""

    taken: tuple[tuple[int, str], ...]
    needed: frozenset[str]
    allowed: frozenset[str]


def _shapes(signature: inspect.Signature) -> list[_Shape]:
    """The calls of an ordinary function, by the number of arguments in order. To bind each call
    anew would take longer than to make a site or a patch."""
    parameters = list(signature.parameters.values())
    kinds = {p.kind for p in parameters}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY}:
        return []
    open_ended = inspect.Parameter.VAR_KEYWORD in kinds
    in_order = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = {p.name: p.default is p.empty for p in parameters if p.kind is not p.VAR_KEYWORD}
    found = []
    for n in range(len(in_order) + 1 if not open_ended else 0):
        left = named.keys() - set(in_order[:n])
        needed = frozenset(name for name in left if named[name])
        found.append(_Shape(tuple(enumerate(in_order[:n])), needed, frozenset(left)))
    return found


def _renamed(
    given: Mapping[str, Any],
    others: Mapping[str, str],
    taken: Sequence[str],
    error: type[LensscopeError],
) -> dict[str, Any]:
    """Arguments by the names that the function has for them.

    Args:
        given: those that came by name.
        others: other names, and the function's own.
        taken: its own, of those that came in order.
        error: what is raised of one that is given twice.
    """
    found = dict(given)
    for other in others.keys() & given.keys():
        name, value = others[other], found.pop(other)
        if name in found or name in taken:
            raise error(
                f"{other}= and {name}= are two words for one argument.",
                got="both",
                expected="one of the two",
                instead=f"{name}=…",
            )
        if (other, name) == ("layers", "sites"):
            if value is None:  # as if nothing had been said
                continue
            value = Layers(layer_numbers(value, other, error))
        found[name] = value
    return found


def constructor(error: type[LensscopeError], **own: Check) -> Callable[[T], T]:
    """As `door`, for a dataclass."""

    def decorate(cls: T) -> T:
        cls.__init__ = door(error, **own)(cls.__init__)  # type: ignore[misc]
        return cls

    return decorate


def _miscalled(
    function: Callable[..., Any],
    others: Iterable[str],
    given: Mapping[str, Any],
    error: type[LensscopeError],
    reason: str,
) -> LensscopeError:
    """What to say of arguments that a function does not have."""
    names = inspect.signature(function).parameters
    known = [name for name in names if name not in ("self", "cls")]
    unknown = [(name, near(name, [*known, *others])) for name in given if name not in known]
    meant = ", ".join(f"{close}= in place of {name}=" for name, close in unknown if close)
    called = function.__qualname__.removesuffix(".__init__")
    return error(
        f"{called} does not take these arguments.",
        got=reason,
        expected=", ".join(known),
        instead=meant or f"help({called})",
    )
