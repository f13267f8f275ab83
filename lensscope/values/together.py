"""Results of one kind as one result: what must agree does, or it is refused; the rest is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from lensscope import checks
from lensscope.errors import LensscopeError
from lensscope.values.provenance import Provenance

if TYPE_CHECKING:
    import xarray as xr

R = TypeVar("R")

_APART: Final = "keep them apart, or make them again in the same way"
_NOTHING: Final = {"f": np.nan, "i": -1, "O": "", "U": ""}
"""What stands where a prompt has no such token, as in a result of prompts of unequal lengths."""
_COUNTED: Final = ("pair", "prompt_index")


def of_one_kind(
    results: Any, kind: type[R], error: type[LensscopeError], same: Sequence[str] = ()
) -> list[R]:
    """Results as a list, all of one kind and the same in some of their fields.

    Raises:
        error: none, something else, or fields that differ.
    """
    name = kind.__name__
    found: list[R] = checks.several(results, "results", f"{name}.together([one, other])", error)
    for one in found:
        if not isinstance(one, kind):
            raise error(
                "Only results of one kind go together.",
                got=checks.seen(one),
                expected=f"a {name}",
                instead=f"{name}.together([one, other])",
            )
        for field in same:
            agree(getattr(found[0], field), getattr(one, field), field, error)
    return found


def agree(first: Any, other: Any, what: str, error: type[LensscopeError]) -> None:
    """Refuse two results of which something differs that must not.

    Raises:
        error: with what differs.
    """
    if first == other:
        return
    if isinstance(first, Mapping) and isinstance(other, Mapping):
        name = next(n for n in {**first, **other} if first.get(n) != other.get(n))
        first, other, what = first.get(name), other.get(name), f"{what} ({name})"
    raise error(
        f"These results do not go together: they differ in their {what}.",
        got=f"{checks.seen(first)[:200]} and {checks.seen(other)[:200]}",
        expected=f"the same {what}",
        instead=_APART,
    )


def one_provenance(several: Sequence[Provenance], *, prompts: bool = True) -> Provenance:
    """The provenance of results of one model; of versions that differ, all.

    Args:
        several: one of each result.
        prompts: whether each is of prompts of its own.

    Raises:
        BasisError: other weights, or another basis.
    """
    first = several[0]
    for other in several[1:]:
        other.check_basis(first, "A result that others shall join", _APART)
    versions = {
        name: ", ".join(dict.fromkeys(p.versions[name] for p in several if name in p.versions))
        for name in dict.fromkeys(name for p in several for name in p.versions)
    }
    tokens = tuple(row for p in several for row in p.tokens) if prompts else first.tokens
    return replace(first, tokens=tokens, versions=versions)


def known_provenance(several: Sequence[Provenance | None]) -> Provenance | None:
    """As `one_provenance`, of results that do not say of which prompts, and may be from before
    they said of which model.

    Raises:
        BasisError: other weights, or another basis.
    """
    known = [one for one in several if one is not None]
    return one_provenance(known, prompts=False) if known else None


def distinct(several: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All notes, each once."""
    return tuple(dict.fromkeys(note for notes in several for note in notes))


def joined(
    several: Sequence[xr.Dataset],
    axis: str,
    error: type[LensscopeError],
    ragged: Sequence[str] = ("position",),
) -> xr.Dataset:
    """Data sets one after the other along an axis; all other axes are the same.

    Args:
        several: one or more.
        axis: along which they are put; pairs and prompts are counted on.
        error: what is raised.
        ragged: axes of tokens, of which a shorter prompt has fewer: the first ones.

    Raises:
        error: other axes, labels or variables.
    """
    import xarray as xr

    if len(several) == 1:
        return several[0]
    for tokens in ragged:
        several = _widened(several, tokens, counted=axis == "prompt")
    first = several[0]
    for other in several[1:]:
        agree(_shape(first, axis), _shape(other, axis), "axes", error)
    variables: dict[Any, xr.Variable] = {}
    for name, variable in first.variables.items():
        if axis in variable.dims:
            arrays = [one.variables[name].values for one in several]
            if name in _COUNTED:
                starts = np.cumsum([0, *(int(one.max()) + 1 for one in arrays)])
                arrays = [one + start for one, start in zip(arrays, starts[:-1], strict=True)]
            values = np.concatenate(arrays, variable.dims.index(axis))
            variable = xr.Variable(variable.dims, values)
        variables[name] = variable
    data = {name: variables[name] for name in first.data_vars}
    return xr.Dataset(data, {name: variables[name] for name in first.coords})


def _shape(data: xr.Dataset, axis: str) -> dict[str, str]:
    """What must be the same: the labels of all other axes, and how much lies along them."""
    found = {}
    for name in (*data.coords, *data.data_vars):
        own = data.variables[name]
        sizes = {d: n for d, n in zip(own.dims, own.shape, strict=True) if d != axis}
        found[str(name)] = str(sizes if axis in own.dims else own.values.tolist())
    return found


def _widened(several: Sequence[xr.Dataset], axis: str, *, counted: bool) -> Sequence[xr.Dataset]:
    """The same, with as many tokens in each; nothing where there are none."""
    if not all(axis in one.dims for one in several):
        return several  # by which they differ, or which none of them has
    if counted:
        several = [one.assign_coords({axis: np.arange(one.sizes[axis])}) for one in several]
    longest = max((one[axis].values for one in several), key=len)
    fills = {
        name: _NOTHING[variable.dtype.kind]
        for name, variable in several[0].variables.items()
        if axis in variable.dims and name != axis
    }
    return [one.reindex({axis: longest}, fill_value=fills) for one in several]
