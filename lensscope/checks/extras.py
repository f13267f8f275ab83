"""Libraries that come with an extra, and what is said where they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lensscope.errors import LensscopeError


@contextmanager
def needing(
    extra: str, what: str, expected: str, error: type[LensscopeError], otherwise: str = ""
) -> Iterator[None]:
    """Imports that stand in the ``with`` block are of an extra.

    Args:
        extra: its name.
        what: what is missing without it.
        expected: the library.
        error: what is raised.
        otherwise: what may be written to do without it.
    """
    try:
        yield
    except ImportError as missing:
        raise error(
            what,
            got=str(missing),
            expected=expected,
            instead=f"pip install 'lensscope[{extra}]'" + (otherwise and f", or {otherwise}"),
        ) from missing
