"""Path patching: what one component says to another, with everything else as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.backend import Backend
from lensscope.engine import SitesLike, run_many
from lensscope.errors import PatchError, SiteError
from lensscope.patches import Patch
from lensscope.patching.activation import Asked
from lensscope.patching.grid import Cell
from lensscope.patching.measuring import Both, Direction, Pairwise, written
from lensscope.patching.pairing import Group, PositionsLike, groups_of
from lensscope.patching.result import PatchingResult, result_of
from lensscope.positions import ALL, resolve
from lensscope.prompts import PromptsLike
from lensscope.sites import (
    KINDS,
    Site,
    attn_out,
    head_out,
    mlp_out,
    resid_mid,
    resid_post,
    resid_pre,
)

LOGITS: Final = "logits"
"""The receiver at the end: the final norm and the unembedding."""
Receiver: TypeAlias = "Site | Literal['logits']"
ReceiversLike: TypeAlias = "Receiver | Sequence[Receiver] | Mapping[str, Sequence[Receiver]]"

_SENDERS: Final = ("embed", "head_out", "attn_out", "mlp_out")
_READS_ATTENTION: Final = ("q", "k", "v", "head_out", "attn_out")
_AT_ONCE: Final = 1 << 26
"""So many numbers of what senders write are held at a time."""


def path_patching(
    model: Any,
    clean: PromptsLike,
    corrupted: PromptsLike,
    senders: SitesLike,
    receivers: ReceiversLike,
    metric: Any,
    direction: Direction = "denoising",
    positions: PositionsLike = ALL,
    heads: Any = None,
    *,
    mlps: Literal["frozen", "live"] = "frozen",
    checkpoint: str | Path | None = None,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> PatchingResult:
    """Let a receiver alone see a sender as it is in the other run, and measure what that does.

    The sender's output is that of the other run on the paths that lead straight to the receiver;
    on all others it is what it was, and so is every other component on the way. What the receiver
    then gives goes on to the logits with nothing held (Wang et al. 2022, arXiv:2211.00593,
    section 3.1; Goldowsky-Dill et al. 2023, arXiv:2304.05969). It is exact: the residual stream is
    a sum, so what the receiver takes in changes by what the sender writes.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        clean: a prompt, or a list of prompts, one for each pair.
        corrupted: as many, each as long as its partner.
        senders: ``head_out``, ``attn_out``, ``mlp_out`` or ``embed``; each a cell, as in
            `activation_patching`.
        receivers: ``q``, ``k``, ``v`` of heads (with grouped queries, ``k`` and ``v`` are those of
            a whole group), ``head_out`` for a head by all three, ``mlp_out`` for what an MLP takes
            in, ``"logits"``; with a position, only there. A list makes each a cell; a mapping names
            receivers that see the sender together: what some of them write then reaches the others
            too, as it does in the model. Without a layer or head, each is meant.
        metric: as in `activation_patching`.
        direction: ``"denoising"`` or ``"noising"``.
        positions: of the senders, as in `activation_patching`.
        heads: of the senders, as there.
        mlps: ``"frozen"`` as everything else, or ``"live"``: paths may lead through MLPs between
            sender and receiver, as in Wang et al.
        checkpoint: as in `activation_patching`.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that a sweep may take.

    Returns:
        A `PatchingResult` with an axis ``receiver``; NaN where a sender comes after the receiver.

    Raises:
        PatchError: a receiver that no sender comes before.
        SiteError: sites that neither send nor receive.
        PromptError, PlanError, PositionError, ModelError: see `activation_patching`.

    Example:
        >>> effect = ls.path_patching(
        ...     model,
        ...     "The capital of Japan is the city of",
        ...     "The capital of Italy is the city of",
        ...     ls.mlp_out(0),
        ...     [ls.mlp_out(1), "logits"],
        ...     ls.logit_difference(" Tokyo", " Rome"),
        ... )
        >>> effect.data.effect.sizes
        Frozen({'pair': 1, 'layer': 1, 'receiver': 2})
    """
    asked = Asked.of(
        model,
        clean,
        corrupted,
        senders,
        metric,
        direction,
        positions,
        heads,
        ALL,
        1,
        prepend_bos,
        memory_budget,
    )
    groups_of(asked.pairs, None)  # which refuses prompts of different lengths
    if mlps not in ("frozen", "live"):
        raise PatchError(
            "MLPs on the way are frozen or live.",
            got=f"mlps={mlps!r}",
            expected='"frozen" or "live"',
            instead='mlps="frozen"',
        )
    wrong = [kind for kind in asked.grid.kinds if kind not in _SENDERS]
    if wrong:
        raise SiteError(
            "These sites do not send.",
            got=", ".join(wrong),
            expected="what is written into the residual stream: " + ", ".join(_SENDERS),
            instead="senders=[ls.head_out, ls.mlp_out]",
        )
    named = receivers_of(asked.backend, receivers)
    check_order(asked.backend, list(asked.grid.cells(1, 1)), receivers)
    settings = asked.settings(
        "path patching",
        mlps=mlps,
        receivers={label: [str(r) for r in some] for label, some in named.items()},
    )
    work = Pairwise(len(asked.pairs), (*asked.shape, len(named)))

    def measure(n: int, values: Tensor) -> tuple[float, float]:
        runs = asked.runs(n)
        paths = Paths(asked.backend, runs, live=mlps == "live")
        sent = [
            (cell, r)
            for cell in asked.cells(n)
            for r, some in enumerate(named.values())
            if any(precedes(asked.backend, cell.sites[0], one) for one in some)
        ]
        step = max(1, _AT_ONCE // (len(runs.base) * asked.backend.d_model))
        several = list(named.values())
        for first in range(0, len(sent), step):
            part = sent[first : first + step]
            found = paths.measure(
                [(c.sites[0], asked.groups[n][c.group], several[r]) for c, r in part]
            )
            for (cell, r), value in zip(part, found, strict=True):
                values[cell.index][r] = value
        return runs.clean, runs.corrupted

    with torch.no_grad():
        work.run("path patching", measure, checkpoint, settings | asked.identity())
    return result_of(asked, work, settings, {"receiver": tuple(named)})


# ------------------------------------------------------- who sends, who receives


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
        raise PatchError(
            "There are no receivers.",
            got=repr(receivers),
            expected="at least one",
            instead='receivers=[ls.q(9, 6), ls.mlp_out(10), "logits"]',
        )
    for one in several:
        if isinstance(one, str) and one == LOGITS:
            yield LOGITS
        elif isinstance(one, Site) and one.kind in (*_READS_ATTENTION, "mlp_out"):
            for site in backend.concrete(one):
                axis = KINDS[site.kind].head_axis
                heads: Sequence[int | None] = [site.head]
                if axis is not None and site.head is None:
                    heads = range(backend.n_heads if axis == "head" else backend.n_kv_heads)
                for head in heads:
                    yield Site(site.kind, site.layer, head, site.position, site.occurrence)
        else:
            raise SiteError(
                "This does not receive.",
                got=repr(one),
                expected='q, k, v or head_out of a head, mlp_out for an MLP, or "logits"',
                instead='receivers=[ls.q(9, 6), ls.mlp_out(10), "logits"]',
            )


def _parallel(backend: Backend, layer: int) -> bool:
    """Whether attention and MLP of a block take in the same."""
    return f"blocks.{layer}.hook_resid_mid" not in backend.points


def precedes(backend: Backend, sender: Site, receiver: Receiver) -> bool:
    """Whether what a sender writes can go straight into a receiver."""
    if receiver == LOGITS or sender.layer is None or isinstance(receiver, str):
        return True
    assert receiver.layer is not None
    if sender.layer == receiver.layer:
        heads = sender.kind in ("head_out", "attn_out")
        return heads and receiver.kind == "mlp_out" and not _parallel(backend, sender.layer)
    return sender.layer < receiver.layer


def check_order(backend: Backend, cells: Sequence[Cell], receivers: ReceiversLike) -> None:
    """Refuse receivers that no sender comes before.

    Raises:
        PatchError: with the first of them.
    """
    several = receivers.values() if isinstance(receivers, Mapping) else [receivers]
    listed = [[r] if isinstance(r, Site | str) else list(r) for r in several]
    asked = listed if isinstance(receivers, Mapping) else [[r] for r in listed[0]]
    for some in asked:
        meant = [one for r in some for one in _each(backend, r)]
        if not any(precedes(backend, cell.sites[0], one) for cell in cells for one in meant):
            first = min(cells, key=lambda cell: cell.sites[0].layer or 0).sites[0]
            raise PatchError(
                f"No sender comes before the receiver {some[0]}.",
                got=f"{meant[-1]!r}, and {first!r} as the earliest sender",
                expected="a sender in a block below (or, of an MLP, a head of its own block)",
                instead=f'receivers="{LOGITS}", or senders of earlier layers',
            )


# ------------------------------------------------------- how it gets there


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
        late = receiver.kind == "mlp_out" and not _parallel(self.backend, receiver.layer)
        return Stage(receiver.layer, int(late))

    def measure(
        self, cells: Sequence[tuple[Site, Group, Sequence[Receiver]]]
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
            self.backend.model,
            self.runs.base,
            rows,
            positions=None,
            keep=list(sites),
            memory_budget=self.runs.memory_budget,
        )
        return {site: out.cache[site] for site in sites}

    # ---------------------------------------------------------------- what is sent

    def _of(self, sender: Site, group: Group) -> dict[Stage, Tensor]:
        return self._sent[sender, group]

    def _send(self, senders: Sequence[tuple[Site, Group]], stages: Sequence[Stage]) -> None:
        """Find how each sender changes the residual stream at each stage."""
        self._sent = {}
        several = list(dict.fromkeys(senders))
        if self.live:
            self._send_through_mlps(several, stages)
            return
        layers: dict[int | None, list[tuple[Site, Group]]] = {}
        for sender, group in several:
            layers.setdefault(sender.layer, []).append((sender, group))
        for layer, some in layers.items():
            for kind in dict.fromkeys(sender.kind for sender, _ in some):
                mine = [one for one in some if one[0].kind == kind]
                at = {"embed": resid_pre(0), "mlp_out": mlp_out(layer)}.get(kind, attn_out(layer))
                if layer is not None:
                    self.backend.check_writable({(at.kind, layer)})
                kept = self._run([self._patches(*one) for one in [*mine]] + [[]], [at])[at]
                for n, one in enumerate(mine):
                    self._sent[one] = dict.fromkeys(stages, kept[n] - kept[-1])

    def _send_through_mlps(
        self, senders: Sequence[tuple[Site, Group]], stages: Sequence[Stage]
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

    def _patches(self, sender: Site, group: Group) -> list[Patch]:
        """The sender as it is in the other run."""
        to, at = self.runs.tokens(group)
        return written(sender, to, self.runs.source_states(sender)[list(at)])
