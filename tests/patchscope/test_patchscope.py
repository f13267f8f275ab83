"""Patchscopes, on the real demo model and on tiny ones."""

from __future__ import annotations

import functools
import math

import pytest
import torch

import lensscope as ls
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.patchscope.presets import ENTITY_DESCRIPTION
from lensscope.patchscope.result import FRAME_COLUMNS
from lensscope.patchscope.writing import write_and_decode
from tests import families, oracle
from tests.oracle import Edit

E = ls.Patchscope.entity_description
EIFFEL = "The Eiffel Tower is in the city of"

# Greedy, float32, made with the published reference code of the paper on the demo model.
READINGS = [
    (E(), "Diana, Princess of Wales", 0, 0, ": Country in the United Kingdom, China"),
    (E(), "Diana, Princess of Wales", 12, 12, ": Queen of the North, Queen Elizabeth"),
    (E(), "Diana, Princess of Wales", 15, 4, ": British monarch, Queen Elizabeth II:"),
    (E(), "Jurassic Park", 12, 12, ": American film franchise, The Hunger Games"),
    (
        ls.Patchscope.attribute("The largest city in x"),
        "a flight to Japan",
        6,
        3,
        ", Tokyo, with a population of approximately 8",
    ),
    (
        ls.Patchscope.attribute("The official currency of x"),
        "a flight to Japan",
        6,
        3,
        " is the yen (JPY).\n\n",
    ),
]


@pytest.fixture(scope="module")
def every_layer(demo):
    """Readings of an entity at every layer, made once."""
    return functools.cache(
        lambda source: E().inspect(demo, source, target_layers="same", max_new_tokens=10)
    )


@pytest.mark.parametrize(("scope", "source", "layer", "target", "text"), READINGS)
def test_the_reference_readings(demo, every_layer, scope, source, layer, target, text):
    result = scope.inspect(demo, source, layers=[layer], target_layers=[target])
    assert result.frame()["text"][0].startswith(text)
    if layer == target:
        assert every_layer(source).data.text.sel(source_layer=layer).item().startswith(text)


@pytest.mark.parametrize(
    ("layer", "target", "token", "probability"), [(7, 20, " a", 0.1949), (19, 1, " hello", 0.071)]
)
def test_the_reference_probabilities(demo, layer, target, token, probability):
    scope = ls.Patchscope.token_identity()
    result = scope.inspect(demo, EIFFEL, layers=[layer], target_layers=[target])
    row = result.frame().iloc[0]
    assert row["first_token"] == token
    assert row["first_token_probability"] == pytest.approx(probability, abs=6e-4)


def test_the_identity_patchscope_into_the_last_layer_is_the_logit_lens(demo):
    scope = ls.Patchscope.token_identity()
    result = scope.inspect(demo, EIFFEL, layers=[5, 17, 28], target_layers=[29])
    data = result.data.squeeze()
    assert list(data.first_token.values) == list(data.logit_lens.values)
    assert data.first_token_probability.values == pytest.approx(
        data.logit_lens_probability.values, abs=1e-4
    )
    cache = ls.capture(demo, EIFFEL, ls.resid_post(17))
    with torch.no_grad():
        state = cache[ls.resid_post(17).at(-1)]
        expected = demo.unembed(demo.ln_final(state))[0, 0].softmax(-1)
    assert data.logit_lens_probability.sel(source_layer=17) == pytest.approx(
        float(expected.max()), abs=1e-4
    )


def test_presets_write_early_unless_told_otherwise(demo, llama, tmp_path):
    names, few = ["Jurassic Park", "Toyota"], {"layers": [4, 20], "max_new_tokens": 3}
    early = E().inspect(demo, names, **few)
    fixed = ls.Patchscope(ENTITY_DESCRIPTION, ls.resid_post(1)).inspect(demo, names, **few)
    assert early.frame().equals(fixed.frame())
    assert early.data.text.dims == ("prompt", "position", "source_layer")
    assert set(early.frame()["target_layer"]) == {1}
    same = E().inspect(demo, names, target_layers="same", **few).frame()
    assert same["target_layer"].tolist() == same["source_layer"].tolist()
    assert same.equals(E(write=ls.resid_post).inspect(demo, names, **few).frame())
    city = ls.Patchscope.attribute("The largest city in x", target_layer=3)
    assert set(city.inspect(demo, names, **few).frame()["target_layer"]) == {3}
    vectors = torch.stack([torch.ones(576), torch.zeros(576)])
    assert set(E().inspect(demo, vectors).frame()["target_layer"]) == {1}
    own = E().inspect(demo, vectors, layers=[5, 9], max_new_tokens=1)
    assert set(own.frame()["target_layer"]) == {5, 9}
    again = ls.Patchscope.load(E().save(tmp_path / "scope.safetensors"), demo)
    assert again == E() and again.target_layer == 1
    # a model that has not so many layers
    deep = ls.Patchscope(W, target_layer=7, max_new_tokens=1)
    assert set(deep.inspect(llama, families.prompt(5)).frame()["target_layer"]) == {2}
    assert ls.Patchscope.definition(block=5).write == ls.resid_pre(5)
    with pytest.raises(ls.PatchError, match="unless told otherwise"):
        ls.Patchscope("x", ls.resid_pre(2), target_layer=1)
    with pytest.raises(ls.LensscopeError, match="target_layer"):
        ls.Patchscope("x", target_layer=-1)


def test_each_row_equals_what_it_gives_alone(demo):
    scope = ls.Patchscope.entity_description(max_new_tokens=6)
    together = scope.inspect(demo, "Jurassic Park", layers=range(0, 30, 6), target_layers=[2, 12])
    for row in together.frame().itertuples():
        alone = scope.inspect(
            demo, "Jurassic Park", layers=[row.source_layer], target_layers=[row.target_layer]
        )
        assert alone.frame()["text"][0] == row.text
    state = ls.capture(demo, "Jurassic Park", ls.resid_post(12))[ls.resid_post(12).at(-1)][0, 0]
    ids = ls.InspectionPrompt(ENTITY_DESCRIPTION).tokens(demo).ids
    plain = oracle.generate(demo, ids, [Edit("resid_post", 2, len(ids) - 1, lambda x: state)], 6)
    cell = together.data.text.sel(source_layer=12, target_layer=2).item()
    assert cell == demo.tokenizer.decode(plain)


W = ls.InspectionPrompt("w5 w6 w7 w8", "w7")


def test_cells_of_every_family_equal_the_oracle(tiny):
    scope = ls.Patchscope(W, max_new_tokens=3)
    source = families.prompt(6)
    result = scope.inspect(tiny, source, position=2, target_layers="all")
    assert dict(result.data.sizes) == {
        "prompt": 1,
        "position": 1,
        "source_layer": 3,
        "target_layer": 3,
    }
    ids, (place,) = W.tokens(tiny).ids, W.places(tiny)
    for layer in range(3):
        state = oracle.activations(tiny, source, "resid_post", layer)[2]
        for target in range(3):
            edit = Edit("resid_post", target, place, lambda x, state=state: state)
            first = oracle.logits(tiny, ids, [edit])[-1].softmax(-1)
            cell = result.data.sel(source_layer=layer, target_layer=target).squeeze()
            assert cell.first_token_probability.item() == pytest.approx(
                float(first.max()), abs=1e-3
            )
            assert cell.first_token.item() == f"w{int(first.argmax())}"


def test_every_position_of_every_prompt(llama):
    prompts = ["w10 w11 w12", "w13 w14"]
    scope = ls.Patchscope(W, max_new_tokens=2)
    result = scope.inspect(llama, prompts, position=ls.ALL, layers=[2, 0])
    assert dict(result.data.sizes) == {"prompt": 2, "position": 4, "source_layer": 2}
    assert list(result.data.source_layer.values) == [2, 0]
    assert list(result.data.target_layer.values) == [2, 0]
    frame = result.frame()
    assert tuple(frame.columns) == FRAME_COLUMNS
    assert len(frame) == (4 + 3) * 2  # BOS counts, padding does not
    assert set(frame["token"]) == {"<s>", "w10", "w11", "w12", "w13", "w14"}
    alone = scope.inspect(llama, prompts[1], position=1, layers=[0])
    assert list(alone.data.position.values) == [1]
    mine = frame.query("prompt == 'w13 w14' and position == 1 and source_layer == 0")
    assert mine["text"].item() == alone.frame()["text"][0]
    span = scope.inspect(llama, prompts[0], position=ls.span("w11 w12"))
    assert list(span.data.position.values) == [2, 3]


def test_raw_vectors(llama):
    scope = ls.Patchscope(W, max_new_tokens=2)
    source = families.prompt(5)
    cache = ls.capture(llama, source, ls.resid_post(1))
    read = scope.inspect(llama, source, layers=[1], target_layers=[0, 2])
    raw = scope.inspect(llama, cache[ls.resid_post(1).at(-1)][0, 0], target_layers=[0, 2])
    assert list(raw.frame()["text"]) == list(read.frame()["text"])
    assert raw.frame()["source_layer"].isna().all()
    two = scope.inspect(llama, torch.randn(2, 32))
    assert dict(two.data.sizes) == {"prompt": 2, "target_layer": 3}
    assert len(two.frame()) == 6
    assert "vector 1" in str(two)


def test_selfie_writes_at_several_placeholders(llama):
    text = "w5 w9 w9 w6"
    scope = ls.Patchscope.selfie(text, "w9", layer=1, match_norm=False, max_new_tokens=1)
    source = families.prompt(5)
    state = oracle.activations(llama, source, "resid_post", 2)[-1]
    ids = ls.InspectionPrompt(text, "w9").tokens(llama).ids
    assert ls.InspectionPrompt(text, "w9").places(llama) == (2, 3)
    edits = [Edit("resid_pre", 1, p, lambda x: state) for p in (2, 3)]
    expected = oracle.logits(llama, ids, edits)[-1].softmax(-1)
    cell = scope.inspect(llama, source, layers=[2])
    assert cell.frame()["first_token_probability"][0] == pytest.approx(
        float(expected.max()), abs=1e-4
    )
    assert list(cell.frame()["target_layer"]) == [1]

    def mixed(x):
        return 0.6 * x + 0.4 * state * x.norm() / state.norm()

    half = ls.Patchscope.selfie(text, "w9", layer=1, mix=0.4, max_new_tokens=1)
    expected = oracle.logits(llama, ids, [Edit("resid_pre", 1, p, mixed) for p in (2, 3)])[-1]
    got = half.inspect(llama, source, layers=[2]).frame()["first_token_probability"][0]
    assert got == pytest.approx(float(expected.softmax(-1).max()), abs=1e-4)
    lerped = ls.Patchscope(
        ls.InspectionPrompt(text, "w9"), ls.resid_pre(1), mix=0.4, read=ls.resid_post
    )
    plain = [Edit("resid_pre", 1, p, lambda x: 0.6 * x + 0.4 * state) for p in (2, 3)]
    got = lerped.inspect(llama, source, layers=[2], max_new_tokens=1)
    assert got.frame()["first_token_probability"][0] == pytest.approx(
        float(oracle.logits(llama, ids, plain)[-1].softmax(-1).max()), abs=1e-4
    )


def test_across_models(llama):
    other = families.build(families.Case("qwen2", "bridge", "raw"), seed=7)
    source = families.prompt(5)
    scope = ls.Patchscope(W, model=other, max_new_tokens=1)
    result = scope.inspect(llama, source, layers=[1], target_layers=[0])
    state = oracle.activations(llama, source, "resid_post", 1)[-1]
    edit = Edit("resid_post", 0, *W.places(other), lambda x: state)
    expected = oracle.logits(other, W.tokens(other).ids, [edit])[-1].softmax(-1)
    assert result.frame()["first_token_probability"][0] == pytest.approx(
        float(expected.max()), abs=1e-4
    )
    assert result.source.model != result.target.model


def test_across_widths_needs_a_transform(llama, demo):
    matrix = torch.randn(576, 32) / 6
    scope = ls.Patchscope.attribute("The largest city in x", model=demo, max_new_tokens=2)
    with pytest.raises(ls.BasisError, match=r"width 576.*\n.*ls.affine"):
        scope.inspect(llama, families.prompt(5), layers=[1], target_layers=[3])
    mapped = ls.Patchscope.attribute(
        "The largest city in x", model=demo, transform=ls.affine(matrix), max_new_tokens=2
    )
    result = mapped.inspect(llama, families.prompt(5), layers=[1], target_layers=[3])
    state = matrix @ oracle.activations(llama, families.prompt(5), "resid_post", 1)[-1]
    ids = mapped.inspection.tokens(demo).ids
    edit = Edit("resid_post", 3, 4, lambda x: state)
    expected = oracle.logits(demo, ids, [edit])[-1].softmax(-1)
    assert result.frame()["first_token_probability"][0] == pytest.approx(
        float(expected.max()), abs=1e-4
    )


def test_other_kinds_than_the_residual_stream(llama):
    scope = ls.Patchscope(W, write=ls.head_out(None, 2), max_new_tokens=1)
    source = families.prompt(5)
    result = scope.inspect(llama, source, layers=[1])
    state = oracle.activations(llama, source, "head_out", 1)[-1, 2]
    edit = Edit("head_out", 1, *W.places(llama), lambda x: state, head=2)
    expected = oracle.logits(llama, W.tokens(llama).ids, [edit])[-1].softmax(-1)
    assert result.frame()["first_token_probability"][0] == pytest.approx(
        float(expected.max()), abs=1e-4
    )
    assert "logit_lens" not in result.data


def test_named_axes_select_and_average(llama):
    scope = ls.Patchscope(W, max_new_tokens=1)
    result = scope.inspect(llama, ["w10 w11", "w12 w13"], position=ls.ALL)
    mean = result.data.first_token_probability.sel(source_layer=2).mean("position")
    assert mean.sizes == {"prompt": 2}
    assert math.isfinite(float(mean.sel(prompt="w12 w13")))


@pytest.mark.parametrize("position", [-1, "all"])
@pytest.mark.parametrize("targets", ["same", "all"])
def test_it_shows_itself_everywhere(llama, tmp_path, position, targets):
    import json
    import xml.dom.minidom

    scope = ls.Patchscope(W, max_new_tokens=2)
    where = ls.ALL if position == "all" else position
    result = scope.inspect(llama, "w10 <b>w11 w12", position=where, target_layers=targets)
    html = result.to_html(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == html
    assert "<b>" not in html and "&lt;b&gt;" in html
    for text in result.frame()["text"]:
        assert text.split()[0] in html
    assert "logit lens" in html or targets == "all"
    xml.dom.minidom.parseString(result.to_svg(tmp_path / "a.svg"))
    figure = result.plot()
    cells = sum(len(row) for trace in figure.data for row in trace.text)
    assert cells == len(result.frame())
    loaded = json.loads(result.to_json(tmp_path / "a.json"))
    assert [c["text"] for c in loaded["cells"]] == list(result.frame()["text"])
    assert loaded["source"]["processing"] == "raw"
    assert str(len(result.data.source_layer) - 1) in str(result)
    assert "<table" in result._repr_html_()


def test_the_presets_say_what_the_papers_say():
    identity = ls.Patchscope.token_identity().inspection
    assert identity.text == "cat -> cat\n1135 -> 1135\nhello -> hello\n?"
    assert ENTITY_DESCRIPTION.startswith("Syria: Country in the Middle East, Leonardo DiCaprio:")
    assert ENTITY_DESCRIPTION.endswith("consumer electronics corporation, x")
    assert ls.Patchscope.selfie().write == ls.resid_pre(2)


def test_a_placeholder_of_letters_is_a_word_of_its_own(demo):
    prompt = ls.InspectionPrompt("The tax on x is")
    assert [prompt.tokens(demo).labels[p] for p in prompt.places(demo)] == [" x"]


@pytest.mark.parametrize("at_once", [None, 2])
def test_states_are_written_and_decoded_as_a_patched_forward_does(llama, at_once):
    ids, places = families.prompt(6, seed=3), (2, 4)
    states = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    writes = [None, *((ls.resid_post(n % 2), state) for n, state in enumerate(states))]
    backend = backend_of(llama)
    (prompt,) = tokenize(backend, ids)
    found = list(write_and_decode(backend, prompt, places, iter(writes), at_once=at_once))
    assert [len(runs) for runs in found] == ([5] if at_once is None else [2, 2, 1])
    logits = torch.cat([runs.logits[:, 0] for runs in found])
    for row, write in zip(logits, writes, strict=True):
        edits = []
        if write is not None:
            kind, layer, state = write[0].kind, write[0].layer, write[1]
            edits = [Edit(kind, layer, p, lambda x, state=state: state) for p in places]
        torch.testing.assert_close(row, oracle.logits(llama, ids, edits)[-1], atol=1e-4, rtol=1e-4)
    texts = [
        text
        for runs in write_and_decode(
            backend, prompt, places, writes, max_new_tokens=2, at_once=at_once
        )
        for text in runs.generation.texts
    ]
    patchsets = [[] if w is None else [w[0].at(p).set(w[1]) for p in places] for w in writes]
    expected = [ls.generate(llama, ids, patches=p, max_new_tokens=2).text for p in patchsets]
    assert texts == expected and len(set(texts)) > 1
