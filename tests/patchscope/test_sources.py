"""What a patchscope reads: several positions, patched runs, other sites, vectors with names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lensscope as ls
from tests import oracle
from tests.oracle import Edit

W = ls.InspectionPrompt("w5 w6 w7 w8", "w7")
SCOPE = ls.Patchscope(W, max_new_tokens=1)
ONE, TWO = "w10 w11 w12", "w13 w14"


def said(model, state, target):
    edit = Edit("resid_post", target, *W.places(model), lambda x: state)
    return float(oracle.logits(model, W.tokens(model).ids, [edit])[-1].softmax(-1).max())


def test_positions_in_lists(llama):
    several = SCOPE.inspect(llama, ONE, ["w12", 1, slice(0, 2), "w12"], layers=[1])
    assert several.data.position.values.tolist() == [3, 1, 0]  # each token once
    assert several.to_svg() and several.plot()
    own = SCOPE.inspect(llama, [ONE, TWO], [["w11"], ["w14", 0]], layers=slice(1, 3)).frame()
    found = [tuple(row) for row in own[["prompt", "position", "token"]].drop_duplicates().values]
    assert found == [(ONE, 2, "w11"), (TWO, 2, "w14"), (TWO, 0, "<s>")]
    for _, row in own.iterrows():
        alone = SCOPE.inspect(llama, row["prompt"], row["position"], layers=row["source_layer"])
        expected = alone.frame()["first_token_probability"].item()
        assert row["first_token_probability"] == pytest.approx(expected, abs=1e-5)
    read = ls.LogitLens().read(llama, [ONE, TWO], positions=[["w11"], ["w14", 0]], top_k=1)
    assert read.data.token.values.tolist() == [["w11", ""], ["w14", "<s>"]]
    out = ls.run_many(llama, [ONE, TWO], [[], []], positions=[["w11"], [-1]])
    assert out.positions == ((2,), (2,))


@pytest.mark.parametrize("position", [[], [["w11"]], [["w11"], "w14"], [["w11"], []]])
def test_lists_that_do_not_say_which_tokens(llama, position):
    for call in (SCOPE.inspect, ls.LogitLens().read):
        with pytest.raises(ls.PositionError, match="instead:"):
            call(llama, [ONE, TWO], position=position)


def test_the_run_of_the_source_may_be_patched(llama):
    patches = [ls.mlp_out(0).zero(), ls.resid_post(0).at("w11").scale(2.0)]
    result = SCOPE.inspect(llama, [ONE, "w9 w11"], patches=patches, layers=[1], target_layers=0)
    ids = [p.ids for p in ls.capture(llama, [ONE, "w9 w11"], ls.embed).prompts]
    for tokens, cell in zip(ids, result.frame()["first_token_probability"], strict=True):
        edits = [Edit("mlp_out", 0, t, torch.zeros_like) for t in range(len(tokens))]
        edits.append(Edit("resid_post", 0, 2, lambda x: 2 * x))
        seen = []
        reading = Edit("resid_post", 1, len(tokens) - 1, lambda x: seen.append(x.clone()) or x)
        oracle.logits(llama, tokens, [*edits, reading])
        state = seen[-1]
        assert cell == pytest.approx(said(llama, state, 0), abs=1e-4)
        read = ls.LogitLens().read(llama, list(tokens), layers=1, positions=-1, patches=patches)
        logits = ls.LogitLens().logits(llama, state, ls.resid_post(1))
        assert read.data.token_id.values[0, 0, 0, 0] == int(logits.argmax())
        assert read.notes == result.notes
    assert "mlp_out(0).zero()" in result.notes[0] and "patched" in result.notes[0]
    plain = SCOPE.inspect(llama, [ONE, "w9 w11"], layers=[1], target_layers=0)
    assert plain.notes == () and not plain.frame().equals(result.frame())
    with pytest.raises(ls.PositionError, match="'w11'"):
        SCOPE.inspect(llama, [ONE, TWO], patches=patches)
    with pytest.raises(ls.PatchError, match="come from no run"):
        SCOPE.inspect(llama, torch.ones(32), patches=patches)


def test_other_sites_are_read_as_they_are_named(llama):
    found = SCOPE.inspect(llama, ONE, sites=ls.mlp_out(1), target_layers=2)
    state = oracle.activations(llama, ls.capture(llama, ONE, ls.embed).prompts[0].ids, "mlp_out", 1)
    assert found.data.first_token_probability.item() == pytest.approx(
        said(llama, state[-1], 2), abs=1e-4
    )
    with pytest.raises(ls.SiteError, match=r"sites=ls\.head_out\(1, 2\)"):
        ls.Patchscope(W, read=ls.head_out(1, 2))
    with pytest.raises(ls.BasisError, match=r"W_O\[2\]\.T"):
        SCOPE.inspect(llama, ONE, sites=ls.head_out(1, 2))
    out = ls.affine(llama.blocks[1].attn.W_O[2].T)
    head = ls.Patchscope(W, transform=out, max_new_tokens=1)
    assert len(head.inspect(llama, ONE, sites=ls.head_out(1, 2), target_layers=1).frame()) == 1
    for wrong in ([ls.mlp_out, ls.attn_out], ls.mlp_out(1).at(2), []):
        with pytest.raises(ls.SiteError, match="do not say what is read"):
            SCOPE.inspect(llama, ONE, sites=wrong)


def test_raw_vectors_have_names(llama):
    up, down = torch.randn(2, 32)
    forms = [
        SCOPE.inspect(llama, given, layers=1, names=names)
        for given, names in (
            (torch.stack([up, down]), ["queen - king", "down"]),
            ([up, down.numpy()], ("queen - king", "down")),
            ({"queen - king": up.bfloat16().float(), "down": down}, None),
        )
    ]
    for result in forms:
        assert result.data.prompt.values.tolist() == ["queen - king", "down"]
        assert result.frame()["prompt"].tolist() == ["queen - king", "down"]
        assert "queen - king" in result.to_svg() and "queen - king" in result.to_html()
        assert "queen - king" in str(result) and "vector 0" not in result.to_json()
    assert forms[0].frame().equals(forms[1].frame())
    for given, names in (
        (up, ["a", "b"]),
        ([up, up[:3]], None),
        ({"a": up[None]}, None),
        (ONE, "a"),
    ):
        with pytest.raises(ls.PatchError, match="instead:"):
            SCOPE.inspect(llama, given, names=names)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, np.float64])
def test_vectors_are_cast_to_the_model_s_dtype(llama, dtype):
    exact = torch.linspace(-2, 2, 33)[:32].bfloat16()
    given = exact.float().numpy().astype(dtype) if dtype is np.float64 else exact.to(dtype)
    found = SCOPE.inspect(llama, given, target_layers=1).frame()
    assert found.equals(SCOPE.inspect(llama, exact.float(), target_layers=1).frame())
    at = ls.resid_post(1).at(1)
    patched = ls.run(llama, ONE, [at.set(exact)]).logits
    assert torch.equal(patched, ls.run(llama, ONE, [at.set(exact.float())]).logits)
    with pytest.raises(ls.PatchError, match=r"value\.to\(torch\.float32\)"):
        ls.run(llama, ONE, [at.set(exact.half())])


def test_the_frame_has_the_logit_lens_at_its_end(llama):
    frame = SCOPE.inspect(llama, ONE, layers=[1]).frame()
    assert frame.columns.tolist()[-2:] == ["logit_lens", "logit_lens_probability"]
    read = ls.LogitLens().read(llama, ONE, layers=1, positions=-1, top_k=1).frame()
    assert frame["logit_lens"].item() == read["predicted"].item()
    heads = ls.Patchscope(W, write=ls.head_out(None, 2), max_new_tokens=1).inspect(llama, ONE)
    assert heads.frame().columns.tolist() == frame.columns.tolist()
    assert heads.frame()["logit_lens"].isna().all()
