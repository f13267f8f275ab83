"""How a patchscope writes states into its inspection prompt."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from lensscope.model.backend import Backend
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.values.operations import Map
from lensscope.values.patches import Patch
from lensscope.values.sites import Site
from lensscope.values.transforms import BySite


@runtime_checkable
class Writer(Protocol):
    """What inspecting, and the lens, ask of a `Patchscope`."""

    @property
    def inspection(self) -> InspectionPrompt:
        """The target prompt."""

    @property
    def write(self) -> Site:
        """The kind of site that is written; with a layer, always that layer."""

    @property
    def read(self) -> Site | None:
        """The kind of site that is read; ``None`` for the kind that is written."""

    @property
    def transform(self) -> Map | BySite | None:
        """The map from what is read to what is written."""

    @property
    def model(self) -> Any:
        """The target model; ``None`` for the source model."""

    @property
    def mix(self) -> float:
        """How far the placeholder's state is replaced."""

    @property
    def match_norm(self) -> bool:
        """Whether what is written gets the length of what it replaces."""

    def mapped(
        self, state: Float[Tensor, " d_in"], target: Backend, site: Site | None
    ) -> Float[Tensor, " d_out"]:
        """What is written of a state read at a site."""

    def patch(self, site: Site, value: Float[Tensor, " d_out"]) -> Patch:
        """The write of a value at a place."""

    def check_width(self, here: Backend, target: Backend, width: int, read: int) -> None:
        """Refuse what is too wide or too narrow for where it is written."""

    def check_models(self, here: Backend, target: Backend) -> None:
        """Refuse to go from one model to another without a map."""
