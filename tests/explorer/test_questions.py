"""Questions are made of JSON that is not trusted: whatever is none is refused in three parts."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensscope.errors import LensscopeError
from lensscope.explorer.questions import NEW_TOKENS, PROMPT, asked, key_of
from tests.explorer.asking import inspection

SPOT = {"prompt": 0, "layer": 1, "position": 2}
GOOD = {
    "tokens": {"kind": "tokens", "prompt": "a", "placeholder": None},
    "grid": {"kind": "grid", "prompt": [{"role": "user", "content": "a"}], "lens": "logit"},
    "cell": {"kind": "cell", "prompt": "a", "position": 0, "layer": 1},
    "words": {
        "kind": "words",
        "prompt": "a",
        "position": 0,
        "layer": 1,
        "inspection": inspection("is x"),
    },
    "controls": {"kind": "controls", "inspection": inspection("is x", top_p=0.5)},
    "step": {
        "kind": "step",
        "prompt": "a",
        "position": 0,
        "layer": 1,
        "inspection": inspection("is x", target="same"),
        "reader": "raw",
    },
    "patch": {
        "kind": "patch",
        "prompts": ["a", "b"],
        "patches": [{"from": SPOT, "to": SPOT, "how": "add", "amount": 0.5}],
        "max_new_tokens": 3,
    },
    "matters": {
        "kind": "matters",
        "clean": "a",
        "corrupted": "b",
        "answer": "",
        "wrong": "",
        "site": "mlp_out",
    },
    "circuit": {
        "kind": "circuit",
        "clean": "a",
        "corrupted": "b",
        "answer": "",
        "wrong": "",
        "threshold": 0.1,
    },
}


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_is_read_and_has_a_key_of_its_own(kind):
    question = asked(GOOD[kind])
    assert question.kind == kind
    assert key_of(question) == key_of(asked(copy.deepcopy(GOOD[kind])))
    others = {key_of(asked(other)) for name, other in GOOD.items() if name != kind}
    assert key_of(question) not in others


WRONG = [
    None,
    [],
    "grid",
    {"kind": "explode"},
    {"kind": ["grid"]},
    {**GOOD["grid"], "prompt": "a" * (PROMPT + 1)},
    {**GOOD["grid"], "prompt": 3},
    {**GOOD["grid"], "prompt": []},
    {**GOOD["grid"], "prompt": [{"role": "user"}]},
    {**GOOD["grid"], "prompt": [{"role": "user", "content": "a"}] * 65},
    {**GOOD["grid"], "prompt": [{"role": "user", "content": "a" * 11_000}] * 2},
    {**GOOD["grid"], "lens": None},
    {**GOOD["cell"], "layer": -1},
    {**GOOD["cell"], "layer": True},
    {**GOOD["cell"], "position": 1.0},
    {**GOOD["words"], "inspection": None},
    {**GOOD["words"], "inspection": inspection("x", max_new_tokens=NEW_TOKENS + 1)},
    {**GOOD["words"], "inspection": inspection("x", temperature=float("nan"))},
    {**GOOD["words"], "inspection": inspection("x", target="both")},
    {**GOOD["patch"], "prompts": ["a"]},
    {**GOOD["patch"], "patches": GOOD["patch"]["patches"] * 17},
    {**GOOD["patch"], "patches": [{"from": SPOT, "to": SPOT, "how": "map", "amount": 1}]},
    {**GOOD["patch"], "patches": [{"from": None, "to": SPOT, "how": "set", "amount": 1}]},
    {**GOOD["matters"], "site": "__class__"},
    {**GOOD["circuit"], "threshold": 0},
]


@pytest.mark.parametrize("given", WRONG, ids=range(len(WRONG)))
def test_what_is_no_question_is_refused_in_three_parts(given):
    with pytest.raises(LensscopeError) as error:
        asked(given)
    assert all(str(getattr(error.value, part)) for part in ("what", "got", "expected", "instead"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_no_field_of_any_kind_gets_through_as_something_else(kind, data):
    name = data.draw(st.sampled_from(sorted(GOOD[kind])))
    value = data.draw(_JSON)
    try:
        question = asked({**GOOD[kind], name: value})
    except LensscopeError:
        return
    key_of(question)


def test_half_a_character_is_no_text_and_does_no_harm():
    assert asked({**GOOD["grid"], "prompt": "\ud800a"}).prompt == "?a"
