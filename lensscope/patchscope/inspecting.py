"""Inspecting: states of a source prompt, or raw vectors, in the words of the target model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.engine.finite import check_states
from lensscope.engine.runs import Generation
from lensscope.errors import PatchError
from lensscope.lenses.notes import notes_on, parts_of_words
from lensscope.lenses.readout import logit_lens_tokens
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.patchscope.layers import TargetLayers, check_targets, layers_of, targets_of
from lensscope.patchscope.result import PatchscopeResult, Reading
from lensscope.patchscope.writing import Writer, write_and_decode
from lensscope.values.operations import as_value
from lensscope.values.positions import ALL, All, PositionLike, resolve
from lensscope.values.prompts import PromptsLike, TokenizedPrompt
from lensscope.values.sites import Site

_RESIDUAL: Final = ("embed", "resid_pre", "resid_mid", "resid_post")


def inspected(
    scope: Writer,
    model: Any,
    source: PromptsLike | Float[Tensor, " d_model"] | Float[Tensor, "vector d_model"],
    position: PositionLike,
    layers: Iterable[SupportsIndex] | None,
    target_layers: TargetLayers,
    max_new_tokens: int,
    *,
    occurrence: int | None,
    prepend_bos: bool | None,
    memory_budget: int | None,
) -> PatchscopeResult:
    """As `Patchscope.inspect`."""
    here = backend_of(model)
    target = here if scope.model is None else backend_of(scope.model)
    if max_new_tokens < 1:
        raise PatchError(
            "A patchscope that writes nothing says nothing.",
            got=f"max_new_tokens={max_new_tokens}",
            expected="at least 1",
            instead="max_new_tokens=1 for the next token alone",
        )
    if isinstance(source, np.ndarray):
        source = torch.as_tensor(source)
    raw = isinstance(source, Tensor) and source.is_floating_point()
    if raw:
        source = as_value(source)
    if isinstance(target_layers, All):
        target_layers = "all"
    elif not isinstance(target_layers, str):
        one = isinstance(target_layers, int)
        target_layers = [target_layers] if one else list(target_layers)  # type: ignore[list-item]
    if isinstance(layers, All):
        layers = None
    layers = layers if layers is None or isinstance(layers, int | str) else list(layers)
    check_targets(scope.write, target_layers, layers if raw else None)
    prompt, places = scope.inspection.tokenized(target), scope.inspection.placed(target)
    prompts: list[TokenizedPrompt] = []
    notes: tuple[str, ...] = ()
    if raw:
        readings = _of_vectors(scope, target, source, layers, target_layers)  # type: ignore[arg-type]
    else:
        prompts = tokenize(here, source, prepend_bos)
        where = Site("resid_post").at(position, occurrence)  # checks the two together
        place = ALL if where.position is None else where.position
        inside = [n for p in prompts for n in parts_of_words(place, p, occurrence)]
        tokens = [resolve(place, p, occurrence) for p in prompts]
        notes = notes_on(here, zip(prompts, tokens, strict=True), inside)
        readings = _of_prompts(scope, here, target, prompts, tokens, where, layers, target_layers)
    _check_fit(scope, here, target, readings)
    (runs,) = write_and_decode(
        target,
        prompt,
        places,
        [(scope.write.whole(r.target_layer), r.value) for r in readings],
        patch=scope.patch,
        max_new_tokens=max_new_tokens,
        memory_budget=memory_budget,
    )
    assert runs.generation is not None
    return PatchscopeResult.of(
        _with_words(readings, runs.generation),
        _logit_lens(here, (scope.read or scope.write).kind, readings),
        grid=not raw and scope.write.layer is None and target_layers != "same",
        inspection=scope.inspection.text,
        placeholder=scope.inspection.placeholder,
        inspection_tokens=prompt.labels,
        plan=str(runs.plan),
        source=here.provenance([p.ids for p in prompts]),
        target=target.provenance([prompt.ids]),
        notes=notes,
        settings={
            "write": repr(scope.write),
            "read": repr(scope.read or scope.write),
            "transform": getattr(scope.transform, "signature", None) or repr(scope.transform),
            "mix": scope.mix,
            "match_norm": scope.match_norm,
            "max_new_tokens": max_new_tokens,
        },
    )


def _of_prompts(
    scope: Writer,
    here: Backend,
    target: Backend,
    prompts: Sequence[TokenizedPrompt],
    tokens: Sequence[Sequence[int]],
    where: Site,
    layers: Iterable[SupportsIndex] | None,
    target_layers: TargetLayers,
) -> list[Reading]:
    """One reading for each prompt, position, source layer and target layer."""
    read = scope.read or scope.write
    kind = replace(where, kind=read.kind, head=read.head)
    sources = layers_of(here, kind, layers)
    sites = [kind(layer) for layer in sources]
    cache = capture(here, prompts, sites)
    readings = []
    for n, prompt in enumerate(prompts):
        own = cache.sel(prompt=n)
        states = {layer: own[site][0] for layer, site in zip(sources, sites, strict=True)}
        check_states(here, kind.kind, states)
        for j, token in enumerate(tokens[n]):
            for layer in sources:
                state = states[layer][j]
                value = scope.mapped(state, target, kind.whole(layer))
                for to in targets_of(target, scope.write, layer, target_layers):
                    readings.append(
                        Reading(
                            prompt=n,
                            text=prompt.text,
                            slot=j,
                            position=token,
                            token=prompt.labels[token],
                            source_layer=layer,
                            target_layer=to,
                            state=state,
                            value=value,
                        )
                    )
    return readings


def _of_vectors(
    scope: Writer,
    target: Backend,
    vectors: Tensor,
    layers: Iterable[SupportsIndex] | None,
    target_layers: TargetLayers,
) -> list[Reading]:
    """One reading for each vector and target layer."""
    rows = vectors[None] if vectors.ndim == 1 else vectors
    if rows.ndim != 2:
        raise PatchError(
            "Raw vectors have the wrong number of axes.",
            got=tuple(vectors.shape),
            expected="[d_model] or [vector, d_model]",
            instead="cache[site][0, -1]",
        )
    mapped = [scope.mapped(row, target, None) for row in rows]
    wanted = layers if isinstance(target_layers, str) else target_layers
    always = scope.write.layer
    targets = layers_of(target, scope.write.whole, wanted if always is None else [always])
    return [
        Reading(n, f"vector {n}", 0, None, "", None, to, row, value)
        for n, (row, value) in enumerate(zip(rows, mapped, strict=True))
        for to in targets
    ]


def _check_fit(scope: Writer, here: Backend, target: Backend, readings: Sequence[Reading]) -> None:
    """Refuse what does not fit the target model."""
    first = readings[0]
    scope.check_width(here, target, first.value.shape[-1], first.state.shape[-1])
    if first.source_layer is not None:
        scope.check_models(here, target)


def _with_words(readings: Sequence[Reading], said: Generation) -> list[Reading]:
    """Readings with what was said of each."""
    probabilities = said.first_logits.float().softmax(-1)
    return [
        replace(
            reading,
            text_out=said.texts[n],
            first_token=said.labels[n][0],
            first_token_probability=float(probabilities[n, said.token_ids[n][0]]),
        )
        for n, reading in enumerate(readings)
    ]


def _logit_lens(
    here: Backend, kind: str, readings: Sequence[Reading]
) -> dict[tuple[int, int, int | None], tuple[str, float]]:
    """What the logit lens reads in each state, if they are of the residual stream."""
    if kind not in _RESIDUAL or readings[0].state.shape[-1] != here.d_model:
        return {}
    states = {(r.prompt, r.slot, r.source_layer): r.state for r in readings}
    return dict(zip(states, logit_lens_tokens(here, torch.stack([*states.values()])), strict=True))
