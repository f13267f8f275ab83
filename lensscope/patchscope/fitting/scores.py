"""What training a patchscope gave, on what it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.lenses.training import divergence
from lensscope.patchscope.fitting.lessons import Lessons
from lensscope.patchscope.fitting.speech import Speech

SCORES: Final = ("nats_before", "nats_after", "kl_before", "kl_after")
_ROWS: Final = 32


def scores_on(
    speech: Speech, lessons: Lessons, maps: Mapping[int, Callable[[Tensor], Tensor]]
) -> list[dict[str, Any]]:
    """By layer, with the raw write and with its map: nats a token of what the model itself says,
    and the divergence of its distribution from the reader's."""
    found = []
    for layer, own in maps.items():
        before = measured(speech, lessons, layer, lambda x: x)
        after = measured(speech, lessons, layer, own)
        values = (before[0], after[0], before[1], after[1])
        found.append({"layer": layer, **dict(zip(SCORES, values, strict=True))})
    return found


def measured(
    speech: Speech, lessons: Lessons, layer: int, own: Callable[[Tensor], Tensor]
) -> tuple[float, float]:
    """Nats a token, and the divergence a token."""
    nats = apart = 0.0
    n = 0
    with torch.no_grad():
        for first in range(0, len(lessons), _ROWS):
            some = lessons.some(range(first, min(first + _ROWS, len(lessons))))
            logits = speech.logits(own(some.states[layer]), some.ids, layer)
            tokens = torch.tensor([t for ids in some.ids for t in ids], device=logits.device)
            log_q = logits.float().log_softmax(-1)
            nats -= float(log_q.gather(-1, tokens[:, None]).sum())
            apart += float(divergence(logits.float(), speech.log_p(some.last)))
            n += len(tokens)
    return nats / n, apart / n
