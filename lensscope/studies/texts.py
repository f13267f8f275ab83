"""Texts that studies read, and the tokens that are read of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from lensscope.checks import several
from lensscope.errors import StudyError
from lensscope.lenses.states import Asked, lines_of

Text: TypeAlias = "str | tuple[int, ...]"


@dataclass(frozen=True)
class Rows:
    """The tokens that are read of some texts, one after another.

    Attributes:
        items: the numbers of the texts.
        reads: their prompts and tokens.
    """

    items: Sequence[int]
    reads: Sequence[Asked]

    @functools.cached_property
    def places(self) -> list[tuple[int, int]]:
        """For each row its place among the texts, and its token."""
        return [(n, token) for n, one in enumerate(self.reads) for token in one.tokens]

    @functools.cached_property
    def starts(self) -> list[int]:
        """The first row of each text."""
        return np.cumsum([0, *(len(one.tokens) for one in self.reads)]).tolist()

    def __len__(self) -> int:
        return len(self.places)

    def of(self, texts: Sequence[int]) -> list[int]:
        """The rows of some of the texts, by place."""
        return [row for n in texts for row in range(self.starts[n], self.starts[n + 1])]

    def item(self, row: int) -> int:
        return self.items[self.places[row][0]]

    def token(self, row: int) -> int:
        return self.places[row][1]

    def others(self) -> list[int]:
        """For each row one of the next text."""
        found = []
        for row, (own, _) in enumerate(self.places):
            other = (own + 1) % len(self.reads)
            size = len(self.reads[other].tokens)
            found.append(self.starts[other] + (row - self.starts[own]) % size)
        return found

    def columns(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        """What is said of some rows."""
        prompts = [self.reads[self.places[row][0]].prompt for row in rows]
        return {
            "item": [self.item(row) for row in rows],
            "name": [prompt.text for prompt in prompts],
            "position": [self.token(row) for row in rows],
        }


_CONTROLS: Final = 8
"""Texts that come along, whose states are controls."""


def control_texts() -> list[str]:
    """The texts whose mean state, and last state, are controls unless others are given."""
    return [str(text) for text in texts_of(None)[:_CONTROLS]]


def texts_of(texts: Iterable[Any] | Path | None) -> tuple[Text, ...]:
    """Texts, or token ids, as a study keeps them; by default those that come with lensscope.

    Raises:
        StudyError: none, or something else.
        PromptError: a file that cannot be read.
    """
    if texts is None:
        held = files("lensscope.studies").joinpath("data/texts.txt").read_text("utf-8")
        return tuple(line for line in held.splitlines() if line.strip())
    if isinstance(texts, Path):
        texts = lines_of(texts)
    found: list[Text] = []
    for text in several(texts, "texts", '["The capital of Japan is", …]', StudyError):
        known = getattr(getattr(text, "device", None), "type", "cpu") != "meta"  # which has no ids
        ids = text.tolist() if hasattr(text, "tolist") and known else text
        listed = isinstance(ids, list | tuple) and all(isinstance(i, int) for i in ids)
        if not isinstance(text, str) and not (listed and ids):
            raise StudyError(
                "This is not a text.",
                got=f"{type(text).__name__}: {str(text)[:60]}",
                expected="a string, or token ids",
                instead='["The capital of Japan is the city of", "Two and two make"]',
            )
        found.append(text if isinstance(text, str) else tuple(ids))
    return tuple(found)
