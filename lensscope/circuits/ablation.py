"""A model of which only some components do their own work; the others do that of other prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.backend import Backend
from lensscope.backends import backend_of
from lensscope.engine import capture
from lensscope.errors import PatchError, PositionError, PromptError, SiteError
from lensscope.metrics import PairMetric, as_metric
from lensscope.patches import Patch
from lensscope.patching.measuring import Both, both, check_pairs, written
from lensscope.patching.pairing import Group, Pair, groups_of, pairs_of
from lensscope.positions import resolve
from lensscope.progress import one_bar, progress
from lensscope.prompts import PromptsLike, tokenize
from lensscope.sites import KINDS, Site

if TYPE_CHECKING:
    from lensscope.circuits.circuit import Ablation, Circuit

ABLATED = ("head_out", "attn_out", "mlp_out")
_PROMPTS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Ablated:
    """Clean prompts in which everything but some components is ablated.

    Attributes:
        backend: the model.
        pairs: the prompts.
        metric: what is measured.
        kinds: of the components that are ablated unless they are kept.
        ablation: what they become.
        groups: the named tokens of each pair.
        means: over other prompts, ``[position, …]``, if that is what they become.
    """

    backend: Backend
    pairs: list[Pair]
    metric: PairMetric
    kinds: tuple[str, ...]
    ablation: Ablation
    groups: list[dict[str, Group]]
    means: Mapping[Site, Tensor]

    @classmethod
    def of(
        cls,
        circuit: Circuit,
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
            PatchError: no such ablation.
            PromptError: prompts of different lengths.
        """
        backend = backend_of(model)
        if circuit.provenance is not None:
            circuit.provenance.check_basis(backend.provenance(), "The circuit")
        wrong = [site for site in circuit.nodes if site.kind not in ABLATED]
        if wrong or not circuit.kinds:
            raise SiteError(
                "This circuit has nodes that are no components of a model.",
                got=", ".join(map(repr, wrong[:4])) or "no nodes and no kinds",
                expected="heads (head_out), MLPs (mlp_out) and attentions (attn_out)",
                instead="a circuit of activation_patching(…, sites=[ls.head_out, ls.mlp_out])",
            )
        if ablation not in ("corrupted", "mean"):
            raise PatchError(
                "There is no such ablation.",
                got=repr(ablation),
                expected='"corrupted" or "mean"',
                instead='ablation="corrupted"',
            )
        for site in circuit.nodes:
            backend.concrete(site)
        pairs = pairs_of(backend, clean, corrupted, prepend_bos)
        check_pairs(pairs, groups_of(pairs, None))
        named: list[dict[str, Group]] = [{} for _ in pairs]
        if positions:
            named = [{str(g.label): g for g in groups} for groups in groups_of(pairs, positions)]
        kinds = circuit.kinds
        means: Mapping[Site, Tensor] = {}
        if ablation == "mean":
            prompts = [p.corrupted for p in pairs] if reference is None else reference
            means = mean_states(backend, prompts, pairs, kinds, prepend_bos)
        elif reference is not None:
            raise PatchError(
                "Only a mean has reference prompts.",
                got='reference= with ablation="corrupted"',
                expected="one without the other",
                instead='ablation="mean"',
            )
        return cls(backend, pairs, as_metric(metric), kinds, ablation, named, means)

    @property
    def components(self) -> list[Site]:
        """All that can be kept or ablated."""
        return [
            Site(kind, layer, head)  # type: ignore[arg-type]
            for layer in range(self.backend.n_layers)
            for kind in self.kinds
            for head in (range(self.backend.n_heads) if kind == "head_out" else [None])
        ]

    def measure(self, kept: Sequence[Sequence[Site] | None]) -> Float[Tensor, "pair kept"]:
        """The metric of each pair's clean prompt with only these components at work; ``None``
        stands for the whole model."""
        found = torch.zeros(len(self.pairs), len(kept))
        sites = [Site(kind) for kind in self.kinds]  # type: ignore[arg-type]
        with progress(len(self.pairs), "circuit", "pair") as bar, one_bar(), torch.no_grad():
            for n in range(len(self.pairs)):
                read = [s for site in sites for s in self.backend.concrete(site)]
                read = read if self.ablation == "corrupted" else []
                runs = both(self.backend, self.pairs, n, self.metric, "noising", read)
                rows = [[] if some is None else list(self._patches(runs, n, some)) for some in kept]
                found[n] = runs.sweep(rows)
                bar.update(1)
        return found

    def _patches(self, runs: Both, n: int, kept: Sequence[Site]) -> Iterator[Patch]:
        """What is written so that only these components do their own work."""
        width = len(runs.base)
        work: dict[Site, set[int]] = {}
        for site in kept:
            whole = Site(site.kind, site.layer, site.head)
            work.setdefault(whole, set()).update(self._tokens(site, n, width))
        for layer in range(self.backend.n_layers):
            for kind in self.kinds:
                site = Site(kind, layer)  # type: ignore[arg-type]
                values = self._values(runs, site)
                all_heads = set(work.get(site, ()))
                if KINDS[site.kind].head_axis is None or len(all_heads) == width:
                    yield from _but(site, values, all_heads)
                    continue
                heads = [Site("head_out", layer, head) for head in range(self.backend.n_heads)]
                if not all_heads and not any(head in work for head in heads):
                    yield site.set(values)
                    continue
                for n_head, head in enumerate(heads):
                    yield from _but(head, values[:, n_head], all_heads | work.get(head, set()))

    def _values(self, runs: Both, site: Site) -> Tensor:
        if self.ablation == "corrupted":
            return runs.source_states(site)
        return self.means[site].to(self.backend.device)

    def _tokens(self, site: Site, n: int, width: int) -> range | tuple[int, ...]:
        """The tokens at which a component is kept."""
        where = site.position
        if where is None:
            return range(width)
        if isinstance(where, str) and where in self.groups[n]:
            return self.groups[n][where].clean
        if isinstance(where, str) and where not in self.pairs[n].clean.text:
            raise PositionError(
                f"The tokens of {site!r} are not known.",
                got=f"{where!r}; named are {', '.join(self.groups[n]) or 'none'}",
                expected="a name that positions= gives tokens, or a substring of each prompt",
                instead="circuit.faithfulness(…, positions=pairs.groups)",
            )
        return resolve(where, self.pairs[n].clean, site.occurrence)


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
        cache = capture(backend.model, part, [Site(kind) for kind in kinds])  # type: ignore[arg-type]
        for site in cache:
            found = cache[site].double().sum(0)
            total[site] = total[site] + found if site in total else found
    return {site: (value / len(prompts)).to(backend.dtype) for site, value in total.items()}
