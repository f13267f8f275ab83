"""What training a patchscope gave, on what it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.patchscope.fitting.lessons import Lessons
from lensscope.patchscope.fitting.speech import Speech
from lensscope.stats.intervals import ratio_interval

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
    nats, apart, tokens = _sums(speech, lessons, layer, own).sum(0).tolist()
    return nats / tokens, apart / tokens


def compared(
    speech: Speech,
    lessons: Lessons,
    maps: Mapping[int, Callable[[Tensor], Tensor]],
    level: float,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """As `scores_on`, with the difference that the map of each layer makes and its interval over
    lessons, each of which is read both ways."""
    rows = []
    for layer, own in maps.items():
        ways = [_sums(speech, lessons, layer, way).numpy() for way in (lambda x: x, own)]
        row: dict[str, Any] = {"layer": layer, "lessons": len(lessons)}
        for n, name in enumerate(("nats", "kl")):
            before, after = (way[:, n] for way in ways)
            tokens = ways[0][:, 2]
            low, high = ratio_interval(
                (after - before)[:, None], tokens[:, None], level, resamples, seed
            )[:, 0]
            means = {"before": before, "after": after, "difference": after - before}
            row |= {f"{name}_{way}": own.sum() / tokens.sum() for way, own in means.items()}
            row |= {f"{name}_difference_low": low, f"{name}_difference_high": high}
        rows.append(row)
    return rows


def _sums(
    speech: Speech, lessons: Lessons, layer: int, own: Callable[[Tensor], Tensor]
) -> Float[Tensor, "lesson 3"]:
    """Of each lesson: nats, the divergence, and its tokens."""
    found = []
    with torch.no_grad():
        for first in range(0, len(lessons), _ROWS):
            some = lessons.some(range(first, min(first + _ROWS, len(lessons))))
            logits = speech.logits(own(some.states[layer]), some.ids, layer).float()
            tokens = torch.tensor([t for ids in some.ids for t in ids], device=logits.device)
            log_q, log_p = logits.log_softmax(-1), speech.log_p(some.last)
            nats = -log_q.gather(-1, tokens[:, None])[:, 0]
            apart = (log_p.exp() * (log_p - log_q)).sum(-1)
            each = torch.stack([nats, apart, torch.ones_like(nats)], 1).double().cpu()
            lengths = [len(ids) for ids in some.ids]
            found += [rows.sum(0) for rows in torch.split(each, lengths)]
    return torch.stack(found)
