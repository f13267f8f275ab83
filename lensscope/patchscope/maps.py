"""Trained maps from a state to what is written of it, one for each source layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lensscope.errors import BasisError, SiteError
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site
from lensscope.values.transforms import Projection


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """A map for states of each of some layers, as training made them.

    Attributes:
        kind: the kind of site that states were read at.
        maps: by layer.
        model: the model that they were trained on.
    """

    kind: str
    maps: Mapping[int, Projection]
    model: Provenance

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have a map, in order."""
        return tuple(sorted(self.maps))

    def at(self, site: Site) -> Projection:
        """The map of states that were read at a site.

        Raises:
            SiteError: another kind, a head's own, or a layer that was not trained.
        """
        layer = site.layer
        if layer is not None and {site.kind, self.kind} == {"resid_pre", "resid_post"}:
            layer += 1 if self.kind == "resid_pre" else -1  # the same place by its other name
        elif site.kind != self.kind:
            layer = None
        if site.head is None and layer is not None and layer in self.maps:
            return self.maps[layer]
        raise SiteError(
            "This reader was not trained on such states.",
            got=repr(site),
            expected=f"{self.kind} at layers {', '.join(map(str, self.layers))}",
            instead=f"layers={list(self.layers[:3])}",
        )

    def check_maps(self, here: Any, target: Any) -> None:
        """Refuse models of another basis than the one that the maps were trained on.

        Raises:
            BasisError: another width, or weights that were processed in another way.
        """
        own = self.model
        for backend in (here, target):
            found = (backend.d_model, backend.processing)
            if found != (own.d_model, own.processing):
                raise BasisError(
                    "The trained maps are for another basis.",
                    got=f"width {found[0]}, {found[1]} weights, in {backend.name}",
                    expected=f"width {own.d_model}, {own.processing} weights, as in {own.model}",
                    instead=f"ls.load_model(name, processing={own.processing!r})",
                )

    def to(self, dtype: torch.dtype) -> LayerMaps:
        """The same with its numbers in another type: half the size in ``torch.float16``."""
        return LayerMaps(self.kind, {n: m.to(dtype) for n, m in self.maps.items()}, self.model)

    def rounded(self) -> LayerMaps:
        """The same with numbers of low-rank maps rounded, which take a quarter of the room."""
        return LayerMaps(self.kind, {n: m.rounded() for n, m in self.maps.items()}, self.model)

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for maps that do the same."""
        return (self.kind, *((layer, self.maps[layer].signature) for layer in self.layers))

    def __repr__(self) -> str:
        first = repr(self.maps[self.layers[0]])
        return f"maps[{self.kind}, {len(self.maps)} layers, {first} first]"
