"""Lenses as safetensors files: a header with all but the numbers, written aside. Never pickle."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.errors import LensError
from lensscope.store.checkpoints import check_checkpoint
from lensscope.store.files import path_of, room_for
from lensscope.store.tensors import read_kind, write_tensors

_FORMAT: Final = "lensscope-lens-1"
_TRUST: Final = (
    "allow_pickle=True, if you trust where it comes from: even then only tensors and plain values "
    "are read"
)
_SAVED: Final = (
    "a file that lens.save(path) wrote; or, with allow_pickle=True, ls.TunedLens.load(folder) for "
    "one of the tuned-lens library, ls.JacobianLens.load('lens.pt') for one of TransformerLens"
)


def save(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write a lens or a checkpoint; what is at ``path`` is replaced only once all is written.

    Raises:
        LensError: a folder.
        FileError: the disk is full, or refuses.
    """
    path = path_of(path)
    instead = f"lens.save({str(path / 'lens.safetensors')!r})"
    room_for(path, "A lens is saved in a file.", instead, LensError)
    # each on its own: safetensors refuses tensors that share memory
    whole = {n: tensor.detach().cpu().contiguous().clone() for n, tensor in tensors.items()}
    return write_tensors(path, {"format": _FORMAT, **header}, whole)


def load(path: Path, kind: str | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and tensors that `save` wrote.

    Args:
        path: the file.
        kind: what it must hold.

    Raises:
        LensError: no such file, not whole, a pickle, not a lens, or one of another kind.
        FileError: no path.
    """
    path = path_of(path)
    refuse_pickle(path, _SAVED)

    def other(there: str) -> str:
        lens = there.endswith("Lens")
        return f"ls.{there[:80]}.load({str(path)!r})" if lens else "another file"

    instead = "lens.save(path) writes one; fit again what is damaged"
    return read_kind(path, _FORMAT, kind, "lens", LensError, instead=instead, other=other)


def resume(
    path: Path | None,
    kind: str,
    settings: Mapping[str, Any],
    what: str,
    like: Mapping[str, Tensor],
    counts: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """A checkpoint to go on from: its header and tensors; ``None`` if there is none yet.

    Args:
        path: the file.
        kind: what it must hold.
        settings: what must be the same as in its header.
        what: what it is a checkpoint of.
        like: tensors that it must have, of the same shapes and types.
        counts: numbers that its header must have.

    Raises:
        LensError: it cannot be read, lacks something, or is of other settings, with what differs.
        FileError: no path.
    """
    if path is None:
        return None
    path = path_of(path)
    if not path.exists():
        return None
    header, tensors = load(path, kind)
    check_checkpoint(path, what, header, tensors, settings, like, LensError, counts)
    return header, tensors


def refuse_pickle(path: Path, instead: str = _TRUST) -> None:
    """Refuse a file that would have to be unpickled; what cannot be read is left to others.

    Raises:
        LensError: it is one.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return
    # one header of safetensors in 32 begins with pickle's own first byte
    safe = start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size - 8
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and not safe):
        raise LensError(
            f"{path} has pickle in it, which could run any code, and is not opened.",
            got="a file of torch.save or pickle",
            expected="safetensors",
            instead=instead,
        )


def load_pickled(path: Path, *, allow_pickle: bool) -> Any:
    """Tensors and plain values of a file that ``torch.save`` wrote.

    Raises:
        LensError: not allowed, or not such a file, or one with more in it.
        FileError: no path.
    """
    path = path_of(path)
    if not allow_pickle:
        refuse_pickle(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:
                damaged = parts.testzip()  # torch does not look at the checksums
            if damaged is not None:
                raise ValueError(f"{damaged} is not as it was written")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever it stumbles over
        said = (str(error).splitlines() or ["an empty file"])[0]
        raise LensError(
            f"{path} cannot be read.",
            got=f"{type(error).__name__}: {said[:200]}",
            expected="a whole file of torch.save with nothing but tensors and plain values",
            instead="the file as it was published",
        ) from error
