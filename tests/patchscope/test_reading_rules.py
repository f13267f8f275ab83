"""Patchscopes by a rule, into a conversation, several states together, and drawn texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lensscope as ls
from tests import families, oracle
from tests.oracle import close

IDS = families.prompt(5)
SLOTS = ls.InspectionPrompt("w5 w6 w9 w7", "w9")


def states(model, layer, token):
    return ls.capture(model, IDS, ls.resid_post(layer))[ls.resid_post(layer)][0, token]


def test_a_rule_of_a_patchscope_is_the_rule_of_a_patch(few):
    scope = ls.Patchscope(
        SLOTS, ls.resid_post(1), read=ls.resid_post, rule=ls.rules.add(times=2.0), max_new_tokens=3
    )
    result = scope.inspect(few, IDS, layers=[0, 2])
    prompt, (place,) = SLOTS.tokens(few), SLOTS.places(few)
    for layer in (0, 2):
        v = states(few, layer, -1)
        edit = oracle.Edit("resid_post", 1, place, lambda h, v=v: h + 2 * h.norm() * v / v.norm())
        said = result.data.sel(source_layer=layer).squeeze()
        first = oracle.logits(few, prompt.ids, [edit])[-1].softmax(-1)
        assert said.first_token_probability.item() == pytest.approx(float(first.max()), abs=1e-5)
    v = states(few, 0, -1)
    edit = oracle.Edit("resid_post", 1, place, lambda h: h + 2 * h.norm() * v / v.norm())
    expected = oracle.logits(few, prompt.ids, [edit])[-1]
    for lens, temperature in ((scope.as_lens(), 1.0), (scope.as_lens(temperature=0.5), 0.5)):
        read = lens.read(few, IDS, ls.resid_post(0), positions=-1, full=True)
        found = torch.tensor(read.data.full_log_probability.values.ravel())
        close(found, (expected / temperature).log_softmax(-1))


def test_states_together_go_to_placeholders_of_their_own(llama):
    scope = ls.Patchscope(SLOTS, ls.resid_pre(1), read=ls.resid_post, max_new_tokens=1)
    result = scope.inspect(llama, IDS, [1, 3], layers=[2], together=True)
    assert result.inspection_tokens.count(" w9") + result.inspection_tokens.count("w9") == 2
    prompt = ls.InspectionPrompt("w5 w6 w9 w9 w7", "w9")
    held = [states(llama, 2, t) for t in (1, 3)]
    edits = [
        oracle.Edit("resid_pre", 1, place, lambda h, v=v: v)
        for place, v in zip(prompt.places(llama), held, strict=True)
    ]
    first = oracle.logits(llama, prompt.tokens(llama).ids, edits)[-1].softmax(-1)
    assert result.data.first_token_probability.item() == pytest.approx(float(first.max()), abs=1e-5)
    swapped = scope.inspect(llama, IDS, [3, 1], layers=[2], together=True)
    assert not np.allclose(
        swapped.data.first_token_probability, result.data.first_token_probability, atol=1e-5
    )
    # raw vectors, and a prompt that has its placeholders already
    ready = ls.Patchscope(prompt, ls.resid_pre(1), max_new_tokens=1)
    vectors = torch.stack(held)
    raw = ready.inspect(llama, vectors, together=True)
    assert raw.data.first_token_probability.item() == pytest.approx(float(first.max()), abs=1e-5)
    with pytest.raises(ls.PromptError, match="not as many placeholders"):
        ready.inspect(llama, IDS, [0, 1, 2], layers=[2], together=True)


def test_the_layer_and_the_number_of_states_stand_in_the_prompt(demo):
    asked = ls.chat([{"role": "user", "content": "Layer: {layer}\n ? \nWho are these {k}?"}])
    prompt = ls.InspectionPrompt(asked, " ?")
    scope = ls.Patchscope(prompt, ls.resid_post(1), read=ls.resid_post, max_new_tokens=2)
    result = scope.inspect(demo, "Diana, Princess", ls.ALL, layers=[7, 12], together=True)
    k = len(ls.capture(demo, "Diana, Princess", ls.embed).prompts[0])
    text = "".join(result.inspection_tokens)
    assert "Layer: 7\n" + " ?" * k + " \n" in text and f"these {k}?" in text
    assert text.count(" ?") == k and text.startswith("<|im_start|>system")
    assert result.data.sizes["source_layer"] == 2
    with pytest.raises(ls.PromptError, match="names a layer"):
        scope.inspect(demo, torch.ones(576))
    # a placeholder is looked for in what is said, not in the template's own words
    said = ls.InspectionPrompt(ls.chat("The assistant of user"), "user")
    (place,) = said.places(demo)
    assert place > said.tokens(demo).labels.index("user")


def test_samples_are_an_axis_and_each_is_its_seed(llama):
    scope = ls.Patchscope(SLOTS, max_new_tokens=6)
    options = {"layers": [1], "temperature": 1.5, "top_p": 0.9, "seed": 5}
    many = scope.inspect(llama, IDS, samples=3, **options)
    assert many.data.text.dims[-1] == "sample" and many.data.sizes["sample"] == 3
    for n in range(3):
        one = scope.inspect(llama, IDS, **{**options, "seed": 5 + n})
        assert many.data.text.sel(sample=n).values.ravel() == one.data.text.values.ravel()
    assert len(set(many.frame()["text"])) > 1 and many.frame()["sample"].tolist() == [0, 1, 2]
    assert "(sample 2)" in many.to_html() and "sample" in str(many)
    for wrong in ({"samples": 2}, {"temperature": 1.0}, {"samples": 0}):
        with pytest.raises(ls.PatchError):
            scope.inspect(llama, IDS, layers=[1], **wrong)


def test_one_rule_and_texts_that_end(demo):
    with pytest.raises(ls.PatchError, match="one rule"):
        ls.Patchscope("x", match_norm=True, rule=ls.rules.replace())
    with pytest.raises(ls.PatchError, match="no rule of writing"):
        ls.Patchscope("x", rule="add")
    scope = ls.Patchscope.entity_description(max_new_tokens=8)
    same = {"layers": [12], "target_layers": "same"}
    (free,) = scope.inspect(demo, "Jurassic Park", **same).frame()["text"]
    (short,) = scope.inspect(demo, "Jurassic Park", stop=",", **same).frame()["text"]
    assert short == free.split(",")[0] == ": American film franchise"
