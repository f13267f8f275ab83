"""Pairs for activation patching: drawn with a seed, aligned, and refused where they are not."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import lensscope as ls
from lensscope import pairs
from lensscope.model.classes import backend_of
from lensscope.model.tokens import ids_of, tokenize
from lensscope.pairs import drafts, words
from tests import families

WANG = ("IO", "S1", "S1+1", "S2", "end")
CORRUPTIONS = ("abc", "swap", "s2", "names")


def said(model, made: pairs.Pairs, side: str, label: str) -> list[str]:
    """The text of the tokens that a label names, pair by pair."""
    found = []
    for text, where in zip(getattr(made, side), made.positions[label], strict=True):
        labels = tokenize(backend_of(model), text)[0].labels
        part = labels[where] if isinstance(where, slice) else (labels[where],)
        found.append("".join(part).strip())
    return found


def refused(act, *parts: str, error: type = ls.PromptError) -> str:
    """The message of an act that must fail, which has three parts and says what it should."""
    with pytest.raises(error) as caught:
        act()
    message = str(caught.value)
    for part in ("\n  got:      ", "\n  expected: ", "\n  instead:  ", *parts):
        assert part in message, message
    return message


def two_digits() -> object:
    """A model whose tokenizer cuts years into tokens of two digits, as GPT-2's mostly does."""
    known = [f"{n:02d}" for n in range(100)]
    known += words.YEAR.split() + list(words.EVENTS)
    vocabulary = {word: n for n, word in enumerate(["?", *dict.fromkeys(known)])}
    cut = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    cut.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"\d\d"), "isolated")]
    )
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    model.tokenizer = PreTrainedTokenizerFast(tokenizer_object=cut, unk_token="?")
    return model


@pytest.fixture(scope="module")
def by_name(demo):
    made = {name: task(demo, 30) for name, task in pairs.TASKS.items()}
    return made | {c: pairs.ioi(demo, 30, corruption=c, seed=1) for c in CORRUPTIONS}


@pytest.mark.parametrize("name", [*pairs.TASKS, *CORRUPTIONS])
def test_pairs_are_aligned_and_different(demo, by_name, name):
    made, backend = by_name[name], backend_of(demo)
    assert len(made) == len(set(zip(made.clean, made.corrupted, strict=True))) == 30
    rows = zip(made.clean, made.corrupted, made.correct, made.wrong, strict=True)
    for n, (clean, corrupted, correct, wrong) in enumerate(rows):
        ids = ids_of(backend, clean)
        assert clean != corrupted and len(ids) == len(ids_of(backend, corrupted))
        assert made.positions["end"][n] == len(ids) - 1
        assert correct and wrong and not set(correct) & set(wrong)
        for answer in correct + wrong:
            for prompt in (clean, corrupted):
                before, after = ids_of(backend, prompt), ids_of(backend, prompt + answer)
                assert after[:-1] == before and demo.tokenizer.decode(after[-1]) == answer
    pairs.check(demo, made)


@pytest.mark.parametrize("task", pairs.TASKS.values(), ids=pairs.TASKS)
def test_a_seed_decides(demo, task):
    assert task(demo, 12, seed=3) == task(demo, 12, seed=3)
    assert task(demo, 12, seed=3) == task(demo, 20, seed=3)[:12]
    assert set(task(demo, 12, seed=3).clean) != set(task(demo, 12, seed=4).clean)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corruptions_of_names(demo, by_name, corruption):
    made = by_name[corruption]
    assert made.name == f"ioi ({corruption})" and tuple(made.positions) == WANG
    clean = {label: said(demo, made, "clean", label) for label in WANG}
    corrupted = {label: said(demo, made, "corrupted", label) for label in WANG}
    orders = {p < q for p, q in zip(made.positions["IO"], made.positions["S1"], strict=True)}
    assert orders == {True, False}  # ABBA and BABA
    for n, (correct, wrong) in enumerate(zip(made.correct, made.wrong, strict=True)):
        io, s1, s2 = (clean[label][n] for label in ("IO", "S1", "S2"))
        assert (f" {io}",) == correct and (f" {s1}",) == wrong and s1 == s2 != io
        assert made.positions["S1+1"][n] == made.positions["S1"][n] + 1
        assert clean["end"][n] == "to" and clean["S1+1"][n] == corrupted["S1+1"][n]
        others = tuple(corrupted[label][n] for label in ("IO", "S1", "S2"))
        if corruption == "abc":
            assert len({io, s1, *others}) == 5
        elif corruption == "swap":
            assert others == (io, s1, io)
        elif corruption == "names":
            assert others == (s1, io, io)
        else:
            assert others[:2] == (io, s1) and others[2] not in (io, s1)


def test_years_of_one_digit_a_token(demo, by_name):
    made = by_name["greater_than"]
    assert set(said(demo, made, "corrupted", "year")) == {"1701"}
    for year, correct, wrong in zip(
        said(demo, made, "clean", "year"), made.correct, made.wrong, strict=True
    ):
        assert year[:2] == "17" and "2" <= year[2] <= "7"
        assert "".join((*wrong, year[2], *correct)) == "0123456789"


def test_years_of_two_digits_a_token():
    model = two_digits()
    made = pairs.greater_than(model, 40)
    starts = said(model, made, "clean", "year")
    assert set(said(model, made, "corrupted", "year")) == {"1701"}
    assert all(where.stop - where.start == 2 for where in made.positions["year"])
    for year, correct, wrong in zip(starts, made.correct, made.wrong, strict=True):
        assert "01" < year[2:] < "99" and wrong[-1] == year[2:] < correct[0]
        assert (*wrong, *correct) == tuple(f"{n:02d}" for n in range(100))


def test_capitals_and_pronouns(demo, by_name):
    made = by_name["country_capital"]
    for side, answers in (("clean", made.correct), ("corrupted", made.wrong)):
        for country, answer in zip(said(demo, made, side, "country"), answers, strict=True):
            assert answer == (f" {words.CAPITALS[country]}",)
    assert len(pairs.country_capital(demo, 25 * 24)) == 600  # so at least 25 countries
    made = by_name["gendered_pronoun"]
    for side, answers in (("clean", made.correct), ("corrupted", made.wrong)):
        for name, answer in zip(said(demo, made, side, "name"), answers, strict=True):
            assert answer == ((" she",) if name in words.WOMEN else (" he",))


def test_words_are_listed_once():
    for listed in (
        words.WOMEN + words.MEN,
        words.PLACES,
        words.OBJECTS,
        words.EVENTS,
        words.IOI,
        words.PRONOUN,
        tuple(words.CAPITALS.values()),
    ):
        assert len(set(listed)) == len(listed)
    assert len(words.IOI) == 20


def test_parts_of_pairs(demo):
    made = pairs.country_capital(demo, 5)
    assert made[1:3].clean == made.clean[1:3] and made[-1].clean == made.clean[-1:]
    assert made[::-2].positions["end"] == made.positions["end"][::-2]
    assert [one.clean[0] for one in made] == list(made.clean)
    assert repr(made) == "Pairs(country_capital: 5 pairs; positions country, end)"
    frame = pairs.greater_than(demo, 2).frame()
    assert list(frame) == ["pair", "clean", "corrupted", "correct", "wrong"]
    assert frame.correct[0].split("|")[-1] == "9"
    refused(lambda: made[5:], "These are no pairs", "0 of clean")


@pytest.mark.parametrize("task", pairs.TASKS.values(), ids=pairs.TASKS)
def test_metric_says_which_answer_the_model_prefers(demo, task):
    made = task(demo, 8)
    assert made.metric.name == "logit difference right answer - wrong answer"
    end = {"end": made.groups["end"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the few pairs on which the model errs
        found = ls.activation_patching(
            demo,
            list(made.clean),
            list(made.corrupted),
            ls.resid_pre(0),
            made.metric,
            positions=end,
        ).data
    assert (found.clean > 0).mean() >= 0.95 and (found.clean > found.corrupted).mean() >= 0.9
    assert np.allclose(found.effect, 0, atol=1e-4)  # the last tokens of both prompts are the same


def test_metric_without_wrong_answers():
    assert one().metric.name == "log-probability ' is'"
    assert one(wrong=[" was"]).metric.name == "logit difference ' is' - ' was'"


def test_groups_are_the_positions_of_patching(demo):
    made = pairs.country_capital(demo, 4)
    assert made.groups == {label: list(where) for label, where in made.positions.items()}
    found = ls.activation_patching(
        demo,
        list(made.clean),
        list(made.corrupted),
        ls.resid_pre(0),
        made.metric,
        positions=made.groups,
    ).data
    assert list(found.position.values) == ["country", "end"]
    # The prompts differ in the country alone.
    assert np.allclose(found.effect.sel(position="country"), 1, atol=1e-4)
    assert np.allclose(found.effect.sel(position="end"), 0, atol=1e-4)


def test_all_there_are(demo):
    message = refused(lambda: pairs.country_capital(demo, 10**6), "n=1000000", "at most ")
    there = int(message.split("n=")[-1].split(",")[0])
    made = pairs.country_capital(demo, there)
    assert len(set(zip(made.clean, made.corrupted, strict=True))) == there
    refused(lambda: pairs.country_capital(demo, there + 1), f"at most {there}")


BAD = {
    "n": (lambda m: pairs.ioi(m, 0), "n is a whole number", "n=0"),
    "n that is none": (lambda m: pairs.greater_than(m, True), "n=True"),
    "seed": (lambda m: pairs.ioi(m, 1, seed=-1), "seed is a whole number"),
    "corruption": (lambda m: pairs.ioi(m, corruption="noise"), "'noise'", "abc, swap, s2, names"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(demo, name):
    act, *parts = BAD[name]
    refused(lambda: act(demo), *parts)


def test_a_tokenizer_that_knows_no_words(llama):
    refused(lambda: pairs.ioi(llama), "too few names whole", "0 of 64 names", "becomes: w0")
    refused(lambda: pairs.country_capital(llama), "too few capitals whole", "at least 2 capitals")
    refused(lambda: pairs.gendered_pronoun(llama), "too few women's names")
    refused(lambda: pairs.greater_than(llama), "neither in tokens of two digits", "becomes: w0")


def test_words_that_fit_no_sentence(demo):
    def draft(rng):
        return drafts.Draft(
            "In {place} it", {"place": "Ouagadougou"}, {"place": "Rome"}, (" a",), ()
        )

    refused(
        lambda: drafts.drawn(backend_of(demo), 1, 0, 9, (), draft),
        "not so many pairs",
        "not equally long",
        "at most 0",
    )


def one(clean="In Rome it", corrupted="In Oslo it", correct=" is", wrong=(), **positions):
    kept = {label: (where,) for label, where in positions.items()}
    return pairs.Pairs("mine", (clean,), (corrupted,), ((correct,),), (tuple(wrong),), kept)


def test_check(demo, llama):
    pairs.check(demo, one(subject=1, all=slice(0, None), end=-1))
    refused(
        lambda: pairs.check(demo, one(corrupted="In Ouagadougou it")),
        "pair 0 are not equally long",
        "clean, 3 tokens: 0:'In' 1:' Rome' 2:' it'",
        "corrupted, 8 tokens: 0:'In' 1:' O' 2:'uag'",
    )
    refused(
        lambda: pairs.check(demo, one(correct=" Ouagadougou")),
        "An answer of pair 0 is not one token",
        "' Ouagadougou' is 6 tokens:  O|uag|ad|ou|g|ou",
        "its first token ' O', or another answer",
    )
    refused(lambda: pairs.check(demo, one(wrong=[" is", " Ouagadougou"][1:])), "is 6 tokens")
    refused(lambda: pairs.check(demo, one(correct="s")), "'s' joins the end of", "' s'")
    spaced = one("In Rome it ", "In Oslo it ", "is")
    refused(lambda: pairs.check(demo, spaced), "joins the end", "without a space at its end")
    refused(lambda: pairs.check(demo, one(correct="")), "'' is 0 tokens", "some text")
    unknown = one("w3 w5", "w4 w5", " Paris")
    refused(lambda: pairs.check(llama, unknown), "read as 'w0'", "does not know it")
    pairs.check(llama, one("w3 w5", "w4 w5", " w9"))
    outside = one(subject=7)
    refused(lambda: pairs.check(demo, outside), "out of range", error=ls.PositionError)


def test_pairs_that_are_none():
    refused(lambda: pairs.Pairs("x", (), (), (), (), {}), "These are no pairs", "0 of clean")
    refused(
        lambda: pairs.Pairs("x", ("a", "b"), ("c",), ((" d",),), ((),), {"end": (1,)}),
        "2 of clean, 1 of corrupted, 1 of correct, 1 of wrong, 1 of end",
    )
    refused(lambda: one(wrong=[" is"]), "cannot be told apart", "wrong (' is',)")
    refused(
        lambda: pairs.Pairs("x", ("a",), ("b",), ((),), ((),), {}), "at least one correct answer"
    )
