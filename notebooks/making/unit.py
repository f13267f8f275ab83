"""A unit of the course, as its source has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import jupytext
import yaml

HERE: Final = Path(__file__).resolve().parents[1]
TAGS: Final = frozenset({"slide", "notes", "exercise", "stub", "solution", "wrong", "claim"})
"""What a cell can be: on a slide; for the lecturer; an exercise; what a student finds in place of
the solution; the solution; plausible wrong answers (in no notebook); an assertion of what is said
above."""


@dataclass(frozen=True)
class Cell:
    """A cell of a unit's source."""

    kind: str
    text: str
    tags: frozenset[str] = frozenset()
    exercise: str = ""

    def has(self, tag: str) -> bool:
        return tag in self.tags


@dataclass(frozen=True)
class Unit:
    """A unit of the course.

    Attributes:
        number: from 1 to 12.
        name: of its files, without their ends.
        about: its header: title, goals, readings, class (minutes by part), scene.
        cells: all of it.
    """

    number: int
    name: str
    about: dict[str, Any] = field(repr=False)
    cells: tuple[Cell, ...] = field(repr=False)

    @property
    def title(self) -> str:
        return str(self.about["title"])

    @property
    def exercises(self) -> list[str]:
        """The numbers of its exercises, in order."""
        return [cell.exercise for cell in self.cells if cell.has("exercise")]

    def of(self, exercise: str, tag: str) -> Cell | None:
        """The cell of an exercise that has a tag."""
        return next((c for c in self.cells if c.exercise == exercise and c.has(tag)), None)


@cache
def units() -> tuple[Unit, ...]:
    """All units, in order."""
    return tuple(map(read, sorted((HERE / "source").glob("[0-9][0-9]_*.py"))))


def read(path: Path) -> Unit:
    """A unit of a source.

    Raises:
        ValueError: it is not as sources are.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    first, *others = notebook.cells
    about = yaml.safe_load(first.source.strip().strip("-"))
    return Unit(int(path.stem[:2]), path.stem, about, tuple(_cells(path, others)))


def _cells(path: Path, others: list[Any]) -> Iterator[Cell]:
    """The cells, each with the exercise that it belongs to."""
    exercise = ""
    for each in others:
        tags = frozenset(each.metadata.get("tags", ()))
        if unknown := tags - TAGS:
            raise ValueError(f"{path.name}: no such tag: {sorted(unknown)}, only {sorted(TAGS)}")
        if "exercise" in tags:
            found = re.match(r"### Exercise (\d+\.\d+)", each.source)
            if not found:
                raise ValueError(f"{path.name}: an exercise begins '### Exercise 3.2: …'")
            exercise = found[1]
        elif each.cell_type == "markdown" and "notes" not in tags:
            exercise = ""
        yield Cell(each.cell_type, each.source, tags, exercise)


def address() -> str:
    """Where the repository is: what a maintainer sets once, in ``pyproject.toml``."""
    text = (HERE.parent / "pyproject.toml").read_text("utf-8")
    found = re.search(r'^Repository = "(.+)"$', text, re.MULTILINE)
    assert found, "pyproject.toml names no repository"
    return found[1]
