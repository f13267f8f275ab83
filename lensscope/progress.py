"""Progress bars: on standard error, only where a person looks, only for what takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.std import tqdm

_quiet = False


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar that is left by its ``with`` block alone."""

    # tqdm closes a bar once more when it dies, in Python, where an interrupt would be lost: what
    # a finalizer raises is ignored. This one is run by the interpreter itself, and does nothing.
    __del__ = object.__init__


def be_quiet(quiet: bool = True) -> None:
    """Switch all progress bars of lensscope off (or on again)."""
    global _quiet
    _quiet = quiet


def progress(total: int, what: str, unit: str = "it", initial: int = 0) -> _Bar:
    """A bar to be used as a context manager; call ``update(n)`` on it.

    It shows itself in a terminal after two seconds, in a notebook (whose file keeps what is shown)
    after eight, and never in a pipe.
    """
    notebook = "ipykernel" in sys.modules
    return _Bar(
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
