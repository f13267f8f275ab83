"""Means of states, and steering by their differences."""

from __future__ import annotations

import copy

import pytest
import torch

import lensscope as ls
from tests import families, oracle
from tests.oracle import Edit, close

SHORT, LONG, OTHER = families.prompt(3), families.prompt(8, seed=1), families.prompt(5, seed=2)
SITE = ls.resid_post(1)


def states(model, prompt, kind="resid_post"):
    return oracle.activations(model, prompt, kind, 1)


def test_padding_does_not_count(llama):
    cache = ls.capture(llama, [SHORT, LONG], [SITE, ls.head_out(1), ls.mlp_out(1, None).at(-1)])
    means = cache.mean()
    a, b = states(llama, SHORT), states(llama, LONG)
    close(means[SITE], torch.cat([a, b]).mean(0), 1e-5)
    close(cache.mean("prompt")[SITE], (a.mean(0) + b.mean(0)) / 2, 1e-5)
    heads = torch.cat([states(llama, p, "head_out") for p in (SHORT, LONG)]).mean(0)
    close(means[ls.head_out(-2, 3)], heads[3], 1e-5)
    last = torch.stack([states(llama, p, "mlp_out")[-1] for p in (SHORT, LONG)]).mean(0)
    close(means[ls.mlp_out(1)], last, 1e-5)
    close(
        cache.sel(position=slice(1, None), kind="resid_post").mean()[SITE],
        torch.cat([a[1:], b[1:]]).mean(0),
        1e-5,
    )
    means[SITE].zero_()
    assert means[SITE].abs().sum() > 0


def test_a_difference_steers_and_is_inspected(llama):
    away = ls.capture(llama, [SHORT, LONG], [SITE, ls.resid_post(2)]).mean()
    steer = away - ls.capture(llama, OTHER, [SITE, ls.resid_post(2)]).mean()
    direction = torch.cat([states(llama, p) for p in (SHORT, LONG)]).mean(0)
    direction = direction - states(llama, OTHER).mean(0)
    close(steer[SITE], direction, 1e-5)
    assert steer.provenance.tokens == tuple(map(tuple, (SHORT, LONG, OTHER)))
    logits = ls.run(llama, OTHER, [SITE.at(-1).add(steer[SITE])]).logits[0]
    close(logits, oracle.logits(llama, OTHER, [Edit("resid_post", 1, 4, lambda x: x + direction)]))
    scope = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), max_new_tokens=1)
    said = scope.inspect(llama, steer, target_layers=1)
    assert said.data.prompt.values.tolist() == ["resid_post(1)", "resid_post(2)"]
    by_hand = scope.inspect(llama, torch.stack([*steer.values()]), target_layers=1)
    assert said.frame()["text"].tolist() == by_hand.frame()["text"].tolist()


def test_a_difference_of_means_in_half_precision_is_taken_before_it_is_rounded():
    model = families.wrap(copy.deepcopy(families.hf_model("llama")).to(torch.bfloat16))
    one = ls.capture(model, LONG, SITE)
    other = ls.capture(model, LONG[:7], SITE)
    found = (one.mean() - other.mean())[SITE]
    exact = one[SITE][0].float().mean(0) - other[SITE][0].float().mean(0)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.to(torch.bfloat16))


def test_what_has_no_one_mean_is_refused(llama):
    other = families.build(families.Case("qwen2", "bridge", "raw"))
    mean = ls.capture(llama, SHORT, SITE).mean()
    for call in (
        lambda: ls.capture(llama, SHORT, ls.pattern(1)).mean(),
        lambda: ls.capture(llama, SHORT, [SITE.at(0), SITE.at(1)]).mean(),
        lambda: ls.capture(llama, SHORT, SITE).mean("layer"),
        lambda: mean[ls.resid_post(2)],
        lambda: mean[SITE.at(1)],
        lambda: mean - ls.capture(llama, SHORT, ls.resid_post(2)).mean(),
        lambda: mean - ls.capture(other, SHORT, SITE).mean(),
    ):
        with pytest.raises((ls.CacheError, ls.BasisError), match="instead:"):
            call()
