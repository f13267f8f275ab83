"""What readers say of a state, beside what they say of nothing, of noise, of a mean, of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from lensscope.engine.run_many import run_many
from lensscope.errors import SiteError
from lensscope.explorer.lab import RAW, Lab
from lensscope.explorer.questions import Controls, Inspection, Step, Words
from lensscope.explorer.reading import guesses, told
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.token_texts import labels_of, text_of
from lensscope.patchscope.controls import Words as Said
from lensscope.patchscope.controls import (
    Written,
    random_state,
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
    temperature, top_p, seed = _drawn(inspection)
    return {"temperature": temperature, "top_p": top_p, "seed": seed, "stop": STOP}


def _drawn(inspection: Inspection) -> tuple[float, float | None, int]:
    return inspection.temperature, inspection.top_p, inspection.seed


SAID: Final = ("nothing", "mean", "shuffled")
"""Controls that are the same for every state of a layer."""


def words(
    lab: Lab, question: Words, tell: Callable[[dict[str, Any]], None]
) -> Iterator[dict[str, Any]]:
    """What all readers say of one state and of its controls, told while it is said."""
    inspection, layer = question.inspection, question.layer
    state = lab.state(question.prompt, layer, question.position)
    noise = random_state(state, inspection.seed, question.position, layer)
    own = {"state": state, "random": noise}
    rows, notes = [], []
    for name in (RAW, *lab.trained):
        scope = lab.reader(name, inspection)
        if not can_read(scope, layer):
            notes.append(f"The reader {name!r} was not trained on states of layer {layer}.")
            continue
        rows += [_Row(name, condition, scope, layer, value) for condition, value in own.items()]
        rows += _controls(lab, name, scope, layer)
    known = {row: lab.said[row.key(inspection)] for row in rows if row.key(inspection) in lab.said}
    yield {
        "shuffled_text": lab.others.text,
        "mean_of": lab.others.number,
        "notes": notes,
        "said": [row.told(said.text) for row, said in known.items()],
    }
    rows = [row for row in rows if row not in known]
    ids: list[list[int]] = [[] for _ in rows]

    def on_token(n: int, token: int) -> None:
        ids[n].append(token)
        if rows[n].condition == "state":
            target = _target(lab, rows[n].scope)
            tell({"said": [rows[n].told(_line(text_of(target, ids[n])), done=False)]})

    found = _asked(lab, rows, inspection, on_token)
    yield {"said": [row.told(said.text) for row, said in found.items()]}


def controls(lab: Lab, question: Controls) -> Iterator[dict[str, Any]]:
    """What readers say of nothing, of the mean and of another state at every layer, so that it is
    known when a cell of that layer is looked at."""
    inspection = question.inspection
    order = _around(lab.backend.n_layers // 3, range(lab.backend.n_layers))
    for some in (each[n : n + _NEAR] for each in order for n in range(0, len(each), _NEAR)):
        rows = [
            row
            for name in (RAW, *lab.trained)
            for layer in some
            for row in _controls(lab, name, lab.reader(name, inspection), layer)
            if row.key(inspection) not in lab.said
        ]
        if rows:
            _asked(lab, rows, inspection)
        yield {"layers": some}


@dataclass(frozen=True, eq=False)
class _Row:
    """A value that a reader is asked about."""

    reader: str
    condition: str
    scope: Patchscope
    layer: int
    value: Tensor | None

    def key(self, inspection: Inspection) -> object:
        """What is the same for controls that are."""
        if self.condition not in SAID:
            return self
        named = "{layer}" in self.scope.inspection.told
        layer = self.layer if named or self.value is not None else None
        how = inspection if self.reader == RAW else (inspection.max_new_tokens, *_drawn(inspection))
        return self.reader, self.condition, layer, how

    def told(self, text: str, *, done: bool = True) -> dict[str, Any]:
        return {
            "reader": self.reader,
            "condition": self.condition,
            "text": text,
            "done": done,
        }


def _controls(lab: Lab, name: str, scope: Patchscope, layer: int) -> list[_Row]:
    """The controls of a layer that are the same for each of its states."""
    if not can_read(scope, layer):
        return []
    values = {"nothing": None, "mean": lab.others.mean[layer], "shuffled": lab.others.last[layer]}
    return [_Row(name, condition, scope, layer, values[condition]) for condition in SAID]


def _asked(
    lab: Lab,
    rows: Sequence[_Row],
    inspection: Inspection,
    on_token: Callable[[int, int], Any] | None = None,
) -> dict[_Row, Said]:
    """What readers say of some values; what may be asked again is remembered."""
    each: list[tuple[Patchscope, Written]] = [
        (row.scope, (row.value, row.layer, written_at(lab, row.scope, row.layer))) for row in rows
    ]
    number = inspection.max_new_tokens
    said = said_together(lab.backend, each, number, on_token=on_token, **sampling(inspection))
    found = dict(zip(rows, said, strict=True))
    lab.remember({row.key(inspection): one for row, one in found.items() if row.condition in SAID})
    return found


def step(lab: Lab, question: Step) -> Iterator[dict[str, Any]]:
    """What one reader says of one state, token by token; then of the token's other layers."""
    here, layer = lab.backend, question.layer
    scope = lab.reader(question.reader, question.inspection)
    if not can_read(scope, layer):
        raise SiteError(
            "The reader was not trained on states of this layer.",
            got=f"layer {layer}",
            expected=f"one of {list(scope.trained.layers or ()) if scope.trained else []}",
            instead="another layer, or the raw reader",
        )
    target = _target(lab, scope)
    state = lab.state(question.prompt, layer, question.position)
    row: Written = (state, layer, written_at(lab, scope, layer))
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
            (lab.state(question.prompt, n, question.position), n, written_at(lab, scope, n))
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
    return [n for n in range(lab.backend.n_layers) if can_read(scope, n)]


def can_read(scope: Patchscope, layer: int) -> bool:
    """Whether a reader reads block outputs of this layer."""
    known = None if scope.trained is None else scope.trained.layers
    return read_kind(scope) == resid_post and (known is None or layer in known)


def written_at(lab: Lab, scope: Patchscope, layer: int) -> int:
    """The layer that a reader writes a state at."""
    target = _target(lab, scope)
    scope = scope.settled(target.n_layers)
    return targets_of(target, scope.write, layer, "same", scope.earliest)[0]


def _target(lab: Lab, scope: Patchscope) -> Backend:
    """The model that a reader speaks with."""
    return lab.backend if scope.model is None else backend_of(scope.model)


def _line(text: str) -> str:
    """What is said so far, up to the end of its line."""
    return text.partition(STOP[0])[0]
