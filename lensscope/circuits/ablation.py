"""A model of which only some components do their own work; the others do that of other prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.circuits.naming import COMPONENTS
from lensscope.circuits.wiring import Wiring
from lensscope.effects.measuring import Both, both, written
from lensscope.effects.metrics import PairMetric, as_metric
from lensscope.effects.pairing import Pair, TokenGroup, check_pairs, groups_of, pairs_of
from lensscope.engine.capture import capture
from lensscope.errors import CircuitError, PositionError, PromptError, SiteError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.progress import one_bar, progress
from lensscope.values.positions import resolve
from lensscope.values.prompts import PromptsLike, TokenizedPrompt
from lensscope.values.sites import Patch, Site

Ablation: TypeAlias = Literal["corrupted", "mean"]
_PROMPTS_AT_ONCE = 16


@dataclass(frozen=True)
class Kept:
    """Components that do their own work: some, less others."""

    sites: Sequence[Site]
    without: Sequence[Site] = ()


@dataclass(frozen=True, eq=False)
class Ablated:
    """Clean prompts in which everything but some components is ablated.

    Attributes:
        backend: the model.
        pairs: the prompts.
        metric: what is measured.
        kinds: of the components that are ablated unless they are kept.
        ablation: what they become.
        named: the tokens of each pair that have names.
        names: that need tokens, for they are those of the pairs that the circuit was found on.
        means: over other prompts, ``[position, …]``, if that is what they become.
    """

    backend: Backend
    pairs: list[Pair]
    metric: PairMetric
    kinds: tuple[str, ...]
    ablation: Ablation
    named: list[dict[str, TokenGroup]]
    names: frozenset[str]
    means: Mapping[Site, Tensor]

    @classmethod
    def of(
        cls,
        circuit: Wiring,
        model: Any,
        clean: PromptsLike,
        corrupted: PromptsLike,
        metric: Any,
        ablation: Ablation,
        reference: PromptsLike | None,
        positions: Mapping[str, Any] | None,
        prepend_bos: bool | None,
    ) -> Ablated:
        """Everything checked before anything runs.

        Raises:
            SiteError: nodes that cannot be ablated.
            CircuitError: no such ablation.
            PromptError: prompts of different lengths.
            BasisError: a circuit of another model.
        """
        backend = backend_of(model)
        circuit.check_basis(backend.provenance())
        wrong = [site for site in circuit.nodes if site.kind not in COMPONENTS]
        if wrong or not circuit.kinds:
            raise SiteError(
                "This circuit has nodes that are no components of a model.",
                got=", ".join(map(repr, wrong[:4])) or "no nodes and no kinds",
                expected="heads (head_out), MLPs (mlp_out) and attentions (attn_out)",
                instead="a circuit of activation_patching(…, sites=[ls.head_out, ls.mlp_out])",
            )
        if {"head_out", "attn_out"} <= set(circuit.kinds):
            raise SiteError(
                "An attention and its heads are not ablated beside each other.",
                got=f"kinds={circuit.kinds}",
                expected="heads or whole attentions",
                instead="a circuit of activation_patching(…, sites=[ls.head_out, ls.mlp_out])",
            )
        for site in circuit.nodes:
            backend.concrete(site)
        pairs = pairs_of(backend, clean, corrupted, prepend_bos)
        check_pairs(pairs)
        groups_of(pairs, None)  # refused unless they are aligned
        named: list[dict[str, TokenGroup]] = [{} for _ in pairs]
        if positions:
            named = [{str(g.label): g for g in groups} for groups in groups_of(pairs, positions)]
        kinds = circuit.kinds
        means: Mapping[Site, Tensor] = {}
        if ablation == "mean":
            prompts = [p.corrupted for p in pairs] if reference is None else reference
            means = mean_states(backend, prompts, pairs, kinds, prepend_bos)
        elif reference is not None:
            raise CircuitError(
                "Only a mean has reference prompts.",
                got='reference= with ablation="corrupted"',
                expected="one without the other",
                instead='ablation="mean"',
            )
        names = frozenset(map(str, circuit.settings.get("groups", ())))
        return cls(backend, pairs, as_metric(metric), kinds, ablation, named, names, means)

    @property
    def components(self) -> list[Site]:
        """All that can be kept or ablated."""
        whole = [Site(k, n) for n in range(self.backend.n_layers) for k in self.kinds]
        return [one for site in whole for one in self.single(site)]

    def single(self, site: Site) -> list[Site]:
        """A component by itself, at all tokens; of all heads of a layer, each."""
        return self.backend.each_head(Site(site.kind, site.layer, site.head))

    def measure(self, kept: Sequence[Kept | None]) -> Float[Tensor, "pair kept"]:
        """The metric of each pair's clean prompt with only these components at work; ``None``
        stands for the whole model."""
        found = torch.zeros(len(self.pairs), len(kept))
        sites = [Site(kind) for kind in self.kinds]
        with progress(len(self.pairs), "circuit", "pair") as bar, one_bar(), torch.no_grad():
            for n in range(len(self.pairs)):
                read = [s for site in sites for s in self.backend.concrete(site)]
                read = read if self.ablation == "corrupted" else []
                runs = both(self.backend, self.pairs, n, self.metric, "noising", read)
                rows = [[] if some is None else list(self._patches(runs, n, some)) for some in kept]
                found[n] = runs.sweep(rows)
                bar.update(1)
        return found

    def _patches(self, runs: Both, n: int, kept: Kept) -> Iterator[Patch]:
        """What is written so that only these components do their own work."""
        work: defaultdict[Site, set[int]] = defaultdict(set)
        for site in kept.sites:
            for one in self.single(site):
                work[one].update(self._tokens(site, n))
        for site in kept.without:
            for one in self.single(site):
                work[one].difference_update(self._tokens(site, n))
        for layer in range(self.backend.n_layers):
            for kind in self.kinds:
                site = Site(kind, layer)
                values = self._values(runs, site)
                parts = self.single(site)
                if not any(work[one] for one in parts):
                    yield site.set(values)
                    continue
                for one in parts:
                    own = values if one.head is None else values[:, one.head]
                    yield from _but(one, own, work[one])

    def _values(self, runs: Both, site: Site) -> Tensor:
        if self.ablation == "corrupted":
            return runs.source_states(site)
        return self.means[site].to(self.backend.device)

    def _tokens(self, site: Site, n: int) -> range | tuple[int, ...]:
        """The tokens at which a component is kept."""
        prompt = self.pairs[n].clean
        if site.position is None:
            return range(len(prompt))
        named = {name: group.clean for name, group in self.named[n].items()}
        return tokens_of(site, prompt, named, self.names)


def tokens_of(
    site: Site,
    prompt: TokenizedPrompt,
    named: Mapping[str, tuple[int, ...]],
    names: frozenset[str],
) -> tuple[int, ...]:
    """The tokens of a node that has a position.

    Args:
        site: the node.
        prompt: whose tokens they are.
        named: the tokens that have names.
        names: that mean such tokens, though the prompt may hold them as words.

    Raises:
        PositionError: a name without tokens, or no such position.
    """
    where = site.position
    assert where is not None
    if isinstance(where, str) and where in named:
        return named[where]
    if isinstance(where, str) and (where in names or where not in prompt.text):
        raise PositionError(
            f"The tokens of {site!r} are not known.",
            got=f"{where!r}; named are {', '.join(named) or 'none'}",
            expected="a name that positions= gives tokens, or a substring of each prompt",
            instead=f"positions={{{where!r}: …}}, as the circuit was found, or pairs.groups",
        )
    return resolve(where, prompt, site.occurrence)


def _but(site: Site, values: Tensor, kept: set[int]) -> Iterator[Patch]:
    """Write all tokens but some."""
    tokens = [t for t in range(len(values)) if t not in kept]
    if tokens:
        yield from written(site, tokens, values[tokens])


def mean_states(
    backend: Backend,
    reference: PromptsLike,
    pairs: Sequence[Pair],
    kinds: Sequence[str],
    prepend_bos: bool | None,
) -> dict[Site, Float[Tensor, "position *axes"]]:
    """What components write, token by token, averaged over prompts; a few prompts at a time.

    Raises:
        PromptError: prompts that are not all as long as those of the pairs.
    """
    prompts = tokenize(backend, reference, prepend_bos)
    lengths = {len(p) for p in prompts} | {len(pair.clean) for pair in pairs}
    if len(lengths) > 1:
        raise PromptError(
            "A mean over prompts, token by token, needs prompts of one length.",
            got=f"prompts of {min(lengths)} to {max(lengths)} tokens",
            expected="one length, as of one template",
            instead='ablation="corrupted", or pairs of one length',
        )
    total: dict[Site, Tensor] = {}
    for first in range(0, len(prompts), _PROMPTS_AT_ONCE):
        part = prompts[first : first + _PROMPTS_AT_ONCE]
        cache = capture(backend, part, [Site(kind) for kind in kinds])
        for site in cache:
            found = cache[site].double().sum(0)
            total[site] = total[site] + found if site in total else found
    return {site: (value / len(prompts)).to(backend.dtype) for site, value in total.items()}
