"""The lines of a sweep's parts: texts, where they come from, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from lensscope.studies.sweep import Sample, SweepStudy


def control_lines(
    study: SweepStudy, number: int, draw: int, shared: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """Texts of one vector a layer that is no item's; with the mean also of no vector."""
    scope = study.scopes[number]
    vectors = shared["random"][draw - 1] if draw else shared["mean"]
    cells = [(s, t, n) for n, s in enumerate(study.sources()) for t in study.targets(s)]
    texts = study.texts(scope, [(vectors[n], s, t) for s, t, n in cells])
    condition = "random" if draw else "mean"
    lines = [
        {
            "condition": condition,
            "scope": number,
            "draw": draw,
            "source_layer": s,
            "target_layer": t,
            "text": text,
        }
        for (s, t, _), text in zip(cells, texts, strict=True)
    ]
    if not draw:
        inspection = scope.inspection
        (prior,) = study.generated([inspection.text], inspection.prepend_bos)
        lines.append(
            {
                "condition": "prior",
                "scope": number,
                "draw": 0,
                "source_layer": -1,
                "target_layer": -1,
                "text": prior,
            }
        )
    return lines


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
        for (n, place, _, s, t), text in zip(cells, study.texts(scope, writes), strict=True):
            item = samples[n].item
            line = _line(study, samples[n], "state", number, (s, t, place), text)
            names = (f"{metric}_shuffled" for metric in study.metrics)
            lines.append(line | dict(zip(names, study.score(text, others[item]), strict=True)))
    return lines


def _answers(
    study: SweepStudy, number: int, samples: Sequence[Sample]
) -> tuple[list[dict[str, Any]], list[bool]]:
    """What the model says by itself of samples, and which of them count."""
    asked = [study.unpatched(sample.item, number) for sample in samples]
    prompts = list(dict.fromkeys(prompt for prompt in asked if prompt is not None))
    if not prompts:
        return [], [True] * len(samples)
    texts = study.generated(prompts, study.scopes[number].inspection.prepend_bos)
    said = dict(zip(prompts, texts, strict=True))
    lines = [
        _line(study, sample, "answer", number, (-1, -1, -1), said[prompt])
        for sample, prompt in zip(samples, asked, strict=True)
        if prompt is not None
    ]
    known = [
        prompt is None or bool(study.score(said[prompt], sample.item)[0])
        for sample, prompt in zip(samples, asked, strict=True)
    ]
    return lines, known


def _line(
    study: SweepStudy,
    sample: Sample,
    condition: str,
    scope: int,
    cell: tuple[int, int, int],
    text: str,
) -> dict[str, Any]:
    """A text with where it comes from and how it is scored."""
    source, target, place = cell
    token = sample.tokens[place]
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
        "text": text,
        **dict(zip(study.metrics, map(float, study.score(text, sample.item)), strict=True)),
    }
