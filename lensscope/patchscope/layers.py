"""Which layers states are read at and written at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, SupportsIndex, TypeAlias

from lensscope.checks import Layers, seen
from lensscope.engine.capture import SitesLike, as_sites
from lensscope.errors import SiteError
from lensscope.model.backend import Backend
from lensscope.values.positions import All
from lensscope.values.sites import Site

LayersLike: TypeAlias = SupportsIndex | Iterable[SupportsIndex] | slice | All | str | None
TargetLayers: TypeAlias = Literal["own", "same"] | LayersLike
"""Of both: ``"all"`` is every layer; of the second, ``"same"`` the one that is read, and ``"own"``
what a patchscope has for itself, which `Patchscope.inspect` looks up."""


def layers_of(backend: Backend, kind: Site, layers: LayersLike) -> list[int]:
    """Layers in range and not negative, in the order asked for, each once.

    Raises:
        SiteError: none, or out of range.
    """
    sites = [kind]
    if layers is not None and layers != "all" and not isinstance(layers, All):
        wanted = [] if isinstance(layers, str) else Layers(layers).among(backend.n_layers)
        if not wanted:
            raise SiteError(
                "These are not layers.",
                got=seen(layers),
                expected="one layer, a list of layers, at least one, or a slice",
                instead="layers=[3, 5], or none for all of them",
            )
        sites = [kind(layer) for layer in wanted]
    found = [site.layer for s in sites for site in backend.concrete(s)]
    return list(dict.fromkeys(layer for layer in found if layer is not None))


def targets_of(
    backend: Backend, write: Site, layer: int, target_layers: TargetLayers, earliest: int = 0
) -> list[int]:
    """The layers that a state of a layer is written at.

    Args:
        backend: the target model.
        write: the kind of site that is written; with a layer, always that layer.
        layer: where the state was read.
        target_layers: ``"same"``, ``"all"``, one or some.
        earliest: the first layer that is the same as any before it.

    Raises:
        SiteError: out of range.
    """
    if write.layer is not None:
        return layers_of(backend, write.whole, [write.layer])
    if target_layers == "same":
        return layers_of(backend, write.whole, [max(layer, earliest)])
    wanted: Any = None if isinstance(target_layers, str) else target_layers
    return layers_of(backend, write.whole, wanted)


def check_targets(write: Site, target_layers: TargetLayers, vector_layers: LayersLike) -> None:
    """Refuse choices of layers that nobody could follow.

    Args:
        write: the kind of site that is written.
        target_layers: what was asked for.
        vector_layers: source layers, of raw vectors, which have none.

    Raises:
        SiteError: no such choice, or two at once.
    """
    if isinstance(target_layers, str) and target_layers not in ("same", "all"):
        raise SiteError(
            "There is no such choice of target layers.",
            got=repr(target_layers),
            expected='"own", "same", "all", one layer, a list or a slice of layers',
            instead="target_layers=[3, 5]",
        )
    if write.layer is not None and target_layers != "same":
        raise SiteError(
            "This patchscope always writes at one layer.",
            got=f"target_layers={target_layers!r}, and write={write!r}",
            expected="no target layers, or write= without a layer",
            instead=f"dataclasses.replace(scope, write=ls.{write.kind})",
        )
    if vector_layers is not None and target_layers != "same":
        raise SiteError(
            "Raw vectors come from no layer.",
            got=f"layers={vector_layers!r}, target_layers={target_layers!r}",
            expected="one of the two",
            instead="target_layers=[3, 5]",
        )


def read_at(backend: Backend, sites: SitesLike, layers: LayersLike) -> tuple[Site, LayersLike]:
    """The kind of site that is read, and its layers, of sites that say both.

    Raises:
        SiteError: sites of several kinds or heads, at a position, or layers besides.
    """
    found = as_sites(sites, backend.n_layers)
    kinds = {Site(site.kind, None, site.head) for site in found}
    if len(kinds) != 1 or layers is not None or any(site.position is not None for site in found):
        raise SiteError(
            "These sites do not say what is read.",
            got=f"{', '.join(map(repr, found[:4])) or 'none'}, layers={layers!r}",
            expected="one kind of site (and one head), at one or several layers",
            instead="sites=[ls.mlp_out(3), ls.mlp_out(5)], position=-1",
        )
    numbers = [site.layer for site in found]
    return kinds.pop(), None if None in numbers else [n for n in numbers if n is not None]
