"""Lenses on the real demo model, against TransformerLens' own and the paper's findings."""

from __future__ import annotations

import pytest
import torch

import lensscope as ls

PROMPT = "The Eiffel Tower is in the city of"


def test_the_logit_lens_is_that_of_transformer_lens(demo):
    theirs = pytest.importorskip("transformer_lens.tools.analysis.logit_lens", reason="4.x only")
    ids = demo.to_tokens(PROMPT, prepend_bos=False)
    other = theirs.logit_lens(demo, ids, positions=None, return_type="probs").values[:, 0]
    before = ls.LogitLens().read(demo, PROMPT, ls.resid_pre, full=True, measures="entropy")
    after = ls.LogitLens().read(demo, PROMPT, ls.resid_post(-1), full=True)
    own = torch.cat(
        [torch.tensor(r.data.full_log_probability.values[0]).exp() for r in (before, after)]
    )
    assert own.shape == other.shape
    assert float((own - other).abs().max()) < 1e-3
    assert before.data.predicted.sel(layer=29, position=8, rank=0).item() == " Paris"


def test_the_jacobian_lens_is_that_of_transformer_lens(demo, tmp_path):
    theirs = pytest.importorskip("transformer_lens.tools.analysis").JacobianLens
    generator = torch.Generator().manual_seed(0)
    jacobians = {
        layer: torch.eye(576) + torch.randn(576, 576, generator=generator) / 100
        for layer in (0, 14, 28)
    }
    name = demo.cfg.model_name
    other = theirs(jacobians, n_prompts=1, d_model=576, metadata={"model_name": name})
    ids = demo.to_tokens(PROMPT, prepend_bos=False)
    result = other.readout(demo, ids, return_full_logits=True)
    lens = ls.JacobianLens.from_transformer_lens(other)
    reading = lens.read(demo, PROMPT, full=True)
    assert reading.data.layer.values.tolist() == [0, 14, 28, 29]
    for layer in (0, 14, 28, 29):
        own = torch.tensor(reading.data.full_log_probability.sel(layer=layer).values[0]).exp()
        expected = result.lens_logits[layer].softmax(-1)
        assert float((own - expected).abs().max()) < 1e-3
    wrong = theirs(jacobians, n_prompts=1, d_model=576, metadata={"model_name": "gpt2"})
    with pytest.raises(ls.BasisError, match="gpt2"):
        ls.JacobianLens.from_transformer_lens(wrong).read(demo, PROMPT)


def test_token_identity_agrees_with_the_model_sooner_than_the_logit_lens(demo):
    """What section 4.1 of the Patchscopes paper found on larger models."""
    prompts = [
        "The capital of Japan is the city of",
        "The Eiffel Tower is in the city of",
        "Barack Obama was the president of the United",
        "Two plus two is equal to",
        "The opposite of hot is",
        "The sun rises in the",
    ]
    lenses = [ls.LogitLens(), ls.Patchscope.token_identity().as_lens()]
    report = ls.compare(demo, prompts, lenses, layers=[20, 22, 24, 26])
    mean = report.data.mean("layer")
    for value, better in (("precision_at_1", 1), ("surprisal", -1), ("kl", -1)):
        identity = float(mean[value].sel(lens="token identity"))
        logit = float(mean[value].sel(lens="logit lens"))
        assert better * (identity - logit) > 0, value
