"""Layers as they are given: by number, by a slice, as block outputs, all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from lensscope.checks.kinds import listed, numbers_or_word
from lensscope.checks.plain import INDEX, seen, whole_number
from lensscope.errors import LensscopeError

_OUTPUT: Final = re.compile(r"blocks\.(\d+)\.hook_resid_post")
_EVERY: Final = "every layer"


def layer_numbers(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A check: as `numbers_or_word`, where block outputs stand for their layers; a slice is left to
    the function too, which knows how many layers there are."""
    if isinstance(value, slice):
        start, stop, step = (
            None if part is None else whole_number(part, "A part of a slice", least, 1, error)
            for part, least in ((value.start, -INDEX), (value.stop, -INDEX), (value.step, 1))
        )
        return slice(start, stop, step)
    found = listed(value, name, error)
    several = found if isinstance(found, list | tuple) else [found]
    if any(type(one).__name__ == "Site" or _output(one) is not None for one in several):
        outputs = [_output(one) for one in several]
        if None in outputs:
            raise error(
                f"{name} are those of block outputs.",
                got=seen(value),
                expected="numbers of layers, or ls.resid_post at some of them",
                instead=f"{name}=[3, 5]",
            )
        return None if _EVERY in outputs else outputs
    return numbers_or_word(found, name, error)


def _output(value: Any) -> int | str | None:
    """The layer whose output a site is, or a hook point of that name."""
    if isinstance(value, str):
        match = _OUTPUT.fullmatch(value)
        return int(match[1]) if match else None
    if type(value).__name__ != "Site" or value.kind != "resid_post" or value.whole != value:
        return None
    return _EVERY if value.layer is None else value.layer


@dataclass(frozen=True)
class Layers:
    """Layers as they are given: one, some, a slice, or all. Where sites are taken, they stand for
    the outputs of these blocks.

    Attributes:
        given: as `layer_numbers` gives them on.
    """

    given: Any

    def __repr__(self) -> str:
        return f"layers {self.given!r}"

    def among(self, n_layers: int) -> list[Any]:
        """Their numbers, of so many layers; whether there are such is looked at later."""
        if isinstance(self.given, slice):
            return list(range(n_layers)[self.given])
        if self.given is None or self.given == "all" or type(self.given).__name__ == "All":
            return list(range(n_layers))
        return list(self.given) if isinstance(self.given, list | tuple) else [self.given]
