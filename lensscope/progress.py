"""Progress bars: on standard error, only where a person looks, only after two seconds."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm

_quiet = False


def be_quiet(quiet: bool = True) -> None:
    """Switch all progress bars of lensscope off (or on again)."""
    global _quiet
    _quiet = quiet


def progress(total: int, what: str, unit: str = "it", *, bytes_: bool = False) -> tqdm[Any]:
    """A bar to be used as a context manager; call ``update(n)`` on it."""
    return tqdm(
        total=total,
        desc=what,
        unit="B" if bytes_ else unit,
        unit_scale=bytes_,
        delay=2,
        leave=False,
        disable=True if _quiet else None,
    )
