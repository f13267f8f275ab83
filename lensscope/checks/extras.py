"""What must be there for a call: a library that comes with an extra, a way for gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lensscope.errors import LensscopeError


@contextmanager
def needing(
    extra: str, what: str, expected: str, error: type[LensscopeError], otherwise: str = ""
) -> Iterator[None]:
    """Imports that stand in the ``with`` block are of an extra.

    Args:
        extra: its name.
        what: what is missing without it.
        expected: the library.
        error: what is raised.
        otherwise: what may be written to do without it.
    """
    try:
        yield
    except ImportError as missing:
        raise error(
            what,
            got=str(missing),
            expected=expected,
            instead=f"pip install 'lensscope[{extra}]'" + (otherwise and f", or {otherwise}"),
        ) from missing


def gradients_flow(where: str, error: type[LensscopeError]) -> None:
    """Refuse inference mode, in which there are no gradients."""
    if torch.is_inference_mode_enabled():
        raise error(
            "Gradients do not flow in inference mode.",
            got=f"{where} inside torch.inference_mode()",
            expected="a call outside of it",
            instead="torch.no_grad() around what needs no gradients",
        )
