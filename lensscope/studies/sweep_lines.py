"""The lines of a sweep's parts: texts, where they come from, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from lensscope.studies.sweep import Said, Sample, SweepStudy


def control_lines(
    study: SweepStudy, number: int, draw: int, shared: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """Texts of one vector a layer that is no item's; with the mean also of no vector.

    Draw 0 is the mean state; then come random vectors, and those drawn as states are spread.
    """
    scope, draws = study.scopes[number], study.random_draws
    condition = "mean" if not draw else "random" if draw <= draws else "drawn"
    draw = draw - draws if condition == "drawn" else draw
    vectors = shared[condition][draw - 1] if draw else shared["mean"]
    cells = [(s, t, n) for n, s in enumerate(study.sources()) for t in study.targets(s)]
    found = study.texts(scope, [(vectors[n], s, t) for s, t, n in cells])
    places = [(condition, draw, s, t) for s, t, _ in cells]
    if not draw:
        inspection = scope.inspection
        found = [*found, *study.generated([inspection.text], inspection.prepend_bos)]
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


def cell_lines(study: SweepStudy, batch: int) -> list[dict[str, Any]]:
    """Texts of some samples' states, scored for their item and for another one."""
    n, variants = study.together(), len(study.variants)
    numbers = range(len(study.names) * variants)[batch * n :][:n]
    samples = [study.sample(*divmod(number, variants)) for number in numbers]
    read = study.states(samples)
    others = study.others()
    lines: list[dict[str, Any]] = []
    for number, scope in enumerate(study.scopes):
        asked = [n for n, s in enumerate(samples) if number in study.asked(s.item)]
        answers, known = _answers(study, number, [samples[n] for n in asked])
        lines += answers
        cells = [
            (n, place, at, s, t)
            for n, counts in zip(asked, known, strict=True)
            if counts
            for place in range(len(samples[n].tokens))
            for at, s in enumerate(study.sources())
            for t in study.targets(s)
        ]
        writes = [(read[n][at, place], s, t) for n, place, at, s, t in cells]
        for (n, place, _, s, t), one in zip(cells, study.texts(scope, writes), strict=True):
            line = _line(study, samples[n], "state", number, (s, t, place), one)
            names = (f"{metric}_shuffled" for metric in study.metrics)
            other = study.score(one.text, others[samples[n].item], one.first)
            lines.append(line | dict(zip(names, other, strict=True)))
    return lines


def _answers(
    study: SweepStudy, number: int, samples: Sequence[Sample]
) -> tuple[list[dict[str, Any]], list[bool]]:
    """What the model says by itself of samples, and which of them count."""
    asked = [study.unpatched(sample.item, number) for sample in samples]
    prompts = list(dict.fromkeys(prompt for prompt in asked if prompt is not None))
    if not prompts:
        return [], [True] * len(samples)
    found = study.generated(prompts, study.scopes[number].inspection.prepend_bos)
    said = dict(zip(prompts, found, strict=True))
    lines = [
        _line(study, sample, "answer", number, (-1, -1, -1), said[prompt])
        for sample, prompt in zip(samples, asked, strict=True)
        if prompt is not None
    ]
    known = [
        prompt is None or bool(study.score(said[prompt].text, sample.item)[0])
        for sample, prompt in zip(samples, asked, strict=True)
    ]
    return lines, known


def _line(
    study: SweepStudy,
    sample: Sample,
    condition: str,
    scope: int,
    cell: tuple[int, int, int],
    said: Said,
) -> dict[str, Any]:
    """A text with where it comes from and how it is scored."""
    source, target, place = cell
    token = sample.tokens[place]
    scores = study.score(said.text, sample.item, said.first)
    return {
        "item": sample.item,
        "name": study.names[sample.item],
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
        **dict(zip(study.metrics, map(float, scores), strict=True)),
    }
