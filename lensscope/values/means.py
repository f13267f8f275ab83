"""Means of states and their differences: a vector for each site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import CacheError
from lensscope.values.keys import key_of
from lensscope.values.provenance import Provenance
from lensscope.values.sites import Site


class Means(Mapping[Site, Tensor]):
    """A read-only mapping from `Site` to the mean of its states, or to a difference of two means.

    Made by `Cache.mean`. It is no `Cache`, for what it holds is of no token: sites have no position
    here. ``a - b`` is the difference at each site, taken in float32 at least. ``scope.inspect``,
    ``lens.read`` and the verbs of a site take what it holds; its provenance has the tokens of all
    prompts that it is of.

    Example:
        >>> cache = ls.capture(model, ["Rome is", "Paris is"], ls.resid_post(3).at(-1))
        >>> cache.mean()[ls.resid_post(3)].shape
        torch.Size([576])
    """

    def __init__(
        self, vectors: Mapping[Site, Tensor], dtype: torch.dtype, provenance: Provenance
    ) -> None:
        self._vectors = dict(vectors)
        self._dtype = dtype
        self.provenance = provenance

    def __getitem__(self, site: Site | str) -> Float[Tensor, "*axes"]:
        key = key_of(site, self.provenance)
        whole = key.whole if key.position is None else key
        if key in self._vectors or whole in self._vectors:
            found = self._vectors.get(key)
            vector = self._vectors[whole][key.head] if found is None else found
            return vector.to(self._dtype, copy=True)
        raise CacheError(
            f"There is no mean at {key!r}.",
            got=", ".join(map(repr, [*self][:6])),
            expected="one of these sites, without a position",
            instead=f"cache.mean()[{next(iter(self))!r}]",
        )

    def __iter__(self) -> Iterator[Site]:
        return iter(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    def __sub__(self, other: Means) -> Means:
        if not isinstance(other, Means):
            return NotImplemented
        other.provenance.check_basis(self.provenance, "What is subtracted")
        if self.keys() != other.keys():
            raise CacheError(
                "These means are not of the same sites.",
                got=f"{', '.join(map(repr, [*self][:4]))} and {', '.join(map(repr, [*other][:4]))}",
                expected="the same sites on both sides",
                instead="ls.capture(model, prompts, sites).mean(), with the same sites for both",
            )
        apart = {site: vector - other._vectors[site] for site, vector in self._vectors.items()}
        tokens = self.provenance.tokens + other.provenance.tokens
        return Means(apart, self._dtype, replace(self.provenance, tokens=tokens))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, [*self][:6])) + (", …" if len(self) > 6 else "")
        return f"Means({shown}; {len(self.provenance.tokens)} prompts; {self.provenance.model})"


def mean_of(
    held: Mapping[Site, tuple[Tensor, list[int]]], provenance: Provenance, *, by_prompt: bool
) -> Means:
    """The means of what a cache holds.

    Args:
        held: of each site its states ``[prompt, position, …]``, and how many of them each prompt
            has; what lies beyond is padding.
        provenance: of the cache.
        by_prompt: whether each prompt counts once, and not each token.

    Raises:
        CacheError: patterns, or sites that differ in their positions only.
    """
    found: dict[Site, Tensor] = {}
    for site, (states, lengths) in held.items():
        place = Site(site.kind, site.layer, site.head)
        if place in found or "key" in site.axes:
            raise CacheError(
                "There is no one mean here.",
                got=f"{site!r}, whose keys are tokens"
                if "key" in site.axes
                else f"{site!r}, and {place!r} at other positions",
                expected="states that are vectors, at each site once",
                instead="cache.sel(position=-1).mean(), or cache.sel(kind='resid_post').mean()",
            )
        rows = [row[:n] for row, n in zip(states, lengths, strict=True)]
        rows = [row.mean(0, keepdim=True) for row in _exact(rows)] if by_prompt else _exact(rows)
        found[place] = torch.cat(rows).mean(0)
    return Means(found, next(iter(held.values()))[0].dtype, provenance)


def _exact(rows: list[Tensor]) -> list[Tensor]:
    """In float32 at least, for a mean of many in half of it would be a mean of few."""
    return [row.to(torch.promote_types(row.dtype, torch.float32)) for row in rows]
