"""The fingerprint of a model's weights: a hash of their values, kept while they stay."""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def fingerprint(model: Any) -> str:
    """A hash over names, shapes, sums and norms of all weights.

    Whether it still holds is asked at every call, of a sample of the values: a vector in full, and
    of a matrix so many entries, on a diagonal that winds around, that each row and each column has
    one at least. So what changes a whole tensor, a row, a column or a head is seen, however it was
    written (``.data`` too). A write to single weights is seen where PyTorch counts it or where it
    meets the sample, which it may miss: through ``.data``, one weight in some hundreds is looked
    at. Buffers count for nothing.
    """
    known = _KNOWN.get(model)
    if known is None or not known.modules.are_as_before:
        modules = _Modules(model)
        known = _Known(modules, None, (), "")
    named = known.modules.named
    state = tuple((p.data_ptr(), p._version, p.shape, p.dtype) for _, p in named)
    views = known.views if known.state == state else [_sample(p) for _, p in named]
    sample = _gathered(views)
    if known.state != state or not _same(sample, known.sample):
        known = _Known(known.modules, state, views, weights_hash(named), sample)
        _KNOWN[model] = known
    return known.hash
