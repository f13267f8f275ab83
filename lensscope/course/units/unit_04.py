"""What is right in unit 4."""

from __future__ import annotations

from typing import Any, Final

from lensscope.course.judges import Holds, Judge, Number

_NAMES: Final = ("constant", "token", "layer 12", "share")


def _logits(seed: int) -> Any:
    """Logits of five tokens over a vocabulary of seven."""
    import torch

    return torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)) * 2 + 3


def _surprisal(final: Any, lens: Any) -> float:
    log_p = final.log_softmax(-1)
    found = [float(row[k]) for row, k in zip(log_p, lens.argmax(-1), strict=True)]
    return -sum(found) / len(found)


def _same(one: Any, other: Any) -> bool:
    return abs(float(one) - float(other)) < 1e-3


def _near(value: Any, low: float, high: float) -> bool:
    return low < float(value) < high


def _share(answer: Any) -> float:
    constant, token, layer, _ = (float(answer[name]) for name in _NAMES)
    return (constant - token) / (constant - layer)


JUDGES: Final[dict[str, Judge]] = {
    "4.1": Number(
        "46zY",
        known={
            "46zZ": "You have counted the rows' entries in A. Is that all that is free?",
            "5ajd6fRE": "So many parameters there are. But a token gives an equation for each "
            "entry of the last state, not one for all.",
            "5aje7fZA": "A token gives an equation for each entry of the last state, not one for "
            "all; and there is b.",
        },
        unit="a number of tokens",
    ),
    "4.2": Holds(
        (
            (callable, "The answer is the function itself: give it without calling it."),
            (
                lambda f: f(_logits(0), _logits(1)) is not None,
                "It gives nothing: is there a return?",
            ),
            (
                lambda f: _same(f(_logits(0), _logits(1)), f(_logits(0), 9 * _logits(1))),
                "It changes when the lens is surer of the same tokens. Whose probability is asked?",
            ),
            (
                lambda f: _same(f(_logits(0), _logits(1)), f(_logits(0) + 5, _logits(1))),
                "It changes when 5 is added to all of the model's logits, which changes no "
                "probability.",
            ),
            (
                lambda f: all(
                    _same(f(_logits(n), lens), _surprisal(_logits(n), lens))
                    for n in range(3)
                    for lens in (_logits(n), _logits(n + 7))
                ),
                "It is not minus the mean log-probability, in nats, of the tokens that the lens "
                "puts first.",
            ),
        )
    ),
    "4.3": Number(
        "KdE=",
        known={
            **dict.fromkeys(
                ("Kd0=", "Kdk=", "Kt8=", "Kts="), "By precision@1, perhaps. By KL is asked."
            ),
            "Lg==": "That is its place in the list. The number of the layer is asked.",
            "Kw==": "A larger KL is a worse one.",
        },
        unit="the number of a layer",
    ),
    "4.4": Holds(
        (
            (callable, "The answer is the function itself: give it without calling it."),
            (
                lambda f: isinstance(f([[1, 2]]), dict),
                "It should return a dict.",
            ),
            (
                lambda f: f([[1, 2]]).get(1) == 2,
                "Of the text [1, 2], token 1 is followed by 2: is it the token after, not before?",
            ),
            (
                lambda f: f([[1, 2, 1, 2, 1, 3]]) == {1: 2, 2: 1},
                "The token that follows most often is asked: not the first one, nor the last one.",
            ),
            (
                lambda f: 2 not in f([[1, 2], [3, 4]]),
                "The last token of one text is not followed by the first of the next.",
            ),
            (
                lambda f: f([[1, 6, 1, 5]])[1] == 6,
                "Of several that follow as often, the one that was seen first is asked.",
            ),
        )
    ),
    "4.5": Holds(
        (
            (
                lambda answer: set(_NAMES) <= set(answer),
                "The answer is a dict with the keys constant, token, layer 12 and share.",
            ),
            (
                lambda answer: _near(answer["constant"], 3.9, 6.8),
                "That is not the KL of the constant lens on held-out text.",
            ),
            (
                lambda answer: _near(answer["token"], 2.6, 4.5),
                "That is not the KL of a lens on the embedding: is it fitted with a ridge of 0.1, "
                "and measured on held-out tokens?",
            ),
            (
                lambda answer: _near(answer["layer 12"], 1.6, 3.4),
                "That is not the KL of the affine lens at layer 12 on held-out text.",
            ),
            (
                lambda answer: abs(float(answer["share"]) - _share(answer)) < 0.01,
                "The three KLs are plausible. The share is one saving over another, and a saving "
                "is counted from the constant lens.",
            ),
        )
    ),
}
