"""A circuit: components and the paths between them, each with its effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from lensscope import checks
from lensscope.circuits.forms import Formed
from lensscope.circuits.naming import COMPONENTS, NODES, order_of, owner, short_name
from lensscope.circuits.scored import Scored
from lensscope.effects.receivers import LOGITS, Receiver
from lensscope.errors import PatchError, SiteError
from lensscope.show.showing import Shown
from lensscope.signs import short
from lensscope.values.prompts import PromptsLike
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site

if TYPE_CHECKING:
    from rich.table import Table

    from lensscope.patchscope.scope import Patchscope

Edge = tuple[Site, Receiver]


@dataclass(frozen=True, eq=False)
class Circuit(Scored, Formed, Shown):
    """Components of a model that carry an effect, and the paths between them.

    Made by ``effect.circuit(top=…)`` or ``effect.circuit(threshold=…)`` of any patching result, or
    by `Circuit.grow`.

    Attributes:
        nodes: heads (``head_out``), MLPs (``mlp_out``) and whatever else was looked at, with the
            effect of each. A position of such a site means that the component belongs to the
            circuit at these tokens only; a name stands for the tokens that ``positions=`` gives it.
        edges: from a node to what receives it, ``q``, ``k``, ``v`` of a head, ``mlp_out`` for the
            input of an MLP, or ``"logits"``, with the effect of that path.
        kinds: the kinds of component that were looked at, of ``head_out``, ``attn_out`` and
            ``mlp_out``; those of the nodes by default. All of them that are not nodes are what is
            outside.
        provenance: of the model.
        settings: how it was found.
        words: what a patchscope says of what nodes write, if it was asked.

    Example:
        >>> circuit = ls.Circuit({ls.head_out(23, 3): 0.58, ls.mlp_out(26): 0.1})
        >>> circuit
        Circuit(2 nodes, 0 edges: head_out(23, 3), mlp_out(26))
    """

    nodes: Mapping[Site, float]
    edges: Mapping[Edge, float] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    provenance: Provenance | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[Site, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.nodes, Mapping):
            raise PatchError(
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
            raise PatchError(
                "The edges of a circuit have effects.",
                got=checks.seen(self.edges),
                expected="a dict from pairs of a sender and a receiver to numbers",
                instead='edges={(ls.head_out(9, 6), "logits"): 0.3}',
            )
        edges = {
            edge: checks.number(effect, "effect", -math.inf, 0.3, PatchError)
            for edge, effect in self.edges.items()
        }
        object.__setattr__(self, "edges", edges)
        ordered = {
            s: checks.number(self.nodes[s], "effect", -math.inf, 0.3, PatchError)
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
                raise PatchError(
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
        """How many nodes and edges."""
        return f"Circuit of {len(self.nodes)} nodes and {len(self.edges)} edges"

    # ---------------------------------------------------------------- finding out more

    @classmethod
    @checks.door(PatchError)
    def grow(
        cls,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        metric: Any,
        threshold: float = 0.05,
        *,
        max_nodes: int = 30,
        senders: Any = None,
        direction: Literal["denoising", "noising"] = "denoising",
        mlps: Literal["frozen", "live"] = "frozen",
        prepend_bos: bool | None = None,
    ) -> Circuit:
        """Grow a circuit by path patching, from the logits backwards.

        What reaches the logits with an effect of at least ``threshold`` becomes a node; then what
        reaches a node's queries, keys, values or MLP input with such an effect, and so on. The
        effect of a node is the sum of those of its paths.

        Args:
            model: the model.
            clean: a prompt, or a list of them.
            corrupted: as many, each as long as its partner.
            metric: as in `activation_patching`.
            threshold: of the size of an effect.
            max_nodes: stop there; the paths of the largest effects are followed first.
            senders: which components may become nodes, at all tokens: sites, all heads and MLPs by
                default.
            direction: as in `activation_patching`.
            mlps: as in `path_patching`.
            prepend_bos: ``None`` follows the model's own default.

        Raises:
            PatchError: nothing reaches the logits.
        """
        from lensscope.circuits.growth import grown

        return grown(
            model,
            clean,
            corrupted,
            metric,
            threshold,
            max_nodes,
            senders,
            direction,
            mlps,
            prepend_bos,
        )

    @checks.door(PatchError)
    def connected(
        self,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        metric: Any,
        threshold: float = 0.02,
        *,
        direction: Literal["denoising", "noising"] = "denoising",
        mlps: Literal["frozen", "live"] = "frozen",
        prepend_bos: bool | None = None,
    ) -> Circuit:
        """The same nodes, with the paths between them, found by path patching.

        Paths are of whole components, at all tokens.

        Args:
            model: the model.
            clean: a prompt, or a list of them.
            corrupted: as many, each as long as its partner.
            metric: as in `activation_patching`.
            threshold: paths of smaller effects are left out.
            direction: as in `activation_patching`.
            mlps: as in `path_patching`.
            prepend_bos: ``None`` follows the model's own default.

        Raises:
            SiteError: nodes that no path leads to, or all heads of a layer as one.
            BasisError: a circuit of another model.
        """
        from lensscope.circuits.growth import connected

        return connected(
            self, model, clean, corrupted, metric, threshold, direction, mlps, prepend_bos
        )

    @checks.door(
        PatchError,
        scope=checks.instance("Patchscope", "ls.Patchscope.entity_description()"),
        positions=checks.named,
    )
    def inspect(
        self,
        scope: Patchscope,
        model: Any,
        prompt: PromptsLike,
        position: Any = -1,
        positions: Mapping[str, Any] | None = None,
    ) -> Circuit:
        """Let a patchscope say what each node writes, so that the drawing shows it in words.

        What a head or MLP adds to the residual stream at a token is written into the scope's
        inspection prompt at the node's own layer.

        Args:
            scope: the patchscope.
            model: the model.
            prompt: one prompt, usually a clean one.
            position: the token, where a node has none of its own; of several, the last.
            positions: named tokens, if nodes have such names.

        Returns:
            The same circuit with ``words``.

        Raises:
            LensError: a head of a model that normalises what heads write together.
            SiteError: all heads of a layer as one.
            PromptError: several prompts.
            PositionError: names of tokens that ``positions`` does not give.
            BasisError: a circuit of another model.
        """
        from lensscope.circuits.inspecting import inspected

        return inspected(self, scope, model, prompt, position, positions)

    # ---------------------------------------------------------------- showing

    def table(self) -> Table:
        """Nodes by the size of their effects, then edges."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), box=box.SIMPLE_HEAD, min_width=48)
        said = bool(self.words)
        for column in ("node or edge", "effect", *(["writes"] if said else [])):
            table.add_column(column, justify="right" if column == "effect" else "left")
        nodes = sorted(self.nodes.items(), key=lambda item: -abs(item[1]))
        rows = [(short_name(s), e, self.words.get(s, "")) for s, e in nodes]
        edges = sorted(self.edges.items(), key=lambda item: -abs(item[1]))
        group = self.queries_a_key
        rows += [(f"{short_name(s)} → {short_name(r, group)}", e, "") for (s, r), e in edges]
        for name, effect, words in rows:
            cells = [Text(name), Text(f"{effect:+.3f}")]
            table.add_row(*cells, *([Text(words and short(words, 60))] if said else []))
        return table

    def section(self) -> str:
        """What it says, as a piece of HTML: the drawing, and a table."""
        from lensscope.circuits.drawing import circuit_section

        return circuit_section(self)

    def _svg(self) -> str:
        from lensscope.circuits.drawing import circuit_svg

        return circuit_svg(self)

    def __repr__(self) -> str:
        shown = ", ".join(repr(s) for s in list(self.nodes)[:4])
        more = ", …" if len(self.nodes) > 4 else ""
        return f"Circuit({len(self.nodes)} nodes, {len(self.edges)} edges: {shown}{more})"


def _check_node(site: Any) -> None:
    """Refuse what is no node, or not one component.

    Raises:
        SiteError: it is none.
    """
    if not isinstance(site, Site) or site.kind not in NODES:
        raise SiteError(
            "This is not a node of a circuit.",
            got=repr(site),
            expected="what writes: head_out, attn_out, mlp_out, embed or a residual",
            instead="ls.Circuit({ls.head_out(9, 6): 0.3})",
        )
    numbers = [0 if site.kind == "embed" else site.layer, site.head or 0]
    if any(n is None or n < 0 for n in numbers):
        raise SiteError(
            "A node is a component of one layer.",
            got=repr(site),
            expected="its layer, and head, counted from 0",
            instead="ls.Circuit({ls.head_out(9, 6): 0.3})",
        )
