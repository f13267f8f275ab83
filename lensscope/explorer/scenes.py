"""What one asks first of a prompt, as questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lensscope.errors import PositionError
from lensscope.explorer.lab import Lab


def first_questions(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the screen asks in a state, of a grid."""
    questions = [{"kind": "grid", "prompt": state["prompt"], "lens": state["lens"]}]
    return questions if state["cell"] is None else [*questions, *_of_cell(state)]


def _of_cell(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is asked of the cell that is looked at."""
    where = {"prompt": state["prompt"], **state["cell"]}
    words = {"kind": "words", **where, "inspection": state["inspection"]}
    return [{"kind": "cell", **where}, words]


def scene(
    lab: Lab, about: Mapping[str, Any], prompt: str | None, position: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The screen of a prompt's grid with one token of it chosen, and the questions that it asks:
    the grid of each lens, and all that is said of the token at every layer.

    Raises:
        PositionError: the prompt has no such token.
    """
    state = dict(about["state"])
    text = state["prompt"] if prompt is None else prompt
    n, layers = len(lab.ran(text).prompt), lab.backend.n_layers
    if not -n <= position < n:
        raise PositionError(
            "The prompt has no such token.",
            got=position,
            expected=f"{-n} to {n - 1}",
            instead="-1, the last one",
        )
    at = position % n
    state |= {"prompt": text, "cell": {"position": at, "layer": layers // 3}}
    questions: list[dict[str, Any]] = [{"kind": "tokens", "prompt": text, "placeholder": None}]
    inspection = state["inspection"]
    questions.append(
        {
            "kind": "tokens",
            "prompt": inspection["text"],
            "placeholder": inspection["placeholder"],
        }
    )
    questions += [{"kind": "grid", "prompt": text, "lens": name} for name in lab.lenses]
    for layer in range(layers):
        questions += _of_cell({**state, "cell": {"position": at, "layer": layer}})
    return state, questions
