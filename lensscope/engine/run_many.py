"""`run_many`: one prompt under many lists of patches, the engine of every sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from lensscope import checks
from lensscope.engine.capture import SitesLike, as_sites
from lensscope.engine.execution import execute
from lensscope.engine.join_trial import why_not
from lensscope.engine.logits import Metric
from lensscope.engine.planning import Plan
from lensscope.engine.rows import PatchLike, as_list, rows_of
from lensscope.engine.runs import Runs, axes_of
from lensscope.engine.sampling import Sampling
from lensscope.errors import PatchError, PlanError, PromptError
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.cache import Cache
from lensscope.values.positions import PositionsLike, resolve_each
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Move, Patch

_KEPT: Final = ("logits", "metric", "top_tokens", "top_log_probabilities")


@checks.door(
    PlanError,
    positions=checks.optional(checks.listed),
    max_new_tokens=checks.whole(0),
    top_k=checks.scalar,
    seed=checks.optional(checks.whole(0)),
    stop=checks.stops,
    on_token=checks.optional(checks.function),
)
def run_many(
    model: Any,
    prompt: PromptsLike,
    patchsets: Iterable[Sequence[PatchLike]],
    *,
    positions: PositionsLike | None = -1,
    keep: SitesLike = (),
    metric: Metric | None = None,
    top_k: int | None = None,
    max_new_tokens: int = 0,
    source: PromptsLike | Cache | None = None,
    labels: Iterable[Any] | Mapping[str, Iterable[Any]] | None = None,
    grad: bool = False,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
    plan: Plan | Mapping[str, bool] | None = None,
    on_token: Callable[[int, int], Any] | None = None,
    **sampling: Any,
) -> Runs:
    """Run one prompt under many lists of patches: the engine of every sweep.

    Each row equals what `run` or `generate` gives for its patches alone; only the work that differs
    between rows is done (`lensscope.engine.planning`).

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: one prompt for all rows, or a list with one for each row: prompt n is run under list
            n, no other. Every prompt under every list is ``[p for p in prompts for _ in sets]``
            under ``sets * len(prompts)``, with ``labels={"prompt": prompts, "set": names}``.
        patchsets: one list of patches for each row.
        positions: where logits are wanted; several as in `Patchscope.inspect`, ``None`` for none.
        keep: sites to keep, as they are after the patches.
        metric: a function of logits ``[row, position, d_vocab]`` that gives ``[row, …]``; its
            values are kept in place of the logits. It is given the rows of one batch at a time, in
            whatever batches they are run: a row's value must not depend on another's.
        top_k: so many most probable tokens are kept at each position, in place of the logits.
        max_new_tokens: new tokens to generate for each row.
        source: what a `Move` reads from; by default the prompt itself, unpatched.
        labels: names of the rows, their numbers by default; or axes by name with their
            coordinates, of which the rows are the product, the last axis running fastest.
        grad: let gradients flow from logits, metric and kept sites to the values of patches.
            Then no row is left out and no prefix is shared, and every batch's graph stays in
            memory.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that the sweep may take, results included; rows are cut into batches
            to keep to it.
        plan: savings to do without, such as ``ls.Plan(depth=False)``.
        on_token: called with the number of a row and the id of its new token, as each is found, for
            texts that are shown while they are written.
        **sampling: as in `generate`: ``temperature``, ``top_p``, ``seed``, ``stop``,
            ``stop_at_eos``, ``use_cache``.

    Raises:
        BudgetError: the budget does not hold the results and a single row.
        PlanError: a metric, top_k or plan that cannot be followed.
        SiteError, PositionError, PromptError, PatchError, ModelError: see there.

    Example:
        >>> silent = ls.resid_post(3).at("Tower").zero()
        >>> out = ls.run_many(model, "The Eiffel Tower is in", [[], [silent]])
        >>> out.logits.shape
        torch.Size([2, 1, 49152])
    """
    backend, switches = backend_of(model), Plan.of(plan)
    if grad and max_new_tokens:
        raise PlanError(
            "Gradients do not flow through tokens that are chosen.",
            got=f"grad=True, max_new_tokens={max_new_tokens}",
            expected="one of the two",
            instead="grad=True with a metric of the logits",
        )
    if grad:
        checks.gradients_flow("grad=True", PlanError)
        switches = replace(switches, prefix=False, unchanged=False)
    if isinstance(patchsets, Patch | Move):
        patchsets = [as_list(patchsets)]  # type: ignore[arg-type]  # which says what is wrong
    if not isinstance(patchsets, Iterable) or isinstance(patchsets, str | bytes | Mapping):
        raise PatchError(
            "These are not lists of patches.",
            got=checks.seen(patchsets),
            expected="a list of patches for each row",
            instead='[[], [ls.resid_post(12).at("Wales").zero()]]',
        )
    sets = [as_list(patches) for patches in patchsets]
    axes = axes_of(labels, len(sets))
    prompts = tokenize(backend, prompt, prepend_bos)
    if len(prompts) == 1:
        prompts = prompts * len(sets)
    if len(prompts) != len(sets):
        raise PromptError(
            "There is not one prompt for each list of patches.",
            got=f"{len(prompts)} prompts, {len(sets)} lists",
            expected="one prompt for all, or as many as lists",
            instead="[p for p in prompts for _ in sets] with sets * len(prompts), for every prompt "
            "under every list",
        )
    rows = rows_of(backend, prompts, sets, source, prepend_bos, once=switches.source)
    unasked: list[tuple[int, ...]] = [()] * len(rows)
    asked = unasked if positions is None else resolve_each(positions, prompts)
    decoding = _sampling(max_new_tokens, sampling)
    with progress(len(rows) * (1 + max_new_tokens), "run_many", "row") as bar:
        outcome = execute(
            backend,
            rows,
            asked=asked,
            metric=metric,
            top_k=top_k,
            keep=as_sites(keep, backend.n_layers),
            sampling=decoding,
            side="left",
            memory_budget=memory_budget,
            plan=switches,
            grad=grad,
            why_not_joined=why_not,
            bar=bar,
            on_token=on_token,
        )
    return Runs(
        axes=axes,
        positions=tuple(asked),
        **{name: outcome.kept.get(name) for name in _KEPT},
        cache=outcome.cache,
        generation=outcome.generation,
        plan=outcome.plan,
        provenance=outcome.provenance,
    )


def _sampling(max_new_tokens: int, options: dict[str, Any]) -> Sampling | None:
    """How texts go on, if they do."""
    known = {f.name for f in fields(Sampling)} - {"max_new_tokens", "top_k"}
    if (options and not max_new_tokens) or not set(options) <= known:
        raise PatchError(
            "These options do not say how a text goes on.",
            got=", ".join(options) + f" with max_new_tokens={max_new_tokens}",
            expected=f"max_new_tokens above 0, and any of {', '.join(sorted(known))}",
            instead="max_new_tokens=20, temperature=0.7, seed=0",
        )
    return Sampling(max_new_tokens, **options) if max_new_tokens else None
