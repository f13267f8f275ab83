"""Where a lens may read, and what it is given of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from jaxtyping import Float
from torch import Tensor

from lensscope.checks import Layers
from lensscope.engine.capture import SitesLike, as_sites
from lensscope.errors import LensError
from lensscope.model.backend import Backend
from lensscope.values.sites import Site, as_site

RESIDUAL: Final = ("resid_pre", "resid_mid", "resid_post")
COMPONENTS: Final = ("attn_out", "mlp_out", "head_out")
States: TypeAlias = Mapping[Site, Float[Tensor, "row width"]]


def concrete(backend: Backend, sites: SitesLike) -> list[Site]:
    """Sites with layer and head, each once, all of them vectors that a lens may read.

    Raises:
        LensError: a site that is no vector of the residual stream, or has a position.
        SiteError: layer or head out of range.
    """
    found: dict[Site, None] = {}
    asked: Any = as_sites(sites, backend.n_layers) if isinstance(sites, Layers) else sites
    several = isinstance(asked, Iterable) and not isinstance(asked, str)
    for site in map(as_site, asked if several else [asked]):
        if not isinstance(site, Site) or site.kind not in RESIDUAL + COMPONENTS:
            raise LensError(
                "A lens cannot read this.",
                got=repr(site),
                expected=f"one of {', '.join(RESIDUAL + COMPONENTS)}",
                instead="ls.resid_post, or [ls.resid_post(12), ls.resid_post(20)]",
            )
        if site.position is not None:
            raise LensError(
                "A site that a lens reads has no position of its own.",
                got=repr(site),
                expected="a kind and layers; positions= says which tokens",
                instead=f"sites=ls.{site.kind}({site.layer}), positions={site.position!r}",
            )
        for one in backend.concrete(site):
            found.update(dict.fromkeys(backend.each_head(one)))
    return list(found)
