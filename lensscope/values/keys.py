"""Sites as keys: which one of those that are held is meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lensscope import checks
from lensscope.errors import CacheError
from lensscope.values.provenance import Provenance
from lensscope.values.site_kinds import KINDS
from lensscope.values.sites import Site, as_site


def key_of(given: Any, provenance: Provenance) -> Site:
    """The one site that is meant, with layer and head counted from 0.

    Args:
        given: a site, or the name of its hook point.
        provenance: of the model that it is a site of.

    Raises:
        CacheError: no site, one of every layer, or of a head that is not there.
    """
    site, n = as_site(given), provenance.n_layers
    if not isinstance(site, Site):
        raise CacheError(
            "This is not a site.",
            got=checks.seen(site),
            expected="a Site that was kept",
            instead="cache[ls.resid_post(12)]",
        )
    if site.layer is None and KINDS[site.kind].has_layer:
        raise CacheError(
            f"{site!r} means every layer, not one.",
            got=repr(site),
            expected="a site with a layer",
            instead=f"cache[ls.{site.kind}(3)], or [cache[s] for s in cache]",
        )
    if site.layer is not None and -n <= site.layer < 0:
        site = replace(site, layer=site.layer % n)
    if site.head is not None:
        axis = KINDS[site.kind].head_axis
        heads = provenance.n_heads if axis == "head" else provenance.n_kv_heads
        if not -heads <= site.head < heads:
            raise CacheError(
                f"There is no head {site.head}.",
                got=repr(site),
                expected=f"{-heads} to {heads - 1}",
                instead=f"cache[ls.{site.kind}({site.layer}, 0)]",
            )
        site = replace(site, head=site.head % heads)
    return site
