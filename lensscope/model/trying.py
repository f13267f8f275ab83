"""How something is tried on a model: once, on a few tokens, undisturbed; and what is said of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from lensscope.errors import ModelError
from lensscope.model.attaching import apart
from lensscope.model.layouts import Backend, telling_length

T = TypeVar("T")

_LENGTH: Final = 8
"""Tokens of a trial, at most."""


@dataclass(frozen=True)
class Trial:
    """One thing that was tried.

    Attributes:
        name: what.
        holds: whether it does what it should.
        seen: the figure, or what went wrong.
    """

    name: str
    holds: bool
    seen: str


_FOUND: weakref.WeakKeyDictionary[Any, dict[object, Any]] = weakref.WeakKeyDictionary()


def once(backend: Backend, name: object, find: Callable[[], T]) -> T:
    """What ``find`` gave for this model the first time, in its dtype and on its device.

    Neither the user's own hooks act meanwhile nor those of the call that asks.
    """
    found = _FOUND.setdefault(backend.model, {})
    key = (name, backend.dtype, backend.device)
    if key not in found:
        found[key] = undisturbed(backend, find)
    return found[key]


def undisturbed(backend: Backend, find: Callable[[], T]) -> T:
    """What ``find`` gives where neither the user's hooks act nor those of the call that asks."""
    return apart(partial(_alone, backend, find))


def _alone(backend: Backend, find: Callable[[], T]) -> T:
    with torch.no_grad(), backend.alone():
        return find()


def trial_tokens(backend: Backend, length: int | None = None) -> Tensor:
    """A prompt to try things on, ``[1, length]``."""
    longest = min(length or _LENGTH, backend.n_ctx or _LENGTH)
    longest = telling_length(backend, longest) if length is None else longest
    return torch.tensor([[37 * t % backend.d_vocab for t in range(3, 3 + longest)]]).to(
        backend.device
    )


def error_of(got: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the spread of what is expected; NaN counts as all."""
    spread = float((expected.max() - expected.min()).float().clamp_min(1e-6))
    error = float((got.float() - expected.float()).abs().max()) / spread
    return error if error == error else float("inf")


def tolerance(backend: Backend) -> float:
    """Rounding is below this by far, and what is mixed up above."""
    return 1e-3 if backend.dtype in (torch.float32, torch.float64) else 5e-2


def attempt(act: Callable[[], T]) -> T | Exception:
    """What comes of it, or the error that it ended in: a trial's own failure is an answer."""
    try:
        return act()
    except (ModelError, TimeoutError):
        raise  # of who asks, not of the way: the model is taken, or time is up
    except Exception as error:  # of whatever library: all of them mean that this way is closed
        return error


def verdict(name: str, act: Callable[[], tuple[Tensor, Tensor]], limit: float) -> Trial:
    """Whether what one way gives is what another gives; a way that raises does not hold."""
    found = attempt(act)
    if isinstance(found, Exception):
        text = str(found).splitlines()[0][:100] if str(found) else ""
        return Trial(name, False, f"{type(found).__name__}: {text}")
    error = error_of(*found)
    return Trial(name, error <= limit, f"differs by {error:.2g} of the spread")
