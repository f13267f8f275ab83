"""What translators give on texts that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lensscope.backend import Backend
from lensscope.head import rows_at_once, unembed
from lensscope.lenses.linear import Translator
from lensscope.lenses.measures import kl_divergence, next_token
from lensscope.lenses.states import Asked, gathered
from lensscope.progress import progress
from lensscope.prompts import tokenize
from lensscope.sites import Site


def held_out_scores(
    backend: Backend,
    pieces: Sequence[tuple[int, ...]],
    sites: Sequence[Site],
    translators: Mapping[Site, Translator],
) -> dict[str, Tensor]:
    """What logit lens and translators give on texts, by site.

    ``kl_before`` and ``kl_after``: mean KL of the final distribution from the lens', nats;
    ``ce_before`` and ``ce_after``: mean cross-entropy of the next token, nats. Before is the logit
    lens, where translators begin.
    """
    prompts = [tokenize(backend, list(piece))[0] for piece in pieces]
    reads = [Asked(prompt, tuple(range(len(prompt)))) for prompt in prompts]
    sums = {
        f"{name}_{when}": torch.zeros(len(sites), dtype=torch.float64)
        for name in ("kl", "ce")
        for when in ("before", "after")
    }
    rows = followed = 0
    with torch.no_grad(), progress(len(reads), "held-out texts", "text") as bar:
        for part in gathered(backend, reads, sites):
            step = rows_at_once(backend)
            for first in range(0, sum(part.rows), step):
                final = part.final(backend, slice(first, first + step))
                rows += len(final.log_p)
                followed += int((final.next_token >= 0).sum())
                for n, site in enumerate(sites):
                    states = part.states[site][first : first + step]
                    for when, own in (("before", states), ("after", translators[site](states))):
                        log_q = unembed(backend, own).float().log_softmax(-1)
                        after = next_token(log_q, final.next_token)["next_token_log_probability"]
                        sums[f"kl_{when}"][n] += kl_divergence(final.log_p, log_q).sum().cpu()
                        sums[f"ce_{when}"][n] -= after.nansum().cpu()
            bar.update(len(part.prompts))
    return {
        name: value / (rows if name.startswith("kl") else max(1, followed))
        for name, value in sums.items()
    }
