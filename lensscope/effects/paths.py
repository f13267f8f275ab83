"""The measuring of path patching: each sender, seen by each receiver alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from lensscope.effects.grid import Cell
from lensscope.effects.measuring import Both
from lensscope.effects.pairing import groups_of
from lensscope.effects.receivers import ReceiversLike, check_order, precedes, receivers_of
from lensscope.effects.sending import Paths
from lensscope.effects.sweeping import How, Measured, Sweep
from lensscope.engine.capture import SitesLike
from lensscope.errors import SiteError
from lensscope.values.prompts import PromptsLike

_SENDERS: Final = ("embed", "head_out", "attn_out", "mlp_out")
_AT_ONCE: Final = 1 << 26
"""So many numbers of what senders write are held at a time."""


def measured_paths(
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    senders: SitesLike,
    receivers: ReceiversLike,
    metric: Any,
    how: How,
    mlps: Literal["frozen", "live"],
    checkpoint: str | Path | None = None,
) -> Measured:
    """What `path_patching` finds, with its arguments, errors and warnings."""
    sweep = Sweep.of(model, clean, corrupted, senders, metric, how)
    backend = sweep.backend
    groups_of(sweep.pairs, None)  # which refuses prompts of different lengths
    wrong = [kind for kind in sweep.grid.kinds if kind not in _SENDERS]
    if wrong:
        raise SiteError(
            "These sites do not send.",
            got=", ".join(wrong),
            expected="what is written into the residual stream: " + ", ".join(_SENDERS),
            instead="senders=[ls.head_out, ls.mlp_out]",
        )
    named = receivers_of(backend, receivers)
    check_order(backend, list(sweep.grid.cells(1, 1)), receivers)
    several = list(named.values())

    def measure(n: int, runs: Both, cells: list[Cell]) -> tuple[Tensor, float]:
        paths = Paths(backend, runs, live=mlps == "live")
        found = torch.full((len(cells), len(several)), torch.nan)
        sent = [
            (c, r)
            for c, cell in enumerate(cells)
            for r, some in enumerate(several)
            if any(precedes(backend, cell.sites[0], one) for one in some)
        ]
        step = max(1, _AT_ONCE // (len(runs.base) * backend.d_model))
        for first in range(0, len(sent), step):
            part = sent[first : first + step]
            asked = [
                (cells[c].sites[0], sweep.groups[n][cells[c].group], several[r]) for c, r in part
            ]
            found[tuple(torch.tensor(part).T)] = paths.measure(asked)
        return found, runs.corrupted

    return sweep.measured(
        "path patching",
        measure,
        checkpoint,
        {"receiver": tuple(named)},
        mlps=mlps,
        receivers={label: [str(r) for r in some] for label, some in named.items()},
    )
