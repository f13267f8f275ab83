"""Whether rows can join at their layer: tried out once a model, by running some."""

from __future__ import annotations

import torch
from torch import Tensor

from lensscope.engine.batch import resolve_row
from lensscope.engine.execution import execute
from lensscope.engine.planning import Plan
from lensscope.model.backend import Backend
from lensscope.model.tokens import tokenize
from lensscope.model.trying import Trial, once, trial_tokens, verdict
from lensscope.values.sites import Patch, Site


def joins(backend: Backend) -> Trial:
    """Whether rows can join at their layer in this model.

    An architecture may build what depends on the size of the batch outside its blocks. So a joined
    pass is tried against a plain one.
    """
    limit = 5e-3 if backend.dtype == torch.float32 else 5e-2
    return once(
        backend, "joins", lambda: verdict("joining", lambda: _joined_and_plain(backend), limit)
    )


def why_not(backend: Backend) -> str:
    """Why rows cannot join at their layer in this model; empty if they can."""
    trial = joins(backend)
    return "" if trial.holds else f"its blocks do not take a batch that grows: {trial.seen}"


def _joined_and_plain(backend: Backend) -> tuple[Tensor, Tensor]:
    # As many tokens as no number of rows here divides: what was made for one row cannot be taken
    # for that of several.
    prompt = tokenize(backend, trial_tokens(backend, 5)[0])[0]
    layer, last = backend.n_layers - 1, len(prompt) - 1
    middle = len(prompt) // 2
    patches: list[list[Patch]] = [
        [site.at(p).scale(0.5)]
        for site, p in [
            (Site("embed"), middle),
            (Site("resid_post", layer // 2), last),
            (Site("resid_pre", layer), middle),
        ]
    ]
    rows = [resolve_row(backend, prompt, p) for p in [*patches, []]]
    each = [
        execute(backend, rows, asked=[[last]] * len(rows), side="left", plan=plan)
        for plan in (Plan(), Plan.none())
    ]
    joined, plain = (outcome.kept["logits"].float() for outcome in each)
    return joined, plain
