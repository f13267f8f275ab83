"""The parts of a sweep: texts, where they come from, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lensscope.studies.items import Sample
from lensscope.studies.parts import CELLS, CONTROLS, Part
from lensscope.studies.said import Said
from lensscope.studies.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd


def measured(sweep: Sweep, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
    """A part of a sweep: a line for each text, with the scores that it gets."""
    if part.kind == CONTROLS:
        scope, draw = part.numbers
        return CONTROLS.frame(_control_lines(sweep, scope, draw, shared))
    metrics = sweep.items.metrics
    scores = (*metrics, *(f"{metric}_shuffled" for metric in metrics))
    return CELLS.frame(_cell_lines(sweep, part.numbers[0]), scores)


def _control_lines(
    sweep: Sweep, number: int, draw: int, shared: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """Texts of one vector a layer that is no item's; with the mean also of no vector.

    Draw 0 is the mean state; then come random vectors, and those drawn as states are spread.
    """
    scope, draws = sweep.grid.scopes[number], sweep.grid.random_draws
    condition = "mean" if not draw else "random" if draw <= draws else "drawn"
    draw = draw - draws if condition == "drawn" else draw
    vectors = shared[condition][draw - 1] if draw else shared["mean"]
    at = {layer: n for n, layer in enumerate(sweep.sources)}
    found = sweep.texts(scope, ((vectors[at[s]], s, t) for s, t in sweep.cells))
    places = [(condition, draw, s, t) for s, t in sweep.cells]
    if not draw:
        inspection = scope.inspection
        found = [*found, *sweep.generated([inspection.text], inspection.prepend_bos)]
        places = [*places, ("prior", 0, -1, -1)]
    return [
        {
            "condition": condition,
            "scope": number,
            "draw": draw,
            "source_layer": s,
            "target_layer": t,
            "text": one.text,
            "first_token_id": one.first,
        }
        for (condition, draw, s, t), one in zip(places, found, strict=True)
    ]


def _cell_lines(sweep: Sweep, batch: int) -> list[dict[str, Any]]:
    """Texts of some samples' states, scored for their item and for another one."""
    items, n = sweep.items, sweep.together
    samples = [items.sample(*pair) for pair in sweep.pairs[batch * n :][:n]]
    read, others = sweep.states(samples), items.others()
    lines: list[dict[str, Any]] = []
    for number, scope in enumerate(sweep.grid.scopes):
        answers, known = _answers(sweep, number, samples)
        lines += answers
        cells = [
            (n, place, at, s, t)
            for n, sample in enumerate(samples)
            if known[n]
            for place in range(len(sample.tokens))
            for at, s in enumerate(sweep.sources)
            for t in sweep.layers[s]
        ]
        writes = ((read[n][at, place], s, t) for n, place, at, s, t in cells)
        for (n, place, _, s, t), one in zip(cells, sweep.texts(scope, writes), strict=True):
            line = _line(sweep, samples[n], "state", number, (s, t, place), one)
            names = (f"{metric}_shuffled" for metric in items.metrics)
            other = items.score(one.text, others[samples[n].item], one.first)
            lines.append(line | dict(zip(names, map(float, other), strict=True)))
    return lines


def _answers(
    sweep: Sweep, number: int, samples: Sequence[Sample]
) -> tuple[list[dict[str, Any]], list[bool]]:
    """What the model says by itself of samples, and which of them count."""
    items, inspection = sweep.items, sweep.grid.scopes[number].inspection
    asked = [items.unpatched(sample.item, inspection) for sample in samples]
    prompts = list(dict.fromkeys(prompt for prompt in asked if prompt is not None))
    if not prompts:
        return [], [True] * len(samples)
    found = sweep.generated(prompts, inspection.prepend_bos)
    said = dict(zip(prompts, found, strict=True))
    lines = [
        _line(sweep, sample, "answer", number, (-1, -1, -1), said[prompt])
        for sample, prompt in zip(samples, asked, strict=True)
        if prompt is not None
    ]
    known = [
        prompt is None or bool(items.score(said[prompt].text, sample.item)[0])
        for sample, prompt in zip(samples, asked, strict=True)
    ]
    return lines, known


def _line(
    sweep: Sweep,
    sample: Sample,
    condition: str,
    scope: int,
    cell: tuple[int, int, int],
    said: Said,
) -> dict[str, Any]:
    """A text with where it comes from and how it is scored."""
    source, target, place = cell
    token = sample.tokens[place]
    scores = sweep.items.score(said.text, sample.item, said.first)
    return {
        "item": sample.item,
        "name": sweep.items.names[sample.item],
        "variant": sample.variant,
        "name_tokens": sample.name_tokens,
        "condition": condition,
        "scope": scope,
        "source_layer": source,
        "target_layer": target,
        "place": len(sample.tokens) - 1 - place if place >= 0 else -1,
        "position": token,
        "token": sample.prompt.labels[token],
        "text": said.text,
        "first_token_id": said.first,
        **dict(zip(sweep.items.metrics, map(float, scores), strict=True)),
    }
