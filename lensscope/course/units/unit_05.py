"""What is right in unit 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lensscope.course.judges import Function, Holds, Judge, Number, Numbers

_WIDTH: Final = 576


def _state() -> Any:
    """A vector most of whose length is in one of its numbers, as in many a state."""
    import torch

    found = torch.randn(_WIDTH, generator=torch.Generator().manual_seed(12345))
    found[17] = 120.0
    return found


def _cosine(one: Any, other: Any) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def _same_shape(answer: Any) -> bool:
    return tuple(answer(_state(), 0).shape) == (_WIDTH,)


def _as_long(answer: Any) -> bool:
    state = _state()
    wanted = float(state.norm())
    return all(abs(float(answer(state, n).norm()) - wanted) < 1e-3 * wanted for n in range(3))


def _repeats(answer: Any) -> bool:
    state = _state()
    return all(bool((answer(state, n) == answer(state, n)).all()) for n in range(3))


def _differs(answer: Any) -> bool:
    """Vectors of two seeds are not the same one, nor nearly."""
    state = _state()
    return all(_cosine(answer(state, n), answer(state, n + 1)) < 0.99 for n in range(3))


def _scattered(answer: Any) -> bool:
    """Vectors of many seeds have no direction in common."""
    state = _state()
    total = sum(answer(state, n) / state.norm() for n in range(40))
    return float(total.norm()) / 40 < 0.35


def _untouched(answer: Any) -> bool:
    state, before = _state(), _state()
    answer(state, 0)
    return bool((state == before).all())


def _words(text: str) -> set[str]:
    import re

    return set(re.findall(r"[a-z]+", text.lower()))


def _own_words(said: Mapping[str, str]) -> set[str]:
    """The words of a state's text that no control has."""
    found = _words(said["state"])
    for name, text in said.items():
        if name != "state":
            found -= _words(text)
    return found


_SAID: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    (
        "two controls that share nothing with the state",
        {"state": ": a large sea fish", "random": ", 2017", "mean": "somebody"},
    ),
    (
        "a word that only the last of three controls says",
        {
            "prior": "-box: a console",
            "random": "no pattern here",
            "state": ": British monarch, England",
            "mean": ": Country in Europe, England",
        },
    ),
    (
        "a control that says a word with a capital, and a comma behind it",
        {"state": ": film, a city of Japan", "other": ": Film, the City"},
    ),
    (
        "a control with a longer word in which one of the state's words stands",
        {"state": ": art of a king", "random": ": party of kingdoms"},
    ),
    ("no control at all", {"state": ": American film, American actor"}),
    ("a control that says all of it", {"state": ": A Movie", "mean": "a movie: film"}),
)


def _own_words_cases() -> list[tuple[tuple[Any, ...], Any]]:
    return [((dict(said),), _own_words(said)) for _, said in _SAID]


JUDGES: Final[dict[str, Judge]] = {
    "5.1": Holds(
        (
            (callable, "The answer is the function itself: give it without calling it."),
            (_same_shape, "It should give a vector of as many numbers as the state has."),
            (_as_long, "What it gives is not as long as the state."),
            (_repeats, "The same seed should give the same vector again."),
            (_differs, "Another seed should give another vector."),
            (
                _scattered,
                "Vectors of many seeds should point in all directions; these have a direction in "
                "common. Is there something of the state in them, or are all numbers positive?",
            ),
            (_untouched, "It changes the state that it is given."),
        )
    ),
    "5.2": Function(_own_words_cases, said=tuple(what for what, _ in _SAID)),
    "5.3": Numbers(
        "bDUEvr9TykeF",
        known={
            "bDYEvr5TykSF": "Blocks are counted from 0, and a block makes its keys before what "
            "comes out of it is written.",
            "bDUQo71I1EWF": "These are the blocks whose keys have changed.",
            "bDQYo79P1ELo-A==": "None has changed at the token that you look at. Is it the "
            "placeholder?",
            "bDcEv6BPpQ==": "None is the same. Are both runs of the same prompt, and is the same "
            "block compared with itself?",
        },
    ),
    "5.4": Number(
        "4xw=",
        known={
            "4Bk=": "That layer beats a run in which nothing is written, and so do other cities' "
            "sentences.",
            "4x0=": "Ahead it is, and not by five times.",
            "4x4=": "Ahead it is, and not by five times.",
            "5g==": "That is a place in a list that begins at layer 16.",
        },
        unit="the number of a layer",
    ),
    "5.5": Number(
        "YgIcQQ==",
        within=0.025,
        known={
            "YgId": "The middle of the line need not be the border: measure it.",
            "YgIdQw==": "That is counted from the other end: t = 0 is Jurassic Park.",
            "YgIQ": "There the text says so, but the probabilities have crossed before.",
        },
        unit="a number between 0 and 1",
    ),
}
