"""Corners of the lenses, each of which once gave a wrong number or a wrong error."""

from __future__ import annotations

import copy
import xml.dom.minidom
from dataclasses import replace

import numpy as np
import pytest
import torch

import lensscope as ls
from lensscope.lenses.affine import _matched
from lensscope.lenses.linear import Translator
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from tests import families, oracle
from tests.lenses.test_lens_fits import FAST, TEXTS
from tests.lenses.test_lenses import linear_lens, residual

P = families.prompt(7)
INSPECTION = ls.InspectionPrompt("w3 w4 w9", "w9")


def identity(**kwargs):
    return ls.Patchscope(INSPECTION, max_new_tokens=1, **kwargs)


# -------------------------------------------------------------------- silent wrong numbers


@pytest.mark.parametrize("change", ["bias", "mix", "transform"])
def test_a_checkpoint_is_not_taken_for_another_lens(llama, tmp_path, change):
    first = linear_lens(llama, name="p")
    place = ls.resid_pre(1)
    old = first.translators[place]
    second = replace(
        first, translators={**first.translators, place: replace(old, bias=old.bias + 1)}
    )
    if change != "bias":
        first, second = identity().as_lens(name="p"), identity(mix=0.5).as_lens(name="p")
    if change == "transform":
        second = identity(transform=linear_lens(llama, ls.AffineLens)).as_lens(name="p")
    path = tmp_path / "checkpoint"
    ls.compare(llama, TEXTS[:2], first, checkpoint=path)
    ls.compare(llama, TEXTS[:2], first, checkpoint=path)
    with pytest.raises(ls.LensError, match="another comparison"):
        ls.compare(llama, TEXTS[:2], second, checkpoint=path, layers=[0, 1])
    own = identity(transform=lambda x: 2 * x).as_lens(name="p")
    with pytest.raises(ls.LensError, match="cannot be told"):
        ls.compare(llama, TEXTS[:2], own, checkpoint=tmp_path / "other")
    ls.compare(llama, TEXTS[:2], own)


def test_what_is_no_distribution_is_refused(llama):
    lens = linear_lens(llama)
    broken = {s: replace(t, matrix=t.matrix * torch.nan) for s, t in lens.translators.items()}
    wrong = replace(lens, translators=broken)
    for act in (lambda: ls.compare(llama, [P], wrong), lambda: wrong.read(llama, [P])):
        with pytest.raises(ls.LensError, match=r"tuned lens at resid_post\(0\) gives no dist"):
            act()
    inner = copy.deepcopy(families.hf_model("llama"))
    with torch.no_grad():
        inner.model.layers[1].mlp.up_proj.weight[0] = torch.nan
    model = families.wrap(inner)
    for act in (
        lambda: ls.compare(model, [P], ls.LogitLens(), layers=[0]),
        lambda: ls.AffineLens.fit(model, TEXTS),
    ):
        with pytest.raises(
            ls.ModelError, match=r"The states of resid_(pre|post)\(2\) are not numbers"
        ):
            act()


def test_a_prompt_without_positions_is_refused(llama):
    with pytest.raises(ls.PositionError, match="No token"):
        ls.compare(llama, [(P, [1]), (TEXTS[0], [])], ls.LogitLens())
    several = [np.array([0, 2]), torch.tensor([0, 2]), range(0, 3, 2), [0, 2]]
    reports = [ls.compare(llama, [(P, where)], ls.LogitLens()) for where in several]
    assert all((r.values.position.values == [0, 2]).all() for r in reports)


def test_hooks_on_the_head_do_not_act_on_rows_of_other_prompts(llama, no_hooks_left):
    reading = ls.LogitLens().read(llama, [P, TEXTS[0]], full=True)

    def hook(tensor, hook):
        tensor[:, 0] = 0
        return tensor

    llama.add_hook("unembed.hook_out", hook)
    try:
        again = ls.LogitLens().read(llama, [P, TEXTS[0]], full=True)
        assert llama.hook_dict["unembed.hook_out"]._forward_hooks
    finally:
        llama.reset_hooks()
    assert again.data.equals(reading.data)
    no_hooks_left(llama)


def test_a_patchscope_lens_goes_between_models_as_the_patchscope_does(llama):
    folded = families.build(families.Case("llama", "bridge", "folded"))
    with pytest.raises(ls.BasisError, match="different bases"):
        identity(model=folded).as_lens().read(llama, [P])


def test_a_patchscope_lens_writes_the_same_place_by_another_name(llama):
    for kind in (ls.mlp_out, ls.resid_mid):
        with pytest.raises(ls.LensError, match="whole states"):
            identity(write=kind).as_lens().read(llama, [P], ls.resid_post)
    before = identity(write=ls.resid_pre).as_lens()
    after = identity(write=ls.resid_post).as_lens()
    states, site = residual(llama, 0), ls.resid_post(0)
    oracle.close(before.logits(llama, states, site), after.logits(llama, states, site), 1e-5)
    report = ls.compare(llama, TEXTS[:2], [before])
    assert report.frame()["layer"].tolist() == [0, 1]  # nothing is before the end


def test_a_fitted_transform_is_of_these_models_or_refused(llama):
    lens = ls.AffineLens.fit(llama, TEXTS, length=20)
    every = identity(transform=lens).inspect(llama, [P]).frame()
    assert every["source_layer"].tolist() == [0, 1, 2]  # the last residual foretells itself
    other = families.build(families.Case("llama", "bridge", "raw"), seed=1)
    theirs = ls.AffineLens.fit(other, TEXTS, length=20)
    with pytest.raises(ls.BasisError, match="affine lens"):
        identity(transform=theirs).inspect(llama, [P])
    across = ls.AffineLens.fit(llama, TEXTS, length=20, target_model=other)
    identity(transform=across, model=other).inspect(llama, [P], layers=[0])
    with pytest.raises(ls.BasisError, match="as to where it leads"):
        identity(transform=across).inspect(llama, [P], layers=[0])


def test_characters_of_several_tokens_are_matched_where_they_end(demo):
    backend = backend_of(demo)
    (prompt,) = tokenize(backend, "Hi 你好 🦜🙂 naïve ✓ ok")
    (ids,) = tokenize(backend, list(prompt.ids))
    for one in (prompt, ids):
        _, mine, other, theirs = _matched(backend, one, backend, 0)
        assert mine == theirs and other.ids == prompt.ids
        assert len(set(mine)) == len(mine) > 5


# -------------------------------------------------------------------- promises


def test_gradients_flow_to_states_and_leave_no_trace(few):
    for lens in (ls.LogitLens(), linear_lens(few), identity().as_lens()):
        states = residual(few).clone().requires_grad_()
        logits = lens.logits(few, states, ls.resid_post(1))
        (grad,) = torch.autograd.grad(logits[:, 5].sum(), states)
        moved = states.detach() + 1e-2 * grad / grad.norm()
        rise = lens.logits(few, moved, ls.resid_post(1)) - logits.detach()
        expected = 1e-2 * float(grad.norm())
        assert float(rise[:, 5].sum()) == pytest.approx(expected, rel=0.05)
        assert all(p.grad is None for p in few.parameters())


def test_a_fit_in_any_precision(tmp_path):
    for dtype in (torch.float64, torch.bfloat16):
        inner = copy.deepcopy(families.hf_model("llama")).to(dtype)
        model = families.wrap(inner)
        lens = ls.TunedLens.fit(model, TEXTS, **{**FAST, "steps": 3})
        assert lens.translators[ls.resid_pre(1)].matrix.dtype == torch.float32
        ls.compare(model, [P], [ls.LogitLens(), lens, ls.AffineLens.fit(model, TEXTS)])


@pytest.mark.parametrize(
    "matrix", [torch.full((32, 32), torch.nan), torch.ones(32, 31), torch.ones(32)]
)
def test_files_with_something_else_than_maps(llama, tmp_path, matrix):
    torch.save({"J": {0: matrix}, "n_prompts": 1}, tmp_path / "lens.pt")
    with pytest.raises(ls.LensError):
        ls.JacobianLens.load(tmp_path / "lens.pt", allow_pickle=True).read(llama, [P])
    if matrix.shape == (32, 32):
        bad = replace(linear_lens(llama), translators={ls.resid_pre(1): Translator(matrix)})
        with pytest.raises(ls.LensError, match="NaN or infinity"):
            ls.TunedLens.load(bad.save(tmp_path / "lens.safetensors"))


def test_the_library_s_folder_has_no_place_for_more(llama, tmp_path):
    lens = ls.TunedLens.identity(llama, [ls.resid_pre, ls.resid_mid])
    with pytest.raises(ls.LensError, match="no place for this lens"):
        lens.to_tuned_lens(tmp_path / "lens", llama)


def test_readings_of_other_prompts_do_not_go_side_by_side(llama):
    one, other = (ls.LogitLens().read(llama, [p]) for p in (P, TEXTS[0]))
    with pytest.raises(ls.LensError, match="different prompts"):
        one.plot(beside=other)
    last = ls.LogitLens().read(llama, [P], positions=-1, measures="all")
    with pytest.raises(ls.LensError, match="nothing is known"):
        last.to_svg(value="next_token_rank")


def test_pictures_are_xml_whatever_the_tokens_say(demo):
    reading = ls.LogitLens().read(
        demo, 'a\x1bb "<c>" & 🦜\n', [ls.resid_post(29)], measures="entropy"
    )
    for svg in (
        reading.to_svg(),
        reading.trajectories_svg("entropy"),
        reading.to_svg(value="entropy"),
    ):
        xml.dom.minidom.parseString(svg)
    assert "\x1b" not in str(reading) + reading.to_html() + reading.to_svg()


def test_means_over_ragged_prompts_leave_out_what_is_not_there(llama):
    prompts = [P, families.prompt(2)]
    data = ls.LogitLens().read(llama, prompts, targets=[5]).data.isel(target=0)
    alone = ls.LogitLens().read(llama, prompts[1:], targets=[5]).data.isel(target=0)
    own = data.target_rank.isel(prompt=1).mean("position")
    assert own.values == pytest.approx(alone.target_rank.isel(prompt=0).mean("position").values)


def test_a_reading_says_where_it_was_read(llama):
    plain, part, head = (
        ls.LogitLens().read(llama, [P], site)
        for site in (ls.resid_post, ls.mlp_out, [ls.head_out(0, 2), ls.head_out(1, 2)])
    )
    assert (plain.title, part.title) == ("Logit lens", "Logit lens of mlp_out")
    assert head.title == "Logit lens of head_out, head 2"
    assert head.data.site.values.tolist() == ["head_out(0, 2)", "head_out(1, 2)"]
    assert set(part.frame()["site"]) == {f"mlp_out({n})" for n in range(3)}


def test_colours_of_logarithms_begin_at_the_lowest(llama):
    reading = ls.LogitLens().read(llama, [P], measures="all")
    value = "next_token_log_probability"
    lowest = float(reading.data[value].min())
    assert f"{lowest:.3g} to" in reading.to_svg(value=value)
    assert reading.plot(value).data[0].zmin == pytest.approx(lowest)
    assert f"{lowest:.3g} to" in reading.to_html(value=value)


def test_one_prompt_has_no_interval(llama):
    report = ls.compare(llama, [P], ls.LogitLens(), positions=None)
    assert report.frame().filter(regex="_(low|high)$").isna().all(axis=None)
    assert "±0" not in str(report)
    report.to_html()
    report.to_svg()


def test_states_that_overflow_are_refused_with_layer_and_dtype():
    """As Gemma's do in float16."""
    inner = copy.deepcopy(families.hf_model("llama")).to(torch.float16)
    with torch.no_grad():
        inner.model.layers[1].mlp.up_proj.weight.mul_(100)
        inner.model.layers[1].mlp.down_proj.weight.mul_(3e4).clamp_(-6e4, 6e4)
    model = families.wrap(inner)
    last = ls.resid_post(2)
    assert not ls.capture(model, P, last)[last].isfinite().all()
    fine = ls.LogitLens().read(model, P, ls.resid_post(0))
    assert fine.data.log_probability.notnull().all()
    metric, other = ls.logit_difference(7, 9), P[::-1]
    for act in (
        lambda: ls.LogitLens().read(model, P),
        lambda: ls.LogitLens().read(model, P, ls.resid_post(0), measures="kl"),
        lambda: ls.compare(model, [P], ls.LogitLens()),
        lambda: ls.AffineLens.fit(model, TEXTS, length=10),
        lambda: ls.TunedLens.fit(model, TEXTS, **{**FAST, "steps": 2}),
        lambda: ls.TunedLens.identity(model).scores(model, TEXTS),
        lambda: ls.activation_patching(model, P, other, ls.resid_pre, metric),
        lambda: ls.attribution_patching(model, P, other, ls.mlp_out, metric),
        lambda: ls.path_patching(model, P, other, ls.mlp_out(0), "logits", metric),
        lambda: ls.causal_trace(model, P, 2),
        lambda: ls.attention_knockout(model, P, 2),
        lambda: ls.activation_patching(model, P, other, ls.resid_pre, ls.rank(7)),
    ):
        with pytest.raises(ls.ModelError) as caught:
            act()
        assert "layer 1 of" in str(caught.value) or "layer 2 of" in str(caught.value)
        assert "in float16" in str(caught.value)
    with pytest.raises(ls.LensError, match="not finite"):
        ls.JacobianLens.fit(model, TEXTS, length=10, skip_first=2)
    with pytest.raises(ls.LensError, match="not finite"):
        ls.LogitLens().logits(model, torch.full((1, 32), torch.inf), last)
