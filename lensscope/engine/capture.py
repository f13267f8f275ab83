"""`capture`: run prompts, and keep what some sites held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from lensscope import checks
from lensscope.checks import Layers
from lensscope.engine.batch import PaddingSide, Row
from lensscope.engine.execution import execute
from lensscope.engine.join_trial import why_not
from lensscope.errors import PatchError, SiteError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.cache import Cache
from lensscope.values.prompts import PromptsLike
from lensscope.values.site_kinds import KINDS
from lensscope.values.sites import Site, as_site, resid_post

SitesLike: TypeAlias = Site | str | Layers | Sequence[Site | str]
"""Sites, by themselves or by TransformerLens' names of their hook points; or block outputs, by
their layers."""


@checks.door(PatchError)
def capture(
    model: Any,
    prompts: PromptsLike,
    sites: SitesLike,
    *,
    prepend_bos: bool | None = None,
    padding_side: PaddingSide = "right",
    memory_budget: int | None = None,
) -> Cache:
    """Run prompts and keep what some sites held, and nothing else.

    The forward ends as soon as the last of the sites has been read; no logits are computed.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompts: a string, a list of strings, or token ids.
        sites: one or several; a site without a layer means every layer. TransformerLens' names of
            hook points are taken too, and ``layers=[3, 5]`` means the outputs of these blocks.
        prepend_bos: ``None`` follows the model's own default.
        padding_side: how prompts of different lengths are laid out; it changes no result.
        memory_budget: bytes that it may take, results included.

    Returns:
        A `Cache`; ``cache[site]`` is ``[prompt, position, …]``.

    Raises:
        SiteError, PositionError, PromptError, ModelError: see there.

    Example:
        >>> cache = ls.capture(model, "The Eiffel Tower", ls.resid_post(3))
        >>> cache[ls.resid_post(3).at(-1)].shape
        torch.Size([1, 1, 576])
    """
    backend = backend_of(model)
    rows = [Row(prompt) for prompt in tokenize(backend, prompts, prepend_bos)]
    kept = as_sites(sites, backend.n_layers)
    return captured(backend, rows, kept, padding_side, memory_budget)


def captured(
    backend: Backend,
    rows: Sequence[Row],
    sites: Sequence[Site],
    side: PaddingSide = "right",
    memory_budget: int | None = None,
) -> Cache:
    """As `capture`, of prompts with what is written into them."""
    with progress(len(rows), "capture", "prompt") as bar:
        outcome = execute(
            backend,
            rows,
            keep=sites,
            side=side,
            memory_budget=memory_budget,
            why_not_joined=why_not,
            bar=bar,
        )
    return outcome.cache


def as_sites(sites: SitesLike, n_layers: int) -> list[Site]:
    """A list of sites from one or several, in whichever form.

    Raises:
        SiteError: one of them is not a site.
    """
    if isinstance(sites, Layers):
        return [resid_post(layer) for layer in sites.among(n_layers)]
    several = isinstance(sites, Iterable) and not isinstance(sites, str | Mapping)
    given: list[Any] = list(sites) if several and not isinstance(sites, Site) else [sites]
    found = [as_site(one) for one in given]
    for site in found:
        if not isinstance(site, Site):
            close = checks.near(site, KINDS) or "resid_post(12)"
            raise SiteError(
                "This is not a site.",
                got=checks.seen(site),
                expected="a Site, the name of its hook point, or a list of them",
                instead=f"ls.{close}, or [ls.resid_post(12), ls.pattern]",
            )
    return found
