"""What a model can do, found out once a model and then used.

Architectures, TransformerLens and transformers change under one's feet, and most of it without a
word: a cache that is not read, a mask that is not looked at, a hook point on something else than
its name says. So nothing is taken on trust. Each function here tries one thing on a few tokens and
says whether it holds; where it does not, or raises, the plain way is taken, or what relies on it is
refused with the reason. `lensscope.engine.support` shows all of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Final, TypeAlias, TypeVar

import torch
from torch import Tensor

from lensscope.errors import ModelError
from lensscope.model.attaching import apart
from lensscope.model.layouts import Layout, Survey, site_at, surveyed, telling_length, watched
from lensscope.values.site_kinds import Place

T = TypeVar("T")
Backend: TypeAlias = Any
"""A `lensscope.model.backend.Backend`, which stands on this file."""

_LENGTH: Final = 8
"""Tokens of a trial, at most."""
_SHORT: Final = 3


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


@dataclass(frozen=True)
class Trial:
    """One thing that was tried.

    Attributes:
        name: what.
        holds: whether it does what it should.
        seen: the figure, or what went wrong.
    """

    name: str
    holds: bool
    seen: str


_FOUND: weakref.WeakKeyDictionary[Any, dict[object, Any]] = weakref.WeakKeyDictionary()


def once(backend: Backend, name: object, find: Callable[[], T]) -> T:
    """What ``find`` gave for this model the first time, in its dtype and on its device.

    Neither the user's own hooks act meanwhile nor those of the call that asks.
    """
    found = _FOUND.setdefault(backend.model, {})
    key = (name, backend.dtype, backend.device)
    if key not in found:
        found[key] = apart(partial(_undisturbed, backend, find))
    return found[key]


def _undisturbed(backend: Backend, find: Callable[[], T]) -> T:
    with torch.no_grad(), backend.alone():
        return find()


def trial_tokens(backend: Backend, length: int | None = None) -> Tensor:
    """A prompt to try things on, ``[1, length]``."""
    longest = min(length or _LENGTH, backend.n_ctx or _LENGTH)
    longest = telling_length(backend, longest) if length is None else longest
    return torch.tensor([[37 * t % backend.d_vocab for t in range(3, 3 + longest)]]).to(
        backend.device
    )


def error_of(got: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the spread of what is expected; NaN counts as all."""
    spread = float((expected.max() - expected.min()).float().clamp_min(1e-6))
    error = float((got.float() - expected.float()).abs().max()) / spread
    return error if error == error else float("inf")


def tolerance(backend: Backend) -> float:
    """Rounding is below this by far, and what is mixed up above."""
    return 1e-3 if backend.dtype in (torch.float32, torch.float64) else 5e-2


def attempt(act: Callable[[], T]) -> T | Exception:
    """What comes of it, or the error that it ended in: a trial's own failure is an answer."""
    try:
        return act()
    except (ModelError, TimeoutError):
        raise  # of who asks, not of the way: the model is taken, or time is up
    except Exception as error:  # of whatever library: all of them mean that this way is closed
        return error


def verdict(name: str, act: Callable[[], tuple[Tensor, Tensor]], limit: float) -> Trial:
    """Whether what one way gives is what another gives; a way that raises does not hold."""
    found = attempt(act)
    if isinstance(found, Exception):
        text = str(found).splitlines()[0][:100] if str(found) else ""
        return Trial(name, False, f"{type(found).__name__}: {text}")
    error = error_of(*found)
    return Trial(name, error <= limit, f"differs by {error:.2g} of the spread")


# ------------------------------------------------------------------ the forward


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
        failed = None
        for way in backend.ways("cache"):
            pieces = partial(_in_pieces, backend, tokens, way)
            trial = verdict(name, lambda p=pieces: (p(), expected), tolerance(backend))  # type: ignore[misc]
            if trial.holds:
                return trial, way
            failed = failed or trial
        assert failed is not None
        return failed, way

    return once(backend, "cache", find)


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

        failed = None
        for way in backend.ways("mask"):
            found = verdict(name, partial(padded, way), tolerance(backend))
            if found.holds:
                return found, way
            failed = failed or found
        assert failed is not None
        return failed, way

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
