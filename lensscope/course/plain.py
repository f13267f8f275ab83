"""Answers as plain values: what students have in hand are tensors, arrays, frames and tuples."""

from __future__ import annotations

from typing import Any, Final

LONGEST: Final = 100_000
"""How many numbers an answer may have; what has more is left as it is."""


def plain(answer: Any) -> Any:
    """An answer as numbers, texts, flags, lists and dicts of these, as far as it can be.

    Tensors, arrays and series become (lists of) numbers, sets and tuples become lists, and a list
    of one number stays a list.
    """
    if _long(answer):
        return answer
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu()
    if hasattr(answer, "to_numpy"):
        answer = answer.to_numpy()
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    elif hasattr(answer, "item"):
        answer = answer.item()
    if isinstance(answer, dict):
        return {_key(name): plain(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple | range):
        return [plain(each) for each in answer]
    if isinstance(answer, set | frozenset):
        return sorted((plain(each) for each in answer), key=repr)
    return answer


def _key(name: Any) -> str:
    return str(plain(name))


def _long(answer: Any) -> bool:
    """Whether it is longer than any answer; a text is one thing."""
    if isinstance(answer, str | bytes):
        return False
    numbers = getattr(answer, "numel", None)
    count = numbers() if callable(numbers) else getattr(answer, "size", None)
    if isinstance(count, int):
        return count > LONGEST
    return hasattr(answer, "__len__") and len(answer) > LONGEST
