"""Drawing pairs from a template: filled, and kept where a tokenizer leaves them aligned."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import Formatter

from lensscope.errors import PromptError
from lensscope.model.backend import Backend
from lensscope.pairs.alignment import PromptPair, continued, is_token, require_aligned


@dataclass(frozen=True)
class Draft:
    """A template with two sets of words for it, before a tokenizer has seen them."""

    template: str
    clean: Mapping[str, str]
    corrupted: Mapping[str, str]
    correct: tuple[str, ...]
    wrong: tuple[str, ...]


def filled(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """A template with its words put in, and where in the text each of them stands."""
    text, places = "", {}
    for before, label, *_ in Formatter().parse(template):
        text += before
        if label is not None:
            places[label] = (len(text), len(text) + len(words[label]))
            text += words[label]
    return text, places


def aligned(backend: Backend, draft: Draft, labels: Sequence[str]) -> PromptPair:
    """The pair of a draft, with the tokens of its labelled words.

    Raises:
        PromptError: this tokenizer does not keep it aligned.
    """
    text, places = filled(draft.template, draft.clean)
    other = filled(draft.template, draft.corrupted)[0]
    pair = PromptPair(text, other, draft.correct, draft.wrong, {})
    prompt = require_aligned(backend, 0, pair)
    positions: dict[str, slice | int] = {}
    for label in labels:
        first, last = places[label.removesuffix("+1")]
        held = prompt.holding(first, last)
        if label.endswith("+1"):  # the token that comes after the word
            held = [held[-1] + 1]
        positions[label] = held[0] if len(held) == 1 else slice(held[0], held[-1] + 1)
    return replace(pair, positions=positions | {"end": len(prompt) - 1})


def drawn(
    backend: Backend,
    n: int,
    seed: int,
    possible: int,
    labels: Sequence[str],
    draft: Callable[[random.Random], Draft],
) -> list[PromptPair]:
    """Different pairs, as many as are asked for; a longer draw starts with the shorter one.

    Args:
        backend: the model.
        n: how many.
        seed: what they are drawn with.
        possible: how many different drafts there are.
        labels: the words whose tokens are wanted.
        draft: draws one.

    Raises:
        PromptError: there are not so many, or n or seed is no whole number.
    """
    rng = random.Random(seed)
    pairs: list[PromptPair] = []
    seen: set[tuple[str, str]] = set()
    misfit = "none"
    # Enough draws to meet every one of `possible` drafts where n asks for them all.
    for _ in range(1000 + 50 * n if n <= possible else 0):
        one = draft(rng)
        texts = (filled(one.template, one.clean)[0], filled(one.template, one.corrupted)[0])
        if texts in seen:
            continue
        seen.add(texts)
        try:
            pairs.append(aligned(backend, one, labels))
        except PromptError as error:
            misfit = f"{error.what} {error.got}"
            continue
        if len(pairs) == n:
            return pairs
    there = len(pairs) if seen else possible
    raise PromptError(
        "There are not so many pairs.",
        got=f"n={n}" + (f"; the last that did not fit: {misfit}" if seen else ""),
        expected=f"at most {there}: so many different pairs fit this tokenizer",
        instead=(f"n={there}, or " if there else "") + "your own pairs: from_csv(path, model)",
    )


def whole_words(backend: Backend, words: Sequence[str], what: str, least: int) -> list[str]:
    """Those words that are one token after a space.

    Raises:
        PromptError: fewer than ``least``.
    """
    found = [word for word in words if is_token(backend, "So", f" {word}")]
    if len(found) < least:
        split = next(word for word in words if word not in found)
        pieces = "|".join(continued(backend, "So", f" {split}")[1])
        raise PromptError(
            f"The tokenizer keeps too few {what} whole.",
            got=f"{len(found)} of {len(words)} {what}; ' {split}' becomes: {pieces}",
            expected=f"at least {least} {what} that are one token each",
            instead="a model whose tokenizer has more English words, or your own pairs: "
            "from_csv(path, model)",
        )
    return found
