"""Published readers, made with PEFT and safetensors, judged by plain Hugging Face with PEFT."""

from __future__ import annotations

import copy
import dataclasses
import json
import math

import peft
import pytest
import torch
from safetensors.torch import load_file

import lensscope as ls
from lensscope.model.adapter_files import read_adapter
from lensscope.model.classes import backend_of
from tests import families
from tests.oracle import close
from tests.readers import MARK, TENSORS, adapter, autoencoder, oracle, selfie, tokenizer

SOURCE = "w11 w12 w13 w14 w15"
LAYER = 1
ASKED = "w20 w21"


@pytest.fixture(scope="module")
def model():
    """A tiny Llama of the tests' own, which may be looked at for changes."""
    made = families.wrap(copy.deepcopy(families.hf_model("llama")))
    made.tokenizer = tokenizer()
    return made


def plain(folder=None, family="llama"):
    """Hugging Face's own model, with PEFT's own adapter."""
    inner = copy.deepcopy(families.hf_model(family))
    return inner if folder is None else peft.PeftModel.from_pretrained(inner, str(folder)).eval()


def chat_ids(text):
    ids = tokenizer().apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True
    )
    return list(getattr(ids, "input_ids", ids))


def source_states(layer=LAYER):
    """What the model without any adapter has after a block, at each token."""
    ids = tokenizer()(SOURCE, add_special_tokens=False).input_ids
    with torch.no_grad():
        out = plain()(torch.tensor([[1, *ids]]), output_hidden_states=True)
    return out.hidden_states[layer + 1][0]


def judged(inner, module, ids, write):
    """Logits of plain Hugging Face, with a plain hook that writes at the prompt's placeholders."""

    def hook(_module, _given, output):
        if output.shape[1] < len(ids):
            return output
        output = output.clone()
        for place, function in write.items():
            output[0, place] = function(output[0, place])
        return output

    handle = module.register_forward_hook(hook)
    with torch.no_grad():
        logits = inner(torch.tensor([ids])).logits[0, -1]
    handle.remove()
    return logits


def said_by(scope, model, layer=LAYER):
    """All that a reader would say next of the last state of a layer, as log probabilities."""
    lens = dataclasses.replace(scope, inspection=scope.inspection.of_layer(layer)).as_lens()
    read = lens.read(model, SOURCE, ls.resid_post(layer), positions=-1, full=True, prepend_bos=True)
    return torch.tensor(read.data.full_log_probability.values.ravel())


def added(v, times):
    return lambda h: h + times * h.norm() * v / v.norm()


def replaced(v, times):
    return lambda h: times * h.norm() * v / v.norm()


@pytest.mark.parametrize(
    ("told", "rslora", "rule"),
    [
        ({}, False, added),
        ({"created_at_utc": "2025-10-20T00:00:00+00:00"}, True, replaced),
    ],
)
def test_an_oracle_is_peft_with_a_plain_hook(model, tmp_path, told, rslora, rule):
    folder = oracle(tmp_path, told, use_rslora=rslora)
    scope = ls.Patchscope.load(folder, model, question=ASKED)
    inner = plain(folder)
    block = inner.base_model.model.model.layers[1]
    ids = chat_ids(f"Layer: {LAYER}\n w9 \n{ASKED}")
    v = source_states()[-1]
    expected = judged(inner, block, ids, {ids.index(9): rule(v, 1.5)})
    close(said_by(scope, model), expected.log_softmax(-1))

    # three states together, and three words of what is said of them
    ids = chat_ids(f"Layer: {LAYER}\n w9 w9 w9 \n{ASKED}")
    places, states = [i for i, t in enumerate(ids) if t == 9], source_states()[-3:]
    write = {place: rule(v, 1.5) for place, v in zip(places, states, strict=True)}
    words = []
    for n in range(3):
        words.append(int(judged(inner, block, [*ids, *words], write).argmax()))
        if n == 0:
            first = judged(inner, block, ids, write).softmax(-1).max()
    result = scope.inspect(
        model, SOURCE, [-3, -2, -1], LAYER, max_new_tokens=3, together=True, prepend_bos=True
    )
    assert result.data.text.item().split() == tokenizer().decode(words).split()
    assert result.data.first_token_probability.item() == pytest.approx(float(first), abs=1e-4)


def test_the_model_is_left_as_it_was_and_read_without_the_adapter(model, tmp_path):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()]
    mark = backend_of(model).provenance().fingerprint
    alone = ls.run(model, SOURCE).logits
    scope = ls.Patchscope.load(oracle(tmp_path), model, question=ASKED)
    held = ls.capture(model, SOURCE, ls.resid_post, prepend_bos=True)
    result = scope.inspect(model, SOURCE, layers=[0, 2], max_new_tokens=2, prepend_bos=True)
    close(held[ls.resid_post(LAYER)][0], source_states())
    with scope.adapter.on(backend_of(model)):
        assert not torch.allclose(ls.run(model, SOURCE).logits, alone, atol=1e-2)

    def fails(*_):
        raise RuntimeError("on the way")

    handle = model.blocks[2].hook_resid_post.register_forward_hook(fails)
    with pytest.raises(RuntimeError, match="on the way"):
        said_by(scope, model)
    handle.remove()
    assert torch.equal(ls.run(model, SOURCE).logits, alone)
    after = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()]
    assert after == hooks
    assert backend_of(model).provenance().fingerprint == mark
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    # what is known of its training is said where it matters
    assert scope.inspect(model, SOURCE, max_new_tokens=1).data.source_layer.values.tolist() == [
        0,
        1,
    ]
    assert any("trained on states of layers 0, 1, not of 2" in note for note in result.notes)


def test_an_adapter_of_transposed_weights_and_one_that_idles(tmp_path):
    gpt2 = families.build(families.Case("gpt2", "bridge", "raw"))
    inside = adapter(tmp_path / "mlp", "gpt2", target_modules=["c_fc"], fan_in_fan_out=True)
    found = read_adapter(inside).placed(backend_of(gpt2))
    ids = families.prompt(6)
    with found.on(backend_of(gpt2)):
        logits = ls.run(gpt2, ids).logits[0]
    with torch.no_grad():
        close(logits, plain(inside, "gpt2")(torch.tensor([ids])).logits[0])
    idle = adapter(tmp_path / "joint", "gpt2", target_modules=["c_attn"], fan_in_fan_out=True)
    with pytest.raises(ls.BasisError, match="idles"):
        read_adapter(idle).placed(backend_of(gpt2))


def test_an_oracle_lens_writes_over_the_marker_s_embedding(model, tmp_path):
    adapter(tmp_path)
    text = "w40 {layer} w41 {char} w42"
    told = {"config": {"alpha": 9.0, "layers": [0, 1], "extra": {"prompt": "concepts"}}}
    (tmp_path / "run.json").write_text(json.dumps(told))
    with pytest.raises(ls.LensError, match="prompt of this oracle lens"):
        ls.Patchscope.load(tmp_path, model)
    scope = ls.Patchscope.load(tmp_path, model, question=text)
    assert scope.inspection.placeholder == MARK
    inner, v = plain(tmp_path), source_states()[-1]
    ids = chat_ids(text.format(layer=LAYER, char=MARK))
    embedding = inner.base_model.model.model.embed_tokens
    expected = judged(inner, embedding, ids, {ids.index(96): lambda h: 9 * v / v.norm()})
    close(said_by(scope, model), expected.log_softmax(-1))


PROJECTIONS = {
    "scale_only": lambda t, x: t["log_scale"].exp() * x,
    "scalar_affine": lambda t, x: t["log_scale"].exp() * x + t["bias"],
    "full_rank": lambda t, x: t["weight"] @ x + t["bias"],
    "low_rank_only": lambda t, x: t["V"] @ (t["U"].T @ x) + t["bias"],
    "scalar_affine_plus_low_rank": lambda t, x: (
        t["log_scale"].exp() * x + t["V"] @ (t["U"].T @ x) + t["bias"]
    ),
}


def test_a_selfie_adapter_is_its_map_over_the_embeddings(model, tmp_path):
    v = source_states()[-1]
    for n, (kind, formula) in enumerate(PROJECTIONS.items()):
        path = selfie(tmp_path / f"{kind}.{'pt' if n == 1 else 'safetensors'}", kind, n != 2)
        scope = ls.Patchscope.load(path, model, allow_pickle=n == 1)
        close(scope.transform(v), formula(TENSORS, v if n == 2 else v / v.norm()))
    ids = [1, 30, 31, 9, 32, 33, 9, 34]
    inner = plain()
    write = dict.fromkeys((3, 6), lambda h: scope.transform(v))
    expected = judged(inner, inner.model.embed_tokens, ids, write)
    close(said_by(scope, model), expected.log_softmax(-1))
    with pytest.raises(ls.LensError, match="pickle"):
        ls.Patchscope.load(tmp_path / "scalar_affine.pt", model)


def test_an_autoencoder_says_and_comes_back(model, tmp_path):
    scope = ls.Patchscope.load(autoencoder(tmp_path), model)
    assert scope.trained.layers == (1,) and scope.max_new_tokens == 200
    inner, v = copy.deepcopy(families.hf_model("llama", seed=4)), source_states()[-1]
    ids = chat_ids(f"w49 w50 {MARK} w51")
    write = {ids.index(96): lambda h: 7.5 * v / v.norm()}
    expected = judged(inner, inner.model.embed_tokens, ids, write).softmax(-1)
    result = scope.inspect(model, SOURCE, max_new_tokens=1, prepend_bos=True)
    found = result.data.first_token_probability.item()
    assert found == pytest.approx(float(expected.max()), abs=1e-4)
    assert result.target.model != result.source.model

    back = copy.deepcopy(families.hf_model("llama", seed=5))
    with torch.no_grad():
        hidden = back(
            torch.tensor([[1, 60, 70, 71, 61, 62]]), output_hidden_states=True
        ).hidden_states
    head = load_file(tmp_path / "ar" / "value_head.safetensors")["weight"]
    made = head @ hidden[2][0, -1]
    again = scope.reconstruct("w0 <explanation>\nw70 w71\n</explanation> w1", v)
    close(again.vector, made)
    assert again.cosine == pytest.approx(float(torch.cosine_similarity(made, v, 0)), abs=1e-5)
    close(scope.reconstruct("w70 w71").vector, made)
    alone = ls.Patchscope.load(tmp_path / "av", model)
    with pytest.raises(ls.LensError, match="no way back"):
        alone.reconstruct("w70")
    with pytest.raises(ls.LensError, match="role 'ar'"):
        ls.Patchscope.load(tmp_path / "ar", model)
    with pytest.raises(ls.LensError, match="without a model"):
        alone.save(tmp_path / "whole.safetensors")


def test_a_saved_patchscope_says_the_same(model, tmp_path):
    reader = ls.Patchscope.load(oracle(tmp_path / "oracle"), model)
    path = reader.save(tmp_path / "oracle.safetensors")
    again = ls.Patchscope.load(path, model, question=ASKED)
    assert torch.equal(said_by(again, model), said_by(reader.asking(ASKED), model))
    assert dataclasses.replace(again.trained, back=None) == reader.trained
    assert again.adapter.signature == reader.adapter.signature
    mapped = ls.Patchscope.load(selfie(tmp_path / "a.safetensors", "full_rank"), model)
    prompt = ls.InspectionPrompt("w30 w9", "w9")
    affine = ls.affine(TENSORS["weight"], TENSORS["bias"])
    for scope in (
        mapped,
        ls.Patchscope(prompt, ls.resid_pre(1), affine, mix=0.3, read=ls.mlp_out),
        ls.Patchscope(prompt, transform=ls.scaled_to(3.0), rule=ls.rules.interpolate(0.2)),
        ls.Patchscope(prompt, transform=ls.identity, match_norm=True),
        ls.Patchscope(prompt, rule=ls.rules.replace(length="own", times=2.0)),
    ):
        again = ls.Patchscope.load(scope.save(tmp_path / "scope.safetensors"), model)
        for field in dataclasses.fields(scope):
            if field.name != "transform":
                assert getattr(again, field.name) == getattr(scope, field.name)
        x = source_states()
        assert scope.transform is None or torch.equal(again.transform(x), scope.transform(x))
    with pytest.raises(ls.LensError, match="cannot be saved"):
        ls.Patchscope(prompt, transform=lambda x: 2 * x).save(tmp_path / "f.safetensors")
    assert math.isclose(ls.Patchscope.load(path, model).rule.times, 1.5)
