"""Progress bars: on standard error, only where a person looks, only for what takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.std import tqdm

_quiet = False


def be_quiet(quiet: bool = True) -> None:
    """Switch all progress bars of lensscope off (or on again)."""
    global _quiet
    _quiet = quiet


def progress(total: int, what: str, unit: str = "it", initial: int = 0) -> tqdm[Any]:
    """A bar to be used as a context manager; call ``update(n)`` on it.

    It shows itself in a terminal after two seconds, in a notebook (whose file keeps what is shown)
    after eight, and never in a pipe.
    """
    notebook = "ipykernel" in sys.modules
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        delay=8 if notebook else 2,
        leave=False,
        disable=True if _quiet else False if notebook else None,
    )


@contextmanager
def one_bar() -> Iterator[None]:
    """Let no other bar show itself, within a loop that has its own."""
    global _quiet
    before = _quiet
    _quiet = True
    try:
        yield
    finally:
        _quiet = before
