"""Conversations as prompts, judged by the tokenizer's own template."""

from __future__ import annotations

import pytest
import torch

import lensscope as ls
from tests import families

TALK = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": " Is Paris in France? "},
    {"role": "assistant", "content": "Yes, Paris is."},
    {"role": "user", "content": "user: and Rome?"},
]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "{% if m.role != 'tool' %} w3 {{ m.content | trim }} w4{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} w5{{ end }}{% endif %}"
)


@pytest.fixture
def talking(llama, monkeypatch):
    """The tiny Llama with a template that begins with BOS, strips, drops and refuses."""
    monkeypatch.setattr(llama.tokenizer, "chat_template", TEMPLATE, raising=False)
    return llama


def test_the_tokens_are_the_template_s_own_wherever_a_prompt_is_taken(demo):
    chat = ls.chat(TALK)
    ids = demo.tokenizer.apply_chat_template(TALK, add_generation_prompt=True, tokenize=True)
    ids = tuple(getattr(ids, "input_ids", ids))
    cache = ls.capture(demo, [chat, "Rome"], ls.resid_post(3))
    assert cache.prompts[0].ids == ids
    assert ls.run(demo, chat).tokens[0][:2] == ("<|im_start|>", "system")
    shorter = ls.run(demo, ls.chat(TALK, add_generation_prompt=False)).prompts[0]
    assert shorter.ids == ids[: len(shorter)] and shorter.text.endswith("Rome?<|im_end|>\n")
    made = ls.generate(demo, chat, max_new_tokens=3)
    assert made.tokens == ls.generate(demo, list(ids), max_new_tokens=3).tokens
    many = ls.run_many(demo, chat, [[], [ls.resid_post(3).at("Rome").zero()]])
    expected = ls.run(demo, list(ids)).last_logits[0]
    torch.testing.assert_close(many.logits[0, 0], expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(many.logits[1, 0], expected, atol=1e-2)
    reading = ls.LogitLens().read(demo, chat, positions=chat.message(3).at("Rome"))
    assert reading.data["token"].values.ravel().tolist() == [" Rome"]


def test_positions_by_message(demo):
    chat = ls.chat(TALK)
    prompt = ls.capture(demo, chat, ls.embed).prompts[0]
    for n, turn in enumerate(TALK):
        start, stop = prompt.messages[n]
        assert prompt.text[start:stop] == turn["content"]

    def said(position, **rest):
        held = ls.capture(demo, chat, ls.resid_post(1).at(position, **rest))
        (tokens,) = (entry.positions[0] for entry in held._entries.values())
        return "".join(prompt.labels[i] for i in tokens)

    assert said(chat.message(2)) == "Yes, Paris is."
    assert said(chat.message(-1).span("Rome?")) == " Rome?"
    # in both: told apart by the message
    assert said(chat.message(1).at("Paris")) == said(chat.message(2).at("Paris")) == " Paris"
    with pytest.raises(ls.PositionError, match="occurs 2 times"):
        ls.capture(demo, chat, ls.resid_post(1).at("Paris"))
    with pytest.raises(ls.PositionError, match="does not occur"):
        said(chat.message(0).at("Paris"))
    with pytest.raises(ls.PositionError, match="number"):
        chat.message(4)
    with pytest.raises(ls.PositionError, match="Message 1 does not stand in the prompt"):
        ls.capture(demo, "Paris", ls.resid_post(1).at(chat.message(1)))


def test_a_cache_of_a_chat_can_be_kept(demo, tmp_path):
    chat = ls.chat(TALK)
    site = ls.resid_post(1).at(chat.message(1).span("Paris in"))
    cache = ls.capture(demo, chat, site)
    again = ls.Cache.load(cache.save(tmp_path / "chat.safetensors"))
    assert torch.equal(again[site], cache[site])
    assert again.prompts == cache.prompts


def test_bos_stands_once_and_what_a_template_does_is_seen(talking):
    bos = talking.tokenizer.bos_token_id
    turns = [
        {"role": "user", "content": "w7 w8 "},
        {"role": "tool", "content": "w9"},
        {"role": "user", "content": "w8"},
    ]
    chat = ls.chat(turns, end=" w6")
    for prepend in (None, True, False):
        prompt = ls.capture(talking, chat, ls.embed, prepend_bos=prepend).prompts[0]
        assert prompt.ids.count(bos) == 1 and prompt.ids[0] == bos
    assert prompt.text.endswith("w3 w7 w8 w4 w3 w8 w4 w5 w6")
    shown = [prompt.text[a:b] for a, b in prompt.messages]
    assert shown == ["w7 w8", "", "w8"]  # stripped, left out, and the right one of two
    assert prompt.messages[2][0] == prompt.text.rindex("w8")


@pytest.mark.parametrize(
    ("messages", "options", "match"),
    [
        ([], {}, "messages of a chat"),
        (3, {}, "messages of a chat"),
        ([{"role": "user"}], {}, "not a message"),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], {}, "not a message"),
        (["hi"], {}, "not a message"),
        ("hi", {"tokenize": False}, "not its to give"),
        ("hi", {"add_generation_prompt": "no"}, "flag"),
    ],
)
def test_what_is_no_conversation(messages, options, match):
    with pytest.raises(ls.PromptError, match=match):
        ls.chat(messages, **options)


def test_models_that_cannot_or_will_not_talk(llama, talking):
    with pytest.raises(ls.PromptError, match=r"(?s)refuses the conversation.*no system here"):
        ls.run(talking, ls.chat(TALK))
    talking.tokenizer.chat_template = None
    with pytest.raises(ls.PromptError, match="no chat template"):
        ls.run(llama, ls.chat("hi"))
    with pytest.raises(ls.PromptError, match=r"(?s)by itself.*ls.chat"):
        ls.run(llama, [{"role": "user", "content": "hi"}])
    assert "none in the tokenizer" in str(ls.support(families.build(families.CASES[0])))
