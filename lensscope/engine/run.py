"""`run`: one forward over one or several prompts, patched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lensscope import checks
from lensscope.engine.batch import PaddingSide
from lensscope.engine.capture import SitesLike, as_sites
from lensscope.engine.execution import execute
from lensscope.engine.join_trial import why_not
from lensscope.engine.rows import PatchLike, as_list, rows_of
from lensscope.engine.runs import Run
from lensscope.errors import PatchError
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.values.cache import Cache
from lensscope.values.prompts import PromptsLike


@checks.door(PatchError)
def run(
    model: Any,
    prompt: PromptsLike,
    patches: Sequence[PatchLike] = (),
    keep: SitesLike = (),
    *,
    source: PromptsLike | Cache | None = None,
    prepend_bos: bool | None = None,
    padding_side: PaddingSide = "right",
    memory_budget: int | None = None,
) -> Run:
    """One forward over one or several prompts, patched.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a string, a list of strings, or token ids. Every prompt gets the same patches, at
            positions resolved on that prompt.
        patches: in the order in which they act; a `Move` reads its value from ``source``.
        keep: sites to keep, as they are after the patches.
        source: a prompt (as many as there are prompts, or one) or a `Cache` that moves read from;
            by default the prompt itself, unpatched.
        prepend_bos: ``None`` follows the model's own default.
        padding_side: how prompts of different lengths are laid out; it changes no result.
        memory_budget: bytes that it may take, results included.

    Raises:
        SiteError, PositionError, PromptError, PatchError, ModelError: see there.

    Example:
        >>> run = ls.run(model, "The Eiffel Tower is in", [ls.resid_post(3).at("Tower").zero()])
        >>> run.logits.shape
        torch.Size([1, 6, 49152])
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    rows = rows_of(backend, prompts, [as_list(patches)] * len(prompts), source, prepend_bos)
    outcome = execute(
        backend,
        rows,
        asked=[range(len(p)) for p in prompts],
        keep=as_sites(keep, backend.n_layers),
        side=padding_side,
        memory_budget=memory_budget,
        why_not_joined=why_not,
    )
    return Run(outcome.kept["logits"], outcome.cache, tuple(prompts), outcome.provenance)
