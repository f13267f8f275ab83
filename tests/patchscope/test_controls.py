"""Controls of a reading: what is said of vectors that are not the state, by plain hooks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import lensscope as ls
from lensscope.errors import PromptError
from lensscope.patchscope.controls import controlled, said_of
from lensscope.patchscope.reader_names import PRESETS, reader_of
from tests import oracle

SCOPE = ls.Patchscope(
    ls.InspectionPrompt("w60 w61 w50", "w50"),
    ls.resid_pre(1),
    read=ls.resid_post,
    transform=ls.affine(torch.eye(32).roll(1, 0)),
    max_new_tokens=3,
)
TEXTS = ["w5 w6 w7", "w8 w9"]
IDS = {"w11 w12 w13": [1, 11, 12, 13], TEXTS[0]: [1, 5, 6, 7], TEXTS[1]: [1, 8, 9]}


def states(model, text, layer):
    return oracle.activations(model, IDS[text], "resid_post", layer)


def plainly(model, state):
    """What a plain hook makes the model say."""
    turned = [oracle.Edit("resid_pre", 1, 3, lambda _: state.roll(1, 0))]
    ids = oracle.generate(model, [1, 60, 61, 50], [] if state is None else turned, 3)
    return " ".join(f"w{i}" for i in ids)


def test_each_control_is_what_a_plain_hook_says(llama):
    found = controlled(SCOPE, llama, "w11 w12 w13", [1, 3], [0, 2], texts=TEXTS, seed=5)
    frame = found.frame()
    assert len(frame) == 4 * 5
    for layer in (0, 2):
        others = torch.cat([states(llama, text, layer)[1:] for text in TEXTS])
        for token in (1, 3):
            own = states(llama, "w11 w12 w13", layer)[token]
            noise = np.random.default_rng((5, token, layer)).standard_normal(32)
            noise = torch.from_numpy(noise).to(own)
            expected = {
                "state": own,
                "prior": None,
                "random": noise * own.norm() / noise.norm(),
                "mean": others.mean(0),
                "other": states(llama, TEXTS[0], layer)[-1],
            }
            cell = frame[(frame["source_layer"] == layer) & (frame["position"] == token)]
            said = cell.set_index("condition")["text"]
            assert set(said.index) == set(expected)
            for condition, state in expected.items():
                text = plainly(llama, state)
                if "w0" not in text.split() and "w2" not in text.split():
                    assert said[condition].strip() == text, condition


def test_a_prompt_that_names_the_layer_says_so_in_its_controls_too(llama):
    scope = dataclasses.replace(SCOPE, inspection=ls.InspectionPrompt("w62 w50 w3{layer}", "w50"))
    found = controlled(scope, llama, "w11 w12 w13", layers=[0, 2], texts=TEXTS).frame()
    prior = found[found["condition"] == "prior"].set_index("source_layer")["text"]
    for layer in (0, 2):
        own = ls.generate(llama, f"w62 w50 w3{layer}", max_new_tokens=3).text
        assert prior[layer] == own


def test_states_and_nothing_are_said_in_the_order_given(llama):
    from lensscope.model.classes import backend_of

    state = states(llama, TEXTS[0], 2)[-1]
    rows = [(None, 0, 1), (state, 2, 1), (None, 2, 1)]
    said = said_of(SCOPE, backend_of(llama), rows, 3, at_once=2)
    seen = SCOPE.inspect(llama, TEXTS[0], layers=[2]).frame()["text"][0]
    own = ls.generate(llama, "w60 w61 w50", max_new_tokens=3).text
    assert [one.text for one in said] == [own, seen, own]


def test_it_shows_itself(llama, tmp_path):
    found = controlled(SCOPE, llama, "w11 w12 w13", ls.span("w12 w13"), [0, 1], texts=TEXTS)
    for text in (str(found), found.to_html(), found.to_svg()):
        assert "nothing" in text and "w12" in text
    assert "w5 w6 w7" in found.about
    assert len(found.plot().data) == 2
    assert found.to_markdown().count("\n") == 2 + 2 * 2 * 5


@pytest.mark.parametrize(
    ("source", "texts"),
    [(["w3 w4", "w5"], TEXTS), ("w3 w4", []), ("w3 w4", ["w5"][:0])],
)
def test_controls_are_of_one_prompt_beside_others(llama, source, texts):
    with pytest.raises(PromptError, match="of one prompt"):
        controlled(SCOPE, llama, source, layers=[1], texts=texts)


def test_names_of_readers(llama, tmp_path):
    for name in PRESETS:
        question = "The largest city in x" if name == "attribute" else None
        plain = reader_of(name, llama, question)
        early = reader_of(name.replace("-", "_"), llama, question, block=2)
        assert plain.inspection == early.inspection
        assert (early.write, early.read) == (ls.resid_pre(2), ls.resid_post)
    path = SCOPE.save(tmp_path / "scope.safetensors")
    assert reader_of(str(path), llama).inspection == SCOPE.inspection
