"""Progress bars: on standard error, only where a person looks, only for what takes long; and told
to whoever watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from tqdm.std import tqdm

_quiet = False
Watcher: TypeAlias = Callable[[float, float, str], None]
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
_alone: ContextVar[bool] = ContextVar("alone", default=False)


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar that is left by its ``with`` block alone."""

    # tqdm closes a bar once more when it dies, in Python, where an interrupt would be lost: what
    # a finalizer raises is ignored. This one is run by the interpreter itself, and does nothing.
    __del__ = object.__init__
    what = ""
    done: float = 0

    def update(self, n: float | None = 1) -> bool | None:
        watcher = _watcher.get()
        if watcher is not None:
            self.done += n or 0
            watcher(self.done, self.total or 0, self.what)
        return super().update(n)


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
    bar = _Bar(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        delay=8 if notebook else 2,
        leave=False,
        disable=True if _quiet or _alone.get() else False if notebook else None,
    )
    bar.what, bar.done = what, initial
    return bar


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell how far each bar has come that moves in this ``with`` block, shown or not.

    Args:
        watcher: called with what is done, with how much there is, and with what it is; where it
            raises, the work ends there.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def one_bar() -> Iterator[None]:
    """Let no other bar show itself, within a loop that has its own."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)
