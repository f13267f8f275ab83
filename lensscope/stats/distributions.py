"""Quantiles of the beta distribution and of Student's, which numpy does not have."""

from __future__ import annotations

import functools
import math
from typing import Any, TypeAlias

import numpy as np

Numbers: TypeAlias = Any
"""An array of numbers, or one number."""


def _beta(x: Numbers, a: Numbers, b: Numbers, scale: Numbers) -> tuple[Numbers, Numbers]:
    """The regularised incomplete beta function by its continued fraction (Lentz), and its slope.

    Args:
        x: where.
        a, b: of the distribution.
        scale: the logarithm of its beta function.
    """
    with np.errstate(divide="ignore"):
        weight = np.exp(a * np.log(x) + b * np.log1p(-x) - scale)
    turned = x > (a + 1) / (a + b + 2)
    a, b, at = np.where(turned, b, a), np.where(turned, a, b), np.where(turned, 1 - x, x)
    c = np.ones_like(at)
    d = 1 / _away(1 - (a + b) * at / (a + 1))
    found = d
    for m in range(1, 500):
        for step in (
            m * (b - m) * at / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * at / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + step * d)
            c = _away(1 + step / c)
            found = found * c * d
        if np.all(np.abs(c * d - 1) < 1e-12):
            break
    found = weight / a * found
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(turned, 1 - found, found), weight / (x * (1 - x))


def _away(values: Numbers) -> Numbers:
    """Not zero, which could not be divided by."""
    found: Numbers = np.where(np.abs(values) < 1e-300, 1e-300, values)
    return found


_gamma = np.vectorize(math.lgamma, otypes=[float])


def beta_quantile(a: Numbers, b: Numbers, p: float) -> Numbers:
    """Where so much of a beta distribution lies below: Newton's steps, halves where they miss."""
    scale = _gamma(a) + _gamma(b) - _gamma(a + b) if np.size(a) else np.zeros(np.shape(a))
    low, high = np.zeros(np.shape(a)), np.ones(np.shape(a))
    at = a / (a + b)
    for _ in range(60):
        below, slope = _beta(at, a, b, scale)
        low, high = np.where(below < p, at, low), np.where(below < p, high, at)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = at - (below - p) / slope
        inside = (step > low) & (step < high)
        after = np.where(inside, step, (low + high) / 2)
        done = np.abs(after - at) <= 1e-12
        at = after
        if np.all(done):
            break
    return at


def student(freedom: Numbers, level: float) -> Numbers:
    """Student's quantile, both tails together as unlikely as the level leaves."""
    each, back = np.unique(np.asarray(freedom, float), return_inverse=True)
    found = np.array([_student_one(float(one), level) for one in each])
    return found[back].reshape(np.shape(freedom))


@functools.lru_cache(maxsize=4096)
def _student_one(freedom: float, level: float) -> float:
    at = float(beta_quantile(np.array(freedom / 2), np.array(0.5), 1 - level))
    return math.sqrt(freedom * (1 - at) / at)
