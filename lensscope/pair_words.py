"""What generated pairs are made of, and whether a tokenizer keeps a pair aligned."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import Formatter
from typing import Final

from lensscope.backend import Backend
from lensscope.errors import PromptError
from lensscope.lenses.checks import whole_number
from lensscope.positions import resolve
from lensscope.prompts import TokenizedPrompt, ids_of, labels_of, tokenize


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN: Final = _words(
    """Mary Sarah Anna Laura Emma Alice Lisa Kate Susan Karen Amy Julia Rachel Jane Elizabeth
    Margaret Helen Emily Jessica Jennifer Michelle Maria Linda Patricia Barbara Nancy Lucy Diana
    Rebecca Amanda Caroline Charlotte"""
)
MEN: Final = _words(
    """John Tom James David Paul Jack Robert Peter Mark Kevin Brian Adam Michael Daniel Thomas
    George Henry Charles William Edward Martin Simon Andrew Steven Scott Jason Matthew Joseph
    Richard Frank Anthony Stephen"""
)
PLACES: Final = _words(
    """store school garden market station park hospital office library restaurant museum beach
    house hotel"""
)
OBJECTS: Final = _words(
    "drink ring book bottle letter ticket key computer ball flower coin box camera map"
)
EVENTS: Final = _words(
    """war siege famine voyage rebellion dispute expedition drought trial occupation blockade
    campaign conflict partnership construction epidemic alliance truce boom depression exile
    experiment dynasty project feud journey marriage monopoly survey treaty uprising"""
)
# Each word is one token in some tokenizer only: the list is longer than any one model can use.
_CAPITALS = """
    Afghanistan Kabul, Albania Tirana, Algeria Algiers, Angola Luanda, Armenia Yerevan,
    Australia Canberra, Austria Vienna, Bangladesh Dhaka, Belgium Brussels, Bulgaria Sofia,
    Canada Ottawa, Chile Santiago, China Beijing, Croatia Zagreb, Cuba Havana, Denmark Copenhagen,
    Ecuador Quito, Egypt Cairo, England London, Estonia Tallinn, Finland Helsinki, France Paris,
    Germany Berlin, Ghana Accra, Greece Athens, Hungary Budapest, Iceland Reykjavik,
    Indonesia Jakarta, Iran Tehran, Iraq Baghdad, Ireland Dublin, Italy Rome, Jamaica Kingston,
    Japan Tokyo, Jordan Amman, Kenya Nairobi, Latvia Riga, Lebanon Beirut, Libya Tripoli,
    Morocco Rabat, Nepal Kathmandu, Nigeria Abuja, Norway Oslo, Oman Muscat, Pakistan Islamabad,
    Peru Lima, Poland Warsaw, Portugal Lisbon, Qatar Doha, Romania Bucharest, Russia Moscow,
    Scotland Edinburgh, Senegal Dakar, Serbia Belgrade, Spain Madrid, Sudan Khartoum,
    Sweden Stockholm, Switzerland Bern, Syria Damascus, Thailand Bangkok, Tunisia Tunis,
    Turkey Ankara, Uganda Kampala, Ukraine Kyiv, Uruguay Montevideo, Vietnam Hanoi, Wales Cardiff,
    Zambia Lusaka, Zimbabwe Harare"""
CAPITALS: Final[Mapping[str, str]] = dict(map(str.split, _CAPITALS.split(",")))

# Names stand after a space, never first: many tokenizers split a name that starts a text.
_ABBA: Final = (
    "When {IO} and {S1} arrived at the {place}, {S2} handed a {object} to",
    "After {IO} and {S1} met at the {place}, {S2} gave a {object} to",
    "While {IO} and {S1} were walking to the {place}, {S2} showed a {object} to",
    "Yesterday {IO} and {S1} had lunch near the {place}, and {S2} passed a {object} to",
    "Once {IO} and {S1} had left the {place}, {S2} sent a {object} to",
    "Since {IO} and {S1} knew each other from the {place}, {S2} brought a {object} to",
    "Last week {IO} and {S1} were seen outside the {place}, where {S2} offered a {object} to",
    "Because {IO} and {S1} worked together at the {place}, {S2} lent a {object} to",
    "On Monday {IO} and {S1} ran into each other at the {place}, and {S2} sold a {object} to",
    "As soon as {IO} and {S1} got back from the {place}, {S2} threw a {object} to",
)
IOI: Final = _ABBA + tuple(t.replace("{IO} and {S1}", "{S1} and {IO}") for t in _ABBA)
PRONOUN: Final = (
    "My neighbour {name} plays the piano very well, doesn't",
    "These days {name} is a really busy doctor, isn't",
    "This morning {name} was late for work again, wasn't",
    "Last night {name} cooked dinner for everyone, didn't",
    "Surely {name} has already read that letter, hasn't",
    "Next year {name} will move to another town, won't",
    "At school {name} was always good at sports, wasn't",
    "To be fair {name} works harder than anyone, doesn't",
    "In those photos {name} looks very happy, doesn't",
    "After all {name} is such a careful driver, isn't",
)
CAPITAL: Final = "The capital of {country} is the city of"
YEAR: Final = "The {event} lasted from the year {year} to the year 17"


@dataclass(frozen=True)
class Row:
    """One clean and one corrupted prompt with their answers: a row of `Pairs`."""

    clean: str
    corrupted: str
    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    positions: Mapping[str, slice | int]


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


def aligned(backend: Backend, draft: Draft, labels: Sequence[str]) -> Row:
    """The pair of a draft, with the tokens of its labelled words.

    Raises:
        PromptError: this tokenizer does not keep it aligned.
    """
    text, places = filled(draft.template, draft.clean)
    other = filled(draft.template, draft.corrupted)[0]
    pair = Row(text, other, draft.correct, draft.wrong, {})
    prompt = require_aligned(backend, 0, pair)
    positions: dict[str, slice | int] = {}
    for label in labels:
        first, last = places[label.removesuffix("+1")]
        held = [i for i, (a, b) in enumerate(prompt.char_spans) if a < last and first < b]
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
) -> list[Row]:
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
    n = whole_number(n, "n", 1, 100, PromptError)
    rng = random.Random(whole_number(seed, "seed", 0, 0, PromptError))
    pairs: list[Row] = []
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


def continued(backend: Backend, prompt: str, answer: str) -> tuple[bool, list[str]]:
    """Whether a prompt keeps its tokens when an answer follows, and the tokens after those kept."""
    before, after = ids_of(backend, prompt), ids_of(backend, prompt + answer)
    kept = 0
    while kept < min(len(before), len(after)) and before[kept] == after[kept]:
        kept += 1
    return kept == len(before), list(labels_of(backend, after[kept:]))


def is_token(backend: Backend, prompt: str, answer: str) -> bool:
    """Whether an answer is one token of its own after a prompt, and not an unknown one."""
    kept, added = continued(backend, prompt, answer)
    return kept and len(added) == 1 and added[0].strip() == answer.strip()


def require_aligned(backend: Backend, number: int, pair: Row) -> TokenizedPrompt:
    """The tokens of a clean prompt whose pair lines up and whose answers are single tokens.

    Raises:
        PromptError: the prompts differ in length, or an answer is not one token.
        PositionError: a position outside of the prompt.
    """
    clean, corrupted = tokenize(backend, [pair.clean, pair.corrupted])
    if len(clean) != len(corrupted):
        raise PromptError(
            f"The prompts of pair {number} are not equally long.",
            got=f"clean, {len(clean)} tokens: {clean.shown()}\n"
            f"            corrupted, {len(corrupted)} tokens: {corrupted.shown()}",
            expected="as many tokens in the one as in the other",
            instead="words of as many tokens where the two differ",
        )
    for answer in (*pair.correct, *pair.wrong):
        if not is_token(backend, pair.clean, answer):
            _refuse(backend, number, pair.clean, answer)
    for position in pair.positions.values():
        resolve(position, clean)
    return clean


def _refuse(backend: Backend, number: int, prompt: str, answer: str) -> None:
    """Say why an answer is not one token."""
    kept, added = continued(backend, prompt, answer)
    if not kept:
        got = f"{answer!r} joins the end of {prompt[-20:]!r}: {'|'.join(added)}"
        instead = f"{' ' + answer.strip()!r}, and a prompt without a space at its end"
    elif len(added) == 1:
        got = f"{answer!r} is read as {added[0]!r}, for the tokenizer does not know it"
        instead = "an answer that the tokenizer knows"
    else:
        got = f"{answer!r} is {len(added)} tokens: {'|'.join(added)}"
        instead = f"its first token {added[0]!r}, or another answer" if added else "some text"
    raise PromptError(
        f"An answer of pair {number} is not one token.",
        got=got,
        expected="one token that follows the prompt",
        instead=instead,
    )
