"""What a model can do, found out once a model and then used.

Architectures, TransformerLens and transformers change under one's feet, and most of it without a
word: a cache that is not read, a mask that is not looked at, a hook point on something else than
its name says. So nothing is taken on trust. Each function here tries one thing on a few tokens and
says whether it holds; where it does not, or raises, the plain way is taken, or what relies on it is
refused with the reason. `lensscope.engine.support` shows all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor

from lensscope.errors import ModelError, SiteError
from lensscope.model.layouts import Backend, Layout, Survey, site_at, surveyed, watched
from lensscope.model.trying import (
    Trial,
    attempt,
    once,
    tolerance,
    trial_tokens,
    verdict,
)
from lensscope.values.site_kinds import Place

_SHORT: Final = 3


# ------------------------------------------------------------------ the forward


@dataclass(frozen=True)
class Way:
    """How a model's forward is called; which way is right is tried.

    Attributes:
        told: whether a forward without keys and values is told to use no cache.
        positions: whether positions go along with a mask.
        renamed: whether attention is given the cache under the name that it knows.
    """

    told: bool = True
    positions: bool = True
    renamed: bool = False


@dataclass(frozen=True, eq=False)
class Whole:
    """The trial's prompt, twice, in one forward.

    Attributes:
        logits: ``[1, pos, d_vocab]``.
        last: what the last block gives, ``[pos, d_model]``, where it can be seen.
        survey: what each site gives at each layer.
    """

    logits: Tensor
    last: Tensor | None
    survey: Survey


def whole(backend: Backend, way: Way | None = None) -> Whole:
    """The trial's prompt in one forward, called in this way, or in the one that is right."""
    way = plain(backend)[1] if way is None else way

    def find() -> Whole:
        tokens = trial_tokens(backend)
        hooks, seen = watched(backend)
        with backend.attached(hooks):
            logits = backend.call(tokens.expand(2, -1), way)
        last = seen.get(("resid_post", backend.n_layers - 1))
        survey = surveyed(backend, seen, tokens.shape[1])
        return Whole(logits[:1], last[0] if isinstance(last, Tensor) else None, survey)

    return once(backend, ("whole", way), find)


def plain(backend: Backend) -> tuple[Trial, Way]:
    """How a forward without keys and values is called: told not to use a cache, where it then gives
    what TransformerLens gives by default."""

    def find() -> tuple[Trial, Way]:
        name = "a forward without a cache"
        tokens = trial_tokens(backend)
        told, untold = backend.ways(None)
        if told == untold:
            return Trial(name, True, "the only way"), told
        default = attempt(lambda: backend.call(tokens, untold))

        def both() -> tuple[Tensor, Tensor]:
            got = whole(backend, told).logits
            return got, got if isinstance(default, Exception) else default

        trial = verdict(name, both, tolerance(backend))
        if not trial.holds and isinstance(default, Exception):
            raise ModelError(
                "The model does not run.",
                got=f"{backend.name}: {type(default).__name__}: {str(default)[:200]}",
                expected="a forward over a few tokens",
                instead="another model, or other versions of transformers and transformer-lens",
            ) from default
        return trial, told if trial.holds else untold

    return once(backend, "plain", find)


def key_value_cache(backend: Backend) -> tuple[Trial, Way]:
    """Whether a prompt read in stretches and steps, each after the keys and values of what came
    before, gives what it gives as a whole; and how the model must be called for that."""

    def find() -> tuple[Trial, Way]:
        name = "the key-value cache"
        _, way = plain(backend)
        if backend.why_no_cache:
            return Trial(name, False, backend.why_no_cache), way
        tokens = _alike(backend)
        expected = _alone(backend, tokens, way)

        def both(way: Way) -> tuple[Tensor, Tensor]:
            return _in_pieces(backend, tokens, way), expected

        return _first_that_holds(backend, "cache", name, both)

    return once(backend, "cache", find)


def _first_that_holds(
    backend: Backend, about: str, name: str, both: Callable[[Way], tuple[Tensor, Tensor]]
) -> tuple[Trial, Way]:
    failed = None
    for way in backend.ways(about):
        trial = verdict(name, partial(both, way), tolerance(backend))
        if trial.holds:
            return trial, way
        failed = failed or trial
    assert failed is not None
    return failed, way


def _in_pieces(backend: Backend, tokens: Tensor, way: Way) -> Tensor:
    """Logits of a prompt in two stretches and a step."""
    key_values = backend.new_key_values(1)
    width = tokens.shape[1]
    cuts = sorted({0, min(_SHORT, width - 1), width - 1, width})
    return torch.cat(
        [
            backend.call(tokens[:, start:end], way, key_values=key_values)
            for start, end in pairwise(cuts)
        ],
        dim=1,
    )


def _alone(backend: Backend, tokens: Tensor, way: Way) -> Tensor:
    """Logits of a prompt in one forward."""
    if tokens.shape[1] == trial_tokens(backend).shape[1]:
        return whole(backend, way).logits
    return backend.call(tokens, way)


def padding(backend: Backend) -> tuple[Trial, Way]:
    """Whether a short prompt beside a long one, padded on either side and masked, gives what it
    gives alone, also with a step after it; and how the model must be called for that.

    Both sides are in one batch. Where stretches give what the whole does, so does a short prompt
    what it gives as the beginning of the long one.
    """

    def find() -> tuple[Trial, Way]:
        name = "padding"
        _, way = plain(backend)
        trial, cached = key_value_cache(backend)
        long = _alike(backend)
        width = long.shape[1]
        short = long[:, : min(_SHORT, width - 1)]
        if short.shape[1] == 0:
            return Trial(name, False, "the context holds no two lengths"), way
        n, of_long = short.shape[1], _alone(backend, long, way)[0]
        of_short = of_long[:n] if trial.holds else _alone(backend, short, way)[0]

        def padded(way: Way) -> tuple[Tensor, Tensor]:
            tokens, mask = _beside(short, long)
            found = backend.call(tokens, replace(way, renamed=False), mask=mask)
            got, expected = [found[0, -n:], found[1], found[2, :n]], [of_short, of_long, of_short]
            if trial.holds:
                tokens, mask = tokens[:2], mask[:2]
                key_values = backend.new_key_values(2)
                step = replace(way, renamed=cached.renamed)
                backend.call(tokens[:, :-1], step, mask=mask[:, :-1], key_values=key_values)
                last = backend.call(tokens[:, -1:], step, mask=mask, key_values=key_values)
                got.append(last[:, 0])
                expected += [of_short[-1:], of_long[-1:]]
            return torch.cat(got), torch.cat(expected)

        return _first_that_holds(backend, "mask", name, padded)

    return once(backend, "padding", find)


def _beside(short: Tensor, long: Tensor) -> tuple[Tensor, Tensor]:
    """A batch and its mask: the short prompt padded on the left, the long one, and the short one
    padded on the right."""
    width = long.shape[1]
    tokens, mask = long.new_zeros(3, width), long.new_zeros(3, width)
    for row, prompt in enumerate((short, long, short)):
        where = slice(width - prompt.shape[1], width) if row == 0 else slice(prompt.shape[1])
        tokens[row, where], mask[row, where] = prompt[0], 1
    return tokens, mask


def _alike(backend: Backend) -> Tensor:
    """As much of the trial's prompt as has the rotary factors of a short one."""
    tokens = trial_tokens(backend)
    length = tokens.shape[1]
    while length > 2 and backend.length_class(length) != backend.length_class(2):
        length -= 1
    return tokens[:, :length]


# ------------------------------------------------------------------ the sites


def survey(backend: Backend) -> Survey:
    """What each site gives at each layer, measured in one forward."""
    return whole(backend).survey


def layouts(backend: Backend) -> Mapping[Place, Layout]:
    """How each site lies in what its hook point gives, at each layer."""
    return survey(backend).layouts


def idle(backend: Backend) -> Mapping[Place, str]:
    """Places where a write changes nothing, with the reason: the hook point shows something that is
    not used.

    Something is added at every place that could carry a gradient. Where none comes back from the
    logits, not even one of zero, nothing goes on with what is there.
    """

    def find() -> Mapping[Place, str]:
        tried = [p for p, layout in layouts(backend).items() if not layout.why_not]
        # On a bridge it is written through its neighbours.
        tried = [p for p in tried if p[0] != "resid_mid"]
        found = attempt(lambda: _used(backend, tried))
        if isinstance(found, Exception):
            return dict.fromkeys(tried, f"writes cannot be tried ({type(found).__name__}: {found})")
        return {p: "nothing changes whatever is written there" for p in tried if p not in found}

    return once(backend, "idle", find)


def _used(backend: Backend, places: Sequence[Place]) -> set[Place]:
    """Those of these places that the logits depend on."""
    added: dict[Place, Tensor] = {}

    def add(place: Place, tensor: Tensor) -> Tensor:
        added[place] = torch.zeros_like(tensor).requires_grad_()
        return tensor + added[place]

    hooks: dict[Any, list[Any]] = {}
    for place in places:
        hooks.setdefault(backend.hook_point(site_at(place)), []).append(partial(add, place))
    with torch.inference_mode(False), torch.enable_grad(), backend.attached(hooks):
        logits = backend.forward(trial_tokens(backend, 2))
        reached = [place for place in places if place in added]
        gradients = torch.autograd.grad(
            logits.float().sum(), [added[place] for place in reached], allow_unused=True
        )
    return {p for p, gradient in zip(reached, gradients, strict=True) if gradient is not None}


def check_writable(backend: Backend, places: set[Place]) -> None:
    """Refuse a write that would not mean what it says: a hook point whose tensor is shown but
    not used, or one that is not what is added to the residual stream.

    Raises:
        SiteError: there is one among these places.
    """
    for kind, layer in sorted(places, key=str):
        why = idle(backend).get((kind, layer))
        if why is not None:
            raise SiteError(
                "Attention patterns of this model cannot be written."
                if kind == "pattern"
                else f"{kind}({layer}) of this model cannot be written.",
                got=f"{backend.name}: {why}",
                expected="a hook point whose tensor the model goes on with",
                instead="ls.head_out(layer, head), ls.v(layer, head) or ls.resid_post(layer)",
            )
    for kind, layer in sorted(places, key=str):
        if kind not in ("attn_out", "mlp_out", "resid_mid"):
            continue
        wrong = survey(backend).not_added.get(layer)  # type: ignore[arg-type]
        if wrong is not None:
            raise SiteError(
                f"{kind}({layer}) of this model cannot be written.",
                got=f"{wrong} in {backend.name}",
                expected="outputs that are added to the residual stream as they are",
                instead=f"ls.resid_post({layer}) or ls.resid_pre({layer})",
            )
