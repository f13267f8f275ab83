"""Names of nodes, receivers and edges, and the sites that they mean."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from lensscope.patching.paths import LOGITS, Receiver
from lensscope.sites import KINDS, Site

_NAME: Final = re.compile(r"(\w+)(?:\((?:head=)?(-?\d+)?(?:, (-?\d+))?\))?(?:\.at\((.+)\))?")
_SHORT: Final = {"mlp_out": "MLP", "attn_out": "attention", "embed": "embedding"}


def named(one: Receiver) -> str:
    """A site or the logits by name, which `site_named` reads."""
    return one if isinstance(one, str) else repr(one)


def site_named(name: str) -> Receiver:
    """The site of a name such as ``head_out(9, 6)`` or ``mlp_out(3).at(4)``; or the logits.

    Raises:
        ValueError: no such name.
    """
    if name == LOGITS:
        return LOGITS
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in KINDS:
        raise ValueError(f"{name!r} is not the name of a site")
    kind, layer, head, where = match.groups()
    site = Site(kind, *(None if n is None else int(n) for n in (layer, head)))  # type: ignore[arg-type]
    if where is None:
        return site
    text = where.strip("'\"")
    return site.at(int(where) if re.fullmatch(r"-?\d+", where) else text)


def short_name(one: Receiver) -> str:
    """As in a drawing: ``9.6`` for a head, ``MLP 3``, ``9.6 q``."""
    if isinstance(one, str):
        return one
    at = "" if one.position is None else f" at {one.position}"
    if one.kind in _SHORT:
        return f"{_SHORT[one.kind]} {'' if one.layer is None else one.layer}".strip() + at
    port = "" if one.kind == "head_out" else f" {one.kind}"
    head = "" if one.head is None else f".{one.head}"
    return f"{one.layer}{head}{port}{at}"


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
