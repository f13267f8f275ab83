"""How what a component sends gets to those that receive it, with everything else as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lensscope.effects.measuring import Both, written
from lensscope.effects.pairing import TokenGroup
from lensscope.effects.receivers import LOGITS, Receiver, parallel, precedes
from lensscope.engine.run_many import run_many
from lensscope.model.backend import Backend
from lensscope.model.trials import check_writable
from lensscope.values.positions import resolve
from lensscope.values.sites import (
    Patch,
    Site,
    attn_out,
    head_out,
    mlp_out,
    resid_mid,
    resid_post,
    resid_pre,
)


@dataclass(frozen=True)
class Stage:
    """Where receivers take in the residual stream: before a block's attention, before its MLP, or
    at the end."""

    layer: int
    part: int

    @property
    def site(self) -> Site:
        return (resid_pre, resid_mid, resid_post)[self.part](self.layer)


class Paths:
    """Path patching of one pair."""

    def __init__(self, backend: Backend, runs: Both, *, live: bool) -> None:
        self.backend, self.runs, self.live = backend, runs, live
        self._sent: dict[Any, dict[Stage, Tensor]] = {}

    def stage(self, receiver: Receiver) -> Stage:
        """Where a receiver takes in the residual stream."""
        if isinstance(receiver, str):
            return Stage(self.backend.n_layers - 1, 2)
        assert receiver.layer is not None
        late = receiver.kind == "mlp_out" and not parallel(self.backend, receiver.layer)
        return Stage(receiver.layer, int(late))

    def measure(
        self, cells: Sequence[tuple[Site, TokenGroup, Sequence[Receiver]]]
    ) -> Float[Tensor, " cell"]:
        """The metric for each sender, its tokens, and those that see it."""
        stages: dict[Stage, list[tuple[int, Site]]] = {}
        ends: list[int] = []
        for n, (sender, _, receivers) in enumerate(cells):
            for one in receivers:
                if isinstance(one, str):
                    ends.append(n)
                elif precedes(self.backend, sender, one):
                    stages.setdefault(self.stage(one), []).append((n, one))
        end = self.stage(LOGITS)
        self._send([(s, g) for s, g, _ in cells], [*stages, *([end] if ends else [])])
        rows: list[list[Patch]] = [[] for _ in cells]
        for stage in sorted(stages, key=lambda s: (s.layer, s.part)):
            asking = list(dict.fromkeys(n for n, _ in stages[stage]))
            heard = [
                [*rows[n], stage.site.add(self._of(cells[n][0], cells[n][1])[stage])]
                for n in asking
            ]
            sites = list(dict.fromkeys(one.whole for _, one in stages[stage]))
            kept = self._run(heard, sites)
            for n, one in stages[stage]:
                states = kept[one.whole][asking.index(n)]
                rows[n] += self._as_heard(one, states)
        for n in dict.fromkeys(ends):
            rows[n].append(end.site.add(self._of(cells[n][0], cells[n][1])[end]))
        return self.runs.sweep(rows)

    def _as_heard(self, receiver: Site, states: Tensor) -> list[Patch]:
        """A receiver gives what it has made of the sender."""
        states = states if receiver.head is None else states[:, receiver.head]
        if receiver.position is None:
            tokens = tuple(range(len(self.runs.base)))
        else:
            tokens = resolve(receiver.position, self.runs.base, receiver.occurrence)
        return written(
            Site(receiver.kind, receiver.layer, receiver.head), tokens, states[[*tokens]]
        )

    def _run(self, rows: Sequence[Sequence[Patch]], sites: Sequence[Site]) -> Mapping[Site, Tensor]:
        out = run_many(
            self.backend,
            self.runs.base,
            rows,
            positions=None,
            keep=list(sites),
            memory_budget=self.runs.memory_budget,
        )
        return {site: out.cache[site] for site in sites}

    # ---------------------------------------------------------------- what is sent

    def _of(self, sender: Site, group: TokenGroup) -> dict[Stage, Tensor]:
        return self._sent[sender, group]

    def _send(self, senders: Sequence[tuple[Site, TokenGroup]], stages: Sequence[Stage]) -> None:
        """Find how each sender changes the residual stream at each stage."""
        self._sent = {}
        several = list(dict.fromkeys(senders))
        if self.live:
            self._send_through_mlps(several, stages)
            return
        layers: dict[int | None, list[tuple[Site, TokenGroup]]] = {}
        for sender, group in several:
            layers.setdefault(sender.layer, []).append((sender, group))
        for layer, some in layers.items():
            for kind in dict.fromkeys(sender.kind for sender, _ in some):
                mine = [one for one in some if one[0].kind == kind]
                at = {"embed": resid_pre(0), "mlp_out": mlp_out(layer)}.get(kind, attn_out(layer))
                if layer is not None:
                    check_writable(self.backend, {(at.kind, layer)})
                kept = self._run([self._patches(*one) for one in mine] + [[]], [at])[at]
                for n, one in enumerate(mine):
                    self._sent[one] = dict.fromkeys(stages, kept[n] - kept[-1])

    def _send_through_mlps(
        self, senders: Sequence[tuple[Site, TokenGroup]], stages: Sequence[Stage]
    ) -> None:
        """The same where MLPs on the way say what they make of it, and heads what they said."""
        n_layers = self.backend.n_layers
        heads = [head_out(n) for n in range(n_layers)]
        said = self._run([[]], heads)
        rows = [
            [
                *self._patches(sender, group),
                *(
                    head_out(n).set(said[head_out(n)][0])
                    for n in range(0 if sender.layer is None else sender.layer + 1, n_layers)
                ),
            ]
            for sender, group in senders
        ]
        sites = [stage.site for stage in stages]
        kept = self._run([*rows, []], sites)
        for n, one in enumerate(senders):
            self._sent[one] = {s: kept[s.site][n] - kept[s.site][-1] for s in stages}

    def _patches(self, sender: Site, group: TokenGroup) -> list[Patch]:
        """The sender as it is in the other run."""
        to, at = self.runs.tokens(group)
        return written(sender, to, self.runs.source_states(sender)[list(at)])
