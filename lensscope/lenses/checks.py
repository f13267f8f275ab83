"""Checks of what users give to lenses, which all say the same of the same mistake."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lensscope.errors import LensError, LensscopeError


def whole_number(
    value: Any, name: str, least: int, instead: int, error: type[LensscopeError] = LensError
) -> int:
    """A whole number of at least ``least``.

    Raises:
        error: it is none.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise error(
            f"{name} is a whole number.",
            got=f"{name}={value!r}",
            expected=f"at least {least}",
            instead=f"{name}={instead}",
        )
    return number


def number(
    value: Any, name: str, least: float, instead: float, error: type[LensscopeError] = LensError
) -> float:
    """A finite number of at least ``least``.

    Raises:
        error: it is none.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not least <= found < float("inf"):
        raise error(
            f"{name} is a number.",
            got=f"{name}={value!r}",
            expected=f"at least {least:g}",
            instead=f"{name}={instead:g}",
        )
    return found


def several(
    value: Any, what: str, instead: str, error: type[LensscopeError] = LensError
) -> list[Any]:
    """What can be gone through, as a list of at least one.

    Raises:
        error: it cannot, or is empty.
    """
    found = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
    if not found:
        raise error(
            f"These are not {what}.",
            got=repr(value)[:80],
            expected=f"a list of {what}, at least one",
            instead=instead,
        )
    return found


def refuse_inference_mode() -> None:
    """Refuse to fit where no gradients can flow.

    Raises:
        LensError: inside ``torch.inference_mode()``.
    """
    if torch.is_inference_mode_enabled():
        raise LensError(
            "Gradients do not flow in inference mode.",
            got="a fit inside torch.inference_mode()",
            expected="a call outside of it",
            instead="torch.no_grad() around what needs no gradients",
        )


def refuse_nan(log_p: Tensor, what: str) -> None:
    """Refuse a distribution that is none.

    Args:
        log_p: log-probabilities; where one of a row is not a number, all are not.
        what: whose they are.

    Raises:
        LensError: some are NaN.
    """
    wrong = int(log_p[:, 0].isnan().sum())
    if wrong:
        raise LensError(
            f"{what} gives no distribution.",
            got=f"NaN at {wrong} of {len(log_p)} states",
            expected="finite logits",
            instead="a model and a lens without NaN or infinity in their weights",
        )
