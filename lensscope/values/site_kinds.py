"""The kinds of place in a model: their hook names and axes, as TransformerLens has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from lensscope.checks import near, seen
from lensscope.errors import SiteError

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

_HOOKS: Final = {kind.hook: name for name, kind in KINDS.items()}
_NEAR: Final = {
    "hook_pos_embed": "embed",
    "hook_attn_in": "resid_pre",
    "ln1.hook_normalized": "resid_pre",
    "attn.hook_attn_scores": "pattern",
    "attn.hook_result": "head_out",
    "hook_mlp_in": "resid_mid",
    "ln2.hook_normalized": "resid_mid",
    "mlp.hook_pre": "mlp_hidden",
    "ln_final.hook_normalized": "resid_post",
}
"""Hook points that are no sites, and the sites that stand beside them."""


def place_of(hook: Any) -> Place:
    """The kind and layer of one of TransformerLens' hook points, by its name.

    Raises:
        SiteError: it is none, or none that is a site.

    Example:
        >>> from lensscope.values.site_kinds import place_of
        >>> place_of("blocks.3.attn.hook_z")
        ('head_out', 3)
    """
    match = re.fullmatch(r"(?:blocks\.(\d{1,9})\.)?(.+)", hook) if isinstance(hook, str) else None
    layer, name = (match[1], match[2]) if match else (None, "")
    kind = _HOOKS.get(name)
    if kind is not None and KINDS[kind].has_layer == (layer is not None):
        return kind, None if layer is None else int(layer)
    known = near(name, [*_HOOKS, *_NEAR, *KINDS]) or ""
    close = (
        kind or _HOOKS.get(known) or _NEAR.get(known) or (known if known in KINDS else "resid_post")
    )
    at = "" if not KINDS[close].has_layer else f"({12 if layer is None else int(layer)})"
    raise SiteError(
        "There is no such kind of site.",
        got=seen(hook),
        expected=f"{', '.join(KINDS)}, or a hook point of one: blocks.12.hook_resid_post",
        instead=f"ls.{close}{at}",
    )
