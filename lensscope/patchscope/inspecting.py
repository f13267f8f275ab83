"""Inspecting: states of a source prompt, or raw vectors, in the words of the target model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.engine.rows import PatchLike, as_list
from lensscope.engine.runs import Generation
from lensscope.errors import PatchError
from lensscope.lenses.notes import notes_on
from lensscope.lenses.readout import logit_lens_tokens
from lensscope.lenses.states import Asked, asked, gathered, inside_words
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import (
    LayersLike,
    TargetLayers,
    check_targets,
    layers_of,
    targets_of,
)
from lensscope.patchscope.mapping import check_models, check_width, mapped
from lensscope.patchscope.readings import Reading, dataset_of
from lensscope.patchscope.result import PatchscopeResult
from lensscope.patchscope.writing import Writer, adapted, write_and_decode
from lensscope.values.positions import PositionsLike
from lensscope.values.sites import Site
from lensscope.values.vectors import Vectors, vectors_of

_RESIDUAL: Final = ("embed", "resid_pre", "resid_mid", "resid_post")


def inspected(
    scope: Writer,
    model: Any,
    source: Any,
    position: PositionsLike,
    layers: LayersLike,
    target_layers: TargetLayers,
    max_new_tokens: int,
    *,
    together: bool,
    samples: int,
    patches: Sequence[PatchLike],
    names: Sequence[str] | str | None,
    occurrence: int | None,
    prepend_bos: bool | None,
    memory_budget: int | None,
    **sampling: Any,
) -> PatchscopeResult:
    """As `Patchscope.inspect`."""
    here = backend_of(model)
    target = here if scope.model is None else backend_of(scope.model)
    _check_words(samples, sampling)
    vectors, patches = vectors_of(source, names), as_list(patches)
    earliest = 0
    if target_layers == "own":
        if vectors is None or layers is None:
            scope = scope.settled(target.n_layers)
        earliest = scope.earliest
        target_layers = "same"
    check_targets(scope.write, target_layers, None if vectors is None else layers)
    scope.inspection.placed(target)
    reads: list[Asked] = []
    if vectors is not None:
        vectors.refuse(patches=patches)
        readings = _of_vectors(scope, target, vectors.cast(here.dtype), layers, target_layers)
    else:
        if layers is None and scope.trained is not None:
            layers = scope.trained.layers
        reads = asked(here, source, position, prepend_bos, occurrence)
        readings = _of_prompts(scope, here, target, reads, patches, layers, target_layers, earliest)
    readings = _together(readings) if together else readings
    _check_fit(scope, here, target, readings)
    inspections = [_inspection(scope.inspection, one) for one in readings]
    said: list[Reading] = []
    plans: dict[str, None] = {}
    for inspection in dict.fromkeys(inspections):
        own = [r for r, i in zip(readings, inspections, strict=True) if i == inspection]
        prompt, places = inspection.tokenized(target), inspection.placed(target)
        for sample in range(samples):
            seed = {} if samples == 1 else {"seed": sampling["seed"] + sample}
            with adapted(scope, target):
                (runs,) = write_and_decode(
                    target,
                    prompt,
                    places,
                    [(scope.write.whole(r.target_layer), _written(r)) for r in own],
                    patch=scope.patch,
                    max_new_tokens=max_new_tokens,
                    memory_budget=memory_budget,
                    **{**sampling, **seed},
                )
            assert runs.generation is not None
            plans[str(runs.plan)] = None
            said += _with_words([replace(r, sample=sample) for r in own], runs.generation)
    prompt = inspections[0].tokenized(target)
    text, trained = scope.inspection.text, scope.trained
    of_reader = () if trained is None else trained.notes_on(target, [r.source_layer for r in said])
    lens = {} if together else _logit_lens(here, (scope.read or scope.write).kind, readings)
    grid = vectors is None and scope.write.layer is None and target_layers != "same"
    return PatchscopeResult(
        dataset_of(said, lens, grid=grid),
        inspection=text if isinstance(text, str) else prompt.text,
        placeholder=scope.inspection.placeholder,
        inspection_tokens=prompt.labels,
        plan="; ".join(plans),
        source=here.provenance([one.prompt.ids for one in reads]),
        target=target.provenance([prompt.ids]),
        notes=notes_on(
            here, [(one.prompt, one.tokens) for one in reads], inside_words(reads), patches
        )
        + of_reader,
        settings={
            "write": repr(scope.write),
            "read": repr(scope.read or scope.write),
            "transform": getattr(scope.transform, "signature", None) or repr(scope.transform),
            "mix": scope.mix,
            "match_norm": scope.match_norm,
            "rule": repr(scope.rule),
            "adapter": scope.adapter and scope.adapter.signature,
            "together": together,
            "samples": samples,
            "sampling": {n: v for n, v in sampling.items() if v},
            "max_new_tokens": max_new_tokens,
        },
    )


def _check_words(samples: int, sampling: Mapping[str, Any]) -> None:
    """Refuse what no text, or no other text, would come of."""
    if samples > 1 and not sampling.get("temperature"):
        raise PatchError(
            "Samples of the most probable text are all the same.",
            got=f"samples={samples} at temperature 0",
            expected="a temperature above 0 and a seed",
            instead=f"samples={samples}, temperature=0.7, seed=0",
        )


def _of_prompts(
    scope: Writer,
    here: Backend,
    target: Backend,
    reads: Sequence[Asked],
    patches: Sequence[PatchLike],
    layers: LayersLike,
    target_layers: TargetLayers,
    earliest: int,
) -> list[Reading]:
    """One reading for each prompt, position, source layer and target layer."""
    read = scope.read or scope.write
    kind = Site(read.kind, None, read.head)
    sites = [kind(n) for n in layers_of(here, kind, layers)]
    targets = {
        s: targets_of(target, scope.write, s.layer or 0, target_layers, earliest) for s in sites
    }
    states = {}
    for part in gathered(here, reads, sites, final=False, patches=patches):
        each = {site: torch.split(part.states[site], part.rows) for site in sites}
        for b, n in enumerate(part.prompts):
            states[n] = {site: each[site][b] for site in sites}
    readings = []
    for n, one in enumerate(reads):
        for slot, token in enumerate(one.tokens):
            for site in sites:
                state = states[n][site][slot]
                value = mapped(scope, state, target, site.whole)
                for to in targets[site]:
                    readings.append(
                        Reading(
                            prompt=n,
                            text=one.prompt.text,
                            slot=slot,
                            position=token,
                            token=one.prompt.labels[token],
                            source_layer=site.layer,
                            target_layer=to,
                            states=(state,),
                            values=(value,),
                        )
                    )
    return readings


def _of_vectors(
    scope: Writer,
    target: Backend,
    vectors: Vectors,
    layers: LayersLike,
    target_layers: TargetLayers,
) -> list[Reading]:
    """One reading for each vector and target layer."""
    values = [mapped(scope, row, target, None) for row in vectors.rows]
    wanted: Any = layers if isinstance(target_layers, str) else target_layers
    always = scope.write.layer
    targets = layers_of(target, scope.write.whole, wanted if always is None else [always])
    return [
        Reading(n, name, 0, None, "", None, to, (row,), (value,))
        for n, (name, row, value) in enumerate(
            zip(vectors.names, vectors.rows, values, strict=True)
        )
        for to in targets
    ]


def _together(readings: Sequence[Reading]) -> list[Reading]:
    """What is read of one prompt at one layer, or raw vectors, as one reading: each state goes to a
    placeholder of its own."""
    alike: dict[Any, list[Reading]] = {}
    for one in readings:
        prompt = None if one.source_layer is None else one.prompt
        alike.setdefault((prompt, one.source_layer, one.target_layer), []).append(one)
    return [
        replace(
            some[0],
            slot=0,
            text=" + ".join(dict.fromkeys(one.text for one in some)),
            token="".join(one.token for one in some),
            states=tuple(state for one in some for state in one.states),
            values=tuple(value for one in some for value in one.values),
        )
        for some in alike.values()
    ]


def _inspection(inspection: InspectionPrompt, reading: Reading) -> InspectionPrompt:
    """The prompt that a reading is written into."""
    n = len(reading.values)
    return (inspection.repeated(n) if n > 1 else inspection).of_layer(reading.source_layer)


def _written(reading: Reading) -> Tensor | Sequence[Tensor]:
    """One state, which goes to every placeholder, or one for each."""
    return reading.values[0] if len(reading.values) == 1 else reading.values


def _check_fit(scope: Writer, here: Backend, target: Backend, readings: Sequence[Reading]) -> None:
    """Refuse what does not fit the target model."""
    first = readings[0]
    check_width(scope, here, target, first.values[0].shape[-1], first.states[0].shape[-1])
    if first.source_layer is not None:
        check_models(scope, here, target)


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
    if kind not in _RESIDUAL or readings[0].states[0].shape[-1] != here.d_model:
        return {}
    states = {(r.prompt, r.slot, r.source_layer): r.states[0] for r in readings}
    return dict(zip(states, logit_lens_tokens(here, torch.stack([*states.values()])), strict=True))
