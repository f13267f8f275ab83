"""States of one prompt written into another, and what both then go on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.engine.run_many import run_many
from lensscope.explorer.lab import Lab
from lensscope.explorer.questions import Patched, PatchSpec
from lensscope.explorer.reading import guesses, told
from lensscope.lenses.measures import kl_divergence
from lensscope.model.token_texts import text_of
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Patch, resid_post

Outcome = tuple[str, Float[Tensor, " d_vocab"]]
"""What a prompt goes on with, and the log-probabilities of the next token."""


def patch(
    lab: Lab, question: Patched, tell: Callable[[dict[str, Any]], None]
) -> Iterator[dict[str, Any]]:
    """What each of two prompts goes on with, as it is and patched; told while it is written."""
    backend = lab.backend
    rans = [lab.ran(prompt) for prompt in question.prompts]
    both = zip(rans, question.prompts, strict=True)
    sets = [_patches_of(lab, question, n) for n in (0, 1)]
    yield {"tokens": [told(backend, ran.prompt, prompt) for ran, prompt in both]}
    for n in sorted((0, 1), key=lambda n: not sets[n]):
        text, log_p = _goes_on(lab, rans[n].prompt, question.max_new_tokens)
        found = {"prompt": n, "before": _told(lab, text, log_p), "after": None, "kl": None}
        if sets[n]:
            on_token = _teller(lab, rans[n].prompt, found, tell)
            new = question.max_new_tokens
            after, after_p = _run(lab, rans[n].prompt, sets[n], new, on_token)
            kl = float(kl_divergence(log_p[None], after_p[None])[0].clamp_min(0))
            found |= {"after": _told(lab, after, after_p), "kl": kl}
        yield {"results": [found]}


def _teller(
    lab: Lab, prompt: TokenizedPrompt, found: dict[str, Any], tell: Callable[[dict[str, Any]], None]
) -> Callable[[int, int], None]:
    """Tells what a patched prompt goes on with, token by token."""
    ids: list[int] = []

    def on_token(row: int, token: int) -> None:
        ids.append(token)
        after = {"text": text_of(lab.backend, ids, prompt.ids), "top": []}
        tell({"results": [{**found, "after": after}]})

    return on_token


def _goes_on(lab: Lab, prompt: TokenizedPrompt, new: int) -> Outcome:
    """What a prompt goes on with as it is, found once."""
    return lab.kept(("goes on", prompt.ids, new), lambda: _run(lab, prompt, [], new))


def _run(
    lab: Lab,
    prompt: TokenizedPrompt,
    patches: Sequence[Patch],
    new: int,
    on_token: Callable[[int, int], None] | None = None,
) -> Outcome:
    out = run_many(lab.model, prompt, [patches], max_new_tokens=new, on_token=on_token)
    assert out.generation is not None
    assert out.logits is not None
    return out.generation.texts[0], out.logits[0, 0].float().log_softmax(-1)


def _told(lab: Lab, text: str, log_p: Tensor) -> dict[str, Any]:
    return {"text": text, "top": guesses(lab.backend, log_p)}


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
