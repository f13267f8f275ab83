"""Where in a model: the kinds of place, their axes, and their hook names.

``ls.resid_post`` is a site without a layer, which means every layer wherever sites are taken;
``ls.resid_post(12)`` is that layer; ``ls.resid_post(12).at("Wales")`` one token of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, SupportsIndex, TypeAlias

from lensscope.checks import INDEX, door, seen, whole_number
from lensscope.errors import PositionError, SiteError
from lensscope.values.patches import Writable
from lensscope.values.positions import Position, PositionLike, Span, as_position

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


@dataclass(frozen=True)
class Site(Writable):
    """Where in the model: a kind and a layer, optionally a head and a position.

    Attributes:
        kind: one of `KINDS`.
        layer: counted in blocks from 0, negative from the end; ``None`` means every layer.
        head: for ``q``, ``k``, ``v``, ``head_out`` and ``pattern``; ``None`` means all heads. ``k``
            and ``v`` count key-value heads, which are fewer under grouped-query attention.
        position: see `lensscope.values.positions`; ``None`` means every token.
        occurrence: which match of a substring is meant, counted over all of them, those inside
            words too.

    Raises:
        SiteError: an unknown kind, or a head at a kind without heads.

    Example:
        >>> ls.resid_post(12).at("Wales")
        resid_post(12).at('Wales')
        >>> ls.head_out(3, 5)
        head_out(3, 5)
    """

    kind: SiteKindName
    layer: int | None = None
    head: int | None = None
    position: Position | None = None
    occurrence: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise SiteError(
                "There is no such kind of site.",
                got=repr(self.kind),
                expected=", ".join(KINDS),
                instead="ls.resid_post(12)",
            )
        if self.layer is not None and not KINDS[self.kind].has_layer:
            raise SiteError(
                f"{self.kind} has no layers.",
                got=f"layer {self.layer}",
                expected="no layer",
                instead=f"ls.{self.kind}, or ls.resid_pre({self.layer})",
            )
        if self.head is not None and KINDS[self.kind].head_axis is None:
            raise SiteError(
                f"{self.kind} has no heads.",
                got=f"head {self.head}",
                expected="a head at q, k, v, head_out or pattern only",
                instead=f"ls.head_out({self.layer}, {self.head})",
            )
        for name in ("layer", "head"):
            value = getattr(self, name)
            if value is not None and type(value) is not int:
                object.__setattr__(self, name, self._whole_number(value, name))
        if self.position is not None:
            object.__setattr__(self, "position", as_position(self.position))
        if self.occurrence is not None:
            found = whole_number(self.occurrence, "occurrence", -INDEX, 0, PositionError)
            object.__setattr__(self, "occurrence", found)
            if not isinstance(self.position, str | Span):
                raise PositionError(
                    "Only a substring has occurrences.",
                    got=f"position {self.position!r}, occurrence={self.occurrence}",
                    expected="a substring or span(…) with occurrence=",
                    instead=f"site.at({self.position!r})",
                )

    @door(SiteError)
    def __call__(
        self, layer: SupportsIndex | None = None, head: SupportsIndex | None = None
    ) -> Site:
        """The same kind at a layer (and a head).

        Raises:
            SiteError: not whole numbers.
        """
        return replace(
            self,
            layer=self.layer if layer is None else self._whole_number(layer, "layer"),
            head=self.head if head is None else self._whole_number(head, "head"),
        )

    def _whole_number(self, value: Any, name: str) -> int:
        try:
            return whole_number(value, name, -INDEX, 3, SiteError)
        except SiteError:
            raise SiteError(
                f"The {name} of a site is one whole number.",
                got=seen(value),
                expected="an int, or nothing for all of them",
                instead=f"[ls.{self.kind}(l) for l in (3, 4, 5)] for several layers",
            ) from None

    @door(PositionError)
    def at(self, position: PositionLike, occurrence: int | None = None) -> Site:
        """The same site at a position: an int, a slice, a substring, ``span("…")`` or ``ALL``.

        Raises:
            PositionError: not a position.
        """
        return replace(self, position=as_position(position), occurrence=occurrence)

    @property
    def whole(self) -> Site:
        """The same kind and layer, at all heads and positions."""
        return Site(self.kind, self.layer)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of a cached tensor of this site, in order."""
        axes = KINDS[self.kind].axes
        return axes if self.head is None else tuple(a for a in axes if a not in ("head", "kv_head"))

    def __repr__(self) -> str:
        numbers = [str(n) for n in (self.layer, self.head) if n is not None]
        if self.layer is None and self.head is not None:
            numbers = [f"head={self.head}"]
        text = self.kind + (f"({', '.join(numbers)})" if numbers else "")
        if self.position is not None:
            chosen = f", occurrence={self.occurrence}" if self.occurrence is not None else ""
            text += f".at({self.position!r}{chosen})"
        return text


embed: Final = Site("embed")
resid_pre: Final = Site("resid_pre")
resid_mid: Final = Site("resid_mid")
resid_post: Final = Site("resid_post")
attn_out: Final = Site("attn_out")
mlp_out: Final = Site("mlp_out")
q: Final = Site("q")
k: Final = Site("k")
v: Final = Site("v")
head_out: Final = Site("head_out")
pattern: Final = Site("pattern")
mlp_hidden: Final = Site("mlp_hidden")
