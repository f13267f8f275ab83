"""Questions in two steps: what the first step's phrase means is what the second step asks about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.store.files import path_of
from lensscope.store.json_text import read_json

_EXAMPLE: Final = (
    "Question('the country where the Colosseum stands', 'Italy', 'The capital of {} is', 'Rome')"
)


@dataclass(frozen=True)
class Question:
    """A question in two steps.

    Attributes:
        first: the phrase of the first step.
        bridge: what it means.
        second: the second step, with ``{}`` where the phrase, or what it means, stands.
        answer: what is right.
        aliases: what else is.

    Example:
        >>> ls.studies.Question(
        ...     "the country where the Colosseum stands", "Italy", "The capital of {} is", "Rome"
        ... ).text
        'The capital of the country where the Colosseum stands is'
    """

    first: str
    bridge: str
    second: str
    answer: str
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("first", "bridge", "second", "answer"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise StudyError(
                    f"A question has no {name}.",
                    got=f"{name}={value!r}",
                    expected="a phrase, what it means, a second step, and an answer",
                    instead=_EXAMPLE,
                )
        aliases = self.aliases
        listed = isinstance(aliases, list | tuple)
        if not listed or not all(isinstance(a, str) and a.strip() for a in aliases):
            raise StudyError(
                "The aliases of a question are no list of texts.",
                got=repr(aliases),
                expected="other right answers, or none",
                instead='aliases=["EUR"]',
            )
        object.__setattr__(self, "aliases", tuple(aliases))
        if self.second.count("{}") != 1:
            raise StudyError(
                "The second step of a question does not say where the first one stands.",
                got=repr(self.second),
                expected="{} exactly once",
                instead="'The capital of {} is'",
            )

    @property
    def text(self) -> str:
        """The whole question."""
        return self.asked(self.first)

    @property
    def answers(self) -> tuple[str, ...]:
        """All that is right."""
        return (self.answer, *self.aliases)

    def asked(self, about: str) -> str:
        """The second step about something."""
        return self.second.replace("{}", about)


_NAMES: Final = tuple(field.name for field in fields(Question))


@checks.door(StudyError)
def questions(path: str | Path | None = None, *, limit: int | None = None) -> list[Question]:
    """Questions of a file, or those that come with lensscope.

    Args:
        path: a ``.json`` with a list of objects ``{"first": …, "bridge": …, "second": … with {},
            "answer": …, "aliases": […]}``.
        limit: only so many.

    Raises:
        StudyError: no such file, a field that is missing, no question.

    Example:
        >>> ls.studies.questions(limit=1)[0].second
        'The capital city of {} is'
    """
    if path is None:
        text = files("lensscope.studies").joinpath("data/multihop.json").read_text("utf-8")
        rows: list[Any] = read_json(text)
    else:
        rows = _read(path_of(path))
    found = [_question(row, n, path) for n, row in enumerate(rows)]
    return found[:limit]


def _read(path: Path) -> list[Any]:
    try:
        rows = read_json(path.read_text(encoding="utf-8-sig"))
        if not isinstance(rows, list):
            raise ValueError("no list")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise StudyError(
            f"{path} holds no questions.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a JSON list of objects with {', '.join(_NAMES)}, in UTF-8",
            instead="ls.studies.questions() for those that come with lensscope",
        ) from error
    if not rows:
        raise StudyError(
            f"{path} holds no questions.",
            got="an empty list",
            expected="at least two",
            instead='[{"first": …, "bridge": …, "second": …, "answer": …, "aliases": []}, …]',
        )
    return rows


def _question(row: Any, number: int, path: str | Path | None) -> Question:
    known = isinstance(row, Mapping)
    lacking = [name for name in _NAMES[:-1] if not known or name not in row]
    if lacking:
        raise StudyError(
            f"A question of {path} lacks its {lacking[0]}.",
            got=f"question {number}: {row!r}"[:200],
            expected=f"the fields {', '.join(_NAMES)}; aliases may be left out",
            instead="these names in each object",
        )
    given = {name: row[name] for name in _NAMES if name in row}
    if isinstance(given.get("aliases"), list):
        given["aliases"] = tuple(given["aliases"])
    return Question(**given)


def unrelated(given: Sequence[Question], seed: int) -> list[int]:
    """For each question another one with no phrase, bridge or answer in common, if possible one
    that asks the same second step, so that its answer is wrong here; each about as often.

    Raises:
        StudyError: some question has no such other.
    """
    order = np.random.default_rng(seed).permutation(len(given)).tolist()
    own = [{t.casefold() for t in (q.first, q.bridge, *q.answers)} for q in given]
    found = [0] * len(given)
    for n, item in enumerate(order):
        rest = [order[(n + step) % len(order)] for step in range(1, len(order))]
        apart = [other for other in rest if not own[item] & own[other]]
        alike = [other for other in apart if given[other].second == given[item].second]
        if not apart:
            raise StudyError(
                "The control with another question needs questions of different answers.",
                got=f"{given[item].text!r}, and {len(given) - 1} others with the same phrase, "
                "bridge or answer",
                expected="at least two questions that have nothing in common",
                instead="more questions",
            )
        found[item] = (alike or apart)[0]
    return found
