"""What is right in unit 3."""

from __future__ import annotations

from typing import Any, Final

from lensscope.course.judges import Function, Holds, Items, Judge, Number

_ENOUGH: Final = 0.75
"""The share of the prompts for which a lens is to be fooled, and the model not."""


def _settling() -> list[tuple[tuple[list[str]], int]]:
    return [
        ((["(", ",", ",", " Paris", " Paris"],), 3),
        (([" Paris", ",", " Paris", ",", " Paris", " Paris"],), 4),
        (([",", "(", "."],), 2),
        (([" of", " of", " of"],), 0),
    ]


def _share(answer: Any, name: str) -> float:
    return float(answer[name])


JUDGES: Final[dict[str, Judge]] = {
    "3.1": Number(
        "geU=",
        known={
            "geo=": "From there on it comes first. Among the ten most probable it is earlier.",
            "geQ=": "There its rank is below a hundred, but not below ten.",
            "gA==": "That is how many layers there are, not which is the first of them.",
        },
        unit="the number of a layer",
    ),
    "3.2": Function(
        _settling,
        said=(
            'a list that ends with " Paris", " Paris"',
            "a list in which the final token comes, goes and comes back",
            "a list that settles only at the very end",
            "a list that is the same throughout",
        ),
    ),
    "3.3": Number(
        "BQ==",
        known={
            "Ag==": "Did you count small ranks? A small rank shows nothing until it is compared "
            "with those of the same token elsewhere.",
            "Bw==": "So many are better than most. Better than each of the others is asked.",
        },
        unit="a number of tokens",
    ),
    "3.4": Items(
        "In3UHeQTDNaBgmgCFkX-eRWT53GF6w==",
        each="a pair (layer, head)",
        known={
            "In3UF-QXDNaBgmICE0X-eRWZ53GF6w==": "These help most. Most, whichever way, is asked.",
            "In3SCPoQDNaBgXccG0X-eReG-XmF6w==": "First the layer, then the head.",
        },
    ),
    "3.5": Holds(
        (
            (
                lambda answer: {"layer", "multiple", "lens", "model"} <= set(answer),
                "The answer is a dict with the keys layer, multiple, lens and model.",
            ),
            (
                lambda answer: 0 <= int(answer["layer"]) < 29 and float(answer["multiple"]) > 0,
                "The layer is one of 0 to 28 (after the last block nothing is left that could "
                "overwrite the change), and the multiple is above 0.",
            ),
            (
                lambda answer: max(_share(answer, "lens"), _share(answer, "model")) <= 1,
                "lens and model are shares of the prompts, from 0 to 1.",
            ),
            (
                lambda answer: _share(answer, "lens") >= _ENOUGH,
                "The lens is not fooled: it names the next country's capital too rarely.",
            ),
            (
                lambda answer: _share(answer, "model") >= _ENOUGH,
                "The model is fooled as well. It needs blocks after the change to overwrite it, or "
                "a smaller change.",
            ),
        )
    ),
}
