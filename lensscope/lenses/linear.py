"""Lenses that take a state to the last residual by an affine map, and read it there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.errors import LensError
from lensscope.lenses.corpus import Texts, drawn, named
from lensscope.lenses.lens import Lens
from lensscope.lenses.linear_file import Maps, read_lens, write_lens
from lensscope.lenses.places import RESIDUAL, States
from lensscope.lenses.scores import scores_frame, scores_on
from lensscope.lenses.translators import Translator as Translator
from lensscope.lenses.translators import as_input
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.head import unembed
from lensscope.store.files import path_of
from lensscope.values.sites import Site, resid_post
from lensscope.values.transforms import Affine

_UNKNOWN: Final = 1 << 30
"""So many layers has a model of which it is not known."""
_L = TypeVar("_L", bound="LinearLens")


@dataclass(frozen=True, eq=False, repr=False)
class LinearLens(Maps, Lens):
    """A lens that takes a state to the last residual by an affine map of its site."""

    @property
    def to_the_end(self) -> bool:
        """Whether it foretells the last residual, which then foretells itself."""
        return True

    def sites(self, backend: Backend) -> list[Site]:
        """Every block's output that it has a translator for, and the last; or, fitted elsewhere,
        what it was fitted at."""
        found = [s for s in backend.concrete(resid_post) if self.knows(backend, s)]
        return found if len(found) > 1 else list(self.translators)

    @cached_property
    def signature(self) -> str:
        """A hash of its translators, which never change."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for site, translator in self.translators.items():
            digest.update(f"{site!r}{translator.residual}".encode())
            for tensor in (translator.matrix, translator.bias):
                if tensor is not None:
                    digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def on(self: _L, device: torch.device) -> _L:
        """The same lens, with its translators on a device."""
        moved = {
            site: replace(
                t,
                matrix=t.matrix.to(device),
                bias=None if t.bias is None else t.bias.to(device),
            )
            for site, t in self.translators.items()
        }
        return replace(self, translators=moved)

    def check(self, backend: Backend, sites: Sequence[Site]) -> None:
        """Refuse a model that it was not fitted on, or sites that it lacks.

        Raises:
            BasisError: another model, basis or unembedding.
            LensError: sites that it has no translator for.
        """
        self.origin.check(backend, f"The {self.name}")
        wrong = [s for s in sites if not self.knows(backend, s)]
        if wrong:
            raise LensError(
                f"The {self.name} has no translator for this.",
                got=", ".join(map(repr, wrong[:4])) + (" …" if len(wrong) > 4 else ""),
                expected=self._shown(),
                instead="one of those sites"
                if wrong[0].kind in RESIDUAL
                else "ls.LogitLens() or a JacobianLens for components",
            )

    def each(self, backend: Backend, states: States) -> Iterator[tuple[Site, Tensor]]:
        """The logits at each site."""
        for site, values in states.items():
            yield site, unembed(backend, self.translated(backend, site, values))

    def translated(
        self, backend: Backend, site: Site, states: Float[Tensor, "row d_in"]
    ) -> Float[Tensor, "row d_out"]:
        """States of a site as the last residuals that they foretell."""
        place = as_input(site, backend.n_layers)
        translator = self.translators.get(place)
        return states if translator is None else translator(states)

    @checks.door(LensError, site=checks.instance("Site", "lens.at(ls.resid_post(12))"))
    def at(self, site: Site) -> Affine:
        """The affine map of a site, as a transform.

        Raises:
            LensError: it has none.
        """
        if site.position is not None:
            raise LensError(
                "The map of a site is the same at all its tokens.",
                got=repr(site),
                expected="a site without a position",
                instead=f"lens.at({site.whole!r})",
            )
        n_layers = self.origin.provenance.n_layers or _UNKNOWN
        layer = site.layer
        if layer is not None and layer < 0 and -n_layers <= layer and n_layers != _UNKNOWN:
            site = site.whole(layer % n_layers)
        found = self.translators.get(as_input(site.whole, n_layers))
        if found is None and site.whole == resid_post(n_layers - 1) and self.to_the_end:
            d = self.origin.provenance.d_model
            return Affine(torch.eye(d), torch.zeros(d))
        if found is None:
            raise LensError(
                f"The {self.name} has no map for this.",
                got=repr(site),
                expected=self._shown(),
                instead="lens.at(ls.resid_post(12)), with a site that it was fitted at",
            )
        return found.as_affine()

    def check_maps(self, here: Backend, target: Backend) -> None:
        """Refuse other models than it was fitted on.

        Raises:
            BasisError: another model, basis or unembedding.
        """
        self.origin.check(here, f"The {self.name}")
        self.origin.check(target, f"The {self.name}")

    @checks.door(LensError, corpus=checks.text)
    def scores(
        self,
        model: Any = None,
        texts: Texts | None = None,
        *,
        length: int = 64,
        max_pieces: int = 64,
        skip_first: int | None = None,
        corpus: str | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """KL and cross-entropy by site, nats, before (the logit lens) and after.

        Without texts, what was measured in fitting: on held-out text of the same kind, which says
        little of other kinds. With texts, what the lens gives on these.

        Args:
            model: the model, for texts.
            texts: any iterable of texts or token ids, or the ``Path`` of a text file.
            length: tokens of a piece of text.
            max_pieces: so many pieces at most, drawn from all.
            skip_first: tokens at the start of a piece that are left out; by default the first one
                where it is no BOS, which in most models is an attention sink.
            corpus: what the texts are called; by default how many they are and how they begin.
            seed: of the draw.

        Returns:
            ``kl_before`` and ``kl_after``, the mean KL of the model's final distribution from the
            lens', ``ce_before`` and ``ce_after``, the cross-entropy of the next token, and
            ``corpus``, the texts that they are of.

        Raises:
            LensError: nothing was measured in fitting, no text, or a map that does not lead to the
                last residual.
            BasisError: another model.

        Example:
            >>> from lensscope.lenses.corpus import python_docs
            >>> lens = ls.AffineLens.fit(model, python_docs()[:1], sites=ls.resid_post(20))
            >>> story = "Once there was a girl who lived by the sea, and the sea was her friend."
            >>> scores = lens.scores(model, [story], corpus="a story")
            >>> scores[["site", "corpus"]].values.tolist()
            [['resid_pre(21)', 'a story']]
        """
        if texts is None and model is None and "kl_before" in self.history:
            of = str(self.settings.get("measured_on", "held-out texts of the fit"))
            return scores_frame(list(self.translators), self.history, of)
        if texts is None or model is None:
            raise LensError(
                f"Nothing was measured of this lens ({self.name})."
                if model is None and texts is None
                else "Scores are of a model on texts.",
                got="no texts" if texts is None else "no model",
                expected="both, or a lens that was measured in fitting, and neither",
                instead="lens.scores(model, texts)",
            )
        backend = backend_of(model)
        self.check(backend, list(self.translators))
        called = named(texts) if corpus is None else corpus
        some = drawn(model, texts, length, max_pieces, seed)
        maps = self.on(backend.device).translators
        return scores_frame(list(maps), scores_on(backend, some, maps, skip_first), called)

    def _place(self, site: Site) -> Site:
        """The site whose translator serves this one."""
        return site

    def knows(self, backend: Backend, site: Site) -> bool:
        """Whether it has a translator for a site, or needs none there."""
        return self._knows(self._place(site), backend.n_layers)

    def _knows(self, site: Site, n_layers: int) -> bool:
        if site.kind not in RESIDUAL:
            return False
        last = site == resid_post(n_layers - 1)
        return last or as_input(site, n_layers) in self.translators

    def _shown(self) -> str:
        names = [repr(site) for site in self.translators]
        return ", ".join(names if len(names) <= 6 else [*names[:3], "…", *names[-2:]])

    # ---------------------------------------------------------------- files

    @checks.door(LensError)
    def save(self, path: str | Path) -> Path:
        """Write it to a safetensors file, with what it was fitted on and how.

        Raises:
            LensError: a folder.
            FileError: no path, a full disk, a refusal; what was there before stays.
        """
        return write_lens(path_of(path), self, self._header())

    _shape: ClassVar[Mapping[str, Any]] = {}
    """What else must be in a header."""

    def _header(self) -> dict[str, Any]:
        """What else there is to keep."""
        return {}

    @classmethod
    def _extra(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """The same, read again."""
        return {}

    @classmethod
    @checks.door(LensError)
    def load(cls: type[_L], path: str | Path) -> _L:
        """Read a file that `save` wrote.

        Raises:
            LensError: no such file, not whole, a pickle, or not a lens of this kind.
            FileError: no path.
        """
        return cls(**read_lens(path_of(path), cls.__name__, cls._shape, cls._extra))

    def __repr__(self) -> str:
        there = self.origin.provenance
        return f"{type(self).__name__}({self._shown()}; {there.model}, {there.processing})"
