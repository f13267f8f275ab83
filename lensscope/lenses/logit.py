"""The logit lens: a state as if it were the last residual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from lensscope.lenses.components import as_residual
from lensscope.lenses.lens import Lens
from lensscope.lenses.places import States
from lensscope.model.backend import Backend
from lensscope.model.head import unembed
from lensscope.values.sites import Site


@dataclass(frozen=True)
class LogitLens(Lens):
    """The model's own final norm and unembedding, on any state (nostalgebraist 2020).

    The norm is recomputed on each state; caps and scales of logits are applied. At the last block's
    output it gives the model's own logits. Of a component it reads what that alone would say.

    Example:
        >>> prompt = "The capital of Japan is the city of"
        >>> reading = ls.LogitLens().read(model, prompt, positions=-1)
        >>> reading.frame()["predicted"].iloc[-10]
        ' Tokyo'
    """

    name: str = "logit lens"

    @property
    def signature(self) -> str:
        """There is only one."""
        return "logit lens"

    @property
    def by_layer(self) -> bool:
        """It reads every layer alike."""
        return False

    def check(self, backend: Backend, sites: Sequence[Site]) -> None:
        """Nothing was fitted: every model and every vector of the residual stream will do."""

    def each(self, backend: Backend, states: States) -> Iterator[tuple[Site, Tensor]]:
        """The logits at each site."""
        for site, values in states.items():
            yield site, unembed(backend, as_residual(backend, site, values))
