"""The parts of studies: which kinds there are, what one is called on disk, and what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lensscope.studies.folder import Folder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Kind:
    """A kind of part.

    Attributes:
        name: what the keys of its parts begin with.
        digits: in how many digits each number of a part is written in its key.
        columns: of its file, with the type of what is in them. Scores that each study names itself
            come behind them.
    """

    name: str
    digits: tuple[int, ...]
    columns: Mapping[str, type] = field(hash=False)

    def part(self, *numbers: int) -> Part:
        """The part of these numbers."""
        return Part(self, numbers)

    def frame(self, lines: Any, scores: Sequence[str] = ()) -> pd.DataFrame:
        """Lines as the columns of such a part.

        Args:
            lines: what pandas makes a table of.
            scores: names of the numbers that come behind the columns of all such parts.
        """
        import pandas as pd

        types = {**self.columns, **dict.fromkeys(scores, float)}
        found = pd.DataFrame(lines, columns=list(types))
        return found.astype({name: kind for name, kind in types.items() if kind is not str})

    def of(self, folder: Folder, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """The finished parts of this kind, one after another.

        Args:
            folder: where they are.
            columns: only these.

        Raises:
            StudyError: one that is not whole, or is of another study or another part.
        """
        return folder.read(f"{self.name}-", columns)


@dataclass(frozen=True)
class Part:
    """One part of a study.

    Attributes:
        kind: what is in it.
        numbers: which one it is.

    Example:
        >>> from lensscope.studies.parts import CONTROLS
        >>> CONTROLS.part(0, 12).key
        'control-000-012'
    """

    kind: Kind
    numbers: tuple[int, ...]

    @property
    def key(self) -> str:
        """What it is called on disk."""
        numbers = zip(self.numbers, self.kind.digits, strict=True)
        return "-".join([self.kind.name, *(f"{number:0{n}d}" for number, n in numbers)])


def _each(kind: type, *names: str) -> dict[str, type]:
    return dict.fromkeys(names, kind)


_ITEM: Final = {"item": int, "name": str}
_LAYERS: Final = _each(int, "source_layer", "target_layer")
_TEXT: Final = {"text": str, "first_token_id": int}
_WRITTEN: Final = {"variant": int, "condition": str, "draw": int, **_LAYERS, "text": str}
_NULLS: Final = ("shuffled", "mean", "drawn", "random")

_PLACED: Final = {"condition": str, "scope": int, **_LAYERS, "place": int, "position": int}
_SAMPLE: Final = {**_ITEM, **_each(int, "variant", "name_tokens")}
CELLS: Final = Kind("cells", (6, 3), {**_SAMPLE, **_PLACED, "token": str, **_TEXT})
"""Texts of some samples of a sweep, by batch and 0; its scores are the sweep's metrics, for the
item and for another one (``…_shuffled``)."""
_CONTROL: Final = {"condition": str, "scope": int, "draw": int}
CONTROLS: Final = Kind("control", (3, 3), {**_CONTROL, **_LAYERS, **_TEXT})
"""Texts of a vector that is no item's, by inspection prompt and draw."""
_RIGHT: Final = _each(float, "probe", "shuffled", "majority")
_TESTED: Final = _each(int, "item", "variant", "source_layer")
PROBES: Final = Kind("probe", (3, 3), {**_TESTED, "by_subject": bool, **_RIGHT})
"""What the probe of a layer says of the samples that it is tested on, by layer and 0."""
_READ: Final = {**_each(int, "item", "variant"), "lens": str, "source_layer": int}
LENSES: Final = Kind("lens", (3, 5), {**_READ, **_each(bool, "state", *_NULLS)})
"""Whether a lens reads the object of some subjects, by lens and batch."""
_WORDS: Final = {"source_says": str, "precision_at_1": float}
IDENTITY: Final = Kind("identity", (6,), {**_ITEM, **_WRITTEN, **_WORDS})
"""What the target says of some texts' last tokens, by group of texts."""
QUESTIONS: Final = Kind("cells", (6,), {**_ITEM, **_WRITTEN, "answered": float})
"""Answers to a question in two steps, by question."""
_LENS: Final = {"lens": str, "layer": int, "condition": str, "draw": int, "predicted": int}
_SCORES: Final = _each(float, "precision_at_1", "surprisal")
TEXTS: Final = Kind("cells", (6,), {**_ITEM, "position": int, **_LENS, **_SCORES})
"""What lenses read in the tokens of some texts, by group of texts."""
READINGS: Final = Kind(
    "cells",
    (4, 3, 3),
    {**_ITEM, "reader": str, "condition": str, "draw": int, **_LAYERS, "text": str, "own": str},
)
"""What a reader says of some items' states and of their controls, and what the model says of the
item by its name (``own``), by group of items, reader, and block of layers."""
