"""A patchscope as a lens: the next token that a model says of a state is what it reads there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.lens import Lens
from lensscope.lenses.places import RESIDUAL, States
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.head import rows_at_once
from lensscope.patchscope.mapping import check_models, check_width, mapped
from lensscope.patchscope.writing import Writer, adapted, write_and_decode
from lensscope.values.sites import Site
from lensscope.values.transforms import BySite

_SWEEP: Final = 480
"""Cells of a sweep whose logits are held at a time."""


@dataclass(frozen=True)
class PatchscopeLens(Lens):
    """Patchscopes whose answer is the next token, as a lens; made by ``scope.as_lens()``.

    A state is written into each inspection prompt, at its own layer unless the patchscope always
    writes at one, and the distribution of the next token is what it reads. Of several patchscopes
    the distributions are averaged.

    Attributes:
        scopes: one or several.
        name: what the lens is called.
        temperature: what logits are divided by; below 1 the answers are surer.
    """

    scopes: tuple[Writer, ...]
    name: str = "patchscope"
    temperature: float = 1.0

    @property
    def kind(self) -> Site:
        """The kind that the (first) patchscope reads."""
        scope = self.scopes[0]
        return Site((scope.read or scope.write).kind)

    def check(self, backend: Backend, sites: Sequence[Site]) -> None:
        """Refuse what the patchscopes cannot write.

        Raises:
            LensError: sites that are no whole vectors of the residual stream, or a target model
                with another vocabulary.
            PromptError: a placeholder that is missing or split.
        """
        for scope in self.scopes:
            target = self._target(backend, scope)
            scope.inspection.placed(target)
            if "{layer}" in scope.inspection.told:
                raise LensError(
                    "The inspection prompt names a layer, and a lens writes states of all layers "
                    "into one prompt.",
                    got=f"{{layer}} in {scope.inspection.told!r}",
                    expected="a prompt without {layer}",
                    instead="scope.inspect(model, prompt), which fills it in",
                )
            if target is not backend and _vocabulary(target) != _vocabulary(backend):
                raise LensError(
                    f"The lens {self.name!r} would answer in another model's tokens.",
                    got=f"{target.d_vocab} tokens of {target.name}",
                    expected=f"the {backend.d_vocab} tokens of {backend.name}",
                    instead="scope.inspect(model, prompt), which answers in words",
                )
            check_models(scope, backend, target)
            if scope.transform is None:
                check_width(scope, backend, target, backend.d_model, backend.d_model)
        wrong = [site for site in sites if not self.knows(backend, site)]
        if wrong:
            raise LensError(
                f"The lens {self.name!r} reads whole states of the residual stream.",
                got=", ".join(map(repr, wrong[:4])),
                expected=f"states of the residual stream that {self.scopes[0].write!r} can be "
                "written with: the same kind, or the same place by another name",
                instead="sites=ls.resid_post, and a patchscope with write=ls.resid_post; "
                "ls.LogitLens() for components",
            )

    def knows(self, backend: Backend, site: Site) -> bool:
        """Whether every patchscope can write a state that was read there."""
        found = [_written(s, site, self._target(backend, s).n_layers) for s in self.scopes]
        return site.kind in RESIDUAL and all(place is not None for place in found)

    @property
    def signature(self) -> str | None:
        """All that is in the patchscopes; ``None`` if there are functions among it."""
        parts: list[Any] = [] if self.temperature == 1 else [self.temperature]
        for scope in self.scopes:
            transform = scope.transform
            through = getattr(transform, "signature", None)
            if transform is not None and through is None:
                return None
            model = None if scope.model is None else backend_of(scope.model).provenance()
            weights = None if model is None else model.fingerprint
            how = (scope.mix, scope.match_norm, scope.rule)
            where = (scope.inspection, scope.write, scope.read, scope.earliest, *how)
            adapter = None if scope.adapter is None else scope.adapter.signature
            parts.append((where, through, weights, adapter))
        return repr(parts)

    @property
    def by_layer(self) -> bool:
        """Unless every patchscope writes what it reads at one layer, whatever it is of."""
        scopes = self.scopes
        return any(s.write.layer is None or isinstance(s.transform, BySite) for s in scopes)

    def rows(self, backend: Backend, n_sites: int) -> int:
        """As many as make a sweep of some hundred cells."""
        return max(1, min(rows_at_once(backend), _SWEEP // n_sites))

    def each(self, backend: Backend, states: States) -> Iterator[tuple[Site, Tensor]]:
        """The logits at each site, all cells of a patchscope in one sweep."""
        logits = _averaged([self._sweep(backend, scope, states) for scope in self.scopes])
        for n, site in enumerate(states):
            yield site, logits[n] / self.temperature

    def prior(self, backend: Backend) -> Float[Tensor, " d_vocab"]:
        """The logits when nothing is written into the inspection prompts."""
        found = []
        for scope in self.scopes:
            target = self._target(backend, scope)
            found.append(_next(target, scope, [None])[0])
        return _averaged(found) / self.temperature

    @staticmethod
    def _target(backend: Backend, scope: Writer) -> Backend:
        return backend if scope.model is None else backend_of(scope.model)

    def _sweep(self, backend: Backend, scope: Writer, states: States) -> Tensor:
        """``[site, row, d_vocab]``."""
        target = self._target(backend, scope)
        writes: list[tuple[Site, Tensor] | None] = []
        for site, rows in states.items():
            written = _written(scope, site, target.n_layers)
            assert written is not None
            writes += [(written, mapped(scope, row, target, site)) for row in rows]
        grad = torch.is_grad_enabled() and any(r.requires_grad for r in states.values())
        logits = _next(target, scope, writes, grad=grad)
        return logits.reshape(len(states), -1, logits.shape[-1])


def _next(
    target: Backend,
    scope: Writer,
    writes: Sequence[tuple[Site, Tensor] | None],
    *,
    grad: bool = False,
) -> Float[Tensor, "row d_vocab"]:
    """The logits of the next token, with each state written into the inspection prompt."""
    prompt, places = scope.inspection.tokenized(target), scope.inspection.placed(target)
    with adapted(scope, target):
        (runs,) = write_and_decode(target, prompt, places, writes, patch=scope.patch, grad=grad)
    assert runs.logits is not None
    return runs.logits[:, 0]


def _averaged(found: Sequence[Tensor]) -> Tensor:
    """Logits of the mean of distributions; of one, its own."""
    if len(found) == 1:
        return found[0]
    each = torch.stack([one.float().log_softmax(-1) for one in found])
    return each.logsumexp(0) - math.log(len(found))


def _written(scope: Writer, site: Site, n_layers: int) -> Site | None:
    """Where a state that was read at a site is written: the same place, by the name that the
    patchscope writes by; ``None`` if it has none."""
    write = scope.write.whole
    if write.layer is not None or site.layer is None:
        return write if write.layer is not None else site if write.kind == site.kind else None
    same = {("resid_post", "resid_pre"): 1, ("resid_pre", "resid_post"): -1}
    by = 0 if write.kind == site.kind else same.get((site.kind, write.kind))
    layer = -1 if by is None else max(site.layer + by, min(scope.earliest, n_layers - 1))
    return write(layer) if 0 <= layer < n_layers else None


def _vocabulary(backend: Backend) -> tuple[int, object]:
    """What tokens there are, and what they say."""
    tokenizer = backend.tokenizer
    return backend.d_vocab, None if tokenizer is None else tokenizer.get_vocab()
