"""Checks of what users give to lenses, which all say the same of the same mistake."""

from __future__ import annotations

from torch import Tensor

from lensscope.errors import LensError


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
