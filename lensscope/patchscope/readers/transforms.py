"""Transforms as a file has them: what they are in words, and their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from torch import Tensor

from lensscope.errors import LensError
from lensscope.patchscope.maps import LayerMaps
from lensscope.store.json_text import conform
from lensscope.values.provenance import HEADER as PROVENANCE
from lensscope.values.provenance import Provenance
from lensscope.values.transforms import Affine, Projection, ScaledTo, identity

_MAP: Final = {"kind": str, "scale": (int, float, None), "normalize": bool}
_LAYERS: Final = {"kind": str, "site": str, "model": PROVENANCE, "maps": {str: _MAP}}


def told_of(own: Any) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """A transform in words, and its tensors.

    Raises:
        LensError: a function, which no file can hold.
    """
    if own is None:
        return None, {}
    if own is identity:
        return {"kind": "identity"}, {}
    if isinstance(own, ScaledTo):
        return {"kind": "scaled_to", "norm": own.norm}, {}
    if isinstance(own, Affine):
        return {"kind": "affine"}, {"transform.matrix": own.matrix, "transform.bias": own.bias}
    if isinstance(own, Projection):
        return _projection(own, "transform")
    if isinstance(own, LayerMaps):
        each = {layer: _projection(own.maps[layer], f"transform.{layer}") for layer in own.layers}
        told = {
            "kind": "layers",
            "site": own.kind,
            "model": asdict(own.model),
            "maps": {str(layer): one[0] for layer, one in each.items()},
        }
        return told, {name: held for one in each.values() for name, held in one[1].items()}
    raise LensError(
        "This patchscope cannot be saved: it has something in it that no file can hold.",
        got=f"transform={own!r}",
        expected="no transform, or ls.affine, ls.scaled_to, ls.identity, or a trained map",
        instead="a lens by its own lens.save(path); dataclasses.replace(scope, transform=None)",
    )


def transform_of(told: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]) -> Any:
    """The transform that a file holds.

    Raises:
        KeyError, TypeError, ValueError: not whole.
    """
    if told is None:
        return None
    if told["kind"] == "layers":
        conform(told, _LAYERS, "the maps")
        maps = {
            int(layer): Projection(**_rest(one), **_under(f"transform.{layer}.", tensors))
            for layer, one in told["maps"].items()
        }
        return LayerMaps(told["site"], maps, Provenance.from_header(told["model"]))
    held = _under("transform.", tensors)
    kinds = {"affine": Affine, "scaled_to": ScaledTo, "projection": Projection}
    return identity if told["kind"] == "identity" else kinds[told["kind"]](**_rest(told), **held)


def _projection(own: Projection, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    told = {"kind": "projection", "scale": own.scale, "normalize": own.normalize}
    return told, {f"{name}.{part}": held for part, held in own.tensors.items()}


def _rest(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "kind"}


def _under(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The tensors whose names start like this, by the rest of their names."""
    return {n.removeprefix(start): held for n, held in tensors.items() if n.startswith(start)}
