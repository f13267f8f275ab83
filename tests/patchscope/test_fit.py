"""Training a patchscope: against plain forwards, interrupted, saved, refused."""

from __future__ import annotations

import copy
import dataclasses
import math
import random

import pytest
import torch

import lensscope as ls
from lensscope.model.classes import backend_of
from lensscope.patchscope.fitting import training
from lensscope.patchscope.fitting.blending import blended, mixed
from lensscope.patchscope.fitting.lessons import described
from lensscope.patchscope.fitting.scores import measured
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Speech
from tests import families, oracle
from tests.oracle import close

PROMPT = ls.InspectionPrompt("w5 w6 w7 w3", "w7")
SCOPE = ls.Patchscope(PROMPT, ls.resid_pre(1), read=ls.resid_post, max_new_tokens=3)
NAMES = [f"w{n} w{n + 3}" for n in range(8, 30)] + [f"w{n} w2 w9" for n in range(30, 40)]
SMALL = {
    "template": "w1 w2 {} w4",
    "max_tokens": 3,
    "stop": (),
    "n_held_out": 8,
    "batch_size": 6,
    "steps": 8,
    "rank": 3,
}


def lens_error(match, call):
    with pytest.raises(ls.LensError, match=match) as found:
        call()
    assert "Instead" in str(found.value) or "instead" in str(found.value).lower()


def ids_of(model, text):
    return list(ls.InspectionPrompt(text, text.split()[-1]).tokens(model).ids)


def test_what_is_said_of_a_value_is_as_in_plain_forwards(tiny):
    """Values, and gradients, of rows of different lengths."""
    as_in_plain_forwards(tiny, "w5 w6 w7 w3")


@pytest.mark.parametrize(
    ("prompt", "rule"),
    [
        ("w7 w3 w7", ls.rules.add(times=2.0)),
        ("w5 w6 w7", ls.rules.replace(length="own")),
    ],
)
def test_rules_and_several_placeholders_are_as_in_plain_forwards(llama, prompt, rule):
    as_in_plain_forwards(llama, prompt, rule)


def as_in_plain_forwards(tiny, prompt, rule=None):
    scope = ls.Patchscope(
        ls.InspectionPrompt(prompt, "w7"), ls.resid_pre(1), read=ls.resid_post, rule=rule
    )
    speech = Speech(backend_of(tiny), scope)
    ids, places = scope.inspection.tokens(tiny).ids, scope.inspection.places(tiny)
    generator = torch.Generator().manual_seed(0)
    d = tiny.cfg.d_model
    values = torch.randn(3, d, generator=generator, dtype=torch.float32).requires_grad_()
    said = [(9, 4), (8,), (3, 5, 7)]
    logits = speech.logits(values, said)
    found = torch.split(logits, [len(own) for own in said])

    def write(h, v):
        if rule is None:
            return v
        return h + 2 * h.norm() * v / v.norm() if "add" in repr(rule) else h.norm() * v / v.norm()

    for value, own, got in zip(values.detach(), said, found, strict=True):
        edits = [
            oracle.Edit("resid_pre", 1, place, lambda h, v=value: write(h, v)) for place in places
        ]
        whole = oracle.logits(tiny, [*ids, *own[:-1]], edits)
        close(got.detach(), whole[len(ids) - 1 :])
    (gradient,) = torch.autograd.grad(found[2][-1, 11], values)
    step = torch.zeros_like(values)
    step[2, 0] = 1e-2
    with torch.no_grad():
        up, down = (speech.logits(values + sign * step, said)[-1, 11] for sign in (1, -1))
    assert gradient[2, 0].item() == pytest.approx(float(up - down) / 2e-2, rel=0.1, abs=2e-3)
    assert not gradient[:2].any()


@pytest.mark.parametrize("kind", [ls.resid_pre, ls.resid_post])
def test_next_tokens_of_rows_that_join_are_as_in_plain_forwards(tiny, kind):
    """Of one token after the placeholder, at whatever layer it is written."""
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w6 w7", "w7"), kind, read=ls.resid_post)
    speech = Speech(backend_of(tiny), scope)
    ids, (place,) = scope.inspection.tokens(tiny).ids, scope.inspection.places(tiny)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, tiny.cfg.d_model, generator=generator).requires_grad_()
    for layer in (0, tiny.cfg.n_layers - 1):
        logits = speech.logits(values, [(9,), (8,), (3,)], layer)
        for value, own in zip(values.detach(), logits.detach(), strict=True):
            edit = oracle.Edit(kind(layer).kind, layer, place, lambda h, v=value: v)
            close(own, oracle.logits(tiny, list(ids), [edit])[-1])
        (gradient,) = torch.autograd.grad(logits[2, 11], values)
        assert gradient[2].any() and not gradient[:2].any()


def test_what_is_said_of_a_name_is_what_the_model_writes(tiny):
    speech = Speech(backend_of(tiny), SCOPE)
    names = ["w8", "w9 w10", "w11", "w12 w13 w14"]
    said = speech.named(names, 4, ())
    for name, one in zip(names, said, strict=True):
        prompt = ids_of(tiny, PROMPT.filled(name))
        expected = oracle.generate(tiny, prompt, [], 4)
        assert list(one.ids) == expected[: len(one.ids)]
        whole = oracle.logits(tiny, [*prompt, *one.ids[:-1]])[len(prompt) - 1 :]
        close(speech.log_p(one.last), whole.float().log_softmax(-1))


def test_a_text_ends_with_what_it_is_told_to(llama):
    speech = Speech(backend_of(llama), SCOPE)
    (whole,) = speech.named(["w8"], 6, ())
    label = families.own_tokenizer().decode([whole.ids[2]])
    (cut,) = speech.named(["w8"], 6, (label,))
    n = [families.own_tokenizer().decode([i]) for i in whole.ids].index(label) + 1
    assert cut.ids == whole.ids[:n]
    assert len(cut.last) == n


@pytest.mark.parametrize("kind", ["scale", "low_rank", "full"])
def test_a_map_begins_at_the_raw_write_and_learns(llama, kind):
    small = {**SMALL, "start": "raw"}
    begun = SCOPE.fit(llama, NAMES, map=kind, **{**small, "learning_rate": 1e-25})
    raw = SCOPE.inspect(llama, "w8 w9", layers=[0, 2])
    same = begun.inspect(llama, "w8 w9", layers=[0, 2])
    close(
        torch.tensor(same.data.first_token_probability.values),
        torch.tensor(raw.data.first_token_probability.values),
        1e-5,
    )
    frame = begun.trained.frame()
    assert frame.nats_before.tolist() == pytest.approx(frame.nats_after.tolist(), abs=1e-5)
    reader = SCOPE.fit(
        llama, NAMES, map=kind, layers=[0], learning_rate=2e-3, **{**small, "steps": 60}
    )
    told = reader.trained.settings
    assert len(told["losses"]) == 60
    assert sum(told["losses"][-10:]) < sum(told["losses"][:10])
    (first, start), *later = told["looks"]
    assert first == 0 and min(loss for _, loss in later) < start


def test_layers_are_brought_to_the_one_that_is_read_best(llama):
    """Which needs no training: a map of one layer gives what stood at the anchor."""
    still = {**SMALL, "learning_rate": 1e-25, "n_held_out": 4, "blend": False}
    reader = SCOPE.fit(llama, NAMES, anchor=1, **still)
    ids = [ids_of(llama, f"w1 w2 {name} w4") for name in NAMES]
    states = [
        torch.stack([oracle.activations(llama, i, "resid_post", n)[len(i) - 2] for i in ids])
        for n in range(3)
    ]
    own = reader.transform.at(ls.resid_post(1))(states[1])
    close(own, states[1])
    for n in (0, 2):
        brought = reader.transform.at(ls.resid_post(n))(states[n])
        assert (brought - states[1]).norm() < 0.5 * (states[n] - states[1]).norm()
    found = SCOPE.fit(llama, NAMES, **still)
    raw = SCOPE.fit(llama, NAMES, **{**still, "start": "raw"}).trained.frame()
    first = SCOPE.fit(llama, NAMES, anchor=0, **still).transform.at(ls.resid_post(0))(states[0])
    close(first, states[0])
    assert len(found.transform.maps) == len(raw)
    close_to = SCOPE.fit(llama, NAMES, **{**still, "keep_rank": 40}).transform
    few = SCOPE.fit(llama, NAMES, **{**still, "keep_rank": 2}).transform
    for n in range(3):
        whole = found.transform.maps[n](states[n])
        gaps = [(maps.maps[n](states[n]) - whole).norm() for maps in (close_to, few)]
        assert gaps[0] <= gaps[1] + 1e-4
        assert gaps[0] < 0.35 * (whole - whole.mean(0)).norm()
        assert few.maps[n].down.shape == (llama.cfg.d_model, 2)
    lens_error("not among", lambda: SCOPE.fit(llama, NAMES, layers=[0], **{**SMALL, "anchor": 2}))


def test_maps_of_early_layers_are_mixed_with_the_raw_write_as_is_best(llama):
    settings = FitSettings.of(SMALL)
    speech = Speech(backend_of(llama), SCOPE)
    sites = {n: ls.resid_post(n) for n in range(3)}
    lessons = described(speech, NAMES[:6], sites, settings)
    maps = SCOPE.fit(llama, NAMES, **{**SMALL, "blend": False}).transform.maps
    found = blended(speech, lessons, maps)
    assert found[1] is maps[1] and found[2] is maps[2]
    weights = (0.0, 0.25, 0.5, 0.75)
    losses = [measured(speech, lessons, 0, mixed(maps[0], weight))[1] for weight in weights]
    best = weights[losses.index(min(losses))]
    x = lessons.states[0]
    close(found[0](x), best * x + (1 - best) * maps[0](x))
    full = SCOPE.fit(llama, NAMES, map="full", **{**SMALL, "blend": False}).transform.maps[0]
    close(mixed(full, 0.25)(x), 0.25 * x + 0.75 * full(x))


def test_early_layers_begin_with_the_raw_write_in_the_mix(llama):
    still = {**SMALL, "learning_rate": 1e-25, "anchor": 1}
    plain = SCOPE.fit(llama, NAMES, **still, blend=False).transform
    found = SCOPE.fit(llama, NAMES, **still).transform
    x = torch.randn(9, llama.cfg.d_model, generator=torch.Generator().manual_seed(0))
    close(found.maps[2](x), plain.maps[2](x))
    raw, got = (own - plain.maps[0](x) for own in (x, found.maps[0](x)))
    share = float((raw * got).sum() / raw.square().sum())
    close(got, share * raw)
    weights = (0.0, 0.25, 0.5, 0.75)
    mixes = [first + then - first * then for first in weights for then in weights]
    assert min(abs(share - mix) for mix in mixes) < 1e-4


def test_rounded_maps_take_a_quarter_of_the_room(llama, tmp_path):
    reader = SCOPE.fit(llama, NAMES, layers=[0, 2], keep_rank=20, **SMALL)
    rounded = reader.transform.rounded()
    x = torch.randn(9, llama.cfg.d_model, generator=torch.Generator().manual_seed(0))
    for layer, own in reader.transform.maps.items():
        gap = (rounded.maps[layer](x) - own(x)).norm() / own(x).norm()
        assert 0 < gap < 0.02
        assert {rounded.maps[layer].down.dtype, rounded.maps[layer].up.dtype} == {torch.int8}
        close(mixed(rounded.maps[layer], 0.25)(x), 0.25 * x + 0.75 * rounded.maps[layer](x), 1e-4)
    assert rounded.rounded().signature == rounded.signature
    scope = dataclasses.replace(reader, transform=rounded)
    small, whole = scope.save(tmp_path / "small.safetensors"), reader.save(tmp_path / "whole")
    again = ls.Patchscope.load(small, llama)
    assert again.transform.signature == rounded.signature
    half = again.transform.to(torch.float16).maps[0]
    assert (half.down.dtype, half.gain.dtype) == (torch.int8, torch.float16)
    held = [
        sum(m.down.nbytes + m.up.nbytes for m in one.transform.maps.values())
        for one in (again, reader)
    ]
    assert 4 * held[0] == held[1]
    with pytest.raises(ls.PatchError, match="does not fit"):
        rounded.maps[0](x[:, 1:])
    assert whole.exists()


def test_scores_are_of_names_that_were_kept_apart(llama):
    reader = SCOPE.fit(llama, NAMES, layers=[1], **SMALL)
    order = list(NAMES)
    random.Random(0).shuffle(order)
    total = n = 0
    apart = 0.0
    for name in order[4:8]:  # the first half of those held out says when to stop
        ids = ids_of(llama, f"w1 w2 {name} w4")
        state = oracle.activations(llama, ids, "resid_post", 1)[len(ids) - 2]
        value = reader.transform.at(ls.resid_post(1))(state)
        prompt, (place,) = PROMPT.tokens(llama).ids, PROMPT.places(llama)
        filled = ids_of(llama, PROMPT.filled(name))
        said = oracle.generate(llama, filled, [], 3)
        edit = oracle.Edit("resid_pre", 1, place, lambda h, v=value: v)
        log_q = oracle.logits(llama, [*prompt, *said[:-1]], [edit])[len(prompt) - 1 :].log_softmax(
            -1
        )
        log_p = oracle.logits(llama, [*filled, *said[:-1]])[len(filled) - 1 :].log_softmax(-1)
        total -= float(log_q.gather(-1, torch.tensor(said)[:, None]).sum())
        apart += float((log_p.exp() * (log_p - log_q)).sum())
        n += len(said)
    (row,) = reader.trained.frame().to_dict("records")
    assert row["nats_after"] == pytest.approx(total / n, abs=1e-4)
    assert row["kl_after"] == pytest.approx(apart / n, abs=1e-4)
    (again,) = reader.scores(llama, order[4:8]).to_dict("records")
    assert again["lessons"] == 4
    for name in ("nats_before", "nats_after", "kl_before", "kl_after"):
        assert again[name] == pytest.approx(row[name], abs=1e-4)
    for name in ("nats", "kl"):
        gap = again[f"{name}_after"] - again[f"{name}_before"]
        assert again[f"{name}_difference"] == pytest.approx(gap, abs=1e-6)
        assert again[f"{name}_difference_low"] < gap < again[f"{name}_difference_high"]
    assert math.isnan(reader.scores(llama, order[:1]).kl_difference_low[0])
    lens_error("trained here", lambda: SCOPE.scores(llama, NAMES))
    with pytest.raises(ls.SiteError, match="not trained on such"):
        reader.scores(llama, NAMES, layers=[2])
    with pytest.raises(ls.PromptError, match="not names"):
        reader.scores(llama, ["w8", "w8"])


def test_a_training_goes_on_where_it_was_broken_off(llama, tmp_path, monkeypatch):
    whole = SCOPE.fit(llama, NAMES, layers=[0, 2], **SMALL)
    where = tmp_path / "training.safetensors"
    inner = training.MapTrainer._update

    def broken(self):
        if self.step == 5:
            raise KeyboardInterrupt
        inner(self)

    with monkeypatch.context() as there:
        there.setattr(training.MapTrainer, "_update", broken)
        with pytest.raises(KeyboardInterrupt):
            SCOPE.fit(llama, NAMES, layers=[0, 2], checkpoint=where, **SMALL)
    assert where.exists()
    again = SCOPE.fit(llama, NAMES, layers=[0, 2], checkpoint=where, **SMALL)
    assert again.trained.settings["losses"] == whole.trained.settings["losses"]
    for layer in (0, 2):
        for name, held in again.transform.maps[layer].tensors.items():
            assert torch.equal(held, whole.transform.maps[layer].tensors[name])
    lens_error(
        "another training", lambda: SCOPE.fit(llama, NAMES, layers=[0], checkpoint=where, **SMALL)
    )


def test_a_tuned_patchscope_is_kept(llama, tmp_path):
    reader = SCOPE.fit(llama, NAMES, layers=[0, 2], **SMALL)
    path = reader.save(tmp_path / "reader.safetensors")
    again = ls.Patchscope.load(path, llama)
    assert again.transform.signature == reader.transform.signature
    assert again.trained.frame().equals(reader.trained.frame())
    assert again.trained.settings["losses"] == reader.trained.settings["losses"]
    said = [scope.inspect(llama, "w8 w9") for scope in (reader, again)]
    assert said[0].frame().equals(said[1].frame())
    assert said[0].data.sizes["source_layer"] == 2  # those that it was trained on
    assert "tuned patchscope" in " ".join(said[0].notes)
    with pytest.raises(ls.SiteError, match="not trained on such states"):
        reader.inspect(llama, "w8 w9", layers=[1])
    half = dataclasses.replace(reader, transform=reader.transform.to(torch.float16))
    small = half.save(tmp_path / "half.safetensors")
    assert small.stat().st_size < path.stat().st_size
    other = families.build(families.Case("gpt2", "bridge", "raw"))
    spoken = ls.Patchscope.load(path, other).inspect(other, families.prompt(4), layers=[0])
    assert any("speaks through" in note for note in spoken.notes)
    folded = families.build(families.Case("llama", "bridge", "folded"))
    with pytest.raises(ls.BasisError):
        ls.Patchscope.load(path, folded)
    with pytest.raises(ls.BasisError):
        reader.inspect(folded, "w8 w9", layers=[0])
    # the same place by its other name
    read = reader.as_lens().read(llama, "w8 w9", ls.resid_pre(1), positions=-1)
    same = reader.as_lens().read(llama, "w8 w9", ls.resid_post(0), positions=-1)
    close(
        torch.tensor(read.data.log_probability.values),
        torch.tensor(same.data.log_probability.values),
    )


def test_next_tokens_are_taught_from_texts(llama):
    texts = [families.prompt(40, seed=n) for n in range(12)]
    identity = ls.Patchscope(
        ls.InspectionPrompt("w5 w5 w6 w6 w7", "w7"), ls.resid_pre(1), read=ls.resid_post
    )
    settings = {"n_held_out": 32, "length": 20, "batch_size": 16, "steps": 40, "rank": 8}
    reader = identity.fit(llama, texts, objective="next_token", layers=[0, 2], **settings)
    frame = reader.trained.frame()
    assert (frame.kl_after < frame.kl_before).all()
    again = identity.fit(llama, iter(texts * 40), objective="next_token", layers=[2], **settings)
    assert len(again.trained.settings["losses"]) == 40
    whole = reader.scores(llama, [families.prompt(7, seed=99)], layers=[2])
    assert whole.lessons[0] == 6  # the first one is no state like others
    assert whole.kl_after[0] < whole.kl_before[0]


@pytest.mark.parametrize("kind", ["scale", "low_rank", "full"])
def test_layers_written_at_their_own_learn_by_themselves(llama, kind, tmp_path):
    prompt = ls.InspectionPrompt("w5 w6 w3 w7", "w7")
    scope = ls.Patchscope(prompt, ls.resid_post, max_new_tokens=3)
    texts = [families.prompt(40, seed=n) for n in range(12)]
    settings = {"n_held_out": 32, "length": 20, "batch_size": 16, "steps": 40, "rank": 8}
    settings |= {"objective": "next_token", "map": kind, "blend": False, "learning_rate": 3e-3}
    both = scope.fit(llama, texts, layers=[0, 1], **settings)
    frame = both.trained.frame()
    assert (frame.kl_after < frame.kl_before).all()
    alone = scope.fit(llama, texts, layers=[1], **settings)
    for name, held in alone.transform.maps[1].tensors.items():
        if kind != "low_rank":  # which begins at other random numbers
            close(both.transform.maps[1].tensors[name], held, 1e-4)
    again = ls.Patchscope.load(both.save(tmp_path / "reader.safetensors"), llama)
    state = ls.capture(llama, "w1 w8 w9", ls.resid_post(1))[ls.resid_post(1)][0, -1]
    said = again.inspect(llama, "w1 w8 w9", layers=[1], positions=-1).frame()
    value = both.transform.maps[1](state)
    ids, (place,) = prompt.tokens(llama).ids, prompt.places(llama)
    edit = oracle.Edit("resid_post", 1, place, lambda h: value)
    (first, *_) = oracle.logits(llama, list(ids), [edit])[-1].softmax(-1).sort().values.flip(0)
    assert said.first_token_probability[0] == pytest.approx(float(first), abs=1e-5)


def test_no_state_is_written_before_the_earliest_layer(llama, tmp_path):
    prompt = ls.InspectionPrompt("w5 w6 w3 w7", "w7")
    scope = ls.Patchscope(prompt, ls.resid_post, max_new_tokens=3, earliest=1)
    frame = scope.inspect(llama, "w8 w9").frame()
    assert frame.target_layer.tolist() == [1, 1, 2]
    plain = dataclasses.replace(scope, earliest=0)
    at_one = plain.inspect(llama, "w8 w9", layers=[0], target_layers=1).frame()
    assert frame["text"][0] == at_one["text"][0]
    same = scope.inspect(llama, "w8 w9", target_layers="same").frame()
    assert same.equals(plain.inspect(llama, "w8 w9").frame())
    late = dataclasses.replace(scope, earliest=9).inspect(llama, "w8 w9").frame()
    assert late.target_layer.tolist() == [2, 2, 2]
    states = torch.randn(2, llama.cfg.d_model, generator=torch.Generator().manual_seed(0))
    lens, raw = scope.as_lens(), plain.as_lens()
    close(lens.logits(llama, states, ls.resid_post(0)), raw.logits(llama, states, ls.resid_post(1)))
    close(lens.logits(llama, states, ls.resid_pre(1)), raw.logits(llama, states, ls.resid_post(1)))
    close(lens.logits(llama, states, ls.resid_post(2)), raw.logits(llama, states, ls.resid_post(2)))
    assert lens.signature != raw.signature
    again = ls.Patchscope.load(scope.save(tmp_path / "scope.safetensors"), llama)
    assert again.earliest == 1
    for wrong in ({"write": ls.resid_post(1)}, {"target_layer": 1}):
        with pytest.raises(ls.PatchError, match="at one unless told otherwise, or at none"):
            dataclasses.replace(scope, **wrong)
    assert ls.Patchscope.entity_description(earliest=4).target_layer is None
    with pytest.raises(ls.StudyError, match="earliest=1"):
        ls.studies.entity_resolution(llama, None, inspection=scope)


def test_states_are_brought_to_the_earliest_layer_that_is_written(llama, tmp_path):
    """By regression on many pieces, and then each layer learns by itself."""
    prompt = ls.InspectionPrompt("w5 w6 w3 w7", "w7")
    scope = ls.Patchscope(prompt, ls.resid_post, max_new_tokens=3, earliest=1)
    texts = [families.prompt(40, seed=n) for n in range(80)]
    settings = {"objective": "next_token", "map": "full", "n_held_out": 32, "length": 20}
    settings |= {"batch_size": 16, "steps": 30, "blend": False}
    still = scope.fit(llama, texts, layers=[0, 2], learning_rate=1e-25, **settings)
    tokens = families.prompt(20, seed=100)
    ids = list(ls.InspectionPrompt(f"{tokens} w7", "w7").tokens(llama).ids)[:-1]
    states = [oracle.activations(llama, ids, "resid_post", n) for n in range(3)]
    brought = still.transform.at(ls.resid_post(0))(states[0])
    gaps = [(own - states[1])[1:].norm() for own in (brought, states[0])]
    assert gaps[0] < 0.8 * gaps[1]
    close(still.transform.at(ls.resid_post(2))(states[2]), states[2])
    learnt = scope.fit(llama, texts, layers=[0, 2], learning_rate=3e-3, **settings)
    begun, done = still.trained.frame(), learnt.trained.frame()
    assert done.kl_after[0] < 0.95 * begun.kl_after[0] < 0.95 * begun.kl_before[0]
    alone = scope.fit(llama, texts, layers=[0], learning_rate=3e-3, **settings)
    for name, held in alone.transform.maps[0].tensors.items():
        close(learnt.transform.maps[0].tensors[name], held, 1e-4)
    once = scope.fit(llama, iter(texts), layers=[0], **{**settings, "steps": 2})
    assert len(once.trained.settings["losses"]) == 2


def test_a_selfie_adapter_is_written_where_it_is_one(llama, tmp_path):
    prompt = ls.InspectionPrompt("w5 w6 w7 w3", "w7", prepend_bos=False)
    scope = ls.Patchscope(prompt, ls.resid_pre(0), read=ls.resid_post, max_new_tokens=50)
    for kind in ("scale", "low_rank", "full"):
        reader = scope.fit(llama, NAMES, map=kind, layers=[1], **SMALL)
        path = reader.to_selfie(tmp_path / f"{kind}.safetensors")
        again = ls.Patchscope.load(path, llama)
        said = [s.inspect(llama, "w8 w9", layers=[1]).frame() for s in (reader, again)]
        assert said[0]["text"].tolist() == said[1]["text"].tolist()
        x = torch.randn(4, llama.cfg.d_model, generator=torch.Generator().manual_seed(0))
        close(again.transform(x), reader.transform.maps[1](x))
    lens_error("no SelfIE adapter", lambda: SCOPE.to_selfie(tmp_path / "none.safetensors"))


def test_what_cannot_be_trained_is_refused(llama, tmp_path):
    def fit(scope=SCOPE, names=NAMES, **settings):
        return lambda: scope.fit(llama, names, **{**SMALL, **settings})

    own_layers = dataclasses.replace(SCOPE, write=ls.resid_pre)
    lens_error("cannot be trained", fit(own_layers, anchor=1))
    lens_error("cannot be trained", fit(dataclasses.replace(SCOPE, transform=ls.identity)))
    for head in (0, 1):
        own = dataclasses.replace(SCOPE, read=ls.Site("head_out", None, head))
        lens_error("cannot be trained", fit(own))
    lens_error(r"too few names(?s:.)*ls\.names\(\)", fit(names=NAMES[:9]))
    lens_error("no such setting", fit(rnak=3))
    lens_error("no such map", fit(map="lowrank"))
    lens_error("no such objective", fit(objective="next"))
    lens_error("one place for the name", fit(template="about x"))
    lens_error("rank", fit(rank=0))
    for names in ([*NAMES, NAMES[0]], [*NAMES, " "], []):
        with pytest.raises(ls.PromptError, match="names to train on"):
            fit(names=names)()
    with pytest.raises(ls.SiteError):
        fit(layers=[9])()
    with pytest.raises(ls.PromptError):
        fit(dataclasses.replace(SCOPE, inspection="w5 w6"))()
    broken = copy.deepcopy(families.hf_model("llama"))
    with torch.no_grad():
        broken.lm_head.weight[3] = math.nan
    wrapped = families.wrap(broken)
    with pytest.raises((ls.LensError, ls.ModelError)):
        SCOPE.fit(wrapped, NAMES, **SMALL)


def test_a_loss_that_is_not_finite_ends_a_training(llama, tmp_path, monkeypatch):
    where = tmp_path / "training.safetensors"
    inner = training.MapTrainer._loss

    def loss(self, *given):
        return inner(self, *given) * (math.nan if self.step == 5 else 1)

    monkeypatch.setattr(training.MapTrainer, "_loss", loss)
    settings = {**SMALL, "checkpoint_every": 2}
    lens_error("not finite", lambda: SCOPE.fit(llama, NAMES, layers=[0], **settings))
    lens_error(
        "not finite",
        lambda: SCOPE.fit(llama, NAMES, layers=[0], checkpoint=where, **settings),
    )
    assert where.exists()  # the last good state
