"""The kinds of place in a model: their hook names and axes, as TransformerLens has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

SiteKindName: TypeAlias = Literal[
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "q",
    "k",
    "v",
    "head_out",
    "pattern",
    "mlp_hidden",
    "embed",
]


@dataclass(frozen=True)
class SiteKind:
    """One kind of place.

    Attributes:
        hook: the name of TransformerLens' hook point within a block (within the model for
            ``embed``).
        axes: the axes of a cached tensor, in order; ``position`` is always the second.
    """

    hook: str
    axes: tuple[str, ...]

    @property
    def has_layer(self) -> bool:
        return self.hook != "hook_embed"

    @property
    def head_axis(self) -> str | None:
        """The axis that ``head=`` chooses from: ``head``, ``kv_head`` or none."""
        return next((axis for axis in self.axes if axis in ("head", "kv_head")), None)


_RESID: Final = ("prompt", "position", "d_model")
_HEADS: Final = ("prompt", "position", "head", "d_head")
_KV_HEADS: Final = ("prompt", "position", "kv_head", "d_head")

KINDS: Final[dict[str, SiteKind]] = {
    "embed": SiteKind("hook_embed", _RESID),
    "resid_pre": SiteKind("hook_resid_pre", _RESID),
    "q": SiteKind("attn.hook_q", _HEADS),
    "k": SiteKind("attn.hook_k", _KV_HEADS),
    "v": SiteKind("attn.hook_v", _KV_HEADS),
    "pattern": SiteKind("attn.hook_pattern", ("prompt", "position", "head", "key")),
    "head_out": SiteKind("attn.hook_z", _HEADS),
    "attn_out": SiteKind("hook_attn_out", _RESID),
    "resid_mid": SiteKind("hook_resid_mid", _RESID),
    "mlp_hidden": SiteKind("mlp.hook_post", ("prompt", "position", "d_mlp")),
    "mlp_out": SiteKind("hook_mlp_out", _RESID),
    "resid_post": SiteKind("hook_resid_post", _RESID),
}
"""All kinds, in the order in which a block computes them."""

Place: TypeAlias = tuple[str, int | None]
"""A kind, and the layer it is at, if it has any."""
