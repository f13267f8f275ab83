"""Maps of some layers while they are learnt."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.patchscope.fitting.alignment import Alignment, composed
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.values.transforms import Projection

_OWN: Final = ("scale", "bias")
"""What each layer has for itself, whatever it shares."""


class Learnt:
    """Maps of some layers on their way from where they begin.

    States ``x`` of each layer are first brought to another, its anchor (see `Alignment`), and then
    mapped as ``(1 + a) x + s * (M ((x - m) / s) + b)``, with the typical size ``s`` of each entry,
    so that one learning rate does for entries that differ a thousandfold. ``M`` is the same for all
    layers, each of which has its own ``a`` and ``b``; all begin at zero. Where layers are written
    at several, nothing is shared: each has its ``M``.

    Args:
        samples: states by layer of the same items, some items at a time; what is typical is taken
            from the first of them.
        anchors: the layers that are learnt, and what the states of each are brought to; itself, if
            nothing is.
        settings: of the training.
        apart: whether each layer learns by itself.
        device: where to learn.
    """

    def __init__(
        self,
        samples: Callable[[], Iterable[Mapping[int, Float[Tensor, "row d"]]]],
        anchors: Mapping[int, int],
        settings: FitSettings,
        device: torch.device,
        *,
        apart: bool,
    ) -> None:
        first = next(iter(samples()))
        states = {layer: first[layer] for layer in anchors}
        self.apart = apart
        self.states, self.rank, self.most = states, settings.keep_rank, settings.clip
        n, d = len(states), next(iter(states.values())).shape[-1]
        k = n if self.apart else 1
        generator = torch.Generator().manual_seed(settings.seed)
        made = {"scale": torch.zeros(n), "bias": torch.zeros(n, d)}
        if settings.map == "low_rank":
            made["down"] = torch.randn(k, d, settings.rank, generator=generator) / math.sqrt(d)
            made["up"] = torch.zeros(k, d, settings.rank)
        if settings.map == "full":
            made["matrix"] = torch.zeros(k, d, d)
        self.parameters = {name: held.to(device).requires_grad_() for name, held in made.items()}
        references = [first[anchor] for anchor in anchors.values()][:k]
        aligned = Alignment.none(n, d)
        if settings.start == "aligned" and any(n != anchor for n, anchor in anchors.items()):
            aligned = Alignment.of(samples(), anchors)
        self.aligned = aligned.to(device)
        self.middle = torch.stack([held.float().median(0).values for held in references])
        # 1.48 medians, which a few enormous states do not move
        sizes = [
            1.4826 * (held.float() - middle).abs().median(0).values
            for held, middle in zip(references, self.middle, strict=True)
        ]
        self.size = torch.stack(sizes).clamp_min(1e-4)
        self.best = {n: held.detach().clone() for n, held in self.parameters.items()}

    def _place(self, n: int) -> int:
        """Where what layers may share is kept, for one of them."""
        return n if self.apart else 0

    def written(
        self, states: Float[Tensor, "row d"], at: Int[Tensor, " row"]
    ) -> Float[Tensor, "row d"]:
        """What is written of states, by the places of their layers; of one layer where each learns
        apart."""
        held, place = self.parameters, self._place(int(at[0]))
        brought = torch.einsum("nd,ned->ne", states, self.aligned.matrices[at])
        brought = brought + self.aligned.biases[at]
        size = self.size[place]
        own = (brought - self.middle[place]) / size
        out = held["bias"][at]
        if "down" in held:
            out = out + own @ held["down"][place] @ held["up"][place].mT
        if "matrix" in held:
            out = out + own @ held["matrix"][place].mT
        return brought * (1 + held["scale"][at])[:, None] + size * out

    def follow(self, gradients: Sequence[Tensor]) -> None:
        """Set gradients, shortened where they are too long: all as one, or those of each layer."""
        rows = [gradient.reshape(len(gradient), -1).square().sum(1) for gradient in gradients]
        if self.apart:
            norms = torch.stack(rows).sum(0).sqrt()
        else:
            norms = torch.cat(rows).sum().sqrt()[None]
        fit = (self.most / (norms + 1e-6)).clamp(max=1)
        for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
            parameter.grad = gradient * fit.reshape(-1, *[1] * (gradient.ndim - 1))

    def keep(self, places: Sequence[int]) -> None:
        """Keep what is learnt so far as the best: of the layers at these places, or, where layers
        share, all of it if there is any."""
        if places:
            kept = list(places) if self.apart else slice(None)
            for name, held in self.parameters.items():
                self.best[name][kept] = held.detach()[kept]

    def maps(self) -> dict[int, Projection]:
        """The best maps so far by layer, in the coordinates of the states."""
        return {
            layer: self._map(n, states) for n, (layer, states) in enumerate(self.states.items())
        }

    def _map(self, n: int, states: Float[Tensor, "row d"]) -> Projection:
        place = self._place(n)
        held = {name: own[n if name in _OWN else place].cpu() for name, own in self.best.items()}
        brought = (self.aligned.matrices[n].cpu(), self.aligned.biases[n].cpu())
        typical = (self.middle[place].cpu(), self.size[place].cpu())
        return composed(held, brought, typical, self.rank, states)
