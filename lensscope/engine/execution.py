"""How rows go through a model: what is to be run, in which batches.

`execute` leaves out what a sweep need not do (`lensscope.engine.planning`), and does the rest:

1. of rows that do the same, one is run;
2. the prompt is run once without patches. That shows which rows change nothing, and from which
   token and block on the others differ, and leaves the keys and values that they share;
3. rows that differ from about the same token on go up the blocks together, in batches under a
   memory budget, each joining at its block (`lensscope.engine.joining`);
4. each batch is unembedded where it is asked for (`lensscope.engine.logits`), and goes on to new
   tokens (`lensscope.engine.decoding`); `lensscope.engine.runner` puts these together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lensscope.engine.batch import PaddingSide, Row
from lensscope.engine.logits import KeptLogits, Metric
from lensscope.engine.planning import Plan, PlanReport
from lensscope.engine.runner import BatchRunner
from lensscope.engine.runs import Generation
from lensscope.engine.sampling import Sampling
from lensscope.engine.states import KeptStates
from lensscope.engine.sweep import Sweep, by_input, distinct
from lensscope.model.backend import Backend
from lensscope.model.token_texts import labels_of, text_of
from lensscope.values.cache import Cache
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that came of some rows.

    Attributes:
        kept: ``logits``, or ``metric``, ``top_tokens`` and ``top_log_probabilities``, of all rows,
            as far as they were asked for.
        cache: the sites that were kept.
        generation: new tokens, if any were asked for.
        plan: what was done.
        provenance: of the model.
    """

    kept: Mapping[str, Tensor]
    cache: Cache
    generation: Generation | None
    plan: PlanReport
    provenance: Provenance


def execute(
    backend: Backend,
    rows: Sequence[Row],
    *,
    asked: Sequence[Sequence[int]] | None = None,
    metric: Metric | None = None,
    top_k: int | None = None,
    keep: Sequence[Site] = (),
    sampling: Sampling | None = None,
    side: PaddingSide,
    memory_budget: int | None = None,
    plan: Plan | None = None,
    grad: bool = False,
    why_not_joined: Callable[[Backend], str] | None = None,
    bar: Any = None,
    on_token: Callable[[int, int], Any] | None = None,
) -> Outcome:
    """Run rows.

    Args:
        backend: the model.
        rows: prompts with what is written into them.
        asked: for each row, the tokens whose logits are wanted; by default none.
        metric: kept in place of the logits, if given.
        top_k: so many most probable tokens are kept in place of the logits, if given.
        keep: sites to keep, as they are after the patches.
        sampling: how to go on writing, if at all.
        side: where shorter prompts are padded.
        memory_budget: bytes that it may take, results included.
        plan: the savings to use; all by default.
        grad: whether gradients flow.
        why_not_joined: says why rows cannot join at their layer in this model, if they cannot;
            without, they join whatever it costs.
        bar: a progress bar.
        on_token: told of each new token, with its row, as it is found.

    Raises:
        PlanError, SiteError, PromptError, BudgetError: see `lensscope.run_many`.
    """
    plan = plan or Plan()
    prompts = [row.prompt for row in rows]
    logits = KeptLogits(asked or [()] * len(rows), metric, top_k, at_once=plan.outputs)
    states = KeptStates(backend, keep, prompts, detach=not grad)
    provenance = backend.provenance([p.ids for p in prompts])
    off = dict.fromkeys(plan.off)
    if backend.has_own_hooks and plan.prefix:
        # They may look at all tokens of a prompt, so it is run in one piece.
        plan = replace(plan, prefix=False)
        off["prefix (the model has hooks of its own)"] = None
    stands_for = distinct(rows) if plan.unchanged else {i: [i] for i in range(len(rows))}
    rows, inputs = by_input(rows, stands_for, share=plan.depth)
    sweep = Sweep(
        backend, rows, logits, states, plan, sampling, side, memory_budget, why_not_joined
    )
    sweep.check_context()
    ways = [(same, *sweep.way(same)) for same in inputs]
    sweep.check_budget([(same, together) for same, together, _ in ways])
    runner = BatchRunner(sweep, stands_for, bar, on_token)
    apart: Counter[str] = Counter()
    alone: list[int] = []
    with torch.set_grad_enabled(grad):
        for same, together, why in ways:
            if why:
                apart[why] += len(same)
            if not together:
                alone += same
                continue
            if plan.prefix and (whole := sweep.why_whole(len(rows[same[0]].prompt))):
                off[f"prefix ({whole})"] = None
            _run_together(runner, same, joined=not why)
        if len({len(rows[i].prompt) for i in alone}) > 1 and backend.why_not_padded:
            off[f"padding ({backend.why_not_padded})"] = None
        for side_by_side in sweep.side_by_side(alone):
            for chunk in sweep.chunks(side_by_side, 0):
                runner.run(chunk)
    return Outcome(
        logits.finish(),
        Cache(states.entries(), prompts, provenance),
        None if sampling is None else _generation(runner, provenance),
        _report(runner, apart, tuple(off)),
        provenance,
    )


def _run_together(runner: BatchRunner, rows: Sequence[int], *, joined: bool) -> None:
    """Rows of one prompt, with what they share."""
    sweep, plan, width = runner.sweep, runner.sweep.plan, len(runner.sweep.rows[rows[0]].prompt)
    shares = sweep.shares(width)
    known = runner.unpatched(rows, share=shares) if shares or plan.unchanged else None
    held = known.held if known is not None and plan.unchanged else None
    reaches, idle = sweep.reaches(rows, held)
    if held is not None:
        runner.merge(idle)
        for i in idle[1:]:
            del reaches[i]
    for group in sweep.prefixes(reaches, width, joined=joined):
        order = sorted(group.rows, key=lambda i: (reaches[i].layer if joined else 0, i))
        for chunk in sweep.chunks(order, group.prefix):
            layers = [reaches[i].layer for i in chunk] if joined else None
            runner.run(chunk, known, group.prefix, layers)


def _generation(runner: BatchRunner, provenance: Provenance) -> Generation:
    """The new tokens of all rows."""
    sweep = runner.sweep
    backend, prompts = sweep.backend, [row.prompt for row in sweep.rows]
    cut = str if sweep.sampling is None else sweep.sampling.cut
    each = list(zip(runner.new, prompts, strict=True))
    return Generation(
        tuple(tuple(new) for new, _ in each),
        tuple(cut(text_of(backend, new, prompt.ids)) for new, prompt in each),
        tuple(labels_of(backend, new) for new, _ in each),
        runner.first.finish()["logits"][:, 0],
        tuple(prompts),
        provenance,
    )


def _report(runner: BatchRunner, apart: Mapping[str, int], off: tuple[str, ...]) -> PlanReport:
    lengths = [len(row.prompt) for row in runner.sweep.rows]
    return PlanReport(
        rows=len(lengths),
        run=len(runner.stands_for),
        chunks=tuple(n for n, _ in runner.batches),
        prefixes=tuple(prefix for _, prefix in runner.batches),
        prompt_tokens=max(lengths),
        token_layers=runner.token_layers,
        plain_token_layers=sum(lengths) * runner.sweep.backend.n_layers,
        unembedded=runner.unembedded,
        plain_unembedded=sum(lengths),
        apart="; ".join(apart),
        apart_rows=sum(apart.values()),
        off=off,
        prompts=len({row.prompt for row in runner.sweep.rows}),
    )
