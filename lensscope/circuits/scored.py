"""How far a circuit carries a behaviour alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from lensscope import checks
from lensscope.circuits.ablation import Ablation
from lensscope.errors import PatchError
from lensscope.values.prompts import PromptsLike

if TYPE_CHECKING:
    from lensscope.circuits.circuit import Circuit
    from lensscope.circuits.curve import FaithfulnessCurve
    from lensscope.circuits.scores import Faithfulness


class Scored:
    """What can be asked of a circuit: faithfulness, completeness, minimality, a curve."""

    @property
    def _circuit(self) -> Circuit:
        return cast("Circuit", self)

    @checks.door(PatchError, positions=checks.named)
    def faithfulness(
        self,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        metric: Any,
        *,
        ablation: Ablation = "corrupted",
        reference: PromptsLike | None = None,
        positions: Mapping[str, Any] | None = None,
        edges: bool = False,
        prepend_bos: bool | None = None,
    ) -> Faithfulness:
        """How much of the clean run's metric is left with everything outside the circuit ablated.

        ``F(M)`` is the metric of the whole model on clean prompts, ``F(C)`` with everything outside
        ablated. ``difference`` is ``|F(M) - F(C)|`` (Wang et al. 2022, section 4); ``recovered``,
        its share of what ablating everything takes, is not theirs. They ablate by means over other
        prompts, ``ablation="mean"``; the default takes the corrupted run.

        Args:
            model: the model.
            clean: a prompt, or a list of them.
            corrupted: as many, each as long as its partner.
            metric: as in `activation_patching`.
            ablation: what is outside becomes what it is in the ``"corrupted"`` run, or its
                ``"mean"`` over prompts, token by token.
            reference: the prompts of that mean; the corrupted ones by default, all equally long.
            positions: named tokens, if nodes have such names.
            edges: ablate every edge outside, not every node, with TransformerLens' own measure
                (4.x, without grouped queries), at all tokens; only the ``"corrupted"`` run.
            prepend_bos: ``None`` follows the model's own default.

        Raises:
            SiteError: nodes that cannot be ablated (only heads, attentions and MLPs can).
            PositionError: names of tokens that ``positions`` does not give.
            BasisError: a circuit of another model.
            PromptError, PlanError, ModelError: see `activation_patching`.

        Example:
            >>> circuit = ls.Circuit({ls.mlp_out(n): 1.0 for n in range(30)}, kinds=("mlp_out",))
            >>> pair = "The capital of Japan is the city of", "The capital of Italy is the city of"
            >>> metric = ls.logit_difference(" Tokyo", " Rome")
            >>> circuit.faithfulness(model, *pair, metric).recovered
            1.0
        """
        from lensscope.circuits.scores import faithfulness

        if edges:
            from lensscope.circuits.transformer_lens import edge_faithfulness

            if positions is not None:
                raise PatchError(
                    "Edges are kept or ablated at all tokens.",
                    got="edges=True with positions=",
                    expected="one without the other",
                    instead="circuit.faithfulness(…, edges=True)",
                )
            return edge_faithfulness(
                self._circuit, model, clean, corrupted, metric, ablation, reference, prepend_bos
            )
        return faithfulness(
            self._circuit,
            model,
            clean,
            corrupted,
            metric,
            ablation,
            reference,
            positions,
            prepend_bos,
        )

    @checks.door(PatchError, positions=checks.named)
    def completeness(
        self,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        metric: Any,
        *,
        subsets: int = 20,
        seed: int = 0,
        ablation: Ablation = "corrupted",
        reference: PromptsLike | None = None,
        positions: Mapping[str, Any] | None = None,
        prepend_bos: bool | None = None,
    ) -> pd.DataFrame:
        """Whether the circuit without some nodes does what the model without them does.

        For subsets ``K`` of the circuit, ``|F(C \\ K) - F(M \\ K)|`` is small if nothing outside
        stands in for ``K`` (Wang et al. 2022, section 4.1, who also search for the worst ``K`` and
        ablate by means; these are drawn, and the default ablation is the corrupted run).

        Args:
            model: the model.
            clean: as in `faithfulness`.
            corrupted: as there.
            metric: as there.
            subsets: so many are drawn, of every size; the empty one comes first.
            seed: of the draws.
            ablation: as there.
            reference: as there.
            positions: as there.
            prepend_bos: as there.

        Returns:
            One line a subset: ``removed`` (its nodes), ``circuit``, ``model`` (the metric of each
            without them, averaged over pairs) and ``difference``.
        """
        from lensscope.circuits.scores import completeness

        return completeness(
            self._circuit,
            model,
            clean,
            corrupted,
            metric,
            ablation,
            reference,
            positions,
            prepend_bos,
            subsets,
            seed,
        )

    @checks.door(PatchError, positions=checks.named)
    def minimality(
        self,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        metric: Any,
        *,
        subsets: int = 5,
        seed: int = 0,
        ablation: Ablation = "corrupted",
        reference: PromptsLike | None = None,
        positions: Mapping[str, Any] | None = None,
        prepend_bos: bool | None = None,
    ) -> pd.DataFrame:
        """Whether each node makes a difference.

        For each node ``v``, ``|F(C \\ (K ∪ {v})) - F(C \\ K)|`` is large for some subset ``K``
        (Wang et al. 2022, section 4.2, who choose ``K`` by hand and ablate by means). The largest
        over the empty subset and some that are drawn is given: a lower bound. The default ablation
        is the corrupted run.

        Args:
            model: the model.
            clean: as in `faithfulness`.
            corrupted: as there.
            metric: as there.
            subsets: so many are drawn for each node, besides the empty one.
            seed: of the draws.
            ablation: as there.
            reference: as there.
            positions: as there.
            prepend_bos: as there.

        Returns:
            One line a node: ``node``, ``change``, its ``share`` of ``F(M) - F(empty)``, and
            ``removed``, the subset that it was largest for.
        """
        from lensscope.circuits.scores import minimality

        return minimality(
            self._circuit,
            model,
            clean,
            corrupted,
            metric,
            ablation,
            reference,
            positions,
            prepend_bos,
            subsets,
            seed,
        )

    @checks.door(PatchError, sizes=checks.whole_numbers, random=checks.whole(1, checks.REPEATS, 10))
    def curve(
        self,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        metric: Any,
        *,
        sizes: Sequence[int] | None = None,
        random: int = 10,
        seed: int = 0,
        ablation: Ablation = "corrupted",
        reference: PromptsLike | None = None,
        prepend_bos: bool | None = None,
    ) -> FaithfulnessCurve:
        """Faithfulness of the first so many nodes, beside random circuits of the same size.

        Nodes are whole components, without positions.

        Args:
            model: the model.
            clean: as in `faithfulness`.
            corrupted: as there.
            metric: as there.
            sizes: how many nodes, in the order of the size of their effects; some up to all of
                them by default.
            random: so many circuits of components drawn from all of the same kinds.
            seed: of the draws.
            ablation: as there.
            reference: as there.
            prepend_bos: as there.
        """
        from lensscope.circuits.curve import faithfulness_curve

        return faithfulness_curve(
            self._circuit,
            model,
            clean,
            corrupted,
            metric,
            ablation,
            reference,
            prepend_bos,
            sizes,
            random,
            seed,
        )
