"""What the explorer answers is what the library gives, and what plain hooks give; and the lines
that it copies run and give the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lensscope as ls
from lensscope.errors import LensscopeError, PositionError, PromptError, SiteError
from lensscope.explorer.lab import preset_inspections
from lensscope.explorer.python import python_of
from lensscope.explorer.questions import asked
from lensscope.patchscope.controls import controlled
from tests import oracle
from tests.explorer.asking import DIANA, ITALY, JAPAN, answer, inspection, run_python

pytestmark = pytest.mark.usefixtures("demo_at_hand", "as_it_comes", "few_tokens")

PLACE = {"prompt": DIANA, "position": 5, "layer": 8}
DEFINITION = inspection(preset_inspections(30)["definition"].text)


def near(found, expected, atol=2e-4):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=atol)


# ---------------------------------------------------------------- tokens


def test_tokens_show_placeholders_special_tokens_and_messages(lab):
    found = answer(lab, {"kind": "tokens", "prompt": "Say x and x", "placeholder": "x"})
    texts = [token["text"] for token in found["tokens"]]
    assert [texts[n].strip() for n in found["placeholders"]] == ["x", "x"]
    talk = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    tokens = answer(lab, {"kind": "tokens", "prompt": talk, "placeholder": None})["tokens"]
    said = "".join(t["text"] for t in tokens if t["message"] == 1)
    assert "Hello" in said
    assert {t["role"] for t in tokens} == {None, "system", "user"}
    assert any(t.get("special") for t in tokens)


@pytest.mark.parametrize(
    "placeholder, text", [("x", "no placeholder"), ("", "is x"), ("Xyzzyq", "who is Xyzzyq")]
)
def test_a_placeholder_that_cannot_be_is_refused(lab, placeholder, text):
    with pytest.raises(PromptError):
        answer(lab, {"kind": "tokens", "prompt": text, "placeholder": placeholder})


# ---------------------------------------------------------------- lenses


@pytest.mark.parametrize("name", ["logit", "affine", "token-identity"])
def test_a_grid_is_what_the_lens_reads(lab, name):
    found = answer(lab, {"kind": "grid", "prompt": JAPAN, "lens": name})
    reading = lab.lenses[name].read(
        lab.model, JAPAN, ls.resid_post, top_k=1, measures=("entropy", "kl")
    )
    assert [row["layer"] for row in found["rows"]] == list(range(30))[::-1]
    assert found["layers"] == list(range(30))
    for row in found["rows"]:
        own = reading.data.sel(layer=row["layer"]).isel(prompt=0)
        assert list(row["texts"]) == own.predicted.isel(rank=0).values.tolist()
        near(row["probability"], np.exp(own.log_probability.isel(rank=0)))
        near(row["entropy"], own.entropy, 1e-3)
        near(row["kl"], own.kl.clip(0), 1e-3)
    names, _ = run_python(found["python"])
    copied = names["reading"].data
    assert copied.predicted.values.tolist() == reading.data.predicted.values.tolist()


def test_a_cell_has_all_lenses_and_the_model_itself(lab):
    found = answer(lab, {"kind": "cell", **PLACE})
    assert [one["lens"] for one in found["lenses"]] == ["logit", "affine", "token-identity"]
    for one in found["lenses"]:
        reading = lab.lenses[one["lens"]].read(
            lab.model, DIANA, ls.resid_post(8), 5, top_k=5, measures=("entropy", "kl")
        )
        own = reading.data.isel(prompt=0, layer=0, position=0)
        assert [guess["text"] for guess in one["top"]] == own.predicted.values.tolist()
        near([guess["probability"] for guess in one["top"]], np.exp(own.log_probability))
        near([one["entropy"], one["kl"]], [own.entropy, own.kl], 1e-3)
    plain = ls.run(lab.model, DIANA).logits[0, 5].softmax(-1)
    near([guess["probability"] for guess in found["model"]], plain.topk(5).values.tolist())
    _, printed = run_python(found["python"])
    assert all(one["top"][0]["text"].strip() in printed for one in found["lenses"])


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "text": "Tell me of X in short: X is",
            "placeholder": "X",
            "target": "same",
            "temperature": 0.8,
            "top_p": 0.9,
            "seed": 3,
        },
    ],
    ids=["greedy", "drawn, into another prompt at the same layer"],
)
def test_words_and_controls_are_those_of_each_reader_alone(lab, given):
    own = {**DEFINITION, **given}
    told: list = []
    found = answer(lab, {"kind": "words", **PLACE, "inspection": own}, told)
    said = {(one["reader"], one["condition"]): one for one in found["said"]}
    assert all(one["done"] for one in said.values())
    names, _ = run_python(found["python"])
    for name, reader in zip(("raw", "tuned"), names["readers"], strict=True):
        expected = controlled(
            reader,
            lab.model,
            DIANA,
            5,
            [8],
            texts=names["texts"],
            max_new_tokens=own["max_new_tokens"],
            stop=["\n"],
            temperature=own["temperature"],
            top_p=own["top_p"],
            seed=own["seed"],
        )
        texts = expected.frame().set_index("condition")["text"]
        for ours, theirs in (
            *(("state", "state"), ("nothing", "prior"), ("random", "random")),
            *(("mean", "mean"), ("shuffled", "other")),
        ):
            assert said[name, ours]["text"] == texts[theirs]
        assert found["shuffled_text"] == expected.other
        assert found["mean_of"] == expected.texts
    # while they are said, the words of the state are told as they come
    grown = [one for part in told for one in part["said"] if one["reader"] == "tuned"]
    assert len(grown) > 1
    assert all(said["tuned", "state"]["text"].startswith(one["text"]) for one in grown)
    assert not any(one["done"] for one in grown)


def test_readers_with_one_prompt_are_run_together(lab, monkeypatch):
    from lensscope.patchscope import controls

    runs = []
    real = controls.write_and_decode
    monkeypatch.setattr(
        controls, "write_and_decode", lambda *a, **k: runs.append(1) or real(*a, **k)
    )
    answer(lab, {"kind": "words", **PLACE, "inspection": DEFINITION})
    assert len(runs) == 1
    answer(lab, {"kind": "words", **PLACE, "inspection": inspection("This is x, who is")})
    assert len(runs) == 3


def test_controls_are_known_before_a_cell_is_looked_at(lab, monkeypatch):
    import dataclasses

    from lensscope.explorer import saying

    own = inspection("Here, x stands for", max_new_tokens=3)
    few = dataclasses.replace(lab, trained={})
    expected = answer(few, {"kind": "words", **PLACE, "inspection": own})
    asked_of = []
    real = saying.said_together
    monkeypatch.setattr(
        saying, "said_together", lambda *a, **k: asked_of.append(len(a[1])) or real(*a, **k)
    )
    few = dataclasses.replace(lab, trained={})
    known = answer(few, {"kind": "controls", "inspection": own})
    assert sorted(known["layers"]) == list(range(30))
    assert sum(asked_of) == 2 * 30 + 6  # nothing written is asked with the first six layers only
    asked_of.clear()
    found = answer(few, {"kind": "words", **PLACE, "inspection": own})
    assert asked_of == [2]
    by = {(one["reader"], one["condition"]): one["text"] for one in found["said"]}
    assert by == {(one["reader"], one["condition"]): one["text"] for one in expected["said"]}
    changed = {**own, "temperature": 0.5}
    asked_of.clear()
    answer(few, {"kind": "words", **PLACE, "inspection": changed})
    assert asked_of == [5]


def test_a_trained_reader_of_some_layers_is_left_out_of_others(lab):
    import dataclasses

    tuned = lab.trained["tuned"]
    fewer = dataclasses.replace(tuned, trained=dataclasses.replace(tuned.trained, layers=(3,)))
    other = dataclasses.replace(lab, trained={"some": fewer}, reader_lines={"some": "reader"})
    found = answer(other, {"kind": "words", **PLACE, "inspection": DEFINITION})
    assert {one["reader"] for one in found["said"]} == {"raw"}
    assert "layer 8" in found["notes"][0]
    names, _ = run_python(found["python"])
    assert len(names["readers"]) == 1
    step = {"kind": "step", **PLACE, "inspection": DEFINITION, "reader": "some"}
    with pytest.raises(SiteError, match="not trained"):
        answer(other, step)


def test_steps_are_the_tokens_of_the_patchscope_with_their_probabilities(lab):
    question = {"kind": "step", **PLACE, "inspection": DEFINITION, "reader": "tuned"}
    found = answer(lab, question)
    scope = ls.Patchscope.tuned(lab.model)
    result = scope.inspect(lab.model, DIANA, 5, layers=[8], max_new_tokens=6, stop="\n")
    text = result.frame()["text"][0]
    assert "".join(step["token"] for step in found["steps"]).startswith(text)
    near(found["steps"][0]["probability"], result.frame()["first_token_probability"][0])
    for step in found["steps"]:  # greedy: what is said is the most probable
        assert step["alternatives"][0] == {
            "text": step["token"],
            "probability": step["probability"],
        }
    assert (found["read"], found["written"]) == ("resid_post(8)", "resid_pre(2)")
    assert [found["inspection"][n]["text"].strip() for n in found["placeholders"]] == ["x"]
    layers = {one["layer"]: one for one in found["layers"]}
    assert sorted(layers) == list(range(30))
    assert layers[8]["text"] == text
    names, printed = run_python(found["python"])
    frame = names["result"].frame().set_index("source_layer")["text"]
    assert {n: one["text"] for n, one in layers.items()} == frame.to_dict()
    assert printed.splitlines()[0] == text
    best = names["logits"].softmax(-1).topk(5).values
    assert list(names["said"].labels[0]) == [step["token"] for step in found["steps"]]
    each = [[guess["probability"] for guess in step["alternatives"]] for step in found["steps"]]
    near(each, best.numpy())


def test_layers_that_only_echo_are_marked(lab):
    identity = inspection(preset_inspections(30)["token-identity"].text, "?", target="same")
    found = answer(
        lab, {"kind": "step", **PLACE, "layer": 0, "inspection": identity, "reader": "raw"}
    )
    nothing = found["nothing"].strip().lower()
    for one in found["layers"]:
        said = one["text"].strip().lower()
        assert one["echo"] == (said == nothing or said.startswith("?"))


# ---------------------------------------------------------------- patches


PATCHES = [
    {
        "from": {"prompt": 0, "layer": 12, "position": 3},
        "to": {"prompt": 1, "layer": 10, "position": 3},
        "how": "set",
        "amount": 1,
    },
    {
        "from": {"prompt": 1, "layer": 4, "position": 1},
        "to": {"prompt": 1, "layer": 20, "position": 7},
        "how": "add",
        "amount": -0.5,
    },
    {
        "from": {"prompt": 0, "layer": 15, "position": 7},
        "to": {"prompt": 0, "layer": 15, "position": 7},
        "how": "project_out",
        "amount": 1,
    },
    {"from": None, "to": {"prompt": 0, "layer": 2, "position": 1}, "how": "scale", "amount": 0.25},
]


def test_patches_change_what_plain_hooks_change(lab):
    question = {"kind": "patch", "prompts": [JAPAN, ITALY], "patches": PATCHES, "max_new_tokens": 4}
    told: list = []
    found = answer(lab, question, told)
    ids = [ls.run(lab.model, text).prompts[0].ids for text in (JAPAN, ITALY)]
    state = [
        {layer: oracle.activations(lab.model, one, "resid_post", layer) for layer in (4, 12, 15)}
        for one in ids
    ]
    axis = state[0][15][7] / state[0][15][7].norm()
    edits = [
        [
            oracle.Edit("resid_post", 2, 1, lambda x: x * 0.25),
            oracle.Edit("resid_post", 15, 7, lambda x: x - (x @ axis) * axis),
        ],
        [
            oracle.Edit("resid_post", 10, 3, lambda _: state[0][12][3]),
            oracle.Edit("resid_post", 20, 7, lambda x: x - 0.5 * state[1][4][1]),
        ],
    ]
    for one in found["results"]:
        n = one["prompt"]
        for outcome, own in ((one["before"], []), (one["after"], edits[n])):
            new = oracle.generate(lab.model, ids[n], own, 4)
            assert outcome["text"] == lab.model.tokenizer.decode(new)
            plain = oracle.logits(lab.model, ids[n], own)[-1].softmax(-1).topk(5)
            near([guess["probability"] for guess in outcome["top"]], plain.values)
        before, after = (
            oracle.logits(lab.model, ids[n], own)[-1].log_softmax(-1) for own in ([], edits[n])
        )
        near(one["kl"], float((before.exp() * (before - after)).sum()), 1e-3)
    grown = [one["after"]["text"] for part in told for one in part["results"]]
    assert len(grown) == 8  # four tokens of each
    _, printed = run_python(found["python"])
    each = {one["prompt"]: one for one in found["results"]}
    lines = [f"{each[n]['before']['text']!r} {each[n]['after']['text']!r}" for n in (0, 1)]
    said = [line for line in printed.splitlines() if line[0] in "'\""]
    assert said == lines
    told = [float(line.split()[1]) for line in printed.splitlines() if line.startswith("KL")]
    near([each[n]["kl"] for n in (0, 1)], told, 1e-3)


def test_a_prompt_without_patches_is_only_told(lab):
    found = answer(
        lab,
        {"kind": "patch", "prompts": [JAPAN, ITALY], "patches": PATCHES[:2], "max_new_tokens": 2},
    )
    assert [(one["prompt"], one["after"] is None) for one in found["results"]] == [
        (1, False),
        (0, True),
    ]


# ---------------------------------------------------------------- where it matters


def test_a_map_is_that_of_attribution_and_activation_patching(lab):
    pair = {"clean": JAPAN, "corrupted": ITALY, "answer": "", "wrong": ""}
    found = answer(lab, {"kind": "matters", **pair, "site": "resid_pre"})
    assert (found["answer"], found["wrong"]) == (" Tokyo", " Rome")
    names, _ = run_python(found["python"])
    for name, rows in (
        ("estimate", found["estimate"]),
        ("exact", [e["effects"] for e in sorted(found["exact"], key=lambda e: e["layer"])]),
    ):
        effect = names[name].data["effect"].isel(pair=0).transpose("layer", "position")
        near(rows, effect.values, 2e-3)
    ends = names["exact"].data
    near(
        [found["baselines"][n] for n in ("clean", "corrupted")], [ends.clean[0], ends.corrupted[0]]
    )


def test_a_circuit_is_that_of_its_threshold_with_its_faithfulness(lab):
    pair = {"clean": JAPAN, "corrupted": ITALY, "answer": " Tokyo", "wrong": " Rome"}
    found = answer(lab, {"kind": "circuit", **pair, "threshold": 0.08})
    names, printed = run_python(found["python"])
    nodes = {repr(site): effect for site, effect in names["circuit"].nodes.items()}
    near([node["effect"] for node in found["nodes"]], sorted(nodes.values(), key=abs)[::-1], 1e-4)
    assert {node["site"] for node in found["nodes"]} == set(nodes)
    assert all(abs(node["effect"]) >= 0.08 for node in found["nodes"])
    near(found["faithfulness"], float(printed.splitlines()[-1]), 1e-5)
    assert answer(lab, {"kind": "circuit", **pair, "threshold": 10})["nodes"] == []


@pytest.mark.parametrize(
    "pair, message",
    [
        (("Paris is", "Paris is in"), "same number of tokens"),
        (("Paris is", "Paris is"), "one answer"),
    ],
)
def test_prompts_that_make_no_pair_are_refused(lab, pair, message):
    question = {
        "kind": "matters",
        "clean": pair[0],
        "corrupted": pair[1],
        "answer": "",
        "wrong": "",
    }
    with pytest.raises(PromptError, match=message):
        answer(lab, {**question, "site": "resid_pre"})


def test_a_model_that_does_not_prefer_its_answer_is_said_to_be_so(lab):
    pair = {"clean": JAPAN, "corrupted": ITALY, "answer": " Rome", "wrong": " Tokyo"}
    found = answer(lab, {"kind": "matters", **pair, "site": "mlp_out"})
    assert "does not prefer ' Rome'" in found["notes"][0]


# ---------------------------------------------------------------- any model


@pytest.mark.parametrize(
    "wrong, error",
    [({"position": 99}, PositionError), ({"layer": 99}, SiteError), ({"prompt": ""}, PromptError)],
)
def test_what_a_prompt_has_not_is_refused(lab, wrong, error):
    with pytest.raises(error):
        answer(lab, {"kind": "cell", **PLACE, **wrong})


def test_every_family_is_read_patched_and_put_into_words(tiny_lab, no_hooks_left):
    prompt, other = "w11 w12 w13 w14", "w11 w12 w17 w14"
    where = {"prompt": prompt, "position": 2, "layer": 1}
    own = inspection("w60 w61 w50", "w50", target=1, max_new_tokens=3)
    for name in tiny_lab.lenses:
        found = answer(tiny_lab, {"kind": "grid", "prompt": prompt, "lens": name})
        reading = tiny_lab.lenses[name].read(tiny_lab.model, prompt, ls.resid_post, top_k=1)
        texts = {row["layer"]: list(row["texts"]) for row in found["rows"]}
        assert texts == {
            int(layer): reading.data.predicted.sel(layer=layer).values[0, :, 0].tolist()
            for layer in reading.data.layer
        }
    answer(tiny_lab, {"kind": "cell", **where})
    found = answer(tiny_lab, {"kind": "words", **where, "inspection": own})
    ids = ls.run(tiny_lab.model, prompt).prompts[0].ids
    state = oracle.activations(tiny_lab.model, ids, "resid_post", 1)[2]
    inspected = ls.run(tiny_lab.model, own["text"]).prompts[0].ids
    edit = oracle.Edit("resid_pre", 1, len(inspected) - 1, lambda _: state)
    plain = " ".join(f"w{i}" for i in oracle.generate(tiny_lab.model, inspected, [edit], 3))
    said = {one["condition"]: one["text"] for one in found["said"]}
    if "</s>" not in plain and "w2" not in plain.split():
        assert said["state"].strip() == plain
    spots = {"from": {"prompt": 0, "layer": 0, "position": 2}, "how": "set", "amount": 1}
    to = {"prompt": 1, "layer": 0, "position": 2}
    question = {"kind": "patch", "prompts": [prompt, other], "max_new_tokens": 2}
    answer(tiny_lab, {**question, "patches": [{**spots, "to": to}]})
    pair = {"clean": prompt, "corrupted": other, "answer": "w20", "wrong": "w30"}
    answer(tiny_lab, {"kind": "matters", **pair, "site": "resid_pre"})
    no_hooks_left(tiny_lab.model)


def test_what_was_given_has_a_name_in_lines_that_are_copied(demo):
    import ast

    own = ls.LogitLens("my own lens")
    given = ls.explore(demo, lenses=[own, own, "logit"], readers=[ls.Patchscope.tuned(demo)])
    assert list(given.lab.lenses) == ["my own lens", "my own lens 2", "logit"]
    assert list(given.lab.trained) == ["reader"]
    inspection_of = given.about["state"]["inspection"]
    for question in (
        {"kind": "cell", **PLACE},
        {"kind": "words", **PLACE, "inspection": {**inspection_of, "max_new_tokens": 2}},
    ):
        code = given.ask(question)["python"]
        ast.parse(code)
        assert "the one that ls.explore was given" in code


def test_a_reader_of_another_model_is_refused(llama, demo):
    with pytest.raises(ls.BasisError):
        ls.explore(llama, "w5", lenses=["logit"], readers=[ls.Patchscope.tuned(demo)])


def test_runs_that_come_to_the_same_have_no_effects_and_that_is_said(lab):
    pair = {"clean": JAPAN, "corrupted": JAPAN, "answer": " Tokyo", "wrong": " Rome"}
    found = answer(lab, {"kind": "matters", **pair, "site": "mlp_out"})
    assert any("about the same" in note for note in found["notes"])


def test_states_of_the_last_prompts_alone_are_held(lab):
    for n in range(12):
        lab.ran(f"Number {n}")
    assert len(lab._runs) <= 4
    first = lab.ran("Number 11")
    assert lab.ran("Number 11") is first


def test_copied_lines_name_only_what_was_asked(lab):
    evil = '"""); import os; os.remove("x") #'
    code = python_of(lab, asked({"kind": "grid", "prompt": evil, "lens": "logit"}))
    import ast

    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    called = {ast.unparse(node.func) for node in calls}
    assert called == {"ls.load_model", "ls.LogitLens", "lens.read", "print", "reading.plot"}
    with pytest.raises(LensscopeError):
        python_of(
            lab,
            asked(
                {
                    "kind": "matters",
                    "clean": "a",
                    "corrupted": "a b",
                    "answer": "",
                    "wrong": "",
                    "site": "resid_pre",
                }
            ),
        )
    assert torch.is_grad_enabled()
