"""Safetensors files with a header of our own, and a checksum of that and of each tensor."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.errors import LensscopeError
from lensscope.store.files import aside, path_of, refused
from lensscope.store.json_text import conform, json_text, read_json

_HEADER: Final = "lensscope"
_SUMS: Final = "lensscope-checksums"


class DamagedError(ValueError):
    """A file that is not as it was written; whoever reads it says what it should have been."""


def write_tensors(
    path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor], *, sweeps: bool = True
) -> Path:
    """Write tensors with a header, so that what is at ``path`` is whole.

    Raises:
        FileError: the disk is full, or refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    text = json_text(header, indent=None)
    sums = {"header": _sum(text.encode()), "tensors": {n: checksum(t) for n, t in tensors.items()}}
    metadata = {_HEADER: text, _SUMS: json_text(sums, indent=None)}
    with aside(path, sweeps=sweeps) as new:
        try:
            save_file(dict(tensors), new, metadata=metadata)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            raise refused(path, int(number[1]) if number else None, str(error)) from error
    return path


def checksum(tensor: Tensor) -> str:
    """Of a tensor's numbers, with their type and shape."""
    told = zlib.crc32(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return _sum(flat.view(torch.uint8).numpy().data if flat.numel() else b"", told)


def _sum(content: bytes | memoryview, before: int = 0) -> str:
    return f"{zlib.crc32(content, before):08x}"


@dataclass(frozen=True, eq=False)
class TensorFile:
    """A file of tensors whose header was read; each tensor is read when asked for.

    It stays the file that it was: found after a change of the working folder, and refused once
    something else is written to its path.

    Attributes:
        path: where it is, from the root.
        header: what was written with the tensors.
        shapes: of the tensors, by name.
        sums: their checksums, by name; empty for a file without.
        state: which file it was, and when it was last written.
    """

    path: Path
    header: Any
    shapes: Mapping[str, tuple[int, ...]]
    sums: Mapping[str, str]
    state: tuple[int, ...]
    _seen: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, path: str | Path) -> TensorFile:
        """Read the header of a file.

        Raises:
            DamagedError: no such file, no safetensors, no header of ours, or one that was changed.
            FileError: no path.
        """
        from safetensors import SafetensorError, safe_open

        place = path_of(path)
        try:
            place = Path(os.path.abspath(place))
            state = _state(place)
            with safe_open(place, framework="pt") as file:
                metadata = file.metadata() or {}
                shapes = {n: tuple(file.get_slice(n).get_shape()) for n in file.keys()}  # noqa: SIM118
            text = metadata[_HEADER]
            header = read_json(text)
            sums: dict[str, Any] = {"tensors": {}}
            if _SUMS in metadata:
                sums = read_json(metadata[_SUMS])
                conform(sums, {"header": str, "tensors": {str: str}}, "the checksums")
                if sums["header"] != _sum(text.encode("utf-8", "surrogatepass")):
                    raise ValueError("the header is not as it was written")
                if sums["tensors"].keys() != shapes.keys():
                    raise ValueError("the tensors are not those that were written")
        except KeyError as error:
            raise DamagedError(f"a safetensors file without the field {error}") from error
        except (OSError, SafetensorError, ValueError, TypeError) as error:
            raise DamagedError(f"{type(error).__name__}: {error}"[:300]) from error
        return cls(place, header, shapes, sums["tensors"], state)

    def read(self, name: str) -> Tensor:
        """One tensor, in memory of its own.

        Raises:
            DamagedError: it is not there, or not as it was written or when the file was opened.
        """
        from safetensors import SafetensorError, safe_open

        try:
            same = _state(self.path) == self.state
            if not same and not self.sums:
                raise DamagedError("it was written anew since it was opened")
            with safe_open(self.path, framework="pt") as file:
                # not a view of the file, which may change
                found: Tensor = file.get_tensor(name).clone()
        except (OSError, SafetensorError) as error:
            raise DamagedError(f"{type(error).__name__}: {error}"[:300]) from error
        if self.sums and not (same and name in self._seen):
            if self.sums.get(name) != checksum(found):
                raise DamagedError(
                    f"tensor {name!r} is not as it was written"
                    if same
                    else "it was written anew since it was opened"
                )
            if same:
                self._seen.add(name)
        return found


def read_tensors(path: str | Path, form: str = "", **shape: Any) -> tuple[Any, dict[str, Tensor]]:
    """The header and all tensors of a file.

    Raises:
        DamagedError: no such file, or not as it was written.
        FileError: no path.
    """
    file = TensorFile.open(path)
    held = {name: file.read(name) for name in sorted(file.shapes)}
    if form:
        conform(file.header, {"format": str, **shape}, "the header")
        if file.header["format"] != form:
            raise DamagedError(f"format {file.header['format'][:80]!r}")
    return file.header, held


def read_kind(
    path: Path,
    form: str,
    kind: str | None,
    what: str,
    error: type[LensscopeError],
    *,
    instead: str,
    other: Callable[[str], str] = lambda _: "another file",
) -> tuple[Any, dict[str, Tensor]]:
    """The header and tensors of a file of one kind.

    Args:
        path: of the file.
        form: what its header says of its format.
        kind: what its header must say of its kind; whatever it likes if not given.
        what: what it should be, in a word.
        error: what is raised.
        instead: what to do where it is none.
        other: what to do where it is of the kind that is given.

    Raises:
        LensscopeError: of the kind asked for: no such file, not whole, or of another kind.
    """
    try:
        header, held = read_tensors(path, form, kind=str)
    except ValueError as wrong:
        raise error(
            f"{path} is not a {what}, or not whole.",
            got=f"{type(wrong).__name__}: {wrong}"[:400],
            expected=f"a safetensors file of format {form}, as it was written",
            instead=instead,
        ) from wrong
    if kind is not None and header["kind"] != kind:
        there = header["kind"][:80]
        raise error(
            f"{path} holds something else.", got=there, expected=kind, instead=other(header["kind"])
        )
    return header, held


def _state(path: Path) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
