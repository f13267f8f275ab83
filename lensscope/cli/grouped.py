"""Options that several commands have in common, as one value of each command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose groups of options are spelt out, each where its parameter stands.

    Args:
        command: has an option for each parameter, and for each field of those that are dataclasses.
    """
    parameters = list(_spelt(command))

    @functools.wraps(command)
    def spelt(**given: Any) -> None:
        command(**_filled(command, given))

    own: Any = spelt
    own.__signature__ = inspect.Signature(parameters)
    own.__annotations__ = {one.name: one.annotation for one in parameters}
    return spelt


def _spelt(of: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    hints = _hints(of)
    for one in inspect.signature(of).parameters.values():
        hint = hints[one.name]
        if is_dataclass(hint):
            yield from _spelt(hint)  # type: ignore[arg-type]
        else:
            yield one.replace(annotation=hint, kind=one.KEYWORD_ONLY)


def _filled(of: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    hints = _hints(of)
    groups = {name for name, hint in hints.items() if is_dataclass(hint)}
    return {n: h(**_filled(h, given)) if n in groups else given[n] for n, h in hints.items()}


def _hints(of: Callable[..., Any]) -> dict[str, Any]:
    return {n: h for n, h in get_type_hints(of, include_extras=True).items() if n != "return"}
