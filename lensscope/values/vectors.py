"""Raw vectors: states, or differences of states, that are given by themselves, without a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.errors import PatchError
from lensscope.values.operations import as_value, check_finite

VectorsLike: TypeAlias = Tensor | np.ndarray | Sequence[Any] | Mapping[Any, Any]
"""One vector or several, or several by their names."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Some vectors, and what each is called."""

    rows: Float[Tensor, "vector width"]
    names: tuple[str, ...]

    def refuse(self, **asked: Any) -> None:
        """Refuse what is asked of a run, by its name: vectors come from none.

        Raises:
            PatchError: something is.
        """
        given = {n: v for n, v in asked.items() if v is not None and not _empty(v)}
        if given:
            said = ", ".join(f"{name}={checks.seen(value)}" for name, value in given.items())
            raise PatchError(
                "Raw vectors come from no run.",
                got=said,
                expected="a prompt, for what is asked of its run",
                instead="scope.inspect(model, prompt, …) or lens.read(model, prompt, …)",
            )

    def cast(self, dtype: torch.dtype) -> Vectors:
        """The same in a model's dtype.

        What is in float16 stays so, and is refused where it does not fit: of states, float16 may
        not have held all, and whoever takes them for whole says so by a cast.
        """
        if self.rows.dtype == torch.float16:
            return self
        rows = self.rows.to(dtype)
        check_finite(rows, f"A raw vector is infinite in the model's dtype, {dtype}.")
        return replace(self, rows=rows)


def vectors_of(given: Any, names: Sequence[str] | str | None = None) -> Vectors | None:
    """Raw vectors, if it is such that are given and not prompts.

    Args:
        given: floats ``[d_model]`` or ``[vector, d_model]``, a list of ``[d_model]``, or a mapping
            to these from what they are called.
        names: what each is called; by default what the mapping says, or its number.

    Raises:
        PatchError: vectors of other axes or of several widths, not finite, or other names than
            there are vectors.

    Example:
        >>> from lensscope.values.vectors import vectors_of
        >>> vectors_of({"up": torch.ones(2), "down": -torch.ones(2)}).names
        ('up', 'down')
        >>> vectors_of("a prompt") is None
        True
    """
    named = isinstance(given, Mapping)
    several = list(given.values()) if isinstance(given, Mapping) else []
    if isinstance(given, list | tuple):
        several = list(given)
    if not _floats(given) and not (several and all(map(_floats, several))):
        if names is not None:
            raise PatchError(
                "Only raw vectors are given names.",
                got=f"names={checks.seen(names)}, and prompts",
                expected="names of vectors; prompts are called what they say",
                instead="scope.inspect(model, prompt)",
            )
        return None
    each = [as_value(one) for one in several]
    if len({one.shape for one in each}) > 1 or any(one.ndim != 1 for one in each):
        _refuse("Raw vectors are not all of one width.", [tuple(one.shape) for one in each[:4]])
    rows = torch.stack(each) if each else as_value(given)
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not len(rows):
        _refuse("Raw vectors have the wrong number of axes.", tuple(rows.shape))
    called: list[Any]
    if names is None:
        called = [*map(str, given)] if named else [f"vector {n}" for n in range(len(rows))]
    else:
        instead = 'names=["queen - king"]'
        called = (
            [names]
            if isinstance(names, str)
            else checks.several(names, "names", instead, PatchError)
        )
    if len(called) != len(rows) or not all(isinstance(one, str) for one in called):
        raise PatchError(
            "There is not one name for each vector.",
            got=f"{checks.seen(called)} for {len(rows)} vectors",
            expected="as many texts",
            instead="names=['queen - king'], or a dict of vectors by name",
        )
    return Vectors(rows, tuple(called))


def _empty(value: Any) -> bool:
    return isinstance(value, list | tuple) and not value


def _floats(given: Any) -> bool:
    """Whether it is an array of floats with axes, of torch or numpy."""
    if isinstance(given, Tensor):
        return given.is_floating_point() and given.ndim > 0
    return isinstance(given, np.ndarray) and given.dtype.kind == "f" and given.ndim > 0


def _refuse(what: str, got: Any) -> NoReturn:
    raise PatchError(
        what,
        got=checks.seen(got) if not isinstance(got, str) else got,
        expected="[d_model], [vector, d_model], a list or a dict of vectors [d_model]",
        instead='{"queen - king": two[0] - two[1]}, or cache[site][0, -1]',
    )
