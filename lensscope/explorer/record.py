"""What was asked and answered, as it is saved, opened and put into a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lensscope.errors import FileError
from lensscope.store.json_text import conform, plain

FORMAT: Final = "lensscope explorer"
VERSION: Final = 1
_SHAPE: Final = {
    "format": str,
    "version": int,
    "about": {"model": {"name": str, "fingerprint": str}, "libraries": {str: str}},
    "state": {str: (str, int, float, bool, list, dict, None)},
    "answers": [{"question": {"kind": str}, "parts": [dict]}],
}


def record_of(
    about: Mapping[str, Any], state: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What is saved: who answered, what was on the screen, and all answers."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "about": {**about, "live": False},
        "state": dict(state),
        "answers": list(answers),
    }


def checked(given: Any) -> dict[str, Any]:
    """A record from JSON.

    Raises:
        FileError: it is none.
    """
    try:
        given = plain(given)
        conform(given, _SHAPE, "the record")
        if given["format"] != FORMAT or given["version"] != VERSION:
            raise ValueError(f"it is {given['format']!r}, version {given['version']}")
    except (ValueError, TypeError, RecursionError) as error:
        raise FileError(
            "This is nothing that the explorer saved.",
            got=str(error),
            expected=f"{FORMAT!r}, version {VERSION}",
            instead="the file that its Save button wrote",
        ) from None
    return record_of(given["about"], given["state"], given["answers"])
