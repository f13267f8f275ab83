"""Maps on their way back to the raw write, where that is read better still."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lensscope.patchscope.fitting.alignment import RAW, early
from lensscope.patchscope.fitting.lessons import Lessons
from lensscope.patchscope.fitting.scores import measured
from lensscope.patchscope.fitting.speech import Speech
from lensscope.values.transforms import Projection


def blended(
    speech: Speech, lessons: Lessons, maps: Mapping[int, Projection]
) -> dict[int, Projection]:
    """Maps of the first third of the layers, each mixed with the raw write as is best on some
    lessons; the others as they are.

    Early states are what an early block is used to, so that bringing them to a later layer costs
    there what it gives elsewhere.
    """
    found = dict(maps)
    for layer in early(maps, speech.backend.n_layers):
        tried = [mixed(maps[layer], weight) for weight in RAW]
        losses = [measured(speech, lessons, layer, own)[1] for own in tried]
        found[layer] = tried[losses.index(min(losses))]
    return found


def mixed(own: Projection, raw: float) -> Projection:
    """``raw`` times what was read, and the rest of a map.

    Example:
        >>> from lensscope.patchscope.fitting.blending import mixed
        >>> half = mixed(ls.Patchscope.tuned().transform.maps[3], 0.5)
        >>> bool(half(torch.zeros(576)).norm() > 0)
        True
    """
    rest = 1 - raw
    bias = None if own.bias is None else rest * own.bias
    if own.matrix is not None:
        matrix = rest * own.matrix + raw * torch.eye(len(own.matrix))
        return Projection(None, matrix=matrix, bias=bias, normalize=False)
    up, gain = own.up, None if own.gain is None else rest * own.gain
    if up is not None and gain is None:
        up = rest * up
    scale = raw + rest * (own.scale or 0.0)
    return Projection(scale, down=own.down, up=up, bias=bias, normalize=False, gain=gain)
