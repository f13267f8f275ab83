"""Lenses as safetensors files: a header with all but the numbers, written aside. Never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.errors import LensError

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
    """Write a lens or a checkpoint; what is at ``path`` is replaced only once all is written."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise LensError(
            "A lens is saved in a file.",
            got=f"the folder {path}",
            expected="the path of a file",
            instead=f"lens.save({str(path / 'lens.safetensors')!r})",
        )
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = json.dumps({"format": _FORMAT, **header}, default=_plain)
    # each on its own: safetensors refuses tensors that share memory
    whole = {n: tensor.detach().cpu().contiguous().clone() for n, tensor in tensors.items()}
    try:
        save_file(whole, aside, metadata={"lensscope": text})
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _plain(value: Any) -> Any:
    """A number of numpy's or torch's as Python's own."""
    return value.item()


def load(path: Path, kind: str | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and tensors that `save` wrote.

    Args:
        path: the file.
        kind: what it must hold.

    Raises:
        LensError: no such file, not whole, a pickle, not a lens, or one of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if path.is_file():
        refuse_pickle(path, _SAVED)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["lensscope"])
            if header["format"] != _FORMAT or "kind" not in header:
                raise KeyError(header["format"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise LensError(
            f"{path} is not a lens, or not whole.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a safetensors file of format {_FORMAT}",
            instead="lens.save(path) writes one",
        ) from error
    if kind is not None and header["kind"] != kind:
        raise LensError(
            f"{path} holds something else.",
            got=header["kind"],
            expected=kind,
            instead=f"ls.{header['kind']}.load({str(path)!r})"
            if header["kind"].endswith("Lens")
            else "another file",
        )
    return header, tensors


def resume(
    path: Path | None, kind: str, settings: Mapping[str, Any], what: str
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """A checkpoint to go on from: its header and tensors; ``None`` if there is none yet.

    Args:
        path: the file.
        kind: what it must hold.
        settings: what must be the same as in its header.
        what: what it is a checkpoint of.

    Raises:
        LensError: it cannot be read, or is of other settings, with what differs.
    """
    if path is None or not path.exists():
        return None
    header, tensors = load(path, kind)
    before = header["settings"]
    differ = [name for name in settings if before.get(name) != settings[name]]
    if differ:
        raise LensError(
            f"{path} is of another {what}.",
            got=", ".join(f"{name}: {before.get(name)!r}" for name in differ),
            expected=", ".join(f"{name}: {settings[name]!r}" for name in differ),
            instead="the same settings and texts, or another checkpoint=",
        )
    return header, tensors


def refuse_pickle(path: Path, instead: str = _TRUST) -> None:
    """Refuse a file that would have to be unpickled.

    Raises:
        LensError: it is one.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04" or start[:1] == b"\x80":
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
    """
    if not allow_pickle and path.is_file():
        refuse_pickle(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever it stumbles over
        raise LensError(
            f"{path} cannot be read.",
            got=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            expected="a whole file of torch.save with nothing but tensors and plain values",
            instead="the file as it was published",
        ) from error
