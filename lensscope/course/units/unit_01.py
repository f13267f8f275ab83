"""What is right in unit 1."""

from __future__ import annotations

from typing import Any, Final

from lensscope.course.judges import Holds, Items, Judge, Numbers

_WIDTH: Final = 56
_NOW, _PLACE, _BEFORE = slice(0, 9), slice(9, 29), slice(29, 38)
"""Parts of the tiny model's residual stream, as the unit lays them out."""
_TEXTS: Final = ([0, 4, 1, 7, 2, 4, 1, 7, 2], [0, 8, 3, 1, 6, 3, 7, 1, 8], [0, 5, 2, 6, 5, 1, 3])


def _stream(text: list[int]) -> Any:
    """The residual stream of a text after the tiny model's block 0."""
    import torch

    x = torch.zeros(len(text), _WIDTH)
    for n, letter in enumerate(text):
        x[n, _NOW.start + letter] = 1
        x[n, _PLACE.start + n] = 1
        x[n, _BEFORE.start + text[max(0, n - 1)]] = 1
    return x


def _attention(looks: Any, text: list[int]) -> Any:
    import torch

    x = _stream(text)
    scores = x @ torch.as_tensor(looks).float() @ x.T
    later = torch.ones(len(text), len(text)).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def _square(looks: Any) -> bool:
    return tuple(looks.shape) == (_WIDTH, _WIDTH)


def _looks_back(look_back: Any, at_least: float) -> bool:
    """Whether the token some places back gets so much attention, and more than any other."""
    for text in _TEXTS:
        for distance in (1, 2, 3):
            pattern = _attention(look_back(distance), text)
            for n in range(distance, len(text)):
                seen = pattern[n]
                if int(seen.argmax()) != n - distance or float(seen[n - distance]) <= at_least:
                    return False
    return True


def _rests(looks: Any) -> bool:
    """Whether a query without an earlier copy looks at the beginning."""
    return all(
        float(_attention(looks, text)[n, 0]) > 0.9
        for text in _TEXTS
        for n in range(1, len(text))
        if text[n] not in text[:n]
    )


def _matches(looks: Any) -> bool:
    """Whether a query with an earlier copy looks behind it."""
    return all(
        float(_attention(looks, text)[n, text.index(text[n]) + 1]) > 0.9
        for text in _TEXTS
        for n in range(1, len(text))
        if text[n] in text[:n]
    )


JUDGES: Final[dict[str, Judge]] = {
    "1.1": Numbers(
        "4iBYpgAAgw==",
        known={
            "4iFYoQADgw==": "There the same letter stands. What does the head look for: its own "
            "letter, or a place that has its own letter as the one before?",
            "4idYpAAFgw==": "There the previous-token head looks, which is another head.",
            "4iJYoAACgw==": "You went one place back from the earlier copy.",
        },
    ),
    "1.2": Holds(
        (
            (callable, "The answer is the function itself: give it without calling it."),
            (
                lambda f: f(2) is not None and _square(f(2)),
                f"look_back(2) should be a matrix, [{_WIDTH}, {_WIDTH}].",
            ),
            (
                lambda f: _looks_back(f, 0.0),
                "From some place another token than the one at the distance gets most attention. "
                "Are queries on the left? Does it depend on the distance, and on nothing else?",
            ),
            (
                lambda f: _looks_back(f, 0.9),
                "It looks at the right place, but spreads its attention: the scores are too small.",
            ),
        )
    ),
    "1.3": Holds(
        (
            (_square, f"The answer is a matrix, [{_WIDTH}, {_WIDTH}]."),
            (_matches, "A query with an earlier copy does not look behind that copy any more."),
            (_rests, "A query without an earlier copy does not look at place 0 with 0.9 or more."),
        )
    ),
    "1.4": Items(
        "6BUjwqJwGWGb6dCInkQ=",
        each="a pair (layer, head)",
        known={
            "6BUjzqJ1GWGb4MuU8ET_": "These look behind the copy: one place too far.",
            "6BUjx6JyGWGb4MqU80T_": "These look one place back, whether or not the text repeats.",
            "6BUh2r93GWGb4dCAnkQ=": "First the layer, then the head.",
        },
    ),
    "1.5": Items(
        "_y-INq4SP04=",
        each="a pair (layer, head)",
        known={
            "_y-IMa4TP04=": "That head has the largest score. Remove it, and look at the patterns "
            "of the four: a pattern is not an effect.",
            "_y-IMa4TPz9ViPnE9AVO": "These have the largest scores. Remove each by itself, and "
            "look at the patterns of the four.",
        },
    ),
}
