"""Logits that are no numbers: refused, with the layer from which on they are none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lensscope.engine.batch import Row
from lensscope.errors import ModelError, PatchError
from lensscope.model.backend import Backend
from lensscope.model.passing import Hook
from lensscope.values.sites import Site


def check_finite(backend: Backend, logits: Tensor, rows: Sequence[Row]) -> None:
    """Refuse logits of a run that hold NaN or infinity, which no text can be chosen by.

    Args:
        backend: the model.
        logits: of some rows.
        rows: what was run.

    Raises:
        ModelError: the model gives such a thing also without patches.
        PatchError: only what is written makes it so.
    """
    largest = float(logits.detach().max()) if logits.numel() else 0.0  # NaN if any of them is
    if math.isfinite(largest) or largest == -math.inf:
        return
    for row in rows:
        layer = _first_layer(backend, row)
        if layer is not None:
            raise _not_finite("The model's own logits are not numbers.", backend, layer)
    raise PatchError(
        "The patched model's logits are not numbers.",
        got=f"NaN or infinity in {_name(backend)}; without patches they are finite",
        expected="values that the model can hold",
        instead="smaller values, or ls.load_model(…, dtype=torch.float32)",
    )


def check_states(backend: Backend, kind: str, states: Mapping[int, Tensor]) -> None:
    """Refuse states that are no numbers.

    Args:
        backend: the model that they were read from.
        kind: of site.
        states: by layer.

    Raises:
        ModelError: with the first layer that has such a state.
    """
    for layer, state in states.items():
        if not bool(torch.isfinite(state).all()):
            raise _not_finite(f"The states of {kind}({layer}) are not numbers.", backend, layer)


def _not_finite(what: str, backend: Backend, layer: int) -> ModelError:
    from_layer = f"from layer {layer} of {backend.name} on"
    where = from_layer if layer < backend.n_layers else f"in the logits of {backend.name}"
    return ModelError(
        what,
        got=f"NaN or infinity {where}, in {_name(backend)}",
        expected="finite numbers",
        instead="ls.load_model(…, dtype=torch.float32), or torch.bfloat16",
    )


def _name(backend: Backend) -> str:
    return str(backend.dtype).removeprefix("torch.")


def _first_layer(backend: Backend, row: Row) -> int | None:
    """The first layer whose residual is not finite without patches; the number of layers if it is
    the logits; ``None`` if all is well."""
    broken: list[int] = []

    def look(layer: int) -> Hook:
        def hook(tensor: Tensor) -> None:
            if not bool(torch.isfinite(tensor).all()):
                broken.append(layer)

        return hook

    points = [backend.hook_point(Site("resid_post", n)) for n in range(backend.n_layers)]
    tokens = torch.tensor([row.prompt.ids], device=backend.device)
    with torch.no_grad(), backend.attached({p: [look(n)] for n, p in enumerate(points)}):
        logits = backend.forward(tokens)
    if broken:
        return min(broken)
    return None if bool(torch.isfinite(logits).all()) else backend.n_layers
