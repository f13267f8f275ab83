"""A circuit: components and the paths between them, each with its effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lensscope import checks
from lensscope.circuits import forms, graph, scores, transformer_lens
from lensscope.circuits.curve import faithfulness_curve
from lensscope.circuits.drawing import circuit_svg, rows_of
from lensscope.circuits.growth import Asked, grown, paths_between
from lensscope.circuits.inspecting import words_of
from lensscope.circuits.wiring import Wiring
from lensscope.errors import CircuitError
from lensscope.show.pages import rendered
from lensscope.show.showing import Shown
from lensscope.show.terminal import table_of
from lensscope.signs import short
from lensscope.store.lasting import Lasting
from lensscope.values.positions import FORMS
from lensscope.values.prompts import PromptsLike
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site

if TYPE_CHECKING:
    from rich.table import Table

    from lensscope.lenses.lens import Lens
    from lensscope.patchscope.scope import Patchscope


@checks.constructor(CircuitError, edges=checks.anything, kinds=checks.anything)
@dataclass(frozen=True, eq=False)
class Circuit(Wiring, Shown, Lasting):
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
        words: what a patchscope or lens says of what nodes write, if it was asked.

    Example:
        >>> circuit = ls.Circuit({ls.head_out(23, 3): 0.58, ls.mlp_out(26): 0.1})
        >>> circuit
        Circuit(2 nodes, 0 edges: head_out(23, 3), mlp_out(26))
    """

    made_of: ClassVar = (Provenance, Site, *FORMS)

    @classmethod
    def _of(cls, wiring: Wiring) -> Circuit:
        return cls(**{field.name: getattr(wiring, field.name) for field in fields(wiring)})

    # ---------------------------------------------------------------- finding out more

    @classmethod
    @checks.door(CircuitError)
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
            CircuitError: nothing reaches the logits.
        """
        asked = Asked(model, clean, corrupted, metric, direction, mlps, prepend_bos)
        return cls._of(grown(asked, threshold, max_nodes, senders))

    @checks.door(CircuitError)
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
        asked = Asked(model, clean, corrupted, metric, direction, mlps, prepend_bos)
        edges, known = paths_between(self, asked, threshold)
        return replace(self, edges=edges, provenance=known)

    @checks.door(
        CircuitError,
        scope=checks.instance("Patchscope", "ls.Patchscope.entity_description()", "Lens"),
        positions=checks.named,
    )
    def inspect(
        self,
        scope: Patchscope | Lens,
        model: Any,
        prompt: PromptsLike,
        position: Any = -1,
        positions: Mapping[str, Any] | None = None,
    ) -> Circuit:
        """Let a patchscope or a lens say what each node writes, so that the drawing shows it in
        words.

        What a head or MLP adds to the residual stream at a token is written into the scope's
        inspection prompt at the node's own layer; or a lens reads it, whose most probable tokens
        are shown.

        Args:
            scope: the patchscope or lens.
            model: the model.
            prompt: one prompt, usually a clean one.
            position: the token, where a node has none of its own; of several, the last.
            positions: named tokens, if nodes have such names.

        Returns:
            The same circuit with ``words``.

        Raises:
            LensError: a head of a model that normalises what heads write together, or a lens that
                reads no components.
            SiteError: all heads of a layer as one.
            PromptError: several prompts.
            PositionError: names of tokens that ``positions`` does not give.
            BasisError: a circuit or lens of another model.

        Example:
            >>> circuit = ls.Circuit({ls.head_out(23, 4): 0.3})
            >>> prompt = "The capital of Japan is the city of"
            >>> circuit.inspect(ls.LogitLens(), model, prompt).words
            {head_out(23, 4): 'Japanese, Japan, Tokyo'}
        """
        words = words_of(self, scope, model, prompt, position, positions)
        return replace(self, words=words)

    faithfulness = scores.faithfulness
    completeness = scores.completeness
    minimality = scores.minimality
    curve = faithfulness_curve

    # ---------------------------------------------------------------- other forms

    frame = forms.frame
    to_networkx = graph.to_networkx
    to_graphml = graph.to_graphml
    to_transformer_lens = transformer_lens.to_transformer_lens

    @classmethod
    def from_json(cls, text: str | Path) -> Circuit:
        """A circuit from what `to_json` gave: the text, or the path of a file.

        Raises:
            CircuitError: neither.
        """
        return cls._of(forms.from_json(text))

    @classmethod
    def from_transformer_lens(cls, found: Any) -> Circuit:
        """A circuit of TransformerLens' nodes or edges with their scores: its
        ``AttributionResult``, or what ``top_nodes`` or ``top_edges`` of one gives.

        Edges at several positions become one, whose effect is their sum.

        Raises:
            ModelError: TransformerLens lacks them: it has edges from 4.0 on.
            CircuitError: something else than its nodes or edges.
        """
        return cls._of(transformer_lens.from_transformer_lens(found))

    # ---------------------------------------------------------------- showing

    def table(self) -> Table:
        """Nodes by the size of their effects, then edges."""
        said = ["writes"] if self.words else []
        return table_of(
            self.title,
            ["node or edge", "effect", *said],
            [
                [name, effect, *(words and short(words, 60) for _ in said)]
                for name, effect, words in rows_of(self)
            ],
            caption="≈: an estimate; the others were run" if self.estimated else "",
            numbers=[1],
            min_width=48,
        )

    def section(self) -> str:
        """What it says, as a piece of HTML: the drawing, and a table."""
        return rendered("circuit.html", circuit=self, rows=rows_of(self), picture=self._svg())

    def _svg(self) -> str:
        return circuit_svg(self)

    def _json(self) -> str:
        return forms.to_json(self)

    def __repr__(self) -> str:
        shown = ", ".join(repr(s) for s in list(self.nodes)[:4])
        more = ", …" if len(self.nodes) > 4 else ""
        return f"Circuit({len(self.nodes)} nodes, {len(self.edges)} edges: {shown}{more})"
