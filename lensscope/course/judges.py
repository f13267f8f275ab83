"""Judges of answers: each says whether an answer is right, or what is off, and never the answer.

A judge is called with the exercise's number and the answer, and gives None if it is right, else a
remark. What is right is sealed (`lensscope.course.sealing`), or worked out from the answer itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lensscope.course.plain import plain
from lensscope.course.sealing import unseal


class Judge(Protocol):
    """What says whether an answer is right."""

    def __call__(self, number: str, answer: Any) -> str | None:
        """None if it is right, else what is off."""


@dataclass(frozen=True)
class Number:
    """A number, within a tolerance.

    Args:
        sealed: the right one.
        within: how far off still counts, in the same unit.
        known: remarks on numbers that are got by a mistake, by the number, sealed.
        unit: of what it is, for the remarks.
    """

    sealed: str
    within: float = 0.0
    known: Mapping[str, str] = field(default_factory=dict)
    unit: str = "a number"

    def __call__(self, number: str, answer: Any) -> str | None:
        found = plain(answer)
        while isinstance(found, list) and len(found) == 1:
            found = found[0]
        if isinstance(found, bool) or not isinstance(found, int | float):
            return f"The answer is {self.unit}: one number, not {_kind(found)}."
        if not math.isfinite(found):
            return f"The answer is {self.unit}, and {found} is none."
        right = unseal(number, self.sealed)
        if abs(found - right) <= self.within:
            return None
        for wrong, remark in self.known.items():
            if abs(found - unseal(number, wrong)) <= self.within:
                return remark
        return f"That is too {'large' if found > right else 'small'}."


@dataclass(frozen=True)
class Word:
    """A word or a short text; case, and space at its ends, do not count.

    Args:
        sealed: the right one, or a list of those that are right.
        known: remarks on words that are given by mistake, by the word, sealed.
        otherwise: what is said of any other word.
    """

    sealed: str
    known: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "That is not it."

    def __call__(self, number: str, answer: Any) -> str | None:
        found = plain(answer)
        if not isinstance(found, str):
            return f"The answer is a text, not {_kind(found)}."
        right = unseal(number, self.sealed)
        if _folded(found) in map(_folded, [right] if isinstance(right, str) else right):
            return None
        for wrong, remark in self.known.items():
            if _folded(found) == _folded(unseal(number, wrong)):
                return remark
        return self.otherwise


@dataclass(frozen=True)
class Items:
    """A collection, in any order: heads as pairs of numbers, layers, tokens.

    Args:
        sealed: a list of the right ones.
        each: what one of them is, in words: ``"a pair (layer, head)"``.
        known: remarks on a collection that is got by a mistake, by the collection, sealed.
    """

    sealed: str
    each: str
    known: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, number: str, answer: Any) -> str | None:
        found = plain(answer)
        if not isinstance(found, list):
            return f"The answer is a list, each of it {self.each}; this is {_kind(found)}."
        right = unseal(number, self.sealed)
        given, wanted = {_text(each) for each in found}, {_text(each) for each in right}
        if given == wanted:
            return None
        kinds = {_kind(each) for each in right}
        if any(_kind(each) not in kinds for each in found):
            return f"Each of them is {self.each}."
        for wrong, remark in self.known.items():
            if given == {_text(each) for each in unseal(number, wrong)}:
                return remark
        hits, parts = len(given & wanted), list[str]()
        if more := len(given - wanted):
            parts.append(f"{more} of yours {'does' if more == 1 else 'do'} not belong")
        if lacks := len(wanted - given):
            parts.append(f"{lacks} {'is' if lacks == 1 else 'are'} missing")
        return f"{hits} of yours {'is' if hits == 1 else 'are'} right; {' and '.join(parts)}."


@dataclass(frozen=True)
class Numbers:
    """A list of numbers in order, or numbers by name.

    Args:
        sealed: the right ones, a list or a dict.
        within: how far off still counts.
        known: remarks on lists or dicts that are got by a mistake, by these, sealed.
    """

    sealed: str
    within: float = 0.0
    known: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, number: str, answer: Any) -> str | None:
        found, right = plain(answer), unseal(number, self.sealed)
        if type(found) is not type(right):
            wanted = "numbers by name (a dict)" if isinstance(right, dict) else "a list of numbers"
            return f"The answer is {wanted}, not {_kind(found)}."
        if isinstance(right, dict):
            if missing := sorted(set(right) - set(found)):
                return f"There is no {missing[0]!r} in it."
            found = {name: found[name] for name in right}
        elif len(found) != len(right):
            return f"It has {len(found)} numbers, and should have {len(right)}."
        off = self._off(found, right)
        if not off:
            return None
        for wrong, remark in self.known.items():
            if not self._off(found, unseal(number, wrong)):
                return remark
        return f"{len(right) - len(off)} of {len(right)} are right; look at {off[0]}."

    def _off(self, found: Any, right: Any) -> list[str]:
        """What is not right, by its name or place."""
        if isinstance(right, dict):
            return [name for name in right if not self._near(found[name], right[name])]
        pairs = enumerate(zip(found, right, strict=True))
        return [f"number {n}, counted from 0" for n, (a, b) in pairs if not self._near(a, b)]

    def _near(self, one: Any, other: float) -> bool:
        return isinstance(one, int | float) and abs(one - other) <= self.within


@dataclass(frozen=True)
class Function:
    """A function that students write, tried on some arguments.

    Args:
        cases: makes pairs of arguments and the right result; called once an answer is there.
        within: how far off numbers may be.
        said: what each case is, for the remarks.
    """

    cases: Callable[[], Sequence[tuple[tuple[Any, ...], Any]]]
    within: float = 1e-4
    said: Sequence[str] = ()

    def __call__(self, number: str, answer: Any) -> str | None:
        if not callable(answer):
            return (
                f"The answer is a function, not {_kind(plain(answer))}: give it without calling it."
            )
        for n, (arguments, right) in enumerate(self.cases()):
            where = self.said[n] if n < len(self.said) else f"case {n + 1}"
            try:
                found = answer(*arguments)
            except Exception as error:
                return f"On {where} it raises {type(error).__name__}: {str(error)[:200]}"
            if found is None:
                return f"On {where} it gives nothing: is there a return?"
            if remark := _unlike(plain(found), plain(right), self.within):
                return f"On {where}, {remark}"
        return None


@dataclass(frozen=True)
class Holds:
    """Whatever has the properties that were asked for.

    Args:
        conditions: what must hold of the answer, each with what is said where it does not; later
            ones are asked only where all before them hold.
    """

    conditions: Sequence[tuple[Callable[[Any], Any], str]]

    def __call__(self, number: str, answer: Any) -> str | None:
        for holds, remark in self.conditions:
            try:
                right = bool(holds(answer))
            except Exception as error:
                return f"{remark} (It raises {type(error).__name__}: {str(error)[:200]})"
            if not right:
                return remark
        return None


def _unlike(found: Any, right: Any, within: float) -> str | None:
    """What is off about a result, or None."""
    if isinstance(right, list):
        if not isinstance(found, list) or len(found) != len(right):
            length = f"{len(found)} long" if isinstance(found, list) else _kind(found)
            return f"the result should be {len(right)} long, and is {length}."
        remarks = (_unlike(a, b, within) for a, b in zip(found, right, strict=True))
        return next((remark for remark in remarks if remark), None)
    if isinstance(right, bool) or not isinstance(right, int | float):
        same = type(found) is type(right) and found == right
        return None if same else f"the result is another one ({_kind(found)})."
    if isinstance(found, bool) or not isinstance(found, int | float):
        return f"the result should be a number, and is {_kind(found)}."
    if math.isnan(found) or abs(found - right) > within:
        return f"the result is too {'large' if found > right else 'small'} ({found:.4g})."
    return None


def _folded(text: str) -> str:
    return text.strip().casefold()


def _text(value: Any) -> str:
    return _folded(value) if isinstance(value, str) else repr(value)


def _kind(value: Any) -> str:
    """What a value is, in a student's words."""
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    names = {int: "a whole number", float: "a number", str: "a text", dict: "a dict"}
    return names.get(type(value), "nothing" if value is None else f"a {type(value).__name__}")
