"""A TransformerLens model, seen through what lensscope needs of it.

A `Backend` gives a model one small, uniform face: its numbers, its hook points, one forward over a
stretch of tokens with a key-value cache, and its provenance. It never changes the model. This file,
`lensscope.model.classes`, its caches in `lensscope.model.key_values`, and the hooks of
`lensscope.model.passing` and `lensscope.model.attaching` are all that knows how TransformerLens
runs.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.errors import SiteError
from lensscope.model import attaching, trials
from lensscope.model.key_values import KeyValues
from lensscope.model.layouts import Layout
from lensscope.model.passing import Hook, StopForward, partly, shown
from lensscope.model.structure import structure_of
from lensscope.model.trials import Way
from lensscope.model.weights import fingerprint
from lensscope.values.provenance import Provenance, versions_here
from lensscope.values.site_kinds import KINDS, Place
from lensscope.values.sites import Site

TokenBatch: TypeAlias = Int[Tensor, "row pos"]


class Backend(ABC):
    """A TransformerLens model, seen through what lensscope needs of it."""

    writes_resid_mid: bool = True
    """Whether a write at ``hook_resid_mid`` reaches the residual stream itself."""

    def __init__(self, model: Any) -> None:
        self.model = model
        cfg = model.cfg
        self.n_layers = int(cfg.n_layers)
        self.n_heads = int(cfg.n_heads)
        self.n_kv_heads_told = int(getattr(cfg, "n_key_value_heads", None) or cfg.n_heads)
        self.d_model = int(cfg.d_model)
        self.d_head = int(cfg.d_head)
        self.d_vocab = int(cfg.d_vocab)
        self.n_ctx: int | None = int(cfg.n_ctx) if getattr(cfg, "n_ctx", None) else None
        self.tokenizer: Any = getattr(model, "tokenizer", None)
        self.default_prepend_bos = bool(getattr(cfg, "default_prepend_bos", False))
        self._structure = structure_of(model)
        self.points: Mapping[str, Any] = dict(self._structure.points)
        # A model may be spread over several.
        self.devices = {p.device for _, p in self._structure.named}
        self.device: torch.device = self._structure.first.device
        self.dtype: torch.dtype = self._structure.first.dtype

    # ---------------------------------------------------------------- sites

    @property
    def n_kv_heads(self) -> int:
        """Key-value heads, as keys show them; some configurations say nothing of them."""
        keys = (x.shape[0] for p, x in trials.layouts(self).items() if p[0] == "k" and x.shape)
        return next(keys, self.n_kv_heads_told)

    def concrete(self, site: Site) -> list[Site]:
        """The site at each layer that it means, with layer and head in range and not negative.

        Without a layer, it means every layer that has it: blocks may be of several kinds.

        Raises:
            SiteError: layer or head out of range, or a kind that the model lacks.
        """
        kind, head = KINDS[site.kind], site.head
        layers: list[int | None] = [None]
        if site.layer is not None:
            what, instead = f"Layer {site.layer}", f"ls.{site.kind}({self.n_layers - 1})"
            layers = [_in_range(site.layer, self.n_layers, what, instead)]
        elif kind.has_layer:
            layers = [n for n in range(self.n_layers) if not self.why_not(site.kind, n)]
        found = []
        for layer in layers or [0]:
            shape = self._layout(site.kind, layer).shape
            if head is not None:
                what = f"Head {site.head} of {site.kind}"
                head = _in_range(head, shape[0], what, f"ls.{site.kind}(0, 0)")
            found.append(Site(site.kind, layer, head, site.position, site.occurrence))
        return found

    def each_head(self, site: Site) -> list[Site]:
        """The site of each head, where one means all of them; else the site itself."""
        axis = KINDS[site.kind].head_axis
        if axis is None or site.head is not None:
            return [site]
        heads = range(self.n_heads if axis == "head" else self.n_kv_heads)
        return [dataclasses.replace(site, head=head) for head in heads]

    def why_not(self, kind: str, layer: int | None) -> str:
        """Why there is no such site at a layer; empty if there is."""
        layout = trials.layouts(self).get((kind, layer))
        if layout is not None:
            return layout.why_not
        name = KINDS[kind].hook if layer is None else f"blocks.{layer}.{KINDS[kind].hook}"
        return "its forward passes that by" if name in self.points else "it has none"

    def _layout(self, kind: str, layer: int | None) -> Layout:
        """How a site's activations lie.

        Raises:
            SiteError: the model has no such site there.
        """
        why = self.why_not(kind, layer)
        if why:
            here = {k for (k, _), layout in trials.layouts(self).items() if not layout.why_not}
            there = [
                str(n) for (k, n), x in trials.layouts(self).items() if k == kind and not x.why_not
            ]
            raise SiteError(
                f"This model has no {kind}" + (f" at layer {layer}." if layer is not None else "."),
                got=f"{self.name}: {why}",
                expected=f"one of its sites: {', '.join(k for k in KINDS if k in here)}"
                + (f"; {kind} is at layers {', '.join(there)}" if there else ""),
                instead="another kind (blocks of parallel attention and MLP lack resid_mid)",
            )
        return trials.layouts(self)[kind, layer]

    def layout(self, place: Place) -> Layout:
        """How a site's activations lie in the tensor that its hook point gives."""
        return self._layout(*place)

    def hook_point(self, site: Site) -> Any:
        """TransformerLens' hook point of a site.

        Raises:
            SiteError: the model has no such hook point.
        """
        hook = KINDS[site.kind].hook
        name = hook if site.layer is None else f"blocks.{site.layer}.{hook}"
        if name not in self.points:
            self._layout(site.kind, site.layer)  # which says why
        return self.points[name]

    def shape(self, site: Site, n_positions: int, n_keys: int) -> tuple[int, ...]:
        """``[position, …]``: the shape of one prompt's activations at a site."""
        rest = self.layout((site.kind, site.layer)).shape
        if site.head is not None:
            rest = rest[1:]
        return (n_positions, *(n_keys if n < 0 else n for n in rest))

    # ---------------------------------------------------------------- runs

    why_no_cache: str = ""
    """Why keys and values cannot stand for what came before; empty if they may."""

    @abstractmethod
    def new_key_values(self, rows: int) -> KeyValues:
        """An empty key-value cache."""

    def ways(self, about: Literal["cache", "mask"] | None) -> tuple[Way, ...]:
        """The ways to call the model with keys and values, with a mask, or plainly, in the order in
        which they are tried; plainly there are two."""
        return (Way(), Way()) if about is None else (Way(),)

    @abstractmethod
    def call(
        self,
        tokens: TokenBatch,
        way: Way,
        *,
        mask: Int[Tensor, "row all"] | None = None,
        key_values: KeyValues | None = None,
    ) -> Float[Tensor, "picked columns d_vocab"]:
        """One pass, called in this way; see `forward`."""

    def length_class(self, length: int) -> int:
        """Equal for lengths of prompts whose positions are told in the same way: rotary factors
        may depend on the longest position of a batch."""
        return 0

    def why_no_steps(self, length: int, new: int = 0) -> str:
        """Why a prompt of this length cannot be run in parts, or gone on from by so many tokens,
        with keys and values of what came before; empty if it can."""
        trial, _ = trials.key_value_cache(self)
        if not trial.holds:
            return f"the key-value cache does not hold what came before: {trial.seen}"
        if self.length_class(length) != self.length_class(length + new):
            return "its rotary factors change on the way"
        return ""

    @property
    def why_not_padded(self) -> str:
        """Why prompts of different lengths cannot share a batch; empty if they can."""
        trial, _ = trials.padding(self)
        return "" if trial.holds else f"padding changes what a prompt gives: {trial.seen}"

    def forward(
        self,
        tokens: TokenBatch,
        *,
        mask: Int[Tensor, "row all"] | None = None,
        key_values: KeyValues | None = None,
    ) -> Float[Tensor, "picked columns d_vocab"]:
        """One pass over a stretch of tokens, after those already in ``key_values``.

        Args:
            tokens: ``[row, pos]``.
            mask: ``[row, past + pos]``, 0 where a token is padding; ``None`` if none is.
            key_values: what came before; extended in place.
        """
        _, way = trials.plain(self)
        if mask is not None:
            way = dataclasses.replace(way, positions=trials.padding(self)[1].positions)
        if key_values is not None:
            way = dataclasses.replace(way, renamed=trials.key_value_cache(self)[1].renamed)
        return self.call(tokens, way, mask=mask, key_values=key_values)

    def passage(self, function: Callable[[], Tensor]) -> Tensor:
        """Call a function that runs the model, or a part of it, with the hooks that are attached.

        Everything that runs the model goes through here: elsewhere, attached hooks do nothing. One
        passage of a model runs at a time; another thread's waits.

        Raises:
            ModelError: waiting would never end.
        """
        return attaching.passage(self.model, function)

    def attached(self, hooks: Mapping[Any, Sequence[Hook]]) -> AbstractContextManager[None]:
        """Hooks on hook points, in the passages of this thread in a ``with`` block.

        The user's own hooks come first, and are neither removed nor reordered. What holds when an
        exception comes at whatever instruction: see `lensscope.model.attaching`.
        """
        return attaching.Hooked(self.model, shown(hooks))

    def run(
        self,
        tokens: TokenBatch,
        *,
        mask: Int[Tensor, "row all"] | None = None,
        key_values: KeyValues | None = None,
        enter: Callable[[int, Tensor], Tensor] | None = None,
        pick: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "picked columns d_vocab"] | None:
        """A forward whose batch may grow on its way up, and of which only a part is unembedded.

        Args:
            tokens: ``[row, pos]``.
            mask: as in `forward`.
            key_values: as in `forward`.
            enter: given a layer and what goes into that block, or, with the number of layers, what
                comes out of the last one; gives what is to go on in its place.
            pick: what is unembedded of the last residual; without it, the forward ends before.

        Returns:
            logits, or ``None`` if the forward has ended before them.
        """

        with partly(self.model, enter, pick), suppress(StopForward):
            return self.forward(tokens, mask=mask, key_values=key_values)
        return None

    @property
    def has_own_hooks(self) -> bool:
        """Whether there are hooks on the model that are not lensscope's."""
        hooks = (p._forward_hooks for p in self.points.values())
        return any(attaching.are_own(held) for held in hooks if held)

    def alone(self) -> AbstractContextManager[None]:
        """None of the user's hooks act in a ``with`` block's passages, to try something out."""
        return attaching.Alone(self.model, self.points.values())

    # ---------------------------------------------------------------- identity

    @property
    def name(self) -> str:
        """The name the model goes by."""
        return str(getattr(self.model.cfg, "model_name", None) or type(self.model).__name__)

    @property
    @abstractmethod
    def processing(self) -> Literal["raw", "folded"]:
        """Whether the weights are as trained, or folded and centred: another basis."""

    @cached_property
    def _fingerprint(self) -> str:
        """Of the weights; looked at once a call, for a backend is made for each."""
        return fingerprint(self.model, self._structure)

    def provenance(self, tokens: Sequence[Sequence[int]] = ()) -> Provenance:
        """What a result must carry to be told apart from another model's."""
        return Provenance(
            model=self.name,
            backend=type(self.model).__name__,
            fingerprint=self._fingerprint,
            processing=self.processing,
            dtype=str(self.dtype).removeprefix("torch."),
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            tokens=tuple(tuple(int(i) for i in row) for row in tokens),
            versions=versions_here(),
        )


def _in_range(number: int, size: int, what: str, instead: str) -> int:
    if not -size <= number < size:
        raise SiteError(
            f"{what} is out of range.",
            got=number,
            expected=f"{-size} to {size - 1}",
            instead=instead,
        )
    return number % size
