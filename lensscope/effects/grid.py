"""What a sweep patches: sites, layers, heads, tokens and keys, as cells with named axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lensscope.engine.capture import SitesLike, as_sites
from lensscope.errors import SiteError, SweepError
from lensscope.model.backend import Backend
from lensscope.values.positions import All
from lensscope.values.site_kinds import KINDS
from lensscope.values.sites import Site

NONE = -1
"""The coordinate of a layer or head where a site has none, or all are taken together."""


@dataclass(frozen=True)
class Cell:
    """One thing to patch: the same tokens at one or, of a window, several sites.

    Attributes:
        index: where it stands on each axis of the grid.
        sites: concrete, with head if it is one head's.
        group: which group of tokens.
        key: which group of keys, of patterns by key; ``None`` for all keys.
    """

    index: tuple[int, ...]
    sites: tuple[Site, ...]
    group: int
    key: int | None


AXES = ("site", "layer", "head", "position", "key")


@dataclass(frozen=True)
class Grid:
    """All cells of a sweep, and its axes.

    Attributes:
        kinds: the kinds of site.
        places: of each kind, its layers, with ``NONE`` for one without, and of each layer its
            heads: numbers, or ``NONE`` where it has none or they go together.
        window: how many layers go together.
        n_layers: of the model.
        keys: whether each key of a pattern is a cell of its own.
        apart: whether tokens are cells of their own, or all go together.
    """

    kinds: tuple[str, ...]
    places: tuple[Mapping[int, tuple[int, ...]], ...]
    window: int
    n_layers: int
    keys: bool
    apart: bool

    @property
    def coordinates(self) -> dict[str, tuple[Any, ...]]:
        """Site, layer and head: all that any kind has."""
        return {
            "site": self.kinds,
            "layer": tuple(sorted({layer for layers in self.places for layer in layers})),
            "head": tuple(
                sorted({n for layers in self.places for heads in layers.values() for n in heads})
            ),
        }

    @property
    def sites(self) -> list[Site]:
        """What has to be read, over all tokens and heads."""
        found: dict[Site, None] = {}
        for cell in self.cells(1, 1):
            found |= dict.fromkeys(site.whole for site in cell.sites)
        return list(found)

    def cells(self, groups: int, keys: int) -> Iterator[Cell]:
        """All cells, the last axis running fastest."""
        where = {name: {v: i for i, v in enumerate(c)} for name, c in self.coordinates.items()}
        for k, kind in enumerate(self.kinds):
            by_key: Sequence[int | None] = range(keys) if self.keys else [None]
            for layer, heads in self.places[k].items():
                for head in heads:
                    sites = self._window(kind, layer, head)
                    for group in range(groups):
                        for key in by_key:
                            index = (k, where["layer"][layer], where["head"][head], group, key or 0)
                            yield Cell(index, sites, group, key)

    def _window(self, kind: str, layer: int, head: int) -> tuple[Site, ...]:
        """The sites that go together: as many layers as fit around the middle one."""
        number = None if head == NONE else head
        if layer == NONE:
            return (Site(kind, None, number),)
        first = max(0, layer - self.window // 2)
        last = min(self.n_layers, layer - self.window // 2 + self.window)
        return tuple(Site(kind, n, number) for n in range(first, last))


def grid_of(
    backend: Backend, sites: SitesLike, heads: Any, *, window: int, keys: bool, apart: bool
) -> Grid:
    """The grid of what a user asks for.

    Args:
        backend: the model.
        sites: one or several; without a layer, every layer.
        heads: ``None`` for each by itself, ``ALL`` for all together, or some of them.
        window: how many layers go together.
        keys: whether each key of a pattern is a cell of its own.
        apart: whether tokens are cells of their own.

    Raises:
        SiteError: a site that the model lacks, or heads of sites without.
        SweepError: no sites, or a window that is none.
    """
    asked = as_sites(sites, backend.n_layers)
    if not asked:
        raise SweepError(
            "There are no sites to patch.",
            got="an empty list",
            expected="at least one site",
            instead="sites=ls.resid_pre, or sites=[ls.head_out, ls.mlp_out]",
        )
    found: dict[str, dict[int, set[int]]] = {}
    for site in asked:
        layers = found.setdefault(site.kind, {})
        for concrete in backend.concrete(site):
            layer = NONE if concrete.layer is None else concrete.layer
            layers.setdefault(layer, set()).update(_heads(backend, concrete, heads))
    kinds = tuple(found)
    if heads is not None and all(KINDS[kind].head_axis is None for kind in kinds):
        raise SiteError(
            "These sites have no heads.",
            got=f"heads={heads!r} at {', '.join(kinds)}",
            expected="heads= with q, k, v, head_out or pattern",
            instead="sites=ls.head_out",
        )
    if keys and kinds != ("pattern",):
        raise SiteError(
            "Only patterns have keys.",
            got=f"keys=None at {', '.join(kinds)}",
            expected="keys= with ls.pattern",
            instead="sites=ls.pattern",
        )
    return Grid(
        kinds,
        tuple({n: tuple(sorted(found[kind][n])) for n in sorted(found[kind])} for kind in kinds),
        window,
        backend.n_layers,
        keys,
        apart,
    )


def _heads(backend: Backend, site: Site, heads: Any) -> list[int]:
    axis = KINDS[site.kind].head_axis
    if axis is None or (isinstance(heads, All) and site.head is None):
        return [NONE]
    if site.head is not None or heads is None:
        return [one.head or 0 for one in backend.each_head(site)]
    several = list(heads) if isinstance(heads, list | tuple | range) else [heads]
    return [
        backend.concrete(Site(site.kind, site.layer)(site.layer, head))[0].head or 0
        for head in several
    ]


def position_of_sites(backend: Backend, sites: SitesLike, positions: Any) -> Any:
    """The positions asked for, of the call or, if it gives none, of its sites.

    Raises:
        SweepError: both, or sites of different positions.
    """
    asked = as_sites(sites, backend.n_layers)
    found = dict.fromkeys((site.position, site.occurrence) for site in asked)
    if set(found) <= {(None, None)}:
        return positions
    if positions is not None or len(found) > 1 or next(iter(found))[1] is not None:
        raise SweepError(
            "These sites and positions do not say which tokens are patched.",
            got=", ".join(map(repr, asked[:4])) + f" with positions={positions!r}",
            expected="positions= alone, or one position at all the sites",
            instead='sites=ls.resid_pre, positions={"subject": ls.span("Eiffel Tower")}',
        )
    position = next(iter(found))[0]
    return position if isinstance(position, All) or position is None else [position]
