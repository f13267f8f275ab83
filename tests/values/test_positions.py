"""Positions: which tokens they mean, whatever the padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lensscope as ls
from lensscope.values.positions import inside_word, resolve, resolve_each
from lensscope.values.prompts import TokenizedPrompt
from tests import families, oracle
from tests.oracle import Edit, close


def made_of(*pieces: str) -> TokenizedPrompt:
    ends = [sum(map(len, pieces[: i + 1])) for i in range(len(pieces))]
    spans = tuple(zip([0, *ends[:-1]], ends, strict=True))
    return TokenizedPrompt(tuple(range(len(pieces))), "".join(pieces), pieces, spans)


WALES = made_of("D", "iana", ",", " Princess", " of", " Wales")


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (0, (0,)),
        (-1, (5,)),
        (-6, (0,)),
        ("Diana", (1,)),
        ("Wales", (5,)),
        (" Wales", (5,)),
        ("Wal", (5,)),
        ("Princess of", (4,)),
        (slice(1, 3), (1, 2)),
        (slice(None, None, -2), (5, 3, 1)),
        (slice(-2, None), (4, 5)),
        (ls.span("Diana"), (0, 1)),
        (ls.span("Princess of Wales"), (3, 4, 5)),
        (ls.ALL, (0, 1, 2, 3, 4, 5)),
    ],
)
def test_each_form(position, expected):
    assert resolve(position, WALES) == expected


def test_an_ambiguous_substring_lists_where_it_occurs():
    prompt = made_of("x", " and", " x")
    with pytest.raises(ls.PositionError) as caught:
        resolve("x", prompt)
    assert "occurs 2 times" in str(caught.value)
    assert "occurrence=0" in str(caught.value) and "occurrence=1" in str(caught.value)
    assert resolve("x", prompt, 0) == (0,)
    assert resolve("x", prompt, -1) == (2,)
    with pytest.raises(ls.PositionError, match="no occurrence 2"):
        resolve("x", prompt, 2)


@pytest.mark.parametrize(
    ("text", "needle", "start"),
    [
        ("Niger borders Nigeria", "Niger", 0),
        ("Nigeria borders Niger", "Niger", 16),
        ("Nigeria borders Niger's north", "Niger", 16),
        ("Oman, Roman and Romania: Roman", "Oman", 0),
        ("Nigerian, (Niger) Nigeria", "(Niger", 10),
        ("Nigerian of Niger.", " Niger", 11),
        ("Nigeria", "Niger", 0),  # inside a word, and nowhere else
        ("Guinea_Bissau and Guinea", "Guinea", 18),
        ("Chad1 Chad", "Chad", 6),
        ("Cafe\u0301 and Cafe", "Cafe", 10),  # the accent belongs to the word
        ("Österreich, Öster", "Öster", 12),
        ("Россияне и Россия", "Россия", 11),
        ("भारतीय और भारत", "भारत", 10),
        ("می\u200cخواهم می", "می", 9),
        ("Ιρανικός Ιραν", "Ιραν", 9),
        ("日本の首都は東京です", "東京", 6),
        ("iPhoneはiPhonesより", "iPhone", 0),
        ("ประเทศไทยอยู่", "ไทย", 6),
        ("한국의 수도는", "한국", 0),
        ("a, b", ",", 1),
    ],
)
def test_a_substring_is_a_whole_word_first(text, needle, start):
    prompt = made_of(*text)  # a token for each character
    assert resolve(ls.span(needle), prompt) == tuple(range(start, start + len(needle)))
    assert resolve(needle, prompt) == (start + len(needle) - 1,)


@pytest.mark.parametrize(
    ("text", "needle", "times", "words"),
    [
        ("Niger, Nigeria and Niger", "Niger", 3, ", 2 of them as a word"),
        ("Nigeria and Nigerians", "Niger", 2, ""),
        ("日本人と日本", "日本", 2, ""),  # every match may be a word
        ("한국의 한국", "한국", 2, ""),
        ("aaa", "aa", 2, ""),
    ],
)
def test_what_may_be_several_words_is_not_guessed(text, needle, times, words):
    with pytest.raises(ls.PositionError) as caught:
        resolve(needle, made_of(*text))
    assert f"occurs {times} times{words}." in str(caught.value)


def test_matches_inside_words_are_counted_and_named():
    prompt = made_of(*"Nigeria, Niger and Niger")
    assert resolve(ls.span("Niger"), prompt, 0) == (0, 1, 2, 3, 4)
    assert resolve(ls.span("Niger"), prompt, -1) == (19, 20, 21, 22, 23)
    with pytest.raises(ls.PositionError, match=r"occurrence=0: .*\(inside 'Nigeria'\)"):
        resolve("Niger", prompt)
    assert inside_word("Nig", made_of(*"in Nigeria.")) == "Nigeria"
    assert inside_word(ls.span("Nigeria"), made_of(*"in Nigeria.")) == ""
    assert inside_word(-1, prompt) == inside_word("Peru", prompt) == ""
    with pytest.raises(ls.PositionError) as caught:
        resolve("a", made_of(*("a b " * 500)))
    assert "and 488 more" in str(caught.value) and len(str(caught.value)) < 2000


@pytest.mark.parametrize("position", [6, -7, "Paris", "", slice(9, 12), ls.span("Peru")])
def test_what_names_no_token_is_refused(position):
    with pytest.raises(ls.PositionError, match="expected"):
        resolve(position, WALES)


pieces = st.lists(st.text("ab ", min_size=1, max_size=3), min_size=1, max_size=8)


@given(pieces, st.data())
def test_a_substring_is_the_token_of_its_last_character(parts, data):
    prompt = made_of(*parts)
    text = prompt.text
    start = data.draw(st.integers(0, len(text) - 1))
    stop = data.draw(st.integers(start + 1, len(text)))
    needle = text[start:stop]
    nth = sum(text.startswith(needle, i) for i in range(start))
    holder = next(i for i, (_, end) in enumerate(prompt.char_spans) if end >= stop)
    first = next(i for i, (_, end) in enumerate(prompt.char_spans) if end > start)
    assert resolve(needle, prompt, nth) == (holder,)
    assert resolve(ls.span(needle), prompt, nth) == tuple(range(first, holder + 1))


@given(st.integers(1, 9), st.data())
def test_integers_and_slices_are_python_s_own(length, data):
    prompt = made_of(*["w"] * length)
    index = data.draw(st.integers(-length, length - 1))
    assert resolve(index, prompt) == (list(range(length))[index],)
    bound = st.none() | st.integers(-12, 12)
    chosen = slice(data.draw(bound), data.draw(bound), data.draw(st.sampled_from([None, 1, 2, -1])))
    expected = tuple(range(length)[chosen])
    if expected:
        assert resolve(chosen, prompt) == expected


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 10), min_size=1, max_size=4),
    side=st.sampled_from(["left", "right"]),
    layer=st.integers(-3, 2),
    data=st.data(),
)
def test_padding_never_moves_a_patch(llama, lengths, side, layer, data):
    position = data.draw(st.integers(-min(lengths), min(lengths) - 1))
    prompts = [families.prompt(n, seed=n) for n in lengths]
    value = torch.linspace(-2, 2, 32)
    patch = ls.resid_post(layer).at(position).set(value)
    run = ls.run(llama, prompts, [patch], padding_side=side)
    for n, prompt in enumerate(prompts):
        edit = Edit("resid_post", layer % 3, position % len(prompt), lambda x: value)
        close(run.logits[n, : len(prompt)], oracle.logits(llama, prompt, [edit]))


def test_tokens_of_text_and_of_ids_stand_at_the_same_characters(demo):
    from lensscope.model.classes import backend_of
    from lensscope.model.tokens import tokenize

    text = "Diana, Princess of Wales – née Spencer 🎈 (1961)"
    backend = backend_of(demo)
    of_text = tokenize(backend, text)[0]
    of_ids = tokenize(backend, list(of_text.ids))[0]
    assert of_ids.text == text
    for needle in ("Diana", "Wales", "née", "Spencer", "🎈", "1961"):
        assert resolve(needle, of_text) == resolve(needle, of_ids)
    torch_ids = torch.tensor([of_text.ids])
    assert tokenize(backend, torch_ids)[0].ids == of_text.ids


def test_positions_of_each_prompt():
    prompts = [WALES, made_of("Par", "is", " of")]
    assert resolve_each([-1, 0, "of", -1], prompts) == [(5, 0, 4), (2, 0)]
    assert resolve_each([[ls.span("Diana")], ["Paris", slice(0, 2)]], prompts) == [(0, 1), (1, 0)]
    for wrong in ([], [[0]], [[0], [0], [0]], [[0], []], [[0], 1]):
        with pytest.raises(ls.PositionError, match="instead:"):
            resolve_each(wrong, prompts)


@pytest.mark.parametrize(("word", "meant"), [("all", "ls.ALL"), ("Last", "-1"), ("first", "0")])
def test_words_for_positions_say_what_to_write(word, meant):
    with pytest.raises(ls.PositionError, match=f"instead:  {meant} for "):
        resolve(word, WALES)
    assert resolve(word, made_of("the ", word)) == (1,)  # unless the prompt has them
