"""Intervals: how often they hold what is true, by simulation, and what they say at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from lensscope.errors import PatchError
from lensscope.stats.distributions import beta_quantile, student
from lensscope.stats.intervals import Sums, proportion, ratio_interval

SHARES = (0.02, 0.0275, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)


def covered(low, high, truth) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize("p", SHARES)
def test_a_proportion_is_covered(n, p):
    hits = np.random.default_rng([n, int(1e4 * p)]).binomial(n, p, 4000)
    assert covered(*proportion(hits, n), p) >= 0.94
    low, high = Sums.each((np.arange(n)[:, None] < hits).astype(float), 1.0).interval()
    np.testing.assert_allclose([low, high], proportion(hits, n), atol=1e-6)


def test_all_hits_are_not_certain():
    low, high = proportion([20, 0, 1, 0], [20, 20, 1, 0])
    assert low[0] == pytest.approx(0.8316, abs=1e-4) and high[0] == 1
    assert low[1] == 0 and high[1] == pytest.approx(0.1684, abs=1e-4)
    assert low[2] == pytest.approx(0.025) and high[2] == 1
    assert np.isnan([low[3], high[3]]).all()


SCORES = {
    "as ROUGE-L": (lambda rng, shape: rng.beta(2, 8, shape), 0.2),
    "mostly nothing": (lambda rng, shape: rng.beta(0.3, 3, shape), 1 / 11),
    "nothing or something": (
        lambda rng, shape: (rng.random(shape) < 0.2) * rng.beta(3, 3, shape),
        0.1,
    ),
    "four sentences of a subject": (
        lambda rng, shape: (rng.random((4, *shape)) < rng.beta(2, 1, shape)).mean(0),
        2 / 3,
    ),
    "two rare draws": (lambda rng, shape: (rng.random((2, *shape)) < 0.03).mean(0), 0.03),
}


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize("name", SCORES)
def test_means_of_scores_are_covered(n, name):
    draw, truth = SCORES[name]
    values = draw(np.random.default_rng(n), (n, 2000))
    assert covered(*Sums.each(values, 1.0).interval(), truth) >= 0.94


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_texts_with_more_tokens_than_others(p):
    rng = np.random.default_rng(3)
    size = rng.integers(1, 40, (20, 2000))
    hits = rng.binomial(size, rng.beta(p * 7 / 3, (1 - p) * 7 / 3, (20, 2000)))
    assert covered(*Sums.each(hits, size).interval(), p) >= 0.92


# of the state and of the control: both right, only the state, only the control, neither
PAIRS = [
    (0.5, 0.05, 0.05, 0.4),
    (0.9, 0.05, 0.0, 0.05),
    (0.02, 0.9, 0.02, 0.06),
    (0.0, 0.98, 0.0, 0.02),
    (0.02, 0.02, 0.02, 0.94),
    (0.5, 0.02, 0.0, 0.48),
    (0.25, 0.25, 0.25, 0.25),
]


def lifts(state, controls):
    sums = Sums.empty((1 + len(controls), state.shape[1]))
    for n, own in enumerate(state):
        sums.add((), np.concatenate([own[None], controls[:, n]]), 1.0, own)
    return sums.lift()


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize("shares", PAIRS)
def test_differences_of_paired_proportions_are_covered(n, shares):
    kind = np.random.default_rng(n).choice(4, (n, 2000), p=shares)
    state, control = (kind < 2).astype(float), (kind % 2 == 0).astype(float)
    found, low, high = lifts(state, control[None])
    np.testing.assert_allclose(found, state.mean(0) - control.mean(0), atol=1e-12)
    assert covered(low, high + 1e-12, shares[1] - shares[2]) >= 0.94


@pytest.mark.parametrize(("own", "others"), [(0.9, (0.1,) * 4), (0.8, (0.4, 0.3, 0.0, 0.0))])
def test_the_lift_over_the_largest_of_several_is_covered(own, others):
    rng = np.random.default_rng(1)
    state = (rng.random((20, 2000)) < own).astype(float)
    controls = (rng.random((4, 20, 2000)) < np.array(others)[:, None, None]).astype(float)
    found, low, high = lifts(state, controls)
    assert covered(low, high, own - max(others)) >= 0.94
    np.testing.assert_allclose(found, state.mean(0) - controls.mean(1).max(0), atol=1e-12)


def test_a_lift_is_never_certain():
    state = np.ones((20, 1))
    _, low, high = lifts(state, np.stack([state * 0, state * np.nan]))
    assert low[0] == pytest.approx(0.762, abs=0.001) and high[0] == 1
    _, low, high = lifts(state, state[None])
    assert low[0] < -0.1 and high[0] > 0.1
    assert np.isnan(lifts(state, state[None] * np.nan)).all()


RATIOS = {
    "as effects are": (lambda rng, gap: (gap * 0.6 + rng.normal(0, 0.5, gap.shape), gap), 0.6),
    "skewed": (lambda rng, gap: (gap * rng.beta(4, 2, gap.shape), gap), 2 / 3),
}


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("name", RATIOS)
def test_ratios_are_covered_as_far_as_their_pairs_allow(n, name):
    draw, truth = RATIOS[name]
    rng = np.random.default_rng(n)
    over, under = draw(rng, np.exp(rng.normal(1, 0.4, (n, 1000))))
    assert covered(*ratio_interval(over, under, resamples=300), truth) >= 0.92


def test_where_there_is_no_interval():
    """One pair, and pairs that are all alike, do not say how far others would be."""
    assert np.isnan(ratio_interval(np.ones((1, 2)), np.ones((1, 2)))).all()
    over = np.array([[1.0, 2.0, 0.5], [1.0, 2.0, 0.7], [1.0, 2.0, 0.6]])
    found = ratio_interval(over, np.ones(3)[:, None])
    assert np.isnan(found[:, :2]).all() and np.isfinite(found[:, 2]).all()
    np.testing.assert_allclose(ratio_interval(-over, -np.ones(3)[:, None]), found)
    missing = ratio_interval(np.append(over, [[0, 0, 0]], 0), np.array([1.0, 1, 1, 0])[:, None])
    assert (missing[0, 2] <= found[0, 2] + 1e-9) and missing[1, 2] >= found[1, 2] - 1e-9
    low, high = Sums.each(over, 1.0).unbounded()
    assert np.isnan(low[:2]).all() and high[2] > 0.7
    with pytest.raises(PatchError, match="no such interval"):
        ratio_interval(over, over, level=1.0)


def test_items_may_come_in_any_order_and_in_groups():
    rng = np.random.default_rng(0)
    over, under = rng.random((12, 4)), rng.integers(1, 5, (12, 4)).astype(float)
    whole = Sums.each(over * under, under)
    parts = Sums.empty((3, 4))
    for n in rng.permutation(12):
        parts.add((int(n) % 3,), over[n] * under[n], under[n])
    np.testing.assert_allclose(parts.sum(0).interval(), whole.interval(), atol=1e-9)
    assert whole.items.tolist() == [12] * 4


def test_quantiles_are_what_tables_say():
    assert student(np.array([1.0, 4.0, 19.0]), 0.95) == pytest.approx(
        [12.7062, 2.7764, 2.0930], abs=1e-4
    )
    assert beta_quantile(np.array([1.0]), np.array([1.0]), 0.3) == pytest.approx(0.3)
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.random(500) * 40 + 1e-3, rng.random(500) * 200 + 1e-3
    np.testing.assert_allclose(beta_quantile(a, b, 0.025), stats.beta.ppf(0.025, a, b), atol=1e-8)
