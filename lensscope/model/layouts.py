"""What a hook point gives, measured: the axes of each site at each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from lensscope.values.site_kinds import KINDS, Place
from lensscope.values.sites import Site

Backend: TypeAlias = Any
"""A `lensscope.model.backend.Backend`, which stands on this file."""


@dataclass(frozen=True)
class Layout:
    """How a site's activations lie in the tensor that its hook point gives.

    Attributes:
        shape: the sizes of the axes after ``[prompt, position]``, as they are named in
            `SiteKind.axes`; -1 where an axis counts keys.
        why_not: why there is no such thing at this layer; empty if there is.
        given: ``"swapped"`` where heads come before positions; ``"joined"`` where the axes after
            the position are cut otherwise, or not at all; else ``"plain"``.
        own: the sizes after the position in the tensor as it is given.
    """

    shape: tuple[int, ...] = ()
    why_not: str = ""
    given: Literal["plain", "swapped", "joined"] = "plain"
    own: tuple[int, ...] = ()

    def by_axes(self, tensor: Tensor) -> Tensor:
        """``[prompt, position, …]``, a view where that can be."""
        if self.given == "swapped":
            return tensor.transpose(1, 2)
        return tensor.reshape(*tensor.shape[:2], *self.shape) if self.given == "joined" else tensor

    def as_given(self, tensor: Tensor) -> Tensor:
        """The same as the hook point gives it."""
        if self.given == "swapped":
            return tensor.transpose(1, 2)
        return tensor.reshape(*tensor.shape[:2], *self.own) if self.given == "joined" else tensor


@dataclass(frozen=True)
class Survey:
    """What a forward over a few tokens shows of a model's sites.

    Attributes:
        layouts: of each site at each layer.
        not_added: layers whose ``attn_out`` or ``mlp_out`` is not what is added to the residual
            stream, with what is seen instead. TransformerLens' names are aliases on a bridge, and
            some architectures norm or scale outputs before they add them.
        sinks: layers whose attention patterns do not sum to 1, with the smallest sum: the rest goes
            to a sink that is no token.
    """

    layouts: Mapping[Place, Layout]
    not_added: Mapping[int, str]
    sinks: Mapping[int, float]


Seen: TypeAlias = dict[Place, Any]
"""What the hook points of sites gave in a forward."""


def watched(backend: Backend) -> tuple[dict[Any, list[Callable[[Tensor], None]]], Seen]:
    """Hooks that look at every site, and where they put what they see."""
    seen: Seen = {}
    hooks: dict[Any, list[Callable[[Tensor], None]]] = {}
    for kind, what in KINDS.items():
        for layer in range(backend.n_layers) if what.has_layer else [None]:
            name = what.hook if layer is None else f"blocks.{layer}.{what.hook}"
            if name in backend.points:
                hooks.setdefault(backend.points[name], []).append(_keep(seen, (kind, layer)))
    return hooks, seen


def telling_length(backend: Backend, longest: int) -> int:
    """So many tokens, at most, that their number is none of the model's own."""
    numbers = {2, backend.n_heads, backend.d_head, backend.d_model, backend.n_kv_heads_told}
    return next((n for n in range(longest, 4, -1) if n not in numbers), longest)


def surveyed(backend: Backend, seen: Seen, length: int) -> Survey:
    """What two prompts of so many tokens show of a model's sites."""
    found = {place: _layout(backend, place[0], tensor, length) for place, tensor in seen.items()}
    for (kind, layer), tensor in seen.items():
        if kind == "head_out" and found[kind, layer].given == "joined":
            why = _not_made_of_values(seen, found, layer)
            found[kind, layer] = Layout(why_not=why) if why else found[kind, layer]
        mlp = seen.get(("mlp_out", layer)) if kind == "mlp_hidden" else None
        if mlp is not None and tensor.shape == mlp.shape and torch.equal(tensor, mlp):
            found[kind, layer] = Layout(why_not="it is what the MLP gives, not what is inside it")
    usable = {p: seen[p].double() for p, layout in found.items() if not layout.why_not}
    eps = torch.finfo(backend.dtype).eps
    not_added = {n: why for n in range(backend.n_layers) if (why := _not_added(usable, n, eps))}
    sums = {p[1] or 0: float(t.sum(-1).min()) for p, t in usable.items() if p[0] == "pattern"}
    sinks = {n: total for n, total in sums.items() if abs(total - 1) > max(1e-3, 4 * eps)}
    return Survey(found, not_added, sinks)


def _not_added(seen: Mapping[Place, Tensor], layer: int, eps: float) -> str:
    """How far a block's parts are from adding up to what it gives; empty if they do, or if nothing
    can be said."""
    kinds = ("resid_pre", "resid_mid", "attn_out", "mlp_out", "resid_post")
    pre, mid, attn, mlp, post = (seen.get((kind, layer)) for kind in kinds)
    if post is None or mlp is None:
        return ""
    if pre is not None and attn is not None:
        total = pre + attn + mlp
    elif mid is not None:  # a block without attention
        total = mid + mlp
    else:
        return ""
    error = float((total - post).abs().max())
    if error <= 16 * eps * float(post.abs().max() + total.abs().max()):
        return ""
    return f"resid_pre + attn_out + mlp_out differs from resid_post by {error:.2g}"


def _keep(seen: dict[Any, Any], place: object) -> Callable[[Tensor], None]:
    def keep(tensor: Tensor) -> None:
        seen[place] = tensor.detach() if isinstance(tensor, Tensor) else tensor

    return keep


def _layout(backend: Backend, kind: str, tensor: Any, length: int) -> Layout:
    if not isinstance(tensor, Tensor):
        return Layout(why_not=f"its hook point gives a {type(tensor).__name__}, not a tensor")
    size, axes = tuple(tensor.shape), KINDS[kind].axes[2:]
    heads = {"head": {backend.n_heads}, "kv_head": {backend.n_kv_heads_told, backend.n_heads, 1}}
    wrong = Layout(why_not=f"its hook point gives {size} for 2 prompts of {length} tokens")
    if size[:1] != (2,):
        return wrong
    if kind == "pattern":
        fits = size[1:] == (backend.n_heads, length, length)
        return Layout((backend.n_heads, -1), given="swapped") if fits else wrong
    if len(axes) == 1:
        fits = len(size) == 3 and size[1] == length
        fits = fits and (axes != ("d_model",) or kind == "embed" or size[2] == backend.d_model)
        return Layout(size[2:]) if fits else wrong
    known = heads[axes[0]]
    if len(size) == 4 and size[1] == length and size[2] in known:
        return Layout(size[2:])
    if len(size) == 4 and size[2] == length and size[1] in known:
        return Layout((size[1], size[3]), given="swapped")
    if len(size) > 2 and size[1] == length:
        width, n = (
            math.prod(size[2:]),
            backend.n_heads if axes[0] == "head" else backend.n_kv_heads_told,
        )
        # Cut otherwise, they are whatever the values make of them; uncut, one after another.
        if width % n == 0 and (kind == "head_out" or len(size) == 3):
            return Layout((n, width // n), given="joined", own=size[2:])
    return wrong


def _not_made_of_values(
    seen: Mapping[Place, Any],
    found: Mapping[Place, Layout],
    layer: int | None,
) -> str:
    """Why heads that were cut by their number are no heads: each is its pattern times its
    values."""
    places = [("pattern", layer), ("v", layer), ("head_out", layer)]
    if any(place not in found or found[place].why_not for place in places):
        return "its heads cannot be told apart"
    pattern, v, z = (found[place].by_axes(seen[place]).float() for place in places)
    v = v.repeat_interleave(z.shape[2] // v.shape[2], dim=2)
    if v.shape != z.shape:
        return "its heads are as wide as no value"
    made = torch.einsum("bqhk,bkhd->bqhd", pattern, v)
    close = torch.allclose(made, z, rtol=1e-2, atol=1e-2 * float(z.abs().max()))
    return "" if close else "its heads are not their patterns times their values"


def site_at(place: Place) -> Site:
    """The site of a place."""
    return Site(place[0], place[1])
