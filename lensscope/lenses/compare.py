"""Comparing lenses by layer: precision@1, surprisal, divergence, entropy, the next token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import xarray as xr

from lensscope import checks
from lensscope.checks import Layers
from lensscope.checks import several as listed
from lensscope.errors import LensError
from lensscope.lenses.comparison import VALUES, LensComparison, summarised
from lensscope.lenses.files import resume, save
from lensscope.lenses.lens import Lens, lenses_of
from lensscope.lenses.measures import compared
from lensscope.lenses.notes import notes_on
from lensscope.lenses.places import concrete
from lensscope.lenses.states import Asked, Gathered, asked, gathered, inside_words
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.progress import progress
from lensscope.store.files import path_of
from lensscope.store.json_text import hash_of
from lensscope.values.positions import All, PositionsLike
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Site, resid_post

_KIND: Final = "comparison checkpoint"


@checks.door(LensError, positions=checks.optional(checks.listed))
def compare(
    model: Any,
    prompts: PromptsLike | Path | Iterable[Any],
    lenses: Lens | Sequence[Lens],
    *,
    positions: PositionsLike | None = -1,
    layers: Iterable[int] | slice | str | All | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    prepend_bos: bool | None = None,
    checkpoint: str | Path | None = None,
    memory_budget: int | None = None,
) -> LensComparison:
    """Compare what lenses read at each block's output with what the model says in the end.

    By layer and lens, the mean over the tokens that are read of:

    - ``precision_at_1``: whether the lens' most probable token is the model's own;
    - ``surprisal``: minus the log-probability, in nats, that the model's final distribution gives
      to the lens' most probable token (both Ghandeharioun et al. 2024, section 4.1);
    - ``kl``: of the final distribution from the lens' (Belrose et al. 2023), nats;
    - ``entropy`` of the lens' distribution, nats;
    - ``next_token_rank`` (0 is the most probable) and ``next_token_log_probability`` of the token
      that follows in the prompt, where one does.

    Args:
        model: the model.
        prompts: a list of prompts; a ``Path`` to a text file with a prompt a line; or any iterable
            of pairs of a prompt (text or token ids) and its position or positions.
        lenses: one or several, of different names.
        positions: which tokens are read, of prompts that do not say themselves: the last by
            default, which has no next token; ``None`` for all. Where that takes in first tokens
            without BOS, which in most models are attention sinks, the result's ``notes`` say so;
            ``slice(1, None)`` leaves them out.
        layers: of block outputs; all by default.
        level: of the bootstrap intervals.
        resamples: how often prompts are drawn for them.
        seed: of these draws.
        prepend_bos: ``None`` follows the model's own default.
        checkpoint: a file to keep what is measured in; the same call again does only the rest.
        memory_budget: bytes that running the prompts may take.

    Raises:
        BasisError: a lens of another model, basis or unembedding.
        LensError: no lenses, two of one name, a patchscope (``scope.as_lens()`` is a lens), one
            that reads none of the layers, another comparison's checkpoint.
        PromptError, PositionError, SiteError, ModelError: see there.

    Example:
        >>> prompts = ["The capital of Japan is the city of", "Two and two make"]
        >>> report = ls.compare(model, prompts, ls.LogitLens(), layers=[10, 29])
        >>> report.frame()["precision_at_1"].tolist()
        [0.0, 1.0]
    """
    backend = backend_of(model)
    several = lenses_of(lenses)
    if isinstance(layers, All) or layers == "all":
        layers = None
    if isinstance(layers, slice):
        layers = Layers(layers).among(backend.n_layers)
    numbers = [None] if layers is None else listed(layers, "layers", "layers=[10, 20]")
    wanted = [resid_post(n) for n in numbers]
    sites = concrete(backend, wanted)
    reads_at = {lens.name: readable(lens, backend, sites, wanted=layers) for lens in several}
    reads = asked(backend, prompts, positions, prepend_bos)
    settings = {
        "lenses": {lens.name: _identity(lens, needed=checkpoint is not None) for lens in several},
        "layers": [site.layer for site in sites],
        "prompts": len(reads),
        "texts": hash_of([(one.prompt.ids, one.tokens) for one in reads]),
        "weights": backend.provenance().fingerprint,
    }
    several = [lens.on(backend.device) for lens in several]
    work = _Work(backend, several, sites, reads_at, reads, memory_budget)
    work.run(None if checkpoint is None else path_of(checkpoint), settings)
    values = work.dataset()
    return LensComparison(
        summarised(values, level, resamples, seed),
        values,
        level,
        backend.provenance([one.prompt.ids for one in reads]),
        settings,
        notes_on(backend, [(one.prompt, one.tokens) for one in reads], inside_words(reads)),
    )


def readable(lens: Lens, backend: Backend, sites: Sequence[Site], *, wanted: Any) -> list[Site]:
    """The sites of a comparison that a lens can read; all, where they were asked for by number."""
    found = list(sites)
    if wanted is None:
        found = [site for site in sites if lens.knows(backend, site)]
    lens.check(backend, found or sites)
    return found


def _identity(lens: Lens, *, needed: bool) -> str:
    """What tells a lens apart from another of its name.

    Raises:
        LensError: nothing does, and a checkpoint needs it.
    """
    if lens.signature is None and needed:
        raise LensError(
            f"Of the lens {lens.name!r} it cannot be told whether it is the same later.",
            got=f"{type(lens).__name__} without a signature, and a checkpoint",
            expected="a lens of lensscope, without functions of your own in it",
            instead="checkpoint=None",
        )
    return lens.signature or type(lens).__name__


class _Work:
    """The numbers of a comparison on their way."""

    def __init__(
        self,
        backend: Backend,
        lenses: Sequence[Lens],
        sites: Sequence[Site],
        reads_at: Mapping[str, Sequence[Site]],
        reads: Sequence[Asked],
        memory_budget: int | None,
    ) -> None:
        self.backend, self.lenses, self.sites = backend, lenses, list(sites)
        self.reads_at, self.reads, self.memory_budget = reads_at, reads, memory_budget
        self.starts = np.cumsum([0, *(len(one.tokens) for one in reads)])
        shape = (len(VALUES), len(lenses), len(sites), int(self.starts[-1]))
        self.values = torch.full(shape, torch.nan, dtype=torch.float32)
        self.done = torch.zeros(len(reads), dtype=torch.bool)

    def run(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        """Measure what is not measured yet."""
        self._resume(path, settings)
        left = [n for n in range(len(self.reads)) if not self.done[n]]
        parts = gathered(
            self.backend,
            [self.reads[n] for n in left],
            self.sites,
            memory_budget=self.memory_budget,
        )
        total, before = len(self.reads), len(self.reads) - len(left)
        with torch.no_grad(), progress(total, "compare", "prompt", initial=before) as bar:
            for part in parts if left else ():
                numbers = [left[n] for n in part.prompts]
                self._measure(part, numbers)
                self.done[numbers] = True
                if path is not None:
                    header = {"kind": _KIND, "settings": dict(settings)}
                    save(path, header, {"values": self.values, "done": self.done})
                bar.update(len(numbers))

    def _measure(self, part: Gathered, numbers: Sequence[int]) -> None:
        """All lenses on some prompts."""
        rows = [
            row
            for n, count in zip(numbers, part.rows, strict=True)
            for row in range(int(self.starts[n]), int(self.starts[n]) + count)
        ]
        index = torch.tensor(rows)
        for n, lens in enumerate(self.lenses):
            sites = self.reads_at[lens.name]
            step = lens.rows(self.backend, len(sites))
            for first in range(0, len(rows), step):
                some = slice(first, first + step)
                final = part.final(self.backend, some)
                states = {site: part.states[site][some] for site in sites}
                for site, logits in lens.each(self.backend, states):
                    found = compared(logits, final, f"{lens.name} at {site!r}")
                    at = self.sites.index(site)
                    for i, name in enumerate(VALUES):
                        self.values[i, n, at, index[some]] = found[name].float().cpu()

    def _resume(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        like = {"values": self.values, "done": self.done}
        found = resume(path, _KIND, settings, "comparison", like)
        if found is not None:
            self.values, self.done = found[1]["values"], found[1]["done"]

    def dataset(self) -> xr.Dataset:
        """Everything, by lens, layer and token that was read."""
        dims = ("lens", "layer", "read")
        owner = [n for n, one in enumerate(self.reads) for _ in one.tokens]
        variables: dict[str, Any] = {
            name: (dims, self.values[i].numpy()) for i, name in enumerate(VALUES)
        }
        variables["token"] = (
            "read",
            np.array([one.prompt.labels[t] for one in self.reads for t in one.tokens], object),
        )
        coords = {
            "lens": [lens.name for lens in self.lenses],
            "layer": [site.layer for site in self.sites],
            "prompt_index": ("read", owner),
            "position": ("read", [t for one in self.reads for t in one.tokens]),
        }
        return xr.Dataset(variables, coords)
