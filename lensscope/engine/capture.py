"""`capture`: run prompts, and keep what some sites held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from lensscope import checks
from lensscope.engine.batch import PaddingSide, Row
from lensscope.engine.execution import execute
from lensscope.engine.join_trial import why_not
from lensscope.errors import PatchError, SiteError
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.cache import Cache
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Site

SitesLike: TypeAlias = Site | Sequence[Site]


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
        sites: one or several; a site without a layer means every layer.
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
    with progress(len(rows), "capture", "prompt") as bar:
        outcome = execute(
            backend,
            rows,
            keep=as_sites(sites),
            side=padding_side,
            memory_budget=memory_budget,
            why_not_joined=why_not,
            bar=bar,
        )
    return outcome.cache


def as_sites(sites: SitesLike) -> list[Site]:
    """A list of sites from one or several.

    Raises:
        SiteError: one of them is not a site.
    """
    several = isinstance(sites, Iterable) and not isinstance(sites, str | Mapping)
    found: list[Any] = list(sites) if several and not isinstance(sites, Site) else [sites]
    for site in found:
        if not isinstance(site, Site):
            raise SiteError(
                "This is not a site.",
                got=checks.seen(site),
                expected="a Site, or a list of them",
                instead="keep=ls.resid_post(12), or keep=[ls.resid_post(12), ls.pattern]",
            )
    return found
