"""Which layers states are read at and written at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, SupportsIndex, TypeAlias

from lensscope.errors import SiteError
from lensscope.model.backend import Backend
from lensscope.values.sites import Site

TargetLayers: TypeAlias = Literal["same", "all"] | Iterable[SupportsIndex]


def layers_of(backend: Backend, kind: Site, layers: Iterable[SupportsIndex] | None) -> list[int]:
    """Layers in range and not negative, in the order asked for, each once."""
    if layers is not None and (isinstance(layers, int | str) or not list(layers)):
        raise SiteError(
            "These are not layers.",
            got=repr(layers),
            expected="a list of layers, at least one",
            instead="layers=[3, 5]",
        )
    sites = [kind] if layers is None else [kind(layer) for layer in layers]
    found = [site.layer for s in sites for site in backend.concrete(s)]
    return list(dict.fromkeys(layer for layer in found if layer is not None))


def targets_of(backend: Backend, write: Site, layer: int, target_layers: TargetLayers) -> list[int]:
    """The layers that a state of a layer is written at.

    Args:
        backend: the target model.
        write: the kind of site that is written; with a layer, always that layer.
        layer: where the state was read.
        target_layers: ``"same"``, ``"all"``, or a list.

    Raises:
        SiteError: out of range.
    """
    if write.layer is not None:
        return layers_of(backend, write.whole, [write.layer])
    if target_layers == "same":
        return layers_of(backend, write.whole, [layer])
    wanted = None if isinstance(target_layers, str) else target_layers
    return layers_of(backend, write.whole, wanted)


def check_targets(
    write: Site, target_layers: TargetLayers, vector_layers: Iterable[SupportsIndex] | None
) -> None:
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
            expected='"same", "all" or a list of layers',
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
            got=f"layers={list(vector_layers)}, target_layers={target_layers!r}",
            expected="one of the two",
            instead="target_layers=[3, 5]",
        )
