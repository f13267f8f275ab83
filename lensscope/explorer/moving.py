"""States of one prompt written into another, and what both then go on with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lensscope.engine.run_many import run_many
from lensscope.explorer.lab import Lab
from lensscope.explorer.questions import Patched, PatchSpec
from lensscope.explorer.reading import guesses, told
from lensscope.lenses.measures import kl_divergence
from lensscope.values.sites import Patch, resid_post


def patch(lab: Lab, question: Patched) -> Iterator[dict[str, Any]]:
    """What each of two prompts goes on with, as it is and patched."""
    backend = lab.backend
    rans = [lab.ran(prompt) for prompt in question.prompts]
    both = zip(rans, question.prompts, strict=True)
    sets = [_patches_of(lab, question, n) for n in (0, 1)]
    yield {"tokens": [told(backend, ran.prompt, prompt) for ran, prompt in both]}
    for n in sorted((0, 1), key=lambda n: not sets[n]):
        rows = [[], sets[n]] if sets[n] else [[]]
        options: dict[str, Any] = {"positions": -1, "max_new_tokens": question.max_new_tokens}
        out = run_many(lab.model, rans[n].prompt, rows, **options)
        assert out.generation is not None
        assert out.logits is not None
        log_p = out.logits[:, 0].float().log_softmax(-1)
        each = [
            {"text": text, "top": guesses(backend, row)}
            for text, row in zip(out.generation.texts, log_p, strict=True)
        ]
        after = each[1] if sets[n] else None
        kl = float(kl_divergence(log_p[:1], log_p[1:])[0].clamp_min(0)) if sets[n] else None
        yield {"results": [{"prompt": n, "before": each[0], "after": after, "kl": kl}]}


def _patches_of(lab: Lab, question: Patched, prompt: int) -> list[Patch]:
    """What is written into one of the prompts, in the order of the list."""
    return [
        _patch(lab, question.prompts, one) for one in question.patches if one.to.prompt == prompt
    ]


def _patch(lab: Lab, prompts: Sequence[Any], one: PatchSpec) -> Patch:
    to = one.to
    lab.state(prompts[to.prompt], to.layer, to.position)  # which says what is wrong
    site = resid_post(to.layer).at(to.position)
    if one.source is None:
        return site.scale(one.amount)
    value = lab.state(prompts[one.source.prompt], one.source.layer, one.source.position)
    if one.how == "project_out":
        return site.project_out(value)
    return getattr(site, one.how)(_times(value, one.amount))


def _times(value: Tensor, amount: float) -> Tensor:
    with torch.no_grad():
        return value if amount == 1 else value * amount
