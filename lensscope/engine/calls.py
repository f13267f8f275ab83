"""`capture`, `run`, `generate` and `run_many`: the four ways to run a model.

Each is a few lines: patches become rows, and an `Execution` runs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeAlias

import torch

from lensscope import checks
from lensscope.checks.plain import goes_through
from lensscope.engine.batch import PaddingSide, Row, resolve_row
from lensscope.engine.execution import Execution
from lensscope.engine.outputs import Metric, Outputs
from lensscope.engine.planning import Plan
from lensscope.engine.runs import Generation, Run, Runs, axes_of
from lensscope.engine.sampling import Sampling
from lensscope.errors import PatchError, PlanError, PromptError, SiteError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.cache import Cache
from lensscope.values.patches import Move, Patch
from lensscope.values.positions import PositionLike, resolve
from lensscope.values.prompts import PromptsLike, TokenizedPrompt, is_single
from lensscope.values.sites import Site

SitesLike: TypeAlias = Site | Sequence[Site]
PatchLike: TypeAlias = Patch | Move


@checks.door(PatchError)
def capture(
    model: Any,
    prompts: PromptsLike,
    sites: SitesLike,
    *,
    prepend_bos: bool | None = None,
    padding_side: PaddingSide = "right",
    memory_budget: int | None = None,
) -> Cache:
    """Run prompts and keep what some sites held, and nothing else.

    The forward ends as soon as the last of the sites has been read; no logits are computed.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompts: a string, a list of strings, or token ids.
        sites: one or several; a site without a layer means every layer.
        prepend_bos: ``None`` follows the model's own default.
        padding_side: how prompts of different lengths are laid out; it changes no result.
        memory_budget: bytes that it may take, results included.

    Returns:
        A `Cache`; ``cache[site]`` is ``[prompt, position, …]``.

    Raises:
        SiteError, PositionError, PromptError, ModelError: see there.

    Example:
        >>> cache = ls.capture(model, "The Eiffel Tower", ls.resid_post(3))
        >>> cache[ls.resid_post(3).at(-1)].shape
        torch.Size([1, 1, 576])
    """
    backend = backend_of(model)
    rows = [Row(prompt) for prompt in tokenize(backend, prompts, prepend_bos)]
    execution = Execution(backend, rows, as_sites(sites), padding_side, memory_budget)
    with progress(len(rows), "capture", "prompt") as bar:
        execution.run(Outputs([()] * len(rows)), bar=bar)
    return execution.cache()


@checks.door(PatchError)
def run(
    model: Any,
    prompt: PromptsLike,
    patches: Sequence[PatchLike] = (),
    keep: SitesLike = (),
    *,
    source: PromptsLike | Cache | None = None,
    prepend_bos: bool | None = None,
    padding_side: PaddingSide = "right",
    memory_budget: int | None = None,
) -> Run:
    """One forward over one or several prompts, patched.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a string, a list of strings, or token ids. Every prompt gets the same patches, at
            positions resolved on that prompt.
        patches: in the order in which they act; a `Move` reads its value from ``source``.
        keep: sites to keep, as they are after the patches.
        source: a prompt (as many as there are prompts, or one) or a `Cache` that moves read from;
            by default the prompt itself, unpatched.
        prepend_bos: ``None`` follows the model's own default.
        padding_side: how prompts of different lengths are laid out; it changes no result.
        memory_budget: bytes that it may take, results included.

    Raises:
        SiteError, PositionError, PromptError, PatchError, ModelError: see there.

    Example:
        >>> run = ls.run(model, "The Eiffel Tower is in", [ls.resid_post(3).at("Tower").zero()])
        >>> run.logits.shape
        torch.Size([1, 6, 49152])
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    _check_source([patches], source)
    rows = _rows(backend, prompts, [patches] * len(prompts), source, prepend_bos)
    execution = Execution(backend, rows, as_sites(keep), padding_side, memory_budget)
    execution.run(Outputs([range(len(p)) for p in prompts]))
    return Run(execution.results["logits"], execution.cache(), tuple(prompts), execution.provenance)


@checks.door(PatchError)
def generate(
    model: Any,
    prompt: PromptsLike,
    patches: Sequence[PatchLike] = (),
    max_new_tokens: int = 20,
    *,
    source: PromptsLike | Cache | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop_at_eos: bool = True,
    use_cache: bool = True,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> Generation:
    """Let a patched model go on writing.

    A patch acts on the tokens it names when they are first processed; with
    ``when="every_step"`` also on every new token. Prompts of different lengths are padded on the
    left, masked, and give what each would give alone.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a string, a list of strings, or token ids.
        patches: in the order in which they act.
        max_new_tokens: at most this many new tokens.
        source: what a `Move` reads from; by default the prompt itself, unpatched.
        temperature: 0 is greedy; above, tokens are drawn, which needs a ``seed``.
        top_k: draw among this many most probable tokens.
        top_p: draw among the fewest tokens that together have this probability.
        seed: of the draws; each prompt draws as it would alone.
        stop_at_eos: end a text at the model's end-of-text token.
        use_cache: keep keys and values between steps; without, each step runs everything again.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that it may take, results included.

    Raises:
        PromptError: prompt and new tokens do not fit into the context.
        SiteError, PositionError, PatchError, ModelError: see there.

    Example:
        >>> ls.generate(model, "The capital of Japan is the city of", max_new_tokens=1).text
        ' Tokyo'
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    _check_source([patches], source)
    rows = _rows(backend, prompts, [patches] * len(prompts), source, prepend_bos)
    sampling = Sampling(max_new_tokens, temperature, top_k, top_p, seed, stop_at_eos, use_cache)
    execution = Execution(backend, rows, [], "left", memory_budget)
    with progress(len(rows) * max_new_tokens, "generate", "token") as bar:
        execution.run(Outputs([()] * len(rows)), sampling=sampling, bar=bar)
    return execution.generation(single=is_single(prompt))


@checks.door(
    PlanError,
    positions=checks.optional(checks.listed),
    max_new_tokens=checks.whole(0),
    top_k=checks.scalar,
    seed=checks.optional(checks.whole(0)),
)
def run_many(
    model: Any,
    prompt: PromptsLike,
    patchsets: Iterable[Sequence[PatchLike]],
    *,
    positions: PositionLike | None = -1,
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
    **sampling: Any,
) -> Runs:
    """Run one prompt under many lists of patches: the engine of every sweep.

    Each row equals what `run` or `generate` gives for its patches alone; only the work that differs
    between rows is done (`lensscope.engine.planning`).

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: one prompt for all rows, or a list with one for each row.
        patchsets: one list of patches for each row.
        positions: where logits are wanted; ``None`` for none.
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
        **sampling: as in `generate`: ``temperature``, ``top_p``, ``seed``, ``stop_at_eos``,
            ``use_cache``.

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
    if grad and torch.is_inference_mode_enabled():
        raise PlanError(
            "Gradients do not flow in inference mode.",
            got="grad=True inside torch.inference_mode()",
            expected="a call outside of it",
            instead="torch.no_grad() around what needs no gradients",
        )
    if grad:
        switches = replace(switches, prefix=False, unchanged=False)
    if isinstance(patchsets, Patch | Move):
        patchsets = [_as_list(patchsets)]  # type: ignore[arg-type]  # which says what is wrong
    if not isinstance(patchsets, Iterable) or isinstance(patchsets, str | bytes | Mapping):
        raise PatchError(
            "These are not lists of patches.",
            got=checks.seen(patchsets),
            expected="a list of patches for each row",
            instead='[[], [ls.resid_post(12).at("Wales").zero()]]',
        )
    sets = [_as_list(patches) for patches in patchsets]
    axes = axes_of(labels, len(sets))
    prompts = tokenize(backend, prompt, prepend_bos)
    if len(prompts) == 1:
        prompts = prompts * len(sets)
    if len(prompts) != len(sets):
        raise PromptError(
            "There is not one prompt for each list of patches.",
            got=f"{len(prompts)} prompts, {len(sets)} lists",
            expected="one prompt for all, or as many as lists",
            instead="ls.run_many(model, prompt, patchsets)",
        )
    _check_source(sets, source)
    rows = _rows(backend, prompts, sets, source, prepend_bos, once=switches.source)
    unasked: list[Sequence[int]] = [()] * len(rows)
    asked = unasked if positions is None else [resolve(positions, p) for p in prompts]
    outputs = Outputs(asked, metric, top_k, at_once=switches.outputs)
    execution = Execution(
        backend, rows, as_sites(keep), "left", memory_budget, plan=switches, grad=grad
    )
    decoding = _sampling(max_new_tokens, sampling)
    with progress(len(rows) * (1 + max_new_tokens), "run_many", "row") as bar:
        execution.run(outputs, sampling=decoding, bar=bar)
    results = execution.results
    return Runs(
        axes=axes,
        positions=tuple(tuple(tokens) for tokens in asked),
        logits=results.get("logits"),
        metric=results.get("metric"),
        top_tokens=results.get("top_tokens"),
        top_log_probabilities=results.get("top_log_probabilities"),
        cache=execution.cache(),
        generation=execution.generation() if max_new_tokens else None,
        plan=execution.report,
        provenance=execution.provenance,
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


def as_sites(sites: SitesLike) -> list[Site]:
    """A list of sites from one or several.

    Raises:
        SiteError: one of them is not a site.
    """
    several = isinstance(sites, Iterable) and not isinstance(sites, str | Mapping)
    found: list[Any] = list(sites) if several and not isinstance(sites, Site) else [sites]
    for site in found:
        if not isinstance(site, Site):
            raise SiteError(
                "This is not a site.",
                got=checks.seen(site),
                expected="a Site, or a list of them",
                instead="keep=ls.resid_post(12), or keep=[ls.resid_post(12), ls.pattern]",
            )
    return found


# -------------------------------------------------------------------- planning


def _rows(
    backend: Backend,
    prompts: Sequence[TokenizedPrompt],
    patchsets: Sequence[Sequence[PatchLike]],
    source: PromptsLike | Cache | None,
    prepend_bos: bool | None,
    *,
    once: bool = True,
) -> list[Row]:
    """Prompts and patches as rows, the moves among the patches read first.

    Args:
        once: read what all rows' moves need in one run, not in one for each row.
    """
    if not once and not isinstance(source, Cache):
        own: list[Any] = [None] if source is None else tokenize(backend, source, prepend_bos)
        _check_sources(own, prompts)
        each = zip(prompts, patchsets, own * len(prompts) if len(own) == 1 else own, strict=True)
        return [row for p, s, o in each for row in _rows(backend, [p], [s], o, prepend_bos)]
    lists = [_as_list(patches) for patches in patchsets]
    reads = {m.read: None for patches in lists for m in patches if isinstance(m, Move)}
    unique = list(dict.fromkeys(prompts))
    cache: Cache | None = None
    if not reads:
        pass
    elif isinstance(source, Cache):
        cache = source
        cache.provenance.check_basis(backend.provenance(), "The cache that a move reads from")
    else:
        texts = unique if source is None else source
        cache = capture(backend.model, texts, list(reads), prepend_bos=prepend_bos)
    if cache is not None and source is not None:
        _check_sources(cache.prompts, prompts)
    rows = []
    bound: dict[object, Patch] = {}
    for n, (prompt, patches) in enumerate(zip(prompts, lists, strict=True)):
        if cache is None:
            rows.append(resolve_row(backend, prompt, patches))  # type: ignore[arg-type]
            continue
        at = unique.index(prompt) if source is None else n if len(cache.prompts) > 1 else 0
        patched = [_bound(p, cache, at, bound) if isinstance(p, Move) else p for p in patches]
        rows.append(resolve_row(backend, prompt, patched))
    return rows


def _check_source(patchsets: Iterable[Any], source: Any) -> None:
    """Refuse a source that no patch reads from."""
    moves = (isinstance(p, Move) for patches in patchsets for p in _as_list(patches))
    if source is not None and not any(moves):
        raise PatchError(
            "Nothing is read from the source.",
            got="source= and no move among the patches",
            expected="a move, which reads from it",
            instead="patches=[ls.resid_post(12).at(-1) >> ls.resid_post(12).at(-1)]",
        )


def _check_sources(sources: Sequence[object], prompts: Sequence[TokenizedPrompt]) -> None:
    if len(sources) not in (1, len(prompts)):
        raise PromptError(
            "There is not one source for each prompt.",
            got=f"{len(sources)} sources, {len(prompts)} prompts",
            expected="one source, or as many as prompts",
            instead="source=[…] with one prompt for each",
        )


def _bound(move: Move, cache: Cache, at: int, bound: dict[object, Patch]) -> Patch:
    """The patch of a move; what many moves read alike is read once."""
    if move.transforms or move.write is None:
        return move.patch(cache, at)
    key = (move.read, at)
    if key not in bound:
        bound[key] = move.patch(cache, at)
    return replace(bound[key], site=move.write)


def _as_list(patches: Sequence[PatchLike]) -> list[PatchLike]:
    if isinstance(patches, Patch | Move):
        raise PatchError(
            "A single patch stands where a list of patches belongs.",
            got=repr(patches),
            expected="a list of patches",
            instead=f"[{patches!r}]",
        )
    if not goes_through(patches) or isinstance(patches, str | bytes | Mapping):
        raise PatchError(
            "These are not patches.",
            got=checks.seen(patches),
            expected="a list of patches",
            instead='[ls.resid_post(12).at("Wales").zero()]',
        )
    return list(checks.listed(patches, "A list of patches", PatchError))
