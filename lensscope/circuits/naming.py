"""Names of nodes, receivers and edges, and the sites that they mean."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from lensscope.effects.receivers import LOGITS, Receiver
from lensscope.errors import SiteError
from lensscope.signs import short
from lensscope.values.positions import ALL, PositionLike, span
from lensscope.values.site_kinds import KINDS
from lensscope.values.sites import Site

COMPONENTS: Final = ("head_out", "attn_out", "mlp_out")
"""What can be ablated."""
NODES: Final = (*COMPONENTS, "embed", "resid_pre", "resid_mid", "resid_post")
"""What can be a node of a circuit."""
_NAME: Final = re.compile(
    r"(\w+)(?:\((-?\d+)(?:, (-?\d+))?\))?(?:\.at\((.+?)(?:, occurrence=(-?\d+))?\))?", re.DOTALL
)
_SHORT: Final = {"mlp_out": "MLP", "attn_out": "attention", "embed": "embedding"}

_POSITION: Final = 24
"""Columns of a position in a short name."""
ANYWAY: Final = "dataclasses.replace(circuit, provenance=None) to use it in this model all the same"


def named(one: Receiver) -> str:
    """A site or the logits by name, which `site_named` reads."""
    return one if isinstance(one, str) else repr(one)


def site_named(name: str) -> Receiver:
    """The site of a name such as ``head_out(9, 6)`` or ``mlp_out(3).at('Paris')``; or the logits.

    Raises:
        ValueError: no such name.
    """
    if name == LOGITS:
        return LOGITS
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in KINDS:
        raise ValueError(f"{name[:80]!r} is not the name of a site")
    kind, layer, head, where, occurrence = match.groups()
    site = Site(kind, *(None if n is None else int(n) for n in (layer, head)))
    if where is None:
        return site
    return site.at(_position(where), None if occurrence is None else int(occurrence))


def _position(text: str) -> PositionLike:
    """A position as it prints itself."""
    if text == "ALL":
        return ALL
    if re.fullmatch(r"-?\d*(:-?\d*){1,2}", text):
        return slice(*(int(part) if part else None for part in text.split(":")))
    inner = re.fullmatch(r"span\((.+)\)", text, re.DOTALL)
    try:
        found = ast.literal_eval(inner[1] if inner else text)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text[:80]!r} is not a position") from error
    return span(found) if inner else found


def short_name(one: Receiver, queries_a_key: int = 1) -> str:
    """As in a drawing: ``9.6`` for a head, ``MLP 3``, ``9.6 q``; ``9.6–8 v`` for values that heads
    share."""
    if isinstance(one, str):
        return one
    at = "" if one.position is None else f" at {short(str(one.position), _POSITION)}"
    if one.kind in _SHORT:
        return f"{_SHORT[one.kind]} {'' if one.layer is None else one.layer}".strip() + at
    port = "" if one.kind == "head_out" else f" {one.kind}"
    heads = [end.head for end in owner(one, queries_a_key) if isinstance(end, Site)]
    ends = dict.fromkeys((str(heads[0]), str(heads[-1])))
    head = "" if one.head is None else "." + "–".join(ends)
    return f"{one.layer}{head}{port}{at}"


def check_heads(nodes: Iterable[Site]) -> None:
    """Refuse all heads of a layer as one node.

    Raises:
        SiteError: with the first such node.
    """
    for site in nodes:
        if site.kind == "head_out" and site.head is None:
            raise SiteError(
                "Heads are looked at one by one here.",
                got=f"{site!r}, all heads of the layer",
                expected="a head",
                instead=f"ls.head_out({site.layer}, 0), or ls.attn_out({site.layer})",
            )


def owner(receiver: Receiver, queries_a_key: int = 1) -> list[Receiver]:
    """The nodes that a receiver belongs to: of keys and values, all heads of the group."""
    if isinstance(receiver, str) or receiver.kind not in ("q", "k", "v"):
        return [receiver if isinstance(receiver, str) else _plain(receiver)]
    if receiver.kind == "q" or receiver.head is None:
        return [Site("head_out", receiver.layer, receiver.head)]
    first = receiver.head * queries_a_key
    return [Site("head_out", receiver.layer, head) for head in range(first, first + queries_a_key)]


def _plain(site: Site) -> Site:
    return replace(site, position=None, occurrence=None)


def order_of(site: Site) -> tuple[Any, ...]:
    """As a model computes them."""
    layer = -1 if site.layer is None else site.layer
    return (layer, list(KINDS).index(site.kind), site.head or 0, str(site.position))
