"""`generate`: let a patched model go on writing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lensscope import checks
from lensscope.engine.execution import execute
from lensscope.engine.join_trial import why_not
from lensscope.engine.rows import PatchLike, as_list, rows_of
from lensscope.engine.runs import Generation
from lensscope.engine.sampling import Sampling
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
    stop_at_eos: bool = True,
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
        stop_at_eos: end a text at the model's end-of-text token.
        use_cache: keep keys and values between steps; without, each step runs everything again.
        prepend_bos: ``None`` follows the model's own default.
        memory_budget: bytes that it may take, results included.

    Raises:
        PromptError: prompt and new tokens do not fit into the context.
        SiteError, PositionError, PatchError, ModelError: see there.

    Example:
        >>> ls.generate(model, "The capital of Japan is the city of", max_new_tokens=1).text
        ' Tokyo'
    """
    backend = backend_of(model)
    prompts = tokenize(backend, prompt, prepend_bos)
    rows = rows_of(backend, prompts, [as_list(patches)] * len(prompts), source, prepend_bos)
    sampling = Sampling(max_new_tokens, temperature, top_k, top_p, seed, stop_at_eos, use_cache)
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
    return replace(outcome.generation, single=is_single(prompt))
