"""The hooks that patch and read a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lensscope.engine.batch import Batch
from lensscope.engine.states import KeptStates
from lensscope.errors import SiteError
from lensscope.model.backend import Backend
from lensscope.model.layouts import site_at
from lensscope.model.passing import Hook, StopForward
from lensscope.values.site_kinds import KINDS, Place


def hooks_for(
    backend: Backend, batch: Batch, states: KeptStates | None = None, *, stop_early: bool = False
) -> dict[Any, list[Hook]]:
    """The hooks that patch and read a batch; at each place, writes come before reads.

    Args:
        backend: the model.
        batch: the rows; the hooks follow it as it shrinks and moves on.
        states: what is to be read.
        stop_early: end the forward once everything is read.
    """
    hooks: dict[Any, list[Hook]] = {}
    written = batch.written
    read = {(s.kind, s.layer) for s in states.sites} if states is not None else set()
    order = list(KINDS)

    def patch(place: Place) -> Hook:
        layout = backend.layout(place)

        def hook(tensor: Tensor) -> Tensor | None:
            patched = batch.patched(place, layout.by_axes(tensor))
            return None if patched is None else layout.as_given(patched)

        return hook

    def take(place: Place, states: KeptStates) -> Hook:
        layout = backend.layout(place)

        def hook(tensor: Tensor) -> None:
            tensor = layout.by_axes(tensor)
            states.take(place, tensor.detach() if states.detach else tensor, batch)
            if stop_early and states.done:
                raise StopForward

        return hook

    for place in sorted(written | read, key=lambda p: (p[1] or 0, order.index(p[0]))):
        functions = hooks.setdefault(backend.hook_point(site_at(place)), [])
        if place in written and (place[0] != "resid_mid" or backend.writes_resid_mid):
            functions.append(patch(place))
        if place in read and states is not None:
            functions.append(take(place, states))
    if not backend.writes_resid_mid:
        for place in sorted(p for p in written if p[0] == "resid_mid"):
            _write_resid_mid(backend, batch, place, hooks)
    return hooks


def _write_resid_mid(
    backend: Backend, batch: Batch, place: Place, hooks: dict[Any, list[Hook]]
) -> None:
    """Make a write at ``resid_mid`` reach the residual stream itself.

    On a bridge the hook point lies behind the branching, on the way to the MLP only. So the MLP's
    input is set to what was written, and what the block gives is made of that and the MLP's output.
    """
    held: dict[str, Tensor] = {}
    layer = place[1]

    def read_pre(resid_pre: Tensor) -> None:
        held["pre"] = resid_pre

    def write(attn_out: Tensor) -> None:
        mid = held.pop("pre") + attn_out
        new = batch.patched(place, mid)
        if new is not None:
            held["new"], held["changed"] = new, new != mid

    def feed_mlp(mlp_in: Tensor) -> Tensor | None:
        return torch.where(held["changed"], held["new"], mlp_in) if "new" in held else None

    def read_mlp(mlp_out: Tensor) -> None:
        held["mlp"] = mlp_out

    def give(resid_post: Tensor) -> Tensor | None:
        mlp_out = held.pop("mlp")
        if "new" not in held:
            return None
        return torch.where(held.pop("changed"), held.pop("new") + mlp_out, resid_post)

    def at(kind: str) -> list[Hook]:
        return hooks.setdefault(backend.hook_point(site_at((kind, layer))), [])

    # After the writes of these places, and before those of what comes from it.
    at("resid_pre").append(read_pre)
    at("attn_out").append(write)
    at("mlp_out").append(read_mlp)
    at("resid_mid").insert(0, feed_mlp)
    at("resid_post").insert(0, give)


def check_reached(places: Iterable[Place], reached: set[Place]) -> None:
    """Refuse a write or read that never happened, such as of a pattern under fused attention.

    Raises:
        SiteError: the forward passed some hook points by.
    """
    missing = [repr(site_at(place)) for place in places if place not in reached]
    if missing:
        raise SiteError(
            "The model ran without passing some of the sites.",
            got=", ".join(missing[:4]),
            expected="a forward through every hook point that is asked for",
            instead='attn_implementation="eager" for attention patterns',
        )
