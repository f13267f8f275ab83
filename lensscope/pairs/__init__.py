"""Pairs of clean and corrupted prompts for activation patching: made, read from files, checked.

Example:
    >>> pairs = ls.pairs.ioi(model, 2, corruption="s2")
    >>> len(pairs.clean), list(pairs.positions)
    (2, ['IO', 'S1', 'S1+1', 'S2', 'end'])
"""

from __future__ import annotations

from lensscope.pairs.data import Pairs, check
from lensscope.pairs.files import from_csv, from_jsonl
from lensscope.pairs.tasks import TASKS, country_capital, gendered_pronoun, greater_than, ioi

__all__ = [
    "TASKS",
    "Pairs",
    "check",
    "country_capital",
    "from_csv",
    "from_jsonl",
    "gendered_pronoun",
    "greater_than",
    "ioi",
]


def __dir__() -> list[str]:
    return __all__
