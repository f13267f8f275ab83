"""What a checkpoint must be, for the same call to go on from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lensscope.errors import LensscopeError
from lensscope.store.json_text import conform


def check_checkpoint(
    path: Path,
    what: str,
    header: Mapping[str, Any],
    held: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    like: Mapping[str, Tensor],
    error: type[LensscopeError],
    counts: Sequence[str] = (),
) -> None:
    """Refuse a checkpoint that the same call cannot go on from.

    Args:
        path: the file.
        what: what it is a checkpoint of.
        header: what it says of itself.
        held: its tensors.
        settings: what must be the same as in its header.
        like: tensors that it must have, of the same shapes and types.
        error: what is raised.
        counts: numbers that its header must have.

    Raises:
        LensscopeError: of the kind asked for: it lacks something, or is of other settings, with
            what differs.
    """

    def not_whole(got: str, expected: str) -> LensscopeError:
        return error(
            f"{path} is not a whole checkpoint of this {what}.",
            got=got,
            expected=expected,
            instead=f"delete {path}, and the same call begins anew",
        )

    try:
        conform(header, {"settings": dict, **dict.fromkeys(counts, int)}, "the header")
    except ValueError as wrong:
        raise not_whole(str(wrong), "the header that was written") from wrong
    before = header["settings"]
    differ = [name for name in settings if before.get(name) != settings[name]]
    if differ:
        raise error(
            f"{path} is of another {what}.",
            got=", ".join(f"{name}: {before.get(name)!r}" for name in differ),
            expected=", ".join(f"{name}: {settings[name]!r}" for name in differ),
            instead="the same settings and texts, or another checkpoint=",
        )
    for name, own in like.items():
        wanted = f"{tuple(own.shape)}, {own.dtype}"
        got = f"{tuple(held[name].shape)}, {held[name].dtype}" if name in held else "nothing"
        if got != wanted:
            raise not_whole(f"{name}: {got}", f"{name}: {wanted}")
