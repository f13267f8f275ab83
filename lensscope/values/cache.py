"""What a run kept: a read-only mapping from `Site` to a labelled tensor, with its provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.errors import CacheError, PositionError, SiteError
from lensscope.signs import cut, without_control
from lensscope.store.files import path_of
from lensscope.values import cache_file
from lensscope.values.entries import Entry, at_tokens, hold
from lensscope.values.keys import key_of
from lensscope.values.means import Means, mean_of
from lensscope.values.positions import ALL, PositionLike, resolve
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.provenance import Provenance
from lensscope.values.site_kinds import KINDS, SiteKindName
from lensscope.values.sites import Site

if TYPE_CHECKING:
    import xarray as xr


class Cache(Mapping[Site, Tensor]):
    """A read-only mapping from `Site` to what a run had there, ``[prompt, position, …]``.

    ``cache[site]`` slices by label: any layer, head or position that lies within what was kept.
    Index ``i`` of the position axis is token ``i`` of the unpadded prompt (or the ``i``-th token
    of the site's position, where the site has one). Where prompts differ in length, what lies
    beyond a prompt's end is NaN, so that a mean over it cannot be silently wrong; `lengths` says
    how long each is.

    The axes of each kind are ``site.axes``; `labelled` gives them as an ``xarray.DataArray``.

    Example:
        >>> cache = ls.capture(model, "Diana, Princess of Wales", [ls.resid_post(3), ls.pattern(4)])
        >>> list(cache)
        [resid_post(3), pattern(4)]
        >>> cache[ls.resid_post(3).at("Wales")].shape
        torch.Size([1, 1, 576])
    """

    def __init__(
        self,
        entries: Mapping[Site, Entry],
        prompts: Sequence[TokenizedPrompt],
        provenance: Provenance,
    ) -> None:
        self._entries = dict(entries)
        self.prompts = tuple(prompts)
        self.provenance = provenance

    # ---------------------------------------------------------------- mapping

    def __getitem__(self, site: Site | str) -> Tensor:
        site = key_of(site, self.provenance)
        if site in self._entries:
            return self._typed(site, self._entries[site].copy())
        found, entry = self._covering(site)
        tensor = entry.copy() if site.position is None else entry.read()
        if site.head is not None and found.head is None:
            tensor = tensor.select(found.axes.index(KINDS[site.kind].head_axis or ""), site.head)
        if site.position is not None:
            tensor = at_tokens(tensor, entry.positions, self._wanted(site))
        return self._typed(site, tensor)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, site: object) -> bool:
        try:
            key = key_of(site, self.provenance)
            return key in self._entries or self._covering(key) is not None
        except (CacheError, PositionError, SiteError):
            return False

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of tokens of each prompt."""
        return tuple(len(prompt) for prompt in self.prompts)

    @property
    def tokens(self) -> tuple[tuple[str, ...], ...]:
        """The tokens of each prompt, as text, BOS included where it was run."""
        return tuple(prompt.labels for prompt in self.prompts)

    @checks.door(CacheError, prompt=checks.whole(-checks.INDEX, instead=0), site=checks.anything)
    def value(self, site: Site | str, prompt: int = 0) -> Float[Tensor, "position *axes"]:
        """What one prompt had at a site, without padding.

        Raises:
            CacheError: the cache lacks the site.
        """
        return self.sel(prompt=prompt)[site][0]

    # ---------------------------------------------------------------- slices

    @checks.door(
        CacheError, kind=checks.text, layer=checks.whole_numbers, prompt=checks.whole_numbers
    )
    def sel(
        self,
        *,
        kind: SiteKindName | None = None,
        layer: SupportsIndex | Sequence[SupportsIndex] | None = None,
        prompt: SupportsIndex | Sequence[SupportsIndex] | None = None,
        position: PositionLike | None = None,
        occurrence: int | None = None,
    ) -> Cache:
        """A smaller cache, by label.

        Raises:
            CacheError: nothing is left.
        """
        n, total = self.provenance.n_layers, len(self.prompts)
        layers = None if layer is None else {x % n if -n <= x < n else x for x in _many(layer)}
        rows = tuple(range(total) if prompt is None else _many(prompt))
        if not rows or any(not -total <= row < total for row in rows):
            raise CacheError(
                "There is no such prompt in the cache.",
                got=f"prompt={checks.seen(prompt)}",
                expected=f"one or some of 0 to {total - 1}",
                instead="cache.sel(prompt=0)",
            )
        kept = [self.prompts[row] for row in rows]
        tokens = tuple(p.ids for p in kept)
        entries = {
            site: Entry(partial(self._of, site, rows), tuple(entry.positions[row] for row in rows))
            for site, entry in self._entries.items()
            if kind in (None, site.kind) and (layers is None or site.layer in layers)
        }
        if not entries:
            raise CacheError(
                "Nothing in the cache matches.",
                got=f"kind={kind}, layer={layer}",
                expected=self._shown(),
                instead="cache.sel(layer=3), with a layer that was kept",
            )
        small = Cache(entries, kept, replace(self.provenance, tokens=tokens))
        if position is None:
            return small
        there = dict.fromkeys(site.at(position, occurrence) for site in small)
        entries = {s: Entry(partial(small.__getitem__, s), small.positions(s)) for s in there}
        return Cache(entries, kept, small.provenance)

    @checks.door(CacheError, over=checks.one_of("token", "prompt"))
    def mean(self, over: Literal["token", "prompt"] = "token") -> Means:
        """The mean state at each site, over all tokens that it holds of all prompts; padding does
        not count.

        Where a cache holds all tokens, first tokens without BOS are among them, attention sinks
        that are many times larger than the rest: ``cache.sel(position=slice(1, None)).mean()``
        leaves them out. The difference of two means is a direction to steer by.

        Args:
            over: ``"token"`` counts each token once, ``"prompt"`` each prompt once.

        Raises:
            CacheError: patterns, or sites that differ in their positions only.

        Example:
            >>> site = ls.resid_post(12).at(-1)
            >>> glad = ls.capture(model, ["I am so happy", "What a joy"], site).mean()
            >>> sad = ls.capture(model, ["I am so sad", "What a pity"], site).mean()
            >>> joy = glad - sad
            >>> steer = ls.resid_post(12).add(4 * joy[ls.resid_post(12)], when="every_step")
            >>> steered = ls.generate(model, "I think that", [steer], max_new_tokens=3)
            >>> said = ls.Patchscope.entity_description(max_new_tokens=3).inspect(
            ...     model, joy, target_layers=12)
            >>> said.frame()["prompt"].tolist()
            ['resid_post(12)']
        """
        held = {site: (self[site], list(map(len, self.positions(site)))) for site in self}
        return mean_of(held, self.provenance, by_prompt=over == "prompt")

    @checks.door(CacheError)
    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Cache:
        """The same cache on another device or in another dtype."""

        entries = {site: entry.to(device, dtype) for site, entry in self._entries.items()}
        return Cache(entries, self.prompts, self.provenance)

    def labelled(self, site: Site | str) -> xr.DataArray:
        """One site with named axes; the tokens are a coordinate where there is one prompt."""
        import xarray as xr

        site = key_of(site, self.provenance)
        tensor = self[site].detach().cpu()
        array = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        coords: dict[str, Any] = {"prompt": [p.text for p in self.prompts]}
        if len(self.prompts) == 1:
            where = self.positions(site)[0]
            coords["position"] = list(where)
            coords["token"] = ("position", [self.prompts[0].labels[i] for i in where])
        return xr.DataArray(array, dims=site.axes, coords=coords, name=repr(site))

    # ---------------------------------------------------------------- files

    @checks.door(CacheError)
    def save(self, path: str | Path) -> Path:
        """Write all to a safetensors file, with provenance; written aside and renamed.

        Raises:
            FileError: no path, a folder, a full disk, a refusal; what was there before stays.
        """
        sites = {site: (self.positions(site), self[site]) for site in self}
        return cache_file.save(path_of(path), self.provenance, self.prompts, sites)

    @classmethod
    @checks.door(CacheError)
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Cache:
        """Open a file that `save` wrote. Only its header is read; each site is read when asked for,
        from that file: once another one is in its place, `CacheError` is raised.

        Raises:
            CacheError: no such file, or not a cache.
            FileError: no path.
        """
        return cls(*cache_file.load(path, device))

    def made_from(self) -> dict[str, Any]:
        """What makes the same cache again, with its tensors in memory: so it is written with the
        result of a run (`lensscope.store.objects`)."""
        entries = {site: hold(self[site], self.positions(site)) for site in self}
        return {"entries": entries, "prompts": self.prompts, "provenance": self.provenance}

    # ---------------------------------------------------------------- inside

    def __repr__(self) -> str:
        first = cut(without_control("|".join(self.tokens[0])), 200)
        return (
            f"Cache({self._shown()}; {len(self.prompts)} prompt(s): "
            f"{first}{' …' if len(self.prompts) > 1 else ''}; "
            f"{self.provenance.model}, {self.provenance.processing}, {self.provenance.dtype})"
        )

    def _shown(self) -> str:
        names = [repr(site) for site in self._entries]
        return ", ".join(names if len(names) <= 6 else [*names[:3], "…", *names[-2:]])

    def _covering(self, site: Site) -> tuple[Site, Entry]:
        """The stored site that holds what is asked for."""
        same = [
            (stored, entry)
            for stored, entry in self._entries.items()
            if stored.kind == site.kind
            and stored.layer == site.layer
            and stored.head in (None, site.head)
        ]
        if site.position is not None:
            wanted = self._wanted(site)
            same = [
                (stored, entry)
                for stored, entry in same
                if all(set(w) <= set(p) for w, p in zip(wanted, entry.positions, strict=True))
            ]
        elif any(stored.position is None for stored, _ in same):
            same = [(stored, entry) for stored, entry in same if stored.position is None]
        several = site.position is None and len(same) > 1 and same[0][0].position is not None
        if not same or several:
            raise CacheError(
                f"The cache does not hold {site!r}.",
                got=self._shown() or "an empty cache",
                expected="a site, head and position within what was kept",
                instead=f"ls.capture(model, prompt, [{site!r}])",
            )
        return same[0]

    def positions(self, site: Site) -> tuple[tuple[int, ...], ...]:
        """The token indices of each prompt along a site's position axis."""
        if site in self._entries:
            return self._entries[site].positions
        return (
            self._wanted(site) if site.position is not None else self._covering(site)[1].positions
        )

    def _wanted(self, site: Site) -> tuple[tuple[int, ...], ...]:
        position = ALL if site.position is None else site.position
        return tuple(resolve(position, p, site.occurrence) for p in self.prompts)

    def _of(self, site: Site, rows: Sequence[int]) -> Tensor:
        """Some prompts of a site, without the padding that only the others needed."""
        positions = self.positions(site)
        tensor = self[site][list(rows)][:, : max(len(positions[row]) for row in rows)]
        if "key" in site.axes:
            tensor = tensor[..., : max(self.lengths[row] for row in rows)]
        return tensor

    def _typed(self, site: Site, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.ndim != len(site.axes):
            raise CacheError(
                f"{site!r} is stored with the wrong axes.",
                got=f"{tensor.dtype} {tuple(tensor.shape)}",
                expected=f"floats with axes {site.axes}",
                instead="capture it again",
            )
        return tensor


def _many(numbers: Any) -> list[int]:
    return [numbers] if isinstance(numbers, int) else list(numbers)
