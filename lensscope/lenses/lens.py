"""What a lens is, and how one is read over prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.engine.capture import SitesLike
from lensscope.engine.rows import PatchLike
from lensscope.errors import LensError, LensscopeError
from lensscope.lenses.places import States, concrete
from lensscope.lenses.reader import Wanted, read
from lensscope.lenses.reading import LensReading
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.head import rows_at_once
from lensscope.values.positions import PositionsLike
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Site, resid_post
from lensscope.values.vectors import VectorsLike


class Lens(ABC):
    """Reads a vector of the residual stream as a distribution over the vocabulary.

    A lens is a value: it holds no model, and is given one whenever it reads. What lenses share is
    here; each says where it can read and how.

    Example:
        >>> lenses = [ls.LogitLens(), ls.Patchscope.token_identity().as_lens()]
        >>> all(isinstance(lens, ls.Lens) for lens in lenses)
        True
    """

    name: str
    """What the lens is called in tables and pictures."""

    @property
    def kind(self) -> Site:
        """The kind of site that is read unless told otherwise."""
        return resid_post

    @abstractmethod
    def check(self, backend: Backend, sites: Sequence[Site]) -> None:
        """Refuse a model that it was not made for, or sites that it cannot read.

        Raises:
            BasisError: another model, basis or unembedding.
            LensError: sites that it cannot read.
        """

    @abstractmethod
    def each(self, backend: Backend, states: States) -> Iterator[tuple[Site, Tensor]]:
        """The logits ``[row, d_vocab]`` of states at each site, one site after the other.

        Args:
            backend: the model.
            states: as many rows at each site, at most `rows`.
        """

    def knows(self, backend: Backend, site: Site) -> bool:
        """Whether it can read a site, of the model that it was made for."""
        return True

    @property
    def by_layer(self) -> bool:
        """Whether it reads each layer in its own way, so that a raw vector needs one."""
        return True

    def rows(self, backend: Backend, n_sites: int) -> int:
        """How many rows `each` is best given at a time."""
        return rows_at_once(backend)

    @checks.door(LensError, name=checks.text)
    def renamed(self, name: str) -> Lens:
        """The same lens by another name."""
        found = copy(self)
        object.__setattr__(found, "name", name)
        return found

    def on(self, device: torch.device) -> Lens:
        """The same lens, with what it holds on a device."""
        return self

    @property
    def signature(self) -> str | None:
        """What is the same for lenses that read the same; ``None`` if that cannot be told."""
        return None

    def sites(self, backend: Backend) -> list[Site]:
        """The sites that are read unless told otherwise: its kind at every layer."""
        return backend.concrete(self.kind)

    def logits(
        self, model: Any, states: Float[Tensor, "*rows width"], site: Site | str
    ) -> Float[Tensor, "*rows d_vocab"]:
        """The logits that the lens reads in states of a site.

        Args:
            model: the model that they are states of.
            states: ``[…, d_model]``, or ``[…, d_head]`` of a head; gradients flow to them, if they
                ask for any. (``torch.autograd.grad(…, states)`` leaves none with the model's
                weights; ``backward()`` would.)
            site: where they were read, with its layer.

        Raises:
            BasisError, LensError: as in `check`.

        Example:
            >>> state = ls.capture(model, "The Eiffel Tower is in", ls.resid_post(20).at(-1))
            >>> logits = ls.LogitLens().logits(model, state[ls.resid_post(20)], ls.resid_post(20))
            >>> logits.shape
            torch.Size([1, 1, 49152])
        """
        backend = backend_of(model)
        places = concrete(backend, [site])
        width = backend.shape(places[0], 1, 1)[-1]
        fits = isinstance(states, Tensor) and states.is_floating_point() and states.ndim > 0
        if len(places) != 1 or not fits or states.shape[-1] != width:
            raise LensError(
                "These are not states of one site.",
                got=f"{tuple(getattr(states, 'shape', ()))} at {site!r}",
                expected=f"floats [..., {width}], and a site with its layer (and head)",
                instead="lens.logits(model, states, ls.resid_post(12))",
            )
        if not bool(states.isfinite().all()):
            raise LensError(
                "States hold NaN or infinity.",
                got=f"{int((~states.isfinite()).sum())} of {states.numel()} entries not finite",
                expected="finite numbers only",
                instead="look where they come from; torch.nan_to_num(states) replaces them",
            )
        place = places[0]
        self.check(backend, [place])
        flat = states.reshape(-1, width)
        if not len(flat):
            return states.new_zeros((*states.shape[:-1], backend.d_vocab))
        with torch.set_grad_enabled(states.requires_grad and torch.is_grad_enabled()):
            found = [
                logits
                for chunk in torch.split(flat, self.rows(backend, 1))
                for _, logits in self.each(backend, {place: chunk})
            ]
        return torch.cat(found).reshape(*states.shape[:-1], backend.d_vocab)

    @checks.door(LensError)
    def read(
        self,
        model: Any,
        prompts: PromptsLike | Path | VectorsLike,
        sites: SitesLike | None = None,
        positions: PositionsLike | None = None,
        top_k: int = 10,
        *,
        patches: Sequence[PatchLike] = (),
        names: Sequence[str] | str | None = None,
        measures: str | Iterable[str] = (),
        targets: Iterable[str | int] = (),
        full: bool = False,
        prepend_bos: bool | None = None,
        memory_budget: int | None = None,
    ) -> LensReading:
        """Read every site and token of prompts.

        Only what is asked for is kept of each distribution; the vocabulary's worth of numbers
        exists for a few states at a time.

        Args:
            model: the model.
            prompts: a string, a list of strings, token ids, or a ``Path`` to a text file with a
                prompt a line; or raw vectors: ``[d_model]``, ``[vector, d_model]``, or a dict of
                them by name. A lens that reads each layer in its own way needs ``sites`` for them.
            sites: those of the lens by default; a site without a layer means every layer, and
                ``layers=[3, 5]`` the outputs of these blocks. Residual
                kinds for every lens; ``attn_out``, ``mlp_out`` and heads for those that are linear
                before the final norm.
            positions: which tokens; all by default. A list of lists has one for each prompt.
            top_k: how many of the most probable tokens are kept.
            patches: what is written in the run that is read, of each prompt alike.
            names: what raw vectors are called.
            measures: some of ``entropy``, ``kl`` (of the model's final distribution from the lens',
                nats), ``next_token_rank`` (0 is the most probable) and
                ``next_token_log_probability``; or ``"all"``.
            targets: tokens, as text or ids, whose rank and log-probability are wanted.
            full: keep all log-probabilities, ``[prompt, layer, position, d_vocab]``.
            prepend_bos: ``None`` follows the model's own default.
            memory_budget: bytes that running the prompts may take.

        Raises:
            BasisError: the lens was fitted on another model, basis or unembedding.
            LensError: sites that it cannot read, unknown measures, a target of several tokens.
            PromptError, PositionError, SiteError, ModelError: see there.

        Example:
            >>> reading = ls.LogitLens().read(model, "The Eiffel Tower is in the city of")
            >>> reading.data.predicted.sel(layer=29, position=8, rank=0).item()
            ' Paris'
        """
        kept = (measures, targets, full)
        how = Wanted(top_k, patches, names, *kept, prepend_bos, memory_budget)
        return read(self, model, prompts, sites, positions, how)


def lenses_of(given: Any, error: type[LensscopeError] = LensError) -> list[Lens]:
    """One or several lenses, of different names.

    Raises:
        error: none, something else, such as a patchscope that is not a lens yet, or two of one
            name.
    """
    one = isinstance(given, Lens) or hasattr(given, "as_lens")
    found = [given] if one else checks.several(given, "lenses", _ONE, error)
    for n, lens in enumerate(found):
        if hasattr(lens, "as_lens"):
            raise error(
                f"Lens {n} is a patchscope, which is no lens by itself.",
                got=checks.seen(lens),
                expected="lenses; a patchscope is one by what it says next of a state",
                instead="scope.as_lens() in its place",
            )
        if not isinstance(lens, Lens):
            raise error(
                "This is not a lens.",
                got=checks.seen(lens),
                expected="lenses, of different names: what has none cannot be told apart",
                instead=_ONE,
            )
    names = [lens.name for lens in found]
    if len(set(names)) < len(found):
        raise error(
            "These lenses cannot be told apart.",
            got=", ".join(map(repr, names)),
            expected="lenses, and no name twice",
            instead='lens.renamed("wiki"), dataclasses.replace(lens, name="wiki"), or '
            'scope.as_lens(name="wiki")',
        )
    return found


_ONE: Final = "[ls.LogitLens()]"
