"""What lenses read: of a whole prompt, and of one state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.explorer.lab import Lab, Ran
from lensscope.explorer.questions import Cell, Grid, Tokens
from lensscope.lenses.lens import Lens
from lensscope.lenses.measures import read
from lensscope.lenses.notes import notes_on
from lensscope.model.backend import Backend
from lensscope.model.token_texts import labels_of
from lensscope.model.tokens import tokenize
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.values.chats import Chat
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import resid_post

TOP: Final = 5
_CELLS: Final = 120
"""Cells of a grid that are read at a time: it is shown as it fills."""
_MEASURES: Final = ("entropy", "kl")
_NONE: Final = torch.empty(0, dtype=torch.long)


def tokens(lab: Lab, question: Tokens) -> Iterator[dict[str, Any]]:
    """The tokens of a prompt; of an inspection prompt, with its placeholders."""
    backend = lab.backend
    tokenized = tokenize(backend, question.prompt)[0]
    places: Sequence[int] = ()
    if question.placeholder is not None:
        prompt = InspectionPrompt(question.prompt, question.placeholder)
        tokenized, places = prompt.tokenized(backend), prompt.placed(backend)
    yield {"tokens": told(backend, tokenized, question.prompt), "placeholders": list(places)}


def told(backend: Backend, prompt: TokenizedPrompt, of: str | Chat) -> list[dict[str, Any]]:
    """The tokens of a prompt as the browser is told them."""
    special = frozenset(getattr(backend.tokenizer, "all_special_ids", ()))
    owners = {t: n for n, span in enumerate(prompt.messages) for t in prompt.holding(*span)}
    roles = [one.role for one in of.messages] if isinstance(of, Chat) else []
    found = []
    for n, (token, text) in enumerate(zip(prompt.ids, prompt.labels, strict=True)):
        one: dict[str, Any] = {"text": text}
        if token in special:
            one["special"] = True
        if roles:
            owner = owners.get(n)
            one |= {"message": owner, "role": None if owner is None else roles[owner]}
        found.append(one)
    return found


def grid(lab: Lab, question: Grid) -> Iterator[dict[str, Any]]:
    """What a lens reads at every layer and token, some layers at a time, from the last one down."""
    lens, ran, backend = lab.lens(question.lens), lab.ran(question.prompt), lab.backend
    known = [n for n in range(backend.n_layers) if lens.knows(backend, resid_post(n))]
    yield {
        "tokens": told(backend, ran.prompt, question.prompt),
        "layers": known,
        "notes": list(notes_on(backend, [(ran.prompt, range(len(ran.prompt)))])),
    }
    width = len(ran.prompt)
    step = max(1, _CELLS // width)
    downwards = known[::-1]
    for first in range(0, len(downwards), step):
        found = read_states(backend, lens, ran, downwards[first : first + step], slice(0, width), 1)
        yield {
            "rows": [
                {
                    "layer": layer,
                    "texts": labels_of(backend, one["token_id"][:, 0].tolist()),
                    "probability": one["log_probability"][:, 0].exp().tolist(),
                    "entropy": one["entropy"].tolist(),
                    "kl": one["kl"].clamp_min(0).tolist(),
                }
                for layer, one in found.items()
            ]
        }


def cell(lab: Lab, question: Cell) -> Iterator[dict[str, Any]]:
    """What the model itself says next, and what each lens reads in one state."""
    backend, ran = lab.backend, lab.ran(question.prompt)
    lab.state(question.prompt, question.layer, question.position)  # which says what is wrong
    at = slice(question.position, question.position + 1)
    yield {
        "tokens": told(backend, ran.prompt, question.prompt),
        "model": guesses(backend, ran.log_p(backend, at)[0]),
    }
    site = resid_post(question.layer)
    for name in lab.lenses:
        lens = lab.lens(name)
        if lens.knows(backend, site):
            found = read_states(backend, lens, ran, [question.layer], at, TOP)[question.layer]
            yield {"lenses": [{"lens": name, **_top(backend, found)}]}


def read_states(
    backend: Backend,
    lens: Lens,
    ran: Ran,
    layers: Sequence[int],
    positions: slice,
    top_k: int,
) -> dict[int, dict[str, Tensor]]:
    """What a lens reads in block outputs of a run, with what is measured, by layer."""
    sites = [resid_post(layer) for layer in layers]
    parts: dict[int, list[dict[str, Tensor]]] = {layer: [] for layer in layers}
    step = lens.rows(backend, len(sites))
    with torch.no_grad():
        for first in range(positions.start, positions.stop, step):
            some = slice(first, min(first + step, positions.stop))
            final = ran.final(backend, some)
            states = {site: ran.states[site.layer or 0, some] for site in sites}
            for site, logits in lens.each(backend, states):
                found = read(logits, top_k, _MEASURES, _NONE, final, lens.name)
                parts[site.layer or 0].append(found)
    return {
        layer: {name: torch.cat([one[name] for one in each]).cpu() for name in each[0]}
        for layer, each in parts.items()
    }


def guesses(backend: Backend, log_p: Tensor, k: int = TOP) -> list[dict[str, Any]]:
    """The most probable tokens."""
    best = log_p.topk(min(k, len(log_p)))
    return named(backend, best.indices.tolist(), best.values.exp().tolist())


def named(backend: Backend, ids: Sequence[int], probabilities: Sequence[float]) -> list[Any]:
    """Tokens and their probabilities as the browser is told them."""
    texts = labels_of(backend, list(ids))
    return [{"text": text, "probability": p} for text, p in zip(texts, probabilities, strict=True)]


def _top(backend: Backend, found: dict[str, Tensor]) -> dict[str, Any]:
    ids, log_p = found["token_id"][0], found["log_probability"][0]
    return {
        "top": named(backend, ids.tolist(), log_p.exp().tolist()),
        "entropy": float(found["entropy"][0]),
        "kl": float(found["kl"][0].clamp_min(0)),
    }
