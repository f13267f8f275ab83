"""Into which block states are best written, found on names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lensscope.model.backend import Backend
from lensscope.patchscope.fitting.lessons import described
from lensscope.patchscope.fitting.scores import measured
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Speech, as_names
from lensscope.progress import progress
from lensscope.values.sites import Site, resid_pre

if TYPE_CHECKING:
    import pandas as pd


def block_scores(
    scope: Any,
    backend: Backend,
    names: Any,
    blocks: Sequence[int],
    sites: Mapping[int, Site],
    settings: FitSettings,
) -> pd.DataFrame:
    """As `Patchscope.reading_blocks`."""
    import pandas as pd

    speeches = {
        n: Speech(backend, replace(scope, write=resid_pre(n), target_layer=None, earliest=0))
        for n in blocks
    }
    first = speeches[blocks[0]]
    lessons = described(first, as_names(names), sites, settings)
    rows = []
    with progress(len(blocks) * len(sites), "blocks", "cell") as bar:
        for block, speech in speeches.items():
            for layer in sites:
                nats, kl = measured(speech, lessons, layer, lambda x: x)
                rows.append({"block": block, "source_layer": layer, "nats": nats, "kl": kl})
                bar.update()
    return pd.DataFrame(rows)
