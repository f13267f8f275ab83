"""Reading prompts by a lens: states in, what is kept of each distribution out."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lensscope.engine.capture import SitesLike
from lensscope.engine.rows import PatchLike, as_list
from lensscope.errors import LensError
from lensscope.lenses.measures import MEASURES
from lensscope.lenses.measures import read as measured
from lensscope.lenses.notes import notes_on
from lensscope.lenses.places import States, concrete
from lensscope.lenses.reading import LensReading
from lensscope.lenses.states import Asked, asked, gathered, given, inside_words
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.token_texts import labels_of
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.positions import PositionsLike
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Site
from lensscope.values.vectors import vectors_of


@runtime_checkable
class Reads(Protocol):
    """What reading asks of a lens; see `lensscope.lenses.lens.Lens`."""

    name: str

    @property
    def signature(self) -> str | None:
        """What is the same for lenses that read the same."""

    def check(self, backend: Backend, sites: Sequence[Site]) -> None:
        """Refuse a model or sites."""

    def each(self, backend: Backend, states: States) -> Iterator[tuple[Site, Tensor]]:
        """The logits of states at each site."""

    def rows(self, backend: Backend, n_sites: int) -> int:
        """How many rows it is best given at a time."""

    def on(self, device: torch.device) -> Reads:
        """The same, on a device."""

    def sites(self, backend: Backend) -> list[Site]:
        """The sites that are read unless told otherwise."""

    @property
    def by_layer(self) -> bool:
        """Whether it reads each layer in its own way."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What of the arguments of `Lens.read` does not say what is read, but how."""

    top_k: int
    patches: Sequence[PatchLike]
    names: Sequence[str] | str | None
    measures: str | Iterable[str]
    targets: Iterable[str | int]
    full: bool
    prepend_bos: bool | None
    memory_budget: int | None


def read(
    lens: Reads,
    model: Any,
    prompts: Any,
    sites: SitesLike | None,
    positions: PositionsLike | None,
    how: Wanted,
) -> LensReading:
    """As `Lens.read`."""
    backend, vectors = backend_of(model), vectors_of(prompts, how.names)
    places = lens.sites(backend) if sites is None else concrete(backend, sites)
    if vectors is not None and sites is None:
        places = _anywhere(lens, places)
    if not places:
        raise LensError(
            "There is nothing to read.",
            got=f"sites={sites!r}",
            expected="at least one site",
            instead="sites=ls.resid_post",
        )
    wanted = _measures(how.measures)
    chosen = _targets(backend, how.targets)
    patches = as_list(how.patches)
    lens.check(backend, places)
    signature = lens.signature or ""
    lens = lens.on(backend.device)
    needs_final = bool(set(wanted) - {"entropy"})
    if vectors is None:
        reads = asked(backend, prompts, positions, how.prepend_bos)
        parts = gathered(
            backend,
            reads,
            places,
            final=needs_final,
            patches=patches,
            memory_budget=how.memory_budget,
        )
    else:
        vectors.refuse(patches=patches, positions=positions, measures=wanted if needs_final else ())
        reads, parts = given(backend, vectors, places)
    kept: dict[str, Tensor] = {}
    with torch.no_grad(), progress(len(reads), lens.name, "prompt") as bar:
        for part in parts:
            starts = np.cumsum([0, *part.rows])
            step = lens.rows(backend, len(places))
            for first in range(0, int(starts[-1]), step):
                rows = slice(first, first + step)
                final = part.final(backend, rows) if needs_final else None
                some = {site: values[rows] for site, values in part.states.items()}
                for site, logits in lens.each(backend, some):
                    what = f"{lens.name} at {site!r}"
                    found = measured(logits, how.top_k, wanted, chosen, final, what, full=how.full)
                    owners = [
                        (part.prompts[b], row - int(starts[b]))
                        for b, row in _owners(starts, first, len(logits))
                    ]
                    _put(kept, found, owners, places.index(site), reads, len(places))
            bar.update(len(part.prompts))
    data = _dataset(backend, reads, places, kept, chosen)
    tokens = [one.prompt.ids for one in reads if vectors is None]
    notes = notes_on(backend, [(r.prompt, r.tokens) for r in reads], inside_words(reads), patches)
    known = backend.provenance(tokens)
    return LensReading(data, lens.name, tuple(places), known, notes, signature)


def _anywhere(lens: Reads, places: list[Site]) -> list[Site]:
    """Where a raw vector is read as if it had been there: at the end, if the layer does not matter.

    Raises:
        LensError: it does.
    """
    if lens.by_layer:
        raise LensError(
            f"The lens {lens.name!r} reads each layer in its own way.",
            got="raw vectors, which come from no layer",
            expected="the layer that they are to be read at",
            instead="lens.read(model, vectors, layers=12)",
        )
    return places[-1:]


def _measures(measures: str | Iterable[str]) -> tuple[str, ...]:
    if measures == "all":
        return MEASURES
    wanted = (measures,) if isinstance(measures, str) else tuple(_listed(measures))
    unknown = [name for name in wanted if name not in MEASURES]
    if unknown:
        raise LensError(
            "There is no such measure.",
            got=", ".join(map(repr, unknown)),
            expected=", ".join(MEASURES),
            instead='measures=("entropy", "kl"), or "all"',
        )
    return wanted


def _listed(value: Any) -> list[Any]:
    """What may be one thing or several."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        value = value.tolist()
    return list(value) if isinstance(value, Iterable) else [value]


def _targets(backend: Backend, targets: Iterable[str | int]) -> Tensor:
    """Token ids of targets, each one token.

    Raises:
        LensError: a text of several tokens.
    """
    ids = []
    for target in [targets] if isinstance(targets, str) else _listed(targets):
        one: Any = [operator.index(target)] if isinstance(target, SupportsIndex) else target
        empty = isinstance(one, str) and not one
        prompt = TokenizedPrompt((), "", (), ()) if empty else tokenize(backend, one, False)[0]
        if len(prompt) != 1:
            raise LensError(
                "A target is one token.",
                got=f"{target!r}: {prompt.shown() or 'no token'}",
                expected="a text that is one token, or its id",
                instead=f"targets=[{prompt.labels[0] if prompt.labels else ' Paris'!r}]",
            )
        ids.append(prompt.ids[0])
    return torch.tensor(list(dict.fromkeys(ids)), dtype=torch.long)


def _owners(starts: Any, first: int, n: int) -> list[tuple[int, int]]:
    """For each of some rows, whose it is, and its number."""
    owners = np.searchsorted(starts, np.arange(first, first + n), side="right") - 1
    return [(int(b), row) for b, row in zip(owners, range(first, first + n), strict=True)]


def _put(
    kept: dict[str, Tensor],
    found: dict[str, Tensor],
    owners: Sequence[tuple[int, int]],
    place: int,
    reads: Sequence[Asked],
    n_places: int,
) -> None:
    """Store what was measured at one site, by prompt, site and position."""
    prompts, slots = (list(axis) for axis in zip(*owners, strict=True))
    sizes = (len(reads), n_places, max(len(one.tokens) for one in reads))
    for name, value in found.items():
        value = value.detach().cpu()
        if name not in kept:
            fill = torch.nan if value.is_floating_point() else -1
            kept[name] = torch.full((*sizes, *value.shape[1:]), fill, dtype=value.dtype)
        kept[name][prompts, place, slots] = value


def _dataset(
    backend: Backend,
    reads: Sequence[Asked],
    places: Sequence[Site],
    kept: dict[str, Tensor],
    targets: Tensor,
) -> xr.Dataset:
    alike = len({(site.kind, site.head) for site in places}) == 1
    by_layer = alike and len({site.layer for site in places}) == len(places)
    axis = "layer" if by_layer else "site"
    dims = ("prompt", axis, "position")
    last = {
        "token_id": "rank",
        "log_probability": "rank",
        "target_rank": "target",
        "target_log_probability": "target",
        "full_log_probability": "d_vocab",
    }
    variables: dict[str, Any] = {
        name: ((*dims, last[name]) if name in last else dims, value.numpy())
        for name, value in kept.items()
    }
    known = sorted(set(kept["token_id"].flatten().tolist()) - {-1})
    texts = dict(zip(known, labels_of(backend, known), strict=True)) | {-1: ""}
    shape = tuple(kept["token_id"].shape)
    predicted = np.empty(shape, dtype=object)
    predicted.reshape(-1)[:] = [texts[i] for i in kept["token_id"].flatten().tolist()]
    width = shape[2]
    index = np.full((len(reads), width), -1)
    token = np.full((len(reads), width), "", dtype=object)
    for n, one in enumerate(reads):
        index[n, : len(one.tokens)] = one.tokens
        token[n, : len(one.tokens)] = [one.prompt.labels[t] for t in one.tokens]
    alone = len(reads) == 1
    coords: dict[str, Any] = {
        "prompt": [_text(one.prompt) for one in reads],
        "layer": (axis, [site.layer for site in places]),
        "position": index[0] if alone and index[0, 0] >= 0 else np.arange(width),
        "rank": np.arange(shape[-1]),
    }
    coords["site"] = (axis, [repr(site) for site in places])
    if len(targets):
        coords["target"] = list(labels_of(backend, targets.tolist()))
    variables |= {
        "predicted": ((*dims, "rank"), predicted),
        "token": (("prompt", "position"), token),
        "token_index": (("prompt", "position"), index),
    }
    return xr.Dataset(variables, coords)


def _text(prompt: TokenizedPrompt) -> str:
    return prompt.text or " ".join(prompt.labels)
