"""Lenses on vectors that no prompt gave."""

from __future__ import annotations

import json

import pytest
import torch

import lensscope as ls
from tests import families

NAMES = ["queen - king", "down"]


def test_the_logit_lens_reads_a_vector_without_a_layer(llama, tmp_path):
    rows, lens = torch.randn(2, 32), ls.LogitLens()
    expected = lens.logits(llama, rows, ls.resid_post(2)).log_softmax(-1)
    reading = lens.read(llama, rows.double(), names=NAMES, measures="entropy", targets=[5])
    assert reading.data.prompt.values.tolist() == NAMES
    best = torch.from_numpy(reading.data.log_probability.values[:, 0, 0])
    torch.testing.assert_close(best, expected.topk(10).values, atol=1e-5, rtol=1e-5)
    frame = reading.frame()
    assert len(frame) == 20 and frame["position"].isna().all()
    assert frame["prompt"].unique().tolist() == NAMES
    for shown in (str(reading), reading.to_svg(), reading.to_html(), reading.to_json()):
        assert "queen - king" in shown
    assert json.loads(reading.to_json())["cells"][0]["position"] is None
    assert ls.LensReading.load(reading.save(tmp_path / "r")).data.equals(reading.data)
    named = lens.read(llama, dict(zip(NAMES, rows, strict=True)))
    assert named.data.predicted.equals(reading.data.predicted)


def test_a_lens_with_layers_is_told_which(llama):
    rows = torch.randn(2, 32)
    tuned = ls.AffineLens.fit(llama, [families.prompt(20, seed=n) for n in range(4)])
    reading = tuned.read(llama, rows, layers=[0, 1], top_k=1)
    for layer in (0, 1):
        logits = tuned.logits(llama, rows, ls.resid_post(layer))
        found = reading.data.token_id.sel(layer=layer).values[:, 0, 0]
        assert found.tolist() == logits.argmax(-1).tolist()
    fixed = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), write=ls.resid_pre(1)).as_lens()
    assert fixed.read(llama, rows).data.sizes["layer"] == 1
    scope = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50")).as_lens()
    for lens in (tuned, scope):
        with pytest.raises(ls.LensError, match="reads each layer in its own way"):
            lens.read(llama, rows)


@pytest.mark.parametrize(
    "how",
    [
        {"measures": "all"},
        {"positions": -1},
        {"patches": [ls.mlp_out(0).zero()]},
        {"sites": ls.head_out(1, 2)},
        {"names": ["one"]},
    ],
)
def test_what_only_a_run_has_is_refused(llama, how):
    with pytest.raises(ls.LensscopeError, match="instead:"):
        ls.LogitLens().read(llama, torch.randn(2, 32), **how)
    heads = ls.LogitLens().read(llama, torch.randn(8), sites=ls.head_out(1, 2), top_k=1)
    assert heads.sites == (ls.head_out(1, 2),)
