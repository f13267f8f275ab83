"""`generate`: let a patched model go on writing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lensscope import checks
from lensscope.engine.capture import SitesLike, as_sites
from lensscope.engine.execution import execute
from lensscope.engine.join_trial import why_not
from lensscope.engine.rows import PatchLike, as_list, rows_of
from lensscope.engine.runs import Generation
from lensscope.engine.sampling import Sampling
from lensscope.engine.written_text import with_text
from lensscope.errors import PatchError
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.cache import Cache
from lensscope.values.prompts import PromptsLike, is_single


@checks.door(PatchError)
def generate(
    model: Any,
    prompt: PromptsLike,
    patches: Sequence[PatchLike] = (),
    max_new_tokens: int = 20,
    *,
    source: PromptsLike | Cache | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    stop_at_eos: bool = True,
    keep: SitesLike = (),
    use_cache: bool = True,
    prepend_bos: bool | None = None,
    memory_budget: int | None = None,
) -> Generation:
    """Let a patched model go on writing.

    A patch acts on the tokens it names when they are first processed; with
    ``when="every_step"`` also on every new token. Prompts of different lengths are padded on the
    left, masked, and give what each would give alone.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: a string, a list of strings, or token ids.
        patches: in the order in which they act.
        max_new_tokens: at most this many new tokens.
        source: what a `Move` reads from; by default the prompt itself, unpatched.
        temperature: 0 is greedy; above, tokens are drawn, which needs a ``seed``.
        top_k: draw among this many most probable tokens.
        top_p: draw among the fewest tokens that together have this probability.
        seed: of the draws; each prompt draws as it would alone.
        stop: a text, or several, at which a text ends, without it.
        stop_at_eos: end a text at the model's end-of-text token.
        keep: sites whose states are kept in ``cache``, after the patches, at all tokens: those of
            the prompt, then the new ones. The whole text is run once more for it.
        use_cache: keep keys and values between steps; without, each step runs everything again.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that it may take, results included.

    Raises:
        PromptError: prompt and new tokens do not fit into the context.
        SiteError, PositionError, PatchError, ModelError: see there.

    Example:
        >>> ls.generate(model, "The capital of Japan is the city of", max_new_tokens=1).text
        ' Tokyo'
        >>> talk = ls.chat([{"role": "user", "content": "What is the capital of Japan?"}])
        >>> ls.generate(model, talk, stop=".").text
        'The capital of Japan is Tokyo'
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    rows = rows_of(backend, prompts, [as_list(patches)] * len(prompts), source, prepend_bos)
    sampling = Sampling(
        max_new_tokens, temperature, top_k, top_p, seed, tuple(stop), stop_at_eos, use_cache
    )
    sites = as_sites(keep, backend.n_layers)
    with progress(len(rows) * max_new_tokens, "generate", "token") as bar:
        outcome = execute(
            backend,
            rows,
            sampling=sampling,
            side="left",
            memory_budget=memory_budget,
            why_not_joined=why_not,
            bar=bar,
        )
    assert outcome.generation is not None
    found = replace(outcome.generation, single=is_single(prompt))
    if not sites:
        return found
    texts = with_text(backend, rows, found.token_ids)
    states = execute(
        backend,
        texts,
        keep=sites,
        side="left",
        memory_budget=memory_budget,
        why_not_joined=why_not,
    )
    return replace(found, cache=states.cache)
