"""Names of things that even a small language model may have heard of, to train readers on."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.resources import files

from lensscope import checks
from lensscope.errors import LensError


@checks.door(LensError)
def names(*, kinds: Iterable[str] | None = None) -> tuple[str, ...]:
    """Names that come with lensscope, each once, without those of `lensscope.studies.entities`.

    Most begin with a capital, ``Snowy owl``. Those of a kind stand together, the kinds in
    alphabetical order and, in a kind, most of the better known ones first.

    Args:
        kinds: only these, such as ``person``, ``city``, ``animal``; by default all.

    Raises:
        LensError: a kind that is not there, no kind.

    Example:
        >>> from lensscope.patchscope.names import names
        >>> names(kinds=["person"])[0]
        'Tom Hanks'
    """
    held = _held()
    if kinds is None:
        return tuple(name for _, name in held)
    known = list(dict.fromkeys(kind for kind, _ in held))
    wanted = checks.several(kinds, "kinds", 'kinds=["person", "city"]', LensError)
    unknown = [kind for kind in wanted if kind not in known]
    if unknown:
        raise LensError(
            "There are no names of this kind.",
            got=", ".join(map(repr, unknown)),
            expected=", ".join(known),
            instead=f"kinds=[{checks.near(unknown[0], known) or known[0]!r}]",
        )
    return tuple(name for kind, name in held if kind in wanted)


@functools.cache
def _held() -> tuple[tuple[str, str], ...]:
    """The kind and the name of each line of the file."""
    text = files("lensscope.patchscope").joinpath("data/names.txt").read_text("utf-8")
    lines = (line.split("\t") for line in text.splitlines())
    return tuple((kind, name) for kind, name in lines)
