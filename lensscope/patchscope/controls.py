"""What a patchscope says of vectors that are not the state it is asked about: its controls.

A reader says something of any vector. What it says of a state is of that state only so far as it
says something else of nothing, of a random vector, of the mean of many states, of another state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.engine.runs import Generation
from lensscope.errors import PromptError
from lensscope.lenses.states import Asked, asked, gathered
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.patchscope.controlled import Controlled
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.layers import LayersLike, TargetLayers
from lensscope.patchscope.mapping import mapped
from lensscope.patchscope.scope import Patchscope
from lensscope.patchscope.writing import adapted, write_and_decode
from lensscope.values.positions import PositionsLike
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Site

Written: TypeAlias = "tuple[Tensor | None, int, int]"
"""A state, or nothing; the layer that it was read at, and the one that it is written at."""


class Words(NamedTuple):
    """What was said: the text, and its tokens."""

    text: str
    ids: tuple[int, ...]


def words_of(generation: Generation) -> list[Words]:
    """What was generated of each row."""
    return [Words(*row) for row in zip(generation.texts, generation.token_ids, strict=True)]


def read_kind(scope: Patchscope) -> Site:
    """The kind of site that a patchscope reads, without its layer."""
    site = scope.read or scope.write
    return Site(site.kind, None, site.head)


def written_of(
    scope: Patchscope, here: Backend, target: Backend, row: Written
) -> tuple[Site, Float[Tensor, " d_out"]] | None:
    """What is written of a state, and where; ``None`` where nothing is."""
    state, source, at = row
    if state is None:
        return None
    own = state.to(here.device, here.dtype)
    value = mapped(scope, own, target, read_kind(scope).whole(source))
    return scope.write.whole(at), value


def said_of(
    scope: Patchscope,
    here: Backend,
    rows: Iterable[Written],
    max_new_tokens: int,
    *,
    at_once: int | None = None,
    memory_budget: int | None = None,
    **options: Any,
) -> list[Words]:
    """What a patchscope says of states, and of nothing.

    Args:
        scope: the patchscope.
        here: the model that states were read in.
        rows: states, each with the layers that it was read at and is written at.
        max_new_tokens: how much is said of each.
        at_once: so many are run at a time.
        memory_budget: bytes that a run may take.
        **options: how texts go on, as in `lensscope.generate`.
    """
    each = [(scope, row) for row in rows]
    return said_together(
        here, each, max_new_tokens, at_once=at_once, memory_budget=memory_budget, **options
    )


def said_together(
    here: Backend,
    rows: Sequence[tuple[Patchscope, Written]],
    max_new_tokens: int,
    *,
    on_token: Callable[[int, int], Any] | None = None,
    **options: Any,
) -> list[Words]:
    """As `said_of`, of several patchscopes: those that write in one way into one prompt are run
    together, whatever map each of them has.

    Args:
        here: the model that states were read in.
        rows: patchscopes, and what each of them writes.
        max_new_tokens: how much is said of each.
        on_token: told of each new token as it is found, with the number of its row.
        **options: how many are run at a time, and how texts go on, as in `said_of`.
    """
    alike: dict[Any, list[int]] = {}
    for n, (scope, (_, source, _)) in enumerate(rows):
        how = (scope.mix, scope.match_norm, scope.rule, scope.write.head)
        way = (*how, id(scope.model), id(scope.adapter))
        alike.setdefault((scope.inspection.of_layer(source), way), []).append(n)
    found: dict[int, Words] = {}
    for (inspection, _), at in alike.items():
        own = [rows[n] for n in at]
        told = None if on_token is None else _by_number(on_token, at)
        said = _said_alike(here, inspection, own, told, max_new_tokens=max_new_tokens, **options)
        found.update(zip(at, said, strict=True))
    return [found[n] for n in range(len(rows))]


def _by_number(on_token: Callable[[int, int], Any], at: Sequence[int]) -> Callable[[int, int], Any]:
    """The same, told of rows by other numbers."""
    return lambda row, token: on_token(at[row], token)


def _said_alike(
    here: Backend,
    inspection: InspectionPrompt,
    rows: Sequence[tuple[Patchscope, Written]],
    on_token: Callable[[int, int], Any] | None,
    **options: Any,
) -> list[Words]:
    """What is said of states that are written in one way into one prompt."""
    scope = rows[0][0]
    target = here if scope.model is None else backend_of(scope.model)
    said: list[Words] = []

    def told(row: int, token: int) -> None:
        if on_token is not None:
            on_token(len(said) + row, token)

    with adapted(scope, target):
        for runs in write_and_decode(
            target,
            inspection.tokenized(target),
            inspection.placed(target),
            (written_of(own, here, target, row) for own, row in rows),
            patch=scope.patch,
            on_token=told,
            **options,
        ):
            assert runs.generation is not None
            said += words_of(runs.generation)
    return said


@dataclass(frozen=True, eq=False)
class OtherStates:
    """States of other texts at some sites: their mean, and that of the last token of the first."""

    mean: Mapping[Site, Float[Tensor, " width"]]
    last: Mapping[Site, Float[Tensor, " width"]]


def other_states(here: Backend, reads: Sequence[Asked], sites: Sequence[Site]) -> OtherStates:
    """The states that are controls of others.

    Args:
        here: the model.
        reads: other texts and their tokens, at least one.
        sites: where.
    """
    found = _states(here, reads, sites)
    ends = np.cumsum([len(one.tokens) for one in reads])
    last = next(int(end) - 1 for end, one in zip(ends, reads, strict=True) if one.tokens)
    mean = {site: values.float().mean(0) for site, values in found.items()}
    return OtherStates(mean, {site: values[last] for site, values in found.items()})


def random_state(
    state: Float[Tensor, " width"], seed: int, token: int, layer: int
) -> Float[Tensor, " width"]:
    """The random vector that is a control of a state: as long, and the same for one seed."""
    return as_long_as(state.float(), np.random.default_rng((seed, token, layer)))


def as_long_as(
    states: Float[Tensor, "*rows width"], rng: np.random.Generator
) -> Float[Tensor, "*rows width"]:
    """Random vectors, each as long as one of the states."""
    noise = torch.from_numpy(rng.standard_normal(tuple(states.shape))).to(states)
    return noise * (states.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True))


def controlled(
    scope: Patchscope,
    model: Any,
    source: PromptsLike,
    position: PositionsLike = -1,
    layers: LayersLike = None,
    target_layers: TargetLayers = "own",
    *,
    texts: Sequence[str],
    max_new_tokens: int | None = None,
    occurrence: int | None = None,
    prepend_bos: bool | None = None,
    stop: str | Sequence[str] = (),
    temperature: float = 0.0,
    top_p: float | None = None,
    seed: int = 0,
) -> Controlled:
    """What a patchscope says of states of a prompt, and what it says of their controls.

    For each cell of `Patchscope.inspect`: of the prompt as it is, with nothing written into it; of
    a random vector as long as the state; of the mean state of other texts at that layer; of the
    state of another text's last token.

    Args:
        scope: the patchscope.
        model: the model that is read.
        source: one prompt.
        position: which tokens, as in `Patchscope.inspect`.
        layers: source layers.
        target_layers: where states are written, as in `Patchscope.inspect`.
        texts: other texts. The mean is over all their tokens but the first of each, which is an
            attention sink; the other state is of the last token of the first of them.
        max_new_tokens: how much is said of each; the patchscope's own number by default.
        occurrence: which match of a substring is meant.
        prepend_bos: for the source prompt.
        stop: a text, or several, at which what is said ends.
        temperature: 0 is greedy; above, words are drawn.
        top_p: draw among the fewest tokens that together have this probability.
        seed: of random vectors, and of the draws.

    Raises:
        PromptError: several prompts, raw vectors, or no texts.
        SiteError, PositionError, PatchError, BasisError, ModelError: as `Patchscope.inspect`.

    Example:
        >>> from lensscope.patchscope.controls import controlled
        >>> scope = ls.Patchscope.entity_description(write=ls.resid_pre(2), read=ls.resid_post)
        >>> found = controlled(scope, model, "I have read about Jurassic Park", layers=[8],
        ...     texts=["Two and two make four."], max_new_tokens=8)
        >>> found.frame().set_index("condition")["text"]["state"]
        ': American musicals, The Simps'
    """
    here = backend_of(model)
    number = scope.max_new_tokens if max_new_tokens is None else max_new_tokens
    sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed}
    sampling["stop"] = stop
    reads = asked(here, source, position, prepend_bos, occurrence)
    others = asked(here, list(texts), slice(1, None)) if len(texts) else []
    if len(reads) != 1 or not any(one.tokens for one in others):
        raise PromptError(
            "Controls are of one prompt, beside other texts.",
            got=f"{len(reads)} prompts, {checks.seen(list(texts))}",
            expected="one prompt, and at least one text of two tokens",
            instead='controlled(scope, model, "Jurassic Park", texts=["Two and two make four."])',
        )
    result = scope.inspect(
        model,
        source,
        position,
        layers,
        target_layers,
        number,
        occurrence=occurrence,
        prepend_bos=prepend_bos,
        **sampling,
    )
    frame = result.frame()
    cells = list(zip(frame["position"], frame["source_layer"], frame["target_layer"], strict=True))
    sources = list(dict.fromkeys(int(layer) for layer in frame["source_layer"]))
    kind = read_kind(scope)
    own = _states(here, reads, [kind(layer) for layer in sources])
    other = other_states(here, others, [kind(layer) for layer in sources])
    rows: dict[str, list[Written]] = {name: [] for name in ("prior", "random", "mean", "other")}
    for token, s, t in ((int(p), int(s), int(t)) for p, s, t in cells):
        state = own[kind(s)][reads[0].tokens.index(token)]
        rows["prior"].append((None, s, t))
        rows["random"].append((random_state(state, seed, token, s), s, t))
        rows["mean"].append((other.mean[kind(s)], s, t))
        rows["other"].append((other.last[kind(s)], s, t))
    said = said_of(scope, here, [row for own in rows.values() for row in own], number, **sampling)
    named = {
        name: [words.text for words in said[n * len(cells) :][: len(cells)]]
        for n, name in enumerate(rows)
    }
    return Controlled(result, named, others[0].prompt.text, len(others), seed)


def _states(
    here: Backend, reads: Sequence[Asked], sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "row width"]]:
    """All states that are read, in the order of prompts and tokens."""
    numbers: list[int] = []
    found: dict[Site, list[Tensor]] = {site: [] for site in sites}
    for part in gathered(here, reads, sites, final=False):
        numbers += part.prompts
        for site in sites:
            found[site] += torch.split(part.states[site], part.rows)
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    return {site: torch.cat([each[n] for n in order]) for site, each in found.items()}
