"""Who can receive what a component sends, and whether it comes before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from lensscope.effects.grid import Cell
from lensscope.errors import SiteError, SweepError
from lensscope.model.backend import Backend
from lensscope.values.sites import Site, as_site

LOGITS: Final = "logits"
"""The receiver at the end: the final norm and the unembedding."""
Receiver: TypeAlias = "Site | Literal['logits']"
ReceiversLike: TypeAlias = "Receiver | Sequence[Receiver] | Mapping[str, Sequence[Receiver]]"

_READS_ATTENTION: Final = ("q", "k", "v", "head_out", "attn_out")


def receivers_of(backend: Backend, receivers: ReceiversLike) -> dict[str, list[Receiver]]:
    """Receivers by name, each at one layer and head.

    Raises:
        SiteError: something that does not receive.
    """
    if isinstance(receivers, Mapping) and receivers:
        return {label: list(_each(backend, some)) for label, some in receivers.items()}
    return {str(one): [one] for one in _each(backend, receivers)}


def _each(backend: Backend, receivers: Any) -> Iterator[Receiver]:
    single = isinstance(receivers, str) or not isinstance(receivers, Iterable)
    several = [receivers] if single else list(receivers)
    if not several:
        raise SweepError(
            "There are no receivers.",
            got=repr(receivers),
            expected="at least one",
            instead='receivers=[ls.q(9, 6), ls.mlp_out(10), "logits"]',
        )
    for one in several:
        if isinstance(one, str) and one == LOGITS:
            yield LOGITS
        elif isinstance(one := as_site(one), Site) and one.kind in (*_READS_ATTENTION, "mlp_out"):
            for site in backend.concrete(one):
                yield from backend.each_head(site)
        else:
            raise SiteError(
                "This does not receive.",
                got=repr(one),
                expected='q, k, v or head_out of a head, mlp_out for an MLP, or "logits"',
                instead='receivers=[ls.q(9, 6), ls.mlp_out(10), "logits"]',
            )


def parallel(backend: Backend, layer: int) -> bool:
    """Whether attention and MLP of a block take in the same."""
    return f"blocks.{layer}.hook_resid_mid" not in backend.points


def precedes(backend: Backend, sender: Site, receiver: Receiver) -> bool:
    """Whether what a sender writes can go straight into a receiver."""
    if receiver == LOGITS or sender.layer is None or isinstance(receiver, str):
        return True
    assert receiver.layer is not None
    if sender.layer == receiver.layer:
        heads = sender.kind in ("head_out", "attn_out")
        return heads and receiver.kind == "mlp_out" and not parallel(backend, sender.layer)
    return sender.layer < receiver.layer


def check_order(backend: Backend, cells: Sequence[Cell], receivers: ReceiversLike) -> None:
    """Refuse receivers that no sender comes before.

    Raises:
        SweepError: with the first of them.
    """
    several = receivers.values() if isinstance(receivers, Mapping) else [receivers]
    listed = [[r] if isinstance(r, Site | str) else list(r) for r in several]
    asked = listed if isinstance(receivers, Mapping) else [[r] for r in listed[0]]
    for some in asked:
        meant = [one for r in some for one in _each(backend, r)]
        if not any(precedes(backend, cell.sites[0], one) for cell in cells for one in meant):
            first = min(cells, key=lambda cell: cell.sites[0].layer or 0).sites[0]
            raise SweepError(
                f"No sender comes before the receiver {some[0]}.",
                got=f"{meant[-1]!r}, and {first!r} as the earliest sender",
                expected="a sender in a block below (or, of an MLP, a head of its own block)",
                instead=f'receivers="{LOGITS}", or senders of earlier layers',
            )
