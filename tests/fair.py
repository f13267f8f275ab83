"""Which values of an argument could be meant, and which are two ways to write the same."""

from __future__ import annotations

import decimal
import fractions
import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def plain(value: Any) -> Any:
    """A single number without the array that it came in."""
    single = isinstance(value, np.generic | np.ndarray | torch.Tensor) and value.ndim == 0
    return (
        value.item() if single and getattr(value, "device", None) != torch.device("meta") else value
    )


def whole(least: float, most: float = math.inf) -> Callable[[Any], bool]:
    def fair(value: Any) -> bool:
        value = plain(value)
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return fair


def real(least: float = -math.inf, most: float = math.inf) -> Callable[[Any], bool]:
    def fair(value: Any) -> bool:
        value = plain(value)
        known = isinstance(value, int | float | decimal.Decimal | fractions.Fraction)
        return (
            known
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (least <= value <= most)
        )

    return fair


def flag(value: Any) -> bool:
    return isinstance(plain(value), bool)


def path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and "\0" not in str(value) and str(value) != ""


def words(*known: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in known


def text(value: Any) -> bool:
    return isinstance(value, str)


def function(value: Any) -> bool:
    return callable(value)


FAIR: dict[str, Callable[[Any], bool]] = {
    "prepend_bos": flag,
    "padding_side": words("left", "right"),
    "memory_budget": whole(1),
    "max_new_tokens": whole(0),
    "temperature": real(0),
    "top_p": real(0, 1),
    "top_k": whole(1),
    "seed": whole(0),
    "stop_at_eos": flag,
    "use_cache": flag,
    "grad": flag,
    "full": flag,
    "edges": flag,
    "qk_fix": flag,
    "grad_drop": flag,
    "renormalise": flag,
    "match_norm": flag,
    "only_known": flag,
    "all_tokens": flag,
    "probe": flag,
    "allow_pickle": flag,
    "mix": real(),
    "factor": real(),
    "weight": real(),
    "norm": real(),
    "noise": real(0),
    "samples": whole(1),
    "window": whole(1),
    "ig_steps": whole(1),
    "verify": whole(0),
    "sample": whole(0),
    "subsets": whole(0),
    "random": whole(1),
    "random_draws": whole(0),
    "max_nodes": whole(1),
    "threshold": real(0),
    "top": whole(1),
    "k": whole(1),
    "level": real(0, 1),
    "resamples": whole(1),
    "ridge": real(0),
    "length": whole(1),
    "steps": whole(1),
    "skip_first": whole(0),
    "max_tokens": whole(1),
    "max_pieces": whole(1),
    "rows": whole(1),
    "every": whole(1),
    "n": whole(1),
    "limit": whole(1),
    "checkpoint": path,
    "path": path,
    "direction": words("denoising", "noising"),
    "mlps": words("frozen", "live"),
    "ablation": words("corrupted", "mean"),
    "when": words("prefill", "every_step"),
    "executor": words("local", "ray"),
    "placeholder": text,
    "text": text,
    "name": text,
    "layer": whole(-math.inf),
    "head": whole(-math.inf),
    "dtype": lambda value: isinstance(value, torch.dtype) and value.is_floating_point,
    "device": lambda value: str(value) in ("cpu", "meta"),
    "function": function,
}
"""Whether an argument could be meant; a name that is not here may be many things."""

NO_GAP = {"noise": lambda value: plain(value) == 0}
"""Where the runs do not differ and an effect, a share of what lies between, is NaN, as it says."""

QUIET = {
    *("memory_budget", "padding_side", "use_cache", "stop_at_eos", "prepend_bos", "plan", "seed"),
    *("checkpoint", "path", "resamples", "level", "keep", "temperature", "top_p", "top_k", "out"),
    *("labels", "full", "measures", "targets", "source", "sample", "verify", "occurrence", "name"),
    *("reference", "random", "subsets", "sizes", "every", "value", "beside", "max_tokens", "rows"),
    *("max_pieces", "length", "steps", "words", "qk_fix", "mlps", "edges", "random_draws", "model"),
    *(
        "heads",
        "window",
        "max_nodes",
        "threshold",
        "positions",
        "all_tokens",
        "probe",
        "only_known",
    ),
    *("layers", "target_layers", "match_norm", "mix", "read", "transform", "device", "dtype", "k"),
    *("max_new_tokens", "renormalise", "grad", "when", "top", "skip_first", "ridge", "similarity"),
    *("inspection", "lenses", "entities", "n_positions", "n", "limit", "kinds", "variants"),
}
"""Arguments that need not change what a valid call gives: whether they could be meant is judged by
`FAIR`, and by their kind in `spelling`."""


def spelling(one: Any, other: Any) -> bool:
    """Whether two values are ways to write the same."""
    one, other = _written(one), _written(other)
    try:
        return bool(one == other)
    except Exception:
        return False


def _written(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        parts = [_written(part) for part in itertools.islice(value, 100)]
        # what is named twice is meant once, and one of a kind needs no list
        once = [part for n, part in enumerate(parts) if part not in parts[:n]]
        return once[0] if len(once) == 1 and len(parts) > 1 else once
    return value
