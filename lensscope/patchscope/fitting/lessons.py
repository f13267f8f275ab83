"""What a patchscope is taught: states, and what is to be said of each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.corpus import Corpus, counted, pieces, some_rows
from lensscope.lenses.states import Asked, gathered
from lensscope.model.backend import Backend
from lensscope.model.head import unembed
from lensscope.model.tokens import tokenize
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Ids, Said, Speech
from lensscope.store.json_text import hash_of
from lensscope.values.sites import Site, resid_post

_PIECES: Final = 32
"""Of a text, that are run at a time."""
GOAL: Final = -2
"""In place of a layer: what states of layers are brought to that are written later."""
_LAST: Final = -1
_UPDATES: Final = 80
"""Of next tokens, unless told otherwise."""
_ENOUGH: Final = 20
"""Items to align layers on, for each entry of a state."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """States, and what is to be said of each.

    Attributes:
        states: by layer, ``[lesson, d]``.
        said: of each, the tokens and the states that the model itself wrote them from.
    """

    states: Mapping[int, Float[Tensor, "lesson d"]]
    said: Sequence[Said]

    def __len__(self) -> int:
        return len(self.said)

    def some(self, numbers: Sequence[int]) -> Lessons:
        """Some of them."""
        own = {layer: held[list(numbers)] for layer, held in self.states.items()}
        return Lessons(own, [self.said[n] for n in numbers])

    @property
    def ids(self) -> list[Ids]:
        """The tokens of each."""
        return [one.ids for one in self.said]

    @property
    def last(self) -> Float[Tensor, "token d_model"]:
        """The states that all tokens were written from, one after another."""
        return torch.cat([one.last for one in self.said])


@runtime_checkable
class Teacher(Protocol):
    """Where lessons come from."""

    hash: str
    """Of what they are made of."""
    apart: tuple[Lessons, Lessons]
    """Those that are not trained on: to say when to stop, and to score."""
    steps: int
    """How many updates they make."""

    def samples(self) -> Iterator[Mapping[int, Float[Tensor, "row d"]]]:
        """States by layer, to align layers on: of the same items at each, some at a time."""

    def lessons(self, step: int) -> Lessons:
        """Those of an update, the same whenever it is asked for."""


def described(
    speech: Speech, names: Sequence[str], sites: Mapping[int, Site], settings: FitSettings
) -> Lessons:
    """Names, each with its states inside a sentence and what the model says of the name itself."""
    said = speech.named(names, settings.max_tokens, settings.stop)
    templates = settings.template
    reads = [
        _read(speech.backend, templates[n % len(templates)], name) for n, name in enumerate(names)
    ]
    return Lessons(_states(speech.backend, reads, sites), said)


@dataclass(eq=False)
class Descriptions:
    """Names inside a sentence, each with what the model says of the name itself."""

    speech: Speech
    names: Sequence[str]
    sites: Mapping[int, Site]
    settings: FitSettings
    apart: tuple[Lessons, Lessons] = field(init=False)
    hash: str = field(init=False)
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        own = self.settings
        if len(self.names) < own.n_held_out + 2:
            raise LensError(
                "There are too few names to train on.",
                got=f"{len(self.names)} names, {own.n_held_out} of them held out",
                expected="more than are held out; some thousand, or the map learns them by heart",
                instead="ls.names(), or a smaller n_held_out=",
            )
        order = list(self.names)
        random.Random(own.seed).shuffle(order)
        self._held = described(self.speech, order, self.sites, own)
        half = own.n_held_out // 2
        self.apart = (
            self._held.some(range(half)),
            self._held.some(range(half, own.n_held_out)),
        )
        self._first = own.n_held_out
        n = len(order) - self._first
        self.steps = own.steps or max(1, round(n * own.passes / own.batch_size))
        self.hash = hash_of((order, [one.ids for one in self._held.said]))

    def samples(self) -> Iterator[Mapping[int, Float[Tensor, "row d"]]]:
        """Those of all names that are trained on."""
        yield {layer: held[self._first :] for layer, held in self._held.states.items()}

    def lessons(self, step: int) -> Lessons:
        """Those of an update: texts of about one length, gone through in an order of their own
        each time."""
        size = self.settings.batch_size
        n = len(self._held) - self._first
        batches = -(-n // size)
        return self._held.some(self._turn(step // batches)[step % batches])

    def _turn(self, turn: int) -> list[list[int]]:
        """The batches of the n-th time."""
        if getattr(self, "_turned", None) != turn:
            draw = random.Random(f"{self.settings.seed}/{turn}")
            order = list(range(self._first, len(self._held)))
            draw.shuffle(order)
            size = self.settings.batch_size
            chunks = [order[i : i + 16 * size] for i in range(0, len(order), 16 * size)]
            ordered = [
                n for c in chunks for n in sorted(c, key=lambda n: len(self._held.said[n].ids))
            ]
            self._batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
            draw.shuffle(self._batches)
            self._turned = turn
        return self._batches


@dataclass(eq=False)
class NextTokens:
    """Tokens of a text, each with what the model says after it.

    Some pieces are run at a time, and their tokens then drawn from for as many updates as use them
    up, since a forward costs more than what is learnt from one token of it.
    """

    backend: Backend
    texts: Any
    sites: Mapping[int, Site]
    settings: FitSettings
    apart: tuple[Lessons, Lessons] = field(init=False)
    hash: str = field(init=False)
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        own = self.settings
        self._corpus = Corpus(
            self.backend,
            self.texts,
            own.length,
            _PIECES,
            shortest=3,
            n_held_out=max(2, own.n_held_out // 8),
            seed=own.seed,
        )
        held = self._corpus.held_out
        half = len(held) // 2
        self.apart = (
            self._of(held[:half], own.n_held_out // 2, 0),
            self._of(held[half:], own.n_held_out - own.n_held_out // 2, 1),
        )
        self._chunk = (0, self._of(self._corpus.batch(0)))
        self.steps = own.steps or _UPDATES
        self.hash = self._corpus.hash

    def samples(self) -> Iterator[Mapping[int, Float[Tensor, "row d"]]]:
        """Of as many pieces as make enough tokens, or of all there are."""
        n = 0
        for step in range(self._corpus.batches):
            lessons = self._of(self._corpus.batch(step)) if step else self._chunk[1]
            yield lessons.states
            n += len(lessons)
            if n >= _ENOUGH * next(iter(lessons.states.values())).shape[-1]:
                return

    def lessons(self, step: int) -> Lessons:
        """Some tokens of the pieces that are at hand."""
        own = self.settings
        at = step // max(1, _PIECES * (own.length - 1) // own.batch_size)
        if self._chunk[0] != at:
            self._chunk = (at, self._of(self._corpus.batch(at)))
        held = self._chunk[1]
        return held.some(some_rows(len(held), own.batch_size, own.seed, step + 2).tolist())

    def _of(
        self, pieces: Iterable[Sequence[int]], wanted: int | None = None, step: int = 0
    ) -> Lessons:
        return _next_tokens(self.backend, pieces, self.sites, wanted, self.settings.seed, step)


def every_token(
    backend: Backend, texts: Any, sites: Mapping[int, Site], settings: FitSettings
) -> Lessons:
    """All tokens of texts, each with what the model says after it."""
    own = list(pieces(backend, texts, settings.length, shortest=3))
    return _next_tokens(backend, own, sites, None, settings.seed, 0)


def _next_tokens(
    backend: Backend,
    some: Iterable[Sequence[int]],
    sites: Mapping[int, Site],
    wanted: int | None,
    seed: int,
    step: int,
) -> Lessons:
    """So many tokens of some pieces, or all, drawn by seed and step."""
    prompts = [tokenize(backend, list(piece))[0] for piece in some]
    every = [(n, t) for n, p in enumerate(prompts) for t in counted(backend, p.ids, None)]
    chosen = some_rows(len(every), wanted, seed, step).tolist()
    tokens = sorted(every[i] for i in chosen)
    reads = [
        Asked(prompt, tuple(t for m, t in tokens if m == n)) for n, prompt in enumerate(prompts)
    ]
    reads = [read for read in reads if read.tokens]
    last = resid_post(backend.n_layers - 1)
    states = dict(_states(backend, reads, {**sites, _LAST: last}))
    final = states.pop(_LAST)
    with torch.no_grad():
        ids = unembed(backend, final).argmax(-1).tolist()
    return Lessons(states, [Said((i,), row[None]) for i, row in zip(ids, final, strict=True)])


def _states(
    backend: Backend, reads: Sequence[Asked], sites: Mapping[int, Site]
) -> dict[int, Float[Tensor, "row d"]]:
    """The states of what is read, in its order, by layer."""
    found: dict[int, list[Tensor]] = {layer: [torch.empty(0)] * len(reads) for layer in sites}
    for part in gathered(backend, reads, list(dict.fromkeys(sites.values())), final=False):
        for layer, site in sites.items():
            split = torch.split(part.states[site], part.rows)
            for n, rows in zip(part.prompts, split, strict=True):
                found[layer][n] = rows
    return {layer: torch.cat(rows) for layer, rows in found.items()}


def _read(backend: Backend, template: str, name: str) -> Asked:
    """A sentence, read at the last token of the name in it."""
    start = template.index("{}")
    prompt = tokenize(backend, template.replace("{}", name))[0]
    end = start + len(name)
    held = [n for n, (first, last) in enumerate(prompt.char_spans) if first < end <= last]
    inside = [
        n for n, (first, last) in enumerate(prompt.char_spans) if first < end and first < last
    ]
    return Asked(prompt, ((held or inside)[-1],))
