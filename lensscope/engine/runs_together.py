"""Results of `run_many` as one: rows one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.engine.planning import PlanReport
from lensscope.errors import PatchError
from lensscope.values.together import agree, one_provenance

_BY_POSITION: Final = ("logits", "top_tokens", "top_log_probabilities")


def joined_fields(results: Sequence[Any]) -> dict[str, Any]:
    """The fields of one `Runs` that has the rows of several, along the first axis.

    Raises:
        PatchError: other axes, something that only some of them keep, or states.
        BasisError: other models.
    """
    first = results[0]
    told = [_kept(one) for one in results]
    for other, kept in zip(results, told, strict=True):
        if len(other.cache):
            raise PatchError(
                "Runs that hold states are not put together.",
                got=f"{', '.join(map(repr, list(other.cache)[:3]))} kept",
                expected="runs without keep=",
                instead="torch.cat([run.cache[site] for run in runs])",
            )
        agree(told[0], kept, "kept results", PatchError)
        agree(list(first.axes), list(other.axes), "axes", PatchError)
        for axis in list(first.axes)[1:]:
            agree(first.axes[axis], other.axes[axis], f"labels of {axis}", PatchError)
    names = ("metric", *_BY_POSITION)
    fields = {name: _joined([getattr(one, name) for one in results]) for name in names}
    provenance = one_provenance([one.provenance for one in results])
    cache = type(first.cache)({}, [p for one in results for p in one.cache.prompts], provenance)
    return {
        **fields,
        "axes": _axes([one.axes for one in results]),
        "positions": tuple(row for one in results for row in one.positions),
        "cache": cache,
        "generation": _written([one.generation for one in results]),
        "plan": _plans([one.plan for one in results]),
        "provenance": provenance,
    }


def _kept(one: Any) -> dict[str, Any]:
    """What a result keeps, with its shape but for the rows and the positions of each."""
    kept = {"metric": None if one.metric is None else tuple(one.metric.shape[1:])}
    for name in _BY_POSITION:
        held = getattr(one, name)
        kept[name] = None if held is None else tuple(held.shape[2:])
    return {**kept, "generation": one.generation is not None}


def _axes(several: Sequence[Mapping[str, tuple[Any, ...]]]) -> dict[str, tuple[Any, ...]]:
    """The axes, the first of them going on; numbers that only count rows count on."""
    name, *_ = several[0]
    labels = tuple(label for one in several for label in one[name])
    if all(one[name] == tuple(range(len(one[name]))) for one in several):
        labels = tuple(range(len(labels)))
    return {**several[0], name: labels}


def _joined(tensors: Sequence[Tensor | None]) -> Tensor | None:
    """Rows one after another; what a row has fewer of than the longest is NaN, or -1."""
    held = [tensor for tensor in tensors if tensor is not None]
    if not held:
        return None
    widths = [max(one.shape[n] for one in held) for n in range(1, held[0].ndim)]
    rows = []
    for one in held:
        fill = float("nan") if one.is_floating_point() else -1
        wide = one.new_full((one.shape[0], *widths), fill)
        wide[tuple(slice(n) for n in one.shape)] = one
        rows.append(wide)
    return torch.cat(rows)


def _written(several: Sequence[Any]) -> Any:
    first = several[0]
    if first is None:
        return None
    joined = {
        name: tuple(row for one in several for row in getattr(one, name))
        for name in ("token_ids", "texts", "labels", "prompts")
    }
    logits = torch.cat([one.first_logits for one in several])
    return replace(first, **joined, first_logits=logits, single=False, cache=None)


def _plans(plans: Sequence[PlanReport]) -> PlanReport:
    """What was done in all, where each was a sweep of its own."""
    counted = (
        "rows",
        "run",
        "token_layers",
        "plain_token_layers",
        "unembedded",
        "plain_unembedded",
        "apart_rows",
    )
    return replace(
        plans[0],
        **{name: sum(getattr(plan, name) for plan in plans) for name in counted},
        chunks=tuple(n for plan in plans for n in plan.chunks),
        prefixes=tuple(n for plan in plans for n in plan.prefixes),
        prompt_tokens=max(plan.prompt_tokens for plan in plans),
        apart="; ".join(dict.fromkeys(plan.apart for plan in plans if plan.apart)),
        off=tuple(dict.fromkeys(name for plan in plans for name in plan.off)),
        prompts=max(plan.prompts for plan in plans),
    )
