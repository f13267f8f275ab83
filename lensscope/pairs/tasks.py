"""Pairs that are drawn: names, years, capitals and pronouns."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from lensscope import checks
from lensscope.errors import PromptError
from lensscope.model.classes import backend_of
from lensscope.pairs import words
from lensscope.pairs.alignment import continued, is_token
from lensscope.pairs.data import Pairs, joined
from lensscope.pairs.drafts import Draft, drawn, filled, whole_words

# For each corruption which of the names drawn stands at IO, S1 and S2: 0 is the indirect object, 1
# the subject, the others are of the corrupted prompt alone.
_CORRUPTIONS: Final = {"abc": (2, 3, 4), "swap": (0, 1, 0), "s2": (0, 1, 2), "names": (1, 0, 0)}
_YEARS: Final = tuple(f"{year:02d}" for year in range(100))


@checks.door(PromptError, corruption=checks.text)
def ioi(model: Any, n: int = 100, *, corruption: str = "abc", seed: int = 0) -> Pairs:
    """Indirect object identification: who gets what the subject gives away.

    "When Mary and John arrived at the store, John handed a drink to" is followed by the indirect
    object, " Mary", and not by the subject, " John". Half of the templates name the indirect
    object first, half the subject. After Wang et al. 2022, arXiv:2211.00593, with sentences of
    our own; the positions are those of the paper, at S1+1 the token after the first subject.

    Args:
        model: the model; only names that its tokenizer keeps whole are used.
        n: how many pairs.
        corruption: what the corrupted prompt has for the three names: ``"abc"`` three others (the
            paper's p_ABC), ``"swap"`` the indirect object as the second subject, so the right
            answer is the other one, ``"s2"`` another name as the second subject, ``"names"`` both
            names exchanged everywhere.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs or names, or an unknown corruption.

    Example:
        >>> ls.pairs.ioi(model, 4, seed=0)
        Pairs(ioi (abc): 4 pairs; positions IO, S1, S1+1, S2, end)
    """
    if corruption not in _CORRUPTIONS:
        raise PromptError(
            "There is no such corruption.",
            got=f"corruption={corruption!r}",
            expected=f"one of {', '.join(_CORRUPTIONS)}",
            instead='corruption="abc"',
        )
    chosen = _CORRUPTIONS[corruption]
    needed = 1 + max(1, *chosen)
    backend = backend_of(model)
    names = whole_words(backend, (*words.WOMEN, *words.MEN), "names", needed)

    def draft(rng: random.Random) -> Draft:
        drawn_names = rng.sample(names, needed)
        scene = {"place": rng.choice(words.PLACES), "object": rng.choice(words.OBJECTS)}
        clean, corrupted = (
            dict(zip(("IO", "S1", "S2"), (drawn_names[i] for i in which), strict=True)) | scene
            for which in ((0, 1, 1), chosen)
        )
        correct, wrong = ((f" {name}",) for name in drawn_names[:2])
        return Draft(rng.choice(words.IOI), clean, corrupted, correct, wrong)

    possible = len(words.IOI) * len(words.PLACES) * len(words.OBJECTS)
    possible *= math.perm(len(names), needed)
    rows = drawn(backend, n, seed, possible, ("IO", "S1", "S1+1", "S2"), draft)
    return joined(f"ioi ({corruption})", rows)


@checks.door(PromptError)
def greater_than(model: Any, n: int = 100, *, seed: int = 0) -> Pairs:
    """A year after another: an end that does not come before its beginning.

    "The war lasted from the year 1742 to the year 17" goes on with a year after 42; the corrupted
    prompt starts in 1701, which allows nearly all. After Hanna et al. 2023, arXiv:2305.00586.
    Where a tokenizer has years as tokens of two digits, as GPT-2's, all of them above the start
    are correct, the rest wrong. Where each digit is a token, the answers are tens digits: those
    above the start's own are correct, those below it wrong, and the start's own is left out, for
    it decides nothing; the start lies in 20 to 79, so that there are some of both.

    Args:
        model: the model.
        n: how many pairs.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs, or a tokenizer that splits years in another way.

    Example:
        >>> ls.pairs.greater_than(model, 4, seed=0)
        Pairs(greater_than: 4 pairs; positions year, end)
    """
    backend = backend_of(model)
    prompt = filled(words.YEAR, {"event": words.EVENTS[0], "year": "1745"})[0]
    ends = [year for year in _YEARS if is_token(backend, prompt, year)]
    starts = tuple(year for year in ends if "01" < year < ends[-1])
    if len(ends) < len(_YEARS) // 2:
        ends = [digit for digit in "0123456789" if is_token(backend, prompt, digit)]
        starts = _YEARS[20:80]
        if len(ends) < 10:
            raise PromptError(
                "The tokenizer has years neither in tokens of two digits nor of one.",
                got="'1745' becomes: " + "|".join(continued(backend, prompt[:-2], "1745")[1]),
                expected="17|45 or 1|7|4|5",
                instead="a model with another tokenizer, or your own pairs: from_csv(path, model)",
            )

    def draft(rng: random.Random) -> Draft:
        event, start = rng.choice(words.EVENTS), rng.choice(starts)
        own = start[: len(ends[0])]
        correct = tuple(end for end in ends if end > own)
        wrong = tuple(end for end in ends if end < own or end == start)
        clean, corrupted = ({"event": event, "year": f"17{year}"} for year in (start, "01"))
        return Draft(words.YEAR, clean, corrupted, correct, wrong)

    possible = len(words.EVENTS) * len(starts)
    return joined("greater_than", drawn(backend, n, seed, possible, ("year",), draft))


@checks.door(PromptError)
def country_capital(model: Any, n: int = 100, *, seed: int = 0) -> Pairs:
    """The capital of a country, or of another one.

    Args:
        model: the model; only countries and capitals that its tokenizer keeps whole are used.
        n: how many pairs.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs, countries or capitals.

    Example:
        >>> ls.pairs.country_capital(model, 1).clean
        ('The capital of Norway is the city of',)
    """
    backend = backend_of(model)
    capitals = whole_words(backend, tuple(words.CAPITALS.values()), "capitals", 2)
    candidates = [country for country, city in words.CAPITALS.items() if city in capitals]
    countries = whole_words(backend, candidates, "countries", 2)

    def draft(rng: random.Random) -> Draft:
        pair = rng.sample(countries, 2)
        clean, corrupted = ({"country": country} for country in pair)
        correct, wrong = ((f" {words.CAPITALS[country]}",) for country in pair)
        return Draft(words.CAPITAL, clean, corrupted, correct, wrong)

    possible = math.perm(len(countries), 2)
    return joined("country_capital", drawn(backend, n, seed, possible, ("country",), draft))


@checks.door(PromptError)
def gendered_pronoun(model: Any, n: int = 100, *, seed: int = 0) -> Pairs:
    """The pronoun of a name, " she" or " he", in a question at the end of a sentence.

    "These days Mary is a really busy doctor, isn't" is followed by " she"; the corrupted prompt
    has a name of the other gender. After Mathwin et al. 2023, "Identifying a Preliminary Circuit
    for Predicting Gendered Pronouns in GPT-2 Small", with sentences of our own.

    Args:
        model: the model; only names that its tokenizer keeps whole are used.
        n: how many pairs.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs or names.

    Example:
        >>> sorted(set(ls.pairs.gendered_pronoun(model, 20).correct))
        [(' he',), (' she',)]
    """
    backend = backend_of(model)
    women = whole_words(backend, words.WOMEN, "women's names", 1)
    men = whole_words(backend, words.MEN, "men's names", 1)

    def draft(rng: random.Random) -> Draft:
        chosen = [(rng.choice(women), (" she",)), (rng.choice(men), (" he",))]
        rng.shuffle(chosen)
        (name, right), (other, wrong) = chosen
        return Draft(rng.choice(words.PRONOUN), {"name": name}, {"name": other}, right, wrong)

    possible = 2 * len(words.PRONOUN) * len(women) * len(men)
    return joined("gendered_pronoun", drawn(backend, n, seed, possible, ("name",), draft))


TASKS: Final[Mapping[str, Callable[..., Pairs]]] = {
    "ioi": ioi,
    "greater_than": greater_than,
    "country_capital": country_capital,
    "gendered_pronoun": gendered_pronoun,
}
