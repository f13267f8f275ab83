"""First-order estimates of what patches would do.

A gradient is read by adding a zero to a site: how the metric changes with that zero is its gradient
there. So it is one more patched run of the engine, and works wherever patches do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.effects.grid import Cell
from lensscope.effects.measuring import Both
from lensscope.effects.pairing import TokenGroup
from lensscope.engine.capture import SitesLike, capture
from lensscope.engine.run_many import run_many
from lensscope.errors import PlanError, SweepError
from lensscope.model.backend import Backend
from lensscope.values.cache import Cache
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Patch, Site, attn_out, head_out, mlp_out, pattern, resid_pre


class Estimate:
    """Estimates for one pair."""

    def __init__(
        self,
        backend: Backend,
        runs: Both,
        groups: Sequence[TokenGroup],
        keys: Sequence[TokenGroup],
        fixed: Iterable[str],
        steps: int,
    ) -> None:
        """
        Args:
            backend: the model.
            runs: the pair's two runs, with what both hold where it is patched.
            groups: tokens that are patched together.
            keys: tokens whose keys are patched together.
            fixed: kinds of which the change of the pattern is taken as it is.
            steps: runs on the way between the two prompts that gradients are averaged over.

        Raises:
            SweepError: steps between prompts of different lengths, or a token whose query or key is
                to be that of several.
        """
        self.backend, self.runs, self.steps = backend, runs, steps
        self.groups, self.keys, self.fixed = groups, keys, set(fixed)
        if steps > 1 and not runs.pair.aligned:
            raise SweepError(
                "There is no way from one prompt to another of a different length.",
                got=f"{len(runs.pair.clean)} and {len(runs.pair.corrupted)} tokens",
                expected="as many tokens in both, or no ig_steps",
                instead="ig_steps=1",
            )
        self._to = [runs.tokens(group)[0] for group in groups]
        self._owner = torch.tensor([n for n, to in enumerate(self._to) for _ in to])
        self._rows = [t for tokens in self._to for t in tokens]
        self._read = [t for group in groups for t in runs.tokens(group)[1]]
        moved = set(zip(self._rows, self._read, strict=True))
        self._moved = dict(sorted(moved))
        if self.fixed and len(moved) > len(self._moved):
            raise SweepError(
                "A token is to have the query or key of several.",
                got=", ".join(f"{at} at {to}" for to, at in sorted(moved)),
                expected="one token that is read for each one that is written",
                instead="qk_fix=False, or a call for each group of tokens",
            )

    def of(
        self, cells: Sequence[Cell], sites: Sequence[Site], dropped: int | None = None
    ) -> Float[Tensor, " cell"]:
        """The estimated change of the metric for each cell.

        Args:
            cells: of the grid.
            sites: all that they patch.
            dropped: a block that no gradient flows through.
        """
        read = [pattern(s.layer) if s.kind in self.fixed else s for s in sites]
        gradients = self._gradients(list(dict.fromkeys(read)), dropped)
        found = {}
        for site, at in zip(sites, read, strict=True):
            if at not in gradients:
                continue  # nothing else reads it: it cannot matter
            kind = site.kind if site.kind in self.fixed else ""
            change = {"q": self._queries, "k": self._keys}.get(kind, self._plain)
            found[site] = change(site, gradients[at])
        return torch.stack([self._sum(cell, found) for cell in cells])

    def _sum(self, cell: Cell, found: dict[Site, Tensor]) -> Tensor:
        total = torch.zeros(())
        for site in cell.sites:
            if site.whole in found:
                value = found[site.whole][cell.group]
                value = value if cell.key is None else value[..., cell.key]
                total = total + (value if site.head is None else value[site.head]).sum()
        return total

    def _grouped(self, each: Float[Tensor, "token *axes"]) -> Float[Tensor, "group *axes"]:
        """Sums over the tokens of each group, given in the order of the groups."""
        total = torch.zeros(len(self.groups), *each.shape[1:])
        return total.index_add_(0, self._owner, each.cpu().float())

    # ---------------------------------------------------------------- estimates of a site

    def _plain(self, site: Site, gradient: Tensor) -> Tensor:
        """Gradient times difference: ``[group]``, ``[group, head]``, or ``[group, head, key]``."""
        to, at = self._rows, self._read
        source, base = self.runs.source_states(site)[at], self.runs.base_states(site)[to]
        gradient = gradient[to]
        if site.kind == "pattern" and any(group.clean for group in self.keys):  # not all together
            columns = [tuple(map(list, self.runs.tokens(group))) for group in self.keys]
            each = [
                ((source[..., a] - base[..., t]) * gradient[..., t]).sum(-1) for t, a in columns
            ]
            return self._grouped(torch.stack(each, -1))
        return self._grouped(((source - base) * gradient).sum(-1))

    def _queries(self, site: Site, gradient: Tensor) -> Tensor:
        """What new queries make of the pattern, times the gradient there; ``[group, head]``."""
        base = self.runs_without[pattern(site.layer)][0]
        change = self._refocused[pattern(site.layer)][0] - base
        product = (change * gradient).sum(-1)
        return self._grouped(product[self._rows])

    def _keys(self, site: Site, gradient: Tensor) -> Tensor:
        """What new keys make of the pattern, times the gradient there; ``[group, kv_head]``.

        A key's new score changes a query's whole row: the share of each key ``p`` grows from
        ``a_p`` to ``(a_p + d_p) / z``, where ``z`` is 1 plus all ``d`` of the keys that are new.
        ``d`` is what the share would grow by if the other keys' weights stayed. It is found from
        a run in which every other key is new, by how the shares compare to that of an old one.
        All in double precision: where a row's weight was on the new keys alone, little is left.
        """
        place_ = pattern(site.layer)
        base, gradient = self.runs_without[place_][0].cpu().double(), gradient.cpu().double()
        grown = torch.zeros_like(base)
        for parity, row in ((0, 1), (1, 2)):
            new = self._refocused[place_][row].cpu().double()
            old = base.clone()
            old[..., parity::2] = -1  # is new there
            share, where = old.max(-1, keepdim=True)  # of the heaviest that stayed
            ratio = share / new.gather(-1, where).clamp_min(torch.finfo(new.dtype).tiny)
            moved = new * ratio - base
            moved = torch.where(share > 0, moved, 0.0)  # the first token sees but itself
            grown[..., parity::2] = moved[..., parity::2]
        level = (base * gradient).sum(-1)  # [query, head]
        found = []
        for tokens in self._to:
            columns = list(tokens)
            z = base.sum(-1) + grown[..., columns].sum(-1)
            direct = (grown * gradient)[..., columns].sum(-1)
            found.append(((1 / z - 1) * level + direct / z).sum(0))
        heads = torch.stack(found).float()
        return heads.view(len(heads), self.backend.n_kv_heads, -1).sum(-1)

    @cached_property
    def runs_without(self) -> Cache:
        """Patterns and what heads write in the run that is patched, as it is."""
        layers = range(self.backend.n_layers)
        places = [kind(n) for n in layers for kind in (pattern, head_out)]
        return self._captured(self.runs.base, places)

    @cached_property
    def _refocused(self) -> Cache:
        """Patterns of three runs: new queries, new keys at even tokens, new keys at odd ones.

        What heads write stays as it was, so in every layer at once only the pattern is new.
        """
        held = [
            head_out(n).set(self.runs_without[head_out(n)][0]) for n in range(self.backend.n_layers)
        ]
        rows: list[list[Patch]] = []
        new = list(self._moved)
        for kind, tokens in (
            ("q", new),
            ("k", [token for token in new if token % 2 == 0]),
            ("k", [token for token in new if token % 2 == 1]),
        ):
            row = list(held)
            for n in range(self.backend.n_layers) if kind in self.fixed else ():
                site = Site(kind, n)
                if site in self.runs.cache:
                    states = self.runs.source_states(site)
                    row += [site.at(token).set(states[self._moved[token]]) for token in tokens]
            rows.append(row)
        out = run_many(
            self.backend,
            self.runs.base,
            rows,
            positions=None,
            keep=pattern,
            plan={"unchanged": False},
            memory_budget=self.runs.memory_budget,
        )
        return out.cache

    # ---------------------------------------------------------------- gradients

    def _gradients(self, sites: Sequence[Site], dropped: int | None) -> dict[Site, Tensor]:
        """Of the metric, by what each site holds over all tokens, averaged over the steps."""
        total: dict[Site, Tensor] = {}
        for step in range(self.steps):
            share = 0.0 if self.steps == 1 else (step + 0.5) / self.steps
            zeros = {site: self._zeros(site) for site in sites}
            with torch.enable_grad():  # a patch copies its value, which must not cut it off
                patches = [resid_pre(0).lerp(self._embedded, share)] if share else []
                patches += [site.add(zero) for site, zero in zeros.items()]
                patches += [] if dropped is None else self._constant(dropped)
                out = run_many(
                    self.backend,
                    self.runs.base,
                    [patches],
                    metric=self.runs.measure,
                    grad=True,
                    memory_budget=self.runs.memory_budget,
                )
                value = out.metric
                if value is None or not value.requires_grad:
                    raise PlanError(
                        "The metric has no gradient.",
                        got="a value that does not depend smoothly on the logits",
                        expected="a metric such as a logit difference or a log-probability",
                        instead="ls.logit_difference(…), or activation_patching with this metric",
                    )
                found = torch.autograd.grad(value.sum(), [*zeros.values()], allow_unused=True)
            for site, gradient in zip(zeros, found, strict=True):
                if gradient is not None:
                    part = gradient.detach() / self.steps
                    total[site] = total[site] + part if site in total else part
        return total

    def _zeros(self, site: Site) -> Tensor:
        width = len(self.runs.base)
        shape = self.backend.shape(site, width, width)
        return torch.zeros(
            shape, dtype=self.backend.dtype, device=self.backend.device, requires_grad=True
        )

    @cached_property
    def _embedded(self) -> Tensor:
        """The embeddings of the run that is patched in."""
        pair = self.runs.pair
        other = pair.corrupted if self.runs.noising else pair.clean
        return self._captured(other, [resid_pre(0)])[resid_pre(0)][0]

    @cached_property
    def _outputs(self) -> Cache:
        return self._captured(self.runs.base, [attn_out, mlp_out])

    def _captured(self, prompt: TokenizedPrompt, sites: SitesLike) -> Cache:
        budget = self.runs.memory_budget
        return capture(self.backend, prompt, sites, memory_budget=budget)

    def _constant(self, block: int) -> list[Patch]:
        """A block's outputs as they were, but constant: no gradient flows through them."""
        return [s.set(self._outputs[s][0]) for s in (attn_out(block), mlp_out(block))]
