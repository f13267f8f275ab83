"""Checkpoints of sweeps: what is measured so far, in a file that the same call goes on from.

The header says the format of lens files, as it always has: older files and newer ones are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.errors import CheckpointError
from lensscope.progress import one_bar, progress
from lensscope.store.checkpoints import check_checkpoint
from lensscope.store.files import room_for
from lensscope.store.tensors import read_kind, write_tensors

_FORMAT: Final = "lensscope-lens-1"


def measured_each(
    pairs: int,
    shape: tuple[int, ...],
    one: Callable[[int], tuple[Tensor, float, float]],
    what: str,
    path: Path | None,
    settings: Mapping[str, Any],
) -> Mapping[str, Tensor]:
    """Measure the pairs that are not measured yet; a checkpoint is written after each.

    Args:
        pairs: how many there are.
        shape: of the numbers of a pair.
        one: measures a pair: its numbers, and the metric of its clean and its corrupted run.
        what: what is measured, for the bar and the checkpoint.
        path: of the checkpoint, if there is one.
        settings: by which the same call is known.

    Returns:
        ``values``, ``clean``, ``corrupted`` and ``done``, ``[pair, …]``.

    Raises:
        CheckpointError: a file that cannot be gone on from.
        FileError: the disk is full, or refuses.
    """
    held: Mapping[str, Tensor] = {
        "values": torch.full((pairs, *shape), torch.nan),
        "done": torch.zeros(pairs, dtype=torch.bool),
        "clean": torch.full((pairs,), torch.nan),
        "corrupted": torch.full((pairs,), torch.nan),
    }
    if path is not None:
        held = _resumed(path, what, settings, held)

    def measure(n: int) -> None:
        held["values"][n], held["clean"][n], held["corrupted"][n] = one(n)
        held["done"][n] = True
        if path is not None:
            _save(path, what, settings, held)

    left = [n for n in range(pairs) if not held["done"][n]]
    if pairs == 1 and left:  # whose own sweep has a bar
        measure(0)
    elif left:
        with progress(pairs, what, "pair", initial=pairs - len(left)) as bar, one_bar():
            for n in left:
                measure(n)
                bar.update(1)
    return held


def _save(path: Path, what: str, settings: Mapping[str, Any], held: Mapping[str, Tensor]) -> None:
    """Write what is measured; what is at ``path`` is replaced only once all is written."""
    instead = f"checkpoint={str(path / 'checkpoint.safetensors')!r}"
    room_for(path, "A checkpoint is kept in a file.", instead, CheckpointError)
    write_tensors(path, {"format": _FORMAT, "kind": what, "settings": dict(settings)}, held)


def _resumed(
    path: Path, what: str, settings: Mapping[str, Any], like: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """What was measured before, in the shapes and types of ``like``, which it is if there is no
    such file yet."""
    if not path.exists():
        return like
    instead = f"delete {path}, and the same call begins anew"
    header, held = read_kind(path, _FORMAT, what, "checkpoint", CheckpointError, instead=instead)
    check_checkpoint(path, what, header, held, settings, like, CheckpointError)
    return {name: held[name] for name in like}
