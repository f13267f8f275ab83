"""What readers say of a state, beside what they say of nothing, of noise, of a mean, of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from lensscope.engine.run_many import run_many
from lensscope.errors import SiteError
from lensscope.explorer.lab import RAW, Lab
from lensscope.explorer.questions import Inspection, Step, Words
from lensscope.explorer.reading import guesses, told
from lensscope.model.classes import backend_of
from lensscope.model.token_texts import labels_of, text_of
from lensscope.patchscope.controls import (
    Written,
    as_long_as,
    read_kind,
    said_of,
    said_together,
    written_of,
)
from lensscope.patchscope.layers import targets_of
from lensscope.patchscope.scope import Patchscope
from lensscope.patchscope.writing import adapted
from lensscope.values.sites import resid_post

STOP: Final = ("\n",)
"""What is said ends with its line."""
_NEAR: Final = 6
_LAYERS: Final = 30
"""Layers that are asked at a time, in the list beside the steps: first the nearest ones."""


def sampling(inspection: Inspection) -> dict[str, Any]:
    """How texts go on."""
    return {
        "temperature": inspection.temperature,
        "top_p": inspection.top_p,
        "seed": inspection.seed,
        "stop": STOP,
    }


def words(
    lab: Lab, question: Words, tell: Callable[[dict[str, Any]], None]
) -> Iterator[dict[str, Any]]:
    """What all readers say of one state and of its controls, told while it is said."""
    inspection, layer = question.inspection, question.layer
    state = lab.state(question.prompt, layer, question.position)
    rng = np.random.default_rng((inspection.seed, question.position, layer))
    each = {
        "state": state,
        "nothing": None,
        "random": as_long_as(state.float(), rng),
        "mean": lab.others.mean[layer],
        "shuffled": lab.others.last[layer],
    }
    rows: list[tuple[Patchscope, Written]] = []
    names: list[tuple[str, str]] = []
    notes: list[str] = []
    for name in (RAW, *lab.trained):
        scope = lab.reader(name, inspection)
        if not _can_read(scope, layer):
            notes.append(f"The reader {name!r} was not trained on states of layer {layer}.")
            continue
        at = _written_at(lab, scope, layer)
        rows += [(scope, (value, layer, at)) for value in each.values()]
        names += [(name, condition) for condition in each]
    yield {"shuffled_text": lab.others.text, "mean_of": lab.others.number, "notes": notes}
    ids: list[list[int]] = [[] for _ in rows]

    def on_token(row: int, token: int) -> None:
        ids[row].append(token)
        if names[row][1] == "state":
            scope = rows[row][0]
            target = lab.backend if scope.model is None else backend_of(scope.model)
            tell({"said": [_said(names[row], _line(text_of(target, ids[row])), done=False)]})

    number = inspection.max_new_tokens
    found = said_together(lab.backend, rows, number, on_token=on_token, **sampling(inspection))
    yield {"said": [_said(n, w.text, done=True) for n, w in zip(names, found, strict=True)]}


def step(lab: Lab, question: Step) -> Iterator[dict[str, Any]]:
    """What one reader says of one state, token by token; then of the token's other layers."""
    here, layer = lab.backend, question.layer
    scope = lab.reader(question.reader, question.inspection)
    if not _can_read(scope, layer):
        raise SiteError(
            "The reader was not trained on states of this layer.",
            got=f"layer {layer}",
            expected=f"one of {list(scope.trained.layers or ()) if scope.trained else []}",
            instead="another layer, or the raw reader",
        )
    target = here if scope.model is None else backend_of(scope.model)
    state = lab.state(question.prompt, layer, question.position)
    row: Written = (state, layer, _written_at(lab, scope, layer))
    prompt = scope.inspection.of_layer(layer)
    tokens, places = prompt.tokenized(target), prompt.placed(target)
    placed = written_of(scope, here, target, row)
    assert placed is not None
    yield {
        "tokens": told(here, lab.ran(question.prompt).prompt, question.prompt),
        "inspection": told(target, tokens, prompt.text),
        "placeholders": list(places),
        "read": repr(read_kind(scope)(layer)),
        "written": repr(placed[0]),
    }
    number, options = question.inspection.max_new_tokens, sampling(question.inspection)
    own, nothing = said_of(scope, here, [row, (None, *row[1:])], number, **options)
    with adapted(scope, target):
        after = run_many(
            target,
            [*tokens.ids, *own.ids[:-1]],
            [[scope.patch(placed[0].at(at), placed[1]) for at in places]],
            positions=slice(len(tokens) - 1, len(tokens) - 1 + len(own.ids)),
        )
    assert after.logits is not None
    log_p = after.logits[0].float().log_softmax(-1)
    labels = labels_of(target, own.ids)
    yield {
        "nothing": nothing.text,
        "steps": [
            {
                "token": labels[n],
                "probability": float(log_p[n, token].exp()),
                "alternatives": guesses(target, log_p[n]),
            }
            for n, token in enumerate(own.ids)
        ],
    }
    for some in _around(layer, _layers(lab, scope)):
        rows = [
            (lab.state(question.prompt, n, question.position), n, _written_at(lab, scope, n))
            for n in some
        ]
        texts = [one.text for one in said_of(scope, here, rows, number, **options)]
        yield {
            "layers": [
                {"layer": n, "text": text, "echo": _echoes(text, nothing.text, prompt.placeholder)}
                for n, text in zip(some, texts, strict=True)
            ]
        }


def _echoes(text: str, nothing: str, placeholder: str) -> bool:
    """Whether a text says what is said of nothing, or the placeholder again."""
    said, mark = text.strip().lower(), placeholder.strip().lower()
    rest = said[len(mark) :]
    again = bool(mark) and said.startswith(mark) and not rest[:1].isalnum()
    return said == nothing.strip().lower() or again


def _around(layer: int, layers: Sequence[int]) -> Iterator[list[int]]:
    """Layers some at a time, the nearest ones first."""
    near = sorted(layers, key=lambda n: abs(n - layer))
    yield sorted(near[:_NEAR])
    for first in range(_NEAR, len(near), _LAYERS):
        yield sorted(near[first : first + _LAYERS])


def _layers(lab: Lab, scope: Patchscope) -> list[int]:
    return [n for n in range(lab.backend.n_layers) if _can_read(scope, n)]


def _can_read(scope: Patchscope, layer: int) -> bool:
    """Whether a reader reads block outputs of this layer."""
    known = None if scope.trained is None else scope.trained.layers
    return read_kind(scope) == resid_post and (known is None or layer in known)


def _written_at(lab: Lab, scope: Patchscope, layer: int) -> int:
    """The layer that a reader writes a state at."""
    target = lab.backend if scope.model is None else backend_of(scope.model)
    scope = scope.settled(target.n_layers)
    return targets_of(target, scope.write, layer, "same", scope.earliest)[0]


def _said(name: tuple[str, str], text: str, *, done: bool) -> dict[str, Any]:
    return {"reader": name[0], "condition": name[1], "text": text, "done": done}


def _line(text: str) -> str:
    """What is said so far, up to the end of its line."""
    return text.partition(STOP[0])[0]
