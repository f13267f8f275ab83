"""What a lens gives on texts, by site, beside the logit lens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pandas as pd
import torch
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.corpus import Piece, counted
from lensscope.lenses.measures import kl_divergence, next_token
from lensscope.lenses.states import Asked, gathered
from lensscope.model.backend import Backend
from lensscope.model.head import rows_at_once, unembed
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.sites import Site

SCORES: Final = ("kl_before", "kl_after", "ce_before", "ce_after")


def scores_on(
    backend: Backend,
    pieces: Sequence[Piece],
    maps: Mapping[Site, Callable[[Tensor], Tensor]],
    skip_first: int | None = None,
) -> dict[str, Tensor]:
    """What the logit lens and the maps of a lens give on texts, by site.

    ``kl_before`` and ``kl_after``: mean KL of the final distribution from the lens', nats;
    ``ce_before`` and ``ce_after``: mean cross-entropy of the next token, nats. Before is the logit
    lens.

    Args:
        backend: the model.
        pieces: of text.
        maps: to the last residual, of each site.
        skip_first: as in `counted`.

    Raises:
        LensError: nothing to measure on, or states and distributions that are not finite.
    """
    prompts = [tokenize(backend, list(piece))[0] for piece in pieces]
    each = [(prompt, counted(backend, prompt.ids, skip_first)) for prompt in prompts]
    reads = [Asked(prompt, tokens) for prompt, tokens in each if tokens]
    if not reads:
        raise LensError(
            "There is no text to measure on.",
            got=f"{len(prompts)} pieces, none of them with tokens that count",
            expected="at least one text of two tokens",
            instead="more or longer texts, or skip_first=0",
        )
    sums = {name: torch.zeros(len(maps), dtype=torch.float64) for name in SCORES}
    rows = followed = 0
    with torch.no_grad(), progress(len(reads), "held-out texts", "text") as bar:
        for part in gathered(backend, reads, list(maps)):
            step = rows_at_once(backend)
            for first in range(0, sum(part.rows), step):
                final = part.final(backend, slice(first, first + step))
                rows += len(final.log_p)
                followed += int((final.next_token >= 0).sum())
                for n, (site, translate) in enumerate(maps.items()):
                    states = part.states[site][first : first + step]
                    for when, own in (("before", states), ("after", translate(states))):
                        log_q = unembed(backend, own).float().log_softmax(-1)
                        after = next_token(log_q, final.next_token)["next_token_log_probability"]
                        sums[f"kl_{when}"][n] += kl_divergence(final.log_p, log_q).sum().cpu()
                        sums[f"ce_{when}"][n] -= after.nansum().cpu()
            bar.update(len(part.prompts))
    return {
        name: value / (rows if name.startswith("kl") else max(1, followed))
        for name, value in sums.items()
    }


def scores_frame(sites: Sequence[Site], found: Mapping[str, Any], corpus: str) -> pd.DataFrame:
    """Scores by site, with the texts that they are of."""
    columns = {name: found[name].tolist() for name in SCORES}
    return pd.DataFrame({"site": [repr(s) for s in sites], **columns, "corpus": corpus})
