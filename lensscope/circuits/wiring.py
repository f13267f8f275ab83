"""What a circuit is: components and the paths between them, each with its effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from lensscope import checks
from lensscope.circuits.naming import ANYWAY, COMPONENTS, NODES, named, order_of, owner
from lensscope.effects.receivers import LOGITS, Receiver
from lensscope.errors import CircuitError, SiteError
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site

Edge: TypeAlias = tuple[Site, Receiver]
ESTIMATED: Final = "estimated"
"""The setting with the names of the nodes whose effects are estimates."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """The fields of a `Circuit`, which adds what can be asked of them."""

    nodes: Mapping[Site, float]
    edges: Mapping[Edge, float] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    provenance: Provenance | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[Site, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.nodes, Mapping):
            raise CircuitError(
                "The nodes of a circuit have effects.",
                got=type(self.nodes).__name__,
                expected="a dict from sites to numbers",
                instead="ls.Circuit({ls.head_out(9, 6): 0.3})",
            )
        for site in self.nodes:
            _check_node(site)
        if not isinstance(self.edges, Mapping) or any(
            not isinstance(edge, tuple) or len(edge) != 2 for edge in self.edges
        ):
            raise CircuitError(
                "The edges of a circuit have effects.",
                got=checks.seen(self.edges),
                expected="a dict from pairs of a sender and a receiver to numbers",
                instead='edges={(ls.head_out(9, 6), "logits"): 0.3}',
            )
        edges = {
            edge: checks.number(effect, "effect", -math.inf, 0.3, CircuitError)
            for edge, effect in self.edges.items()
        }
        object.__setattr__(self, "edges", edges)
        ordered = {
            s: checks.number(self.nodes[s], "effect", -math.inf, 0.3, CircuitError)
            for s in sorted(self.nodes, key=order_of)
        }
        object.__setattr__(self, "nodes", ordered)
        known = tuple(k for k in COMPONENTS if any(site.kind == k for site in self.nodes))
        several = isinstance(self.kinds, list | tuple)
        kinds = (tuple(self.kinds) or known) if several else (self.kinds,)
        if not all(isinstance(kind, str) for kind in kinds) or not set(known) <= set(kinds) <= set(
            COMPONENTS
        ):
            raise SiteError(
                "These are not the kinds of component of a circuit.",
                got=f"kinds={checks.seen(kinds)}, nodes of {', '.join(known) or 'no such kind'}",
                expected="some of " + ", ".join(COMPONENTS) + ", with those of all nodes",
                instead='kinds=("head_out", "mlp_out")',
            )
        object.__setattr__(self, "kinds", kinds)
        here = {replace(s, position=None, occurrence=None) for s in self.nodes}
        for sender, receiver in self.edges:
            ends = owner(receiver, self.queries_a_key)
            if sender not in here or not any(end == LOGITS or end in here for end in ends):
                raise CircuitError(
                    "An edge leads past the nodes of the circuit.",
                    got=f"{sender!r} -> {receiver!r}",
                    expected="both ends among the nodes, or the logits",
                    instead="add the missing node with its effect",
                )

    @property
    def queries_a_key(self) -> int:
        """How many heads share a key and value."""
        known = self.provenance
        return 1 if known is None else known.n_heads // known.n_kv_heads

    @property
    def title(self) -> str:
        """How many nodes and edges, and what they carry, if that is known."""
        of = f" for {self.settings['metric']}" if "metric" in self.settings else ""
        return f"Circuit of {len(self.nodes)} nodes and {len(self.edges)} edges{of}"

    @property
    def estimated(self) -> frozenset[Site]:
        """The nodes whose effects are estimates; the others were run."""
        names = set(self.settings.get(ESTIMATED, ()))
        return frozenset(site for site in self.nodes if names and named(site) in names)

    def effect_of(self, site: Site, digits: int = 3) -> str:
        """The effect of a node as it is shown: with ``≈`` where it is an estimate."""
        guessed = named(site) in self.settings.get(ESTIMATED, ())
        return ("≈" if guessed else "") + f"{self.nodes[site]:+.{digits}f}"

    def check_basis(self, model: Provenance) -> None:
        """Refuse to use it in another model.

        Raises:
            BasisError: other weights, or the same weights in another basis.
        """
        if self.provenance is not None:
            self.provenance.check_basis(model, "The circuit", ANYWAY)


def _check_node(site: Any) -> None:
    """Refuse what is no node, or not one component.

    Raises:
        SiteError: it is none.
    """
    if not isinstance(site, Site) or site.kind not in NODES:
        expected = "what writes: head_out, attn_out, mlp_out, embed or a residual"
        raise _no_node("This is not a node of a circuit.", site, expected)
    numbers = [0 if site.kind == "embed" else site.layer, site.head or 0]
    if any(n is None or n < 0 for n in numbers):
        expected = "its layer, and head, counted from 0"
        raise _no_node("A node is a component of one layer.", site, expected)


def _no_node(what: str, site: Any, expected: str) -> SiteError:
    return SiteError(
        what, got=repr(site), expected=expected, instead="ls.Circuit({ls.head_out(9, 6): 0.3})"
    )
