"""What lenses are fitted on: texts or token ids, cut into pieces."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lensscope.checks import whole_number
from lensscope.checks.plain import goes_through
from lensscope.errors import LensError, PromptError
from lensscope.lenses.notes import begins_with_bos
from lensscope.lenses.states import lines_of
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import ids_of
from lensscope.store.json_text import hash_of
from lensscope.values.chats import Chat
from lensscope.values.prompts import TokenizedPrompt, parts_of

Texts: TypeAlias = "Path | str | Iterable[str | Sequence[int] | Tensor]"
Piece: TypeAlias = tuple[int, ...]
_BLOCK = 4000
_TOO_SHORT = 20_000
"""So many texts in a row that give nothing are a mistake, and may be endless."""


def python_docs() -> list[str]:
    """A corpus that is always at hand: the chapters of the Python language reference.

    They come with Python itself, for its ``help()`` (module ``pydoc_data.topics``, about half a
    million characters of technical English and code, under the PSF licence), and differ a little
    from version to version.

    Example:
        >>> from lensscope.lenses.corpus import python_docs
        >>> len(python_docs()) > 70
        True
    """
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]


def pieces(
    model: Any,
    texts: Texts,
    length: int,
    *,
    shortest: int = 2,
    prepend_bos: bool | None = None,
) -> Iterator[Piece]:
    """Token ids of texts, cut into pieces; one that is too short is left out.

    Args:
        model: its tokenizer cuts. Of a model that wants BOS, each piece begins with it.
        texts: any iterable of texts or token ids; a text file, which is one text.
        length: tokens of a piece, BOS included.
        shortest: tokens below which a piece is left out.
        prepend_bos: ``None`` follows the model's own default.
    """
    backend = backend_of(model)
    nothing = 0
    for text in _each(texts):
        nothing += 1
        if nothing > _TOO_SHORT:
            raise LensError(
                "These texts are too short to be read.",
                got=f"{_TOO_SHORT:,} texts in a row with fewer than {shortest} tokens",
                expected=f"texts of at least {shortest} tokens",
                instead="longer texts, or a smaller skip_first",
            )
        written = isinstance(text, str | Chat)
        ids = ids_of(backend, text, prepend_bos) if written else _plain(text)
        bos = ids[:1] if written and begins_with_bos(backend, ids) else []
        rest, step = ids[len(bos) :], max(1, length - len(bos))
        for first in range(0, len(rest), step):
            piece = (*bos, *rest[first : first + step])
            if len(piece) >= max(shortest, len(bos) + 1):
                nothing = 0
                yield piece


def _plain(ids: Any) -> list[int]:
    """Token ids as they were given.

    Raises:
        LensError: neither text nor token ids.
    """
    try:
        if not len(ids):
            return []
        (found,), single = parts_of(ids)
        if single and not isinstance(found, str | Chat):
            return list(found.ids if isinstance(found, TokenizedPrompt) else found)
        cause: Exception | None = None
    except (PromptError, TypeError, ValueError) as error:  # no prompt, no length, several
        cause = error
    raise LensError(
        "This is not a text.",
        got=f"{type(ids).__name__}: {str(ids)[:60]}",
        expected="a string, or token ids",
        instead='[row["text"] for row in dataset]',
    ) from cause


def _each(texts: Texts) -> Iterator[Any]:
    if isinstance(texts, Path):
        block = ""
        for line in lines_of(texts):
            block += line + "\n"
            if len(block) > _BLOCK:
                yield block
                block = ""
        texts = [block]
    if not goes_through(texts) or isinstance(texts, Mapping | bytes):
        raise LensError(
            "These are not texts.",
            got=f"{type(texts).__name__}: {str(texts)[:60]}",
            expected="an iterable of texts or token ids, or a path",
            instead='["The Eiffel Tower is in the city of Paris."], or Path("corpus.txt")',
        )
    yield from [texts] if isinstance(texts, str) else texts


def counted(backend: Backend, piece: Sequence[int], skip_first: int | None) -> tuple[int, ...]:
    """The tokens of a piece that a lens is fitted to, or measured on.

    Args:
        backend: the model.
        piece: token ids.
        skip_first: so many tokens at the start are left out; ``None`` leaves out the first one
            where it is no BOS. In most models that is an attention sink, whose states are of
            another kind and many times as long as all others.
    """
    first = int(not begins_with_bos(backend, piece)) if skip_first is None else skip_first
    return tuple(range(first, len(piece)))


def named(texts: Texts) -> str:
    """Texts in a few words, for a result to say what it is of."""
    if isinstance(texts, Path):
        return texts.name
    if isinstance(texts, str):
        return f"a text, {shortened(texts)}"
    if not isinstance(texts, Sequence):
        return "texts that were gone through once"
    first = f", the first {shortened(texts[0])}" if texts and isinstance(texts[0], str) else ""
    return f"{len(texts)} text{'s' * (len(texts) != 1)}{first}"


def shortened(text: str, size: int = 24) -> str:
    """The start of a text."""
    words = " ".join(text[: 4 * size].split())
    return repr(words if len(words) <= size else words[:size].rstrip() + "…")


def drawn(model: Any, texts: Texts, length: int, most: int, seed: int) -> list[Piece]:
    """At most so many pieces of texts, drawn from all of them; of what can be gone through only
    once, the first."""
    length = whole_number(length, "length", 2, 64)
    most = whole_number(most, "max_pieces", 1, 64)
    stream = pieces(model, texts, length)
    if isinstance(texts, Iterator):
        return list(islice(stream, most))
    every = list(stream)
    random.Random(seed).shuffle(every)
    return every[:most]


@dataclass(eq=False)
class Corpus:
    """Pieces of texts in batches, the same ones whenever asked for the same step.

    A list, or a file, is gone through again and again, in an order that the seed says; what can be
    gone through only once is gone through once, in its own order.

    Attributes:
        backend: the model.
        texts: what is cut.
        length: tokens of a piece.
        batch_size: pieces of a batch.
        shortest: tokens below which a piece is left out.
        n_held_out: so many pieces are kept apart, to measure on.
        seed: of the order.
        held_out: the pieces kept apart.
        hash: of all pieces that are known beforehand.
    """

    backend: Backend
    texts: Texts
    length: int
    batch_size: int
    shortest: int = 2
    n_held_out: int = 0
    seed: int = 0
    held_out: list[Piece] = field(init=False)
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        if self.length < self.shortest or self.batch_size < 1:
            raise LensError(
                "Texts cannot be cut like this.",
                got=f"length={self.length}, batch_size={self.batch_size}",
                expected=f"pieces of at least {self.shortest} tokens, at least one a batch",
                instead="length=64, batch_size=4",
            )
        once = isinstance(self.texts, Iterator)
        stream = pieces(self.backend, self.texts, self.length, shortest=self.shortest)
        self._list: list[Piece] | None = None if once else list(stream)
        if self._list is not None:
            random.Random(self.seed).shuffle(self._list)
            stream = iter(self._list)
        self.held_out = list(islice(stream, self.n_held_out))
        first = list(islice(stream, self.batch_size))
        if self._list is not None:
            self._list = self._list[len(self.held_out) :]
        if not first or len(self.held_out) < self.n_held_out:
            raise LensError(
                "There is too little text to fit a lens on.",
                got=f"{len(self.held_out) + len(first)} pieces of {self.shortest} to "
                f"{self.length} tokens; shorter ones are left out",
                expected=f"more than {self.n_held_out}, which are held out",
                instead="more or longer texts, or a smaller length=",
            )
        self._first, self._stream, self._next = first, stream, 0
        known = (self.held_out, first if self._list is None else self._list)
        self.hash = hash_of(known)

    def batch(self, step: int) -> list[Piece]:
        """The pieces of a step; steps must not go back where texts are gone through once.

        Raises:
            LensError: the texts have ended.
        """
        if self._list is not None:
            n = len(self._list)
            return [
                self._turn((step * self.batch_size + i) // n)[(step * self.batch_size + i) % n]
                for i in range(self.batch_size)
            ]
        while self._next <= step:
            if self._next:
                self._first = list(islice(self._stream, self.batch_size))
            self._next += 1
        if not self._first:
            raise LensError(
                "The texts ended before the lens was fitted.",
                got=f"{step} batches of {self.batch_size} pieces of up to {self.length} tokens",
                expected=f"at least {step + 1}",
                instead=f"steps={step}, or a list of texts, which is gone through again",
            )
        return self._first

    @property
    def batches(self) -> int:
        """How many there are that can be asked for again: all of a list, or the first."""
        return 1 if self._list is None else -(-len(self._list) // self.batch_size)

    def once(self) -> Iterator[list[Piece]]:
        """All pieces once, in batches."""
        if self._list is not None:
            for first in range(0, len(self._list), self.batch_size):
                yield self._list[first : first + self.batch_size]
            return
        batch = self._first
        while batch:
            yield batch
            batch = list(islice(self._stream, self.batch_size))

    def _turn(self, turn: int) -> list[Piece]:
        """The pieces in the order of their n-th time."""
        assert self._list is not None
        if turn == 0:
            return self._list
        if getattr(self, "_turned", None) != turn:
            again = list(self._list)
            random.Random(f"{self.seed}/{turn}").shuffle(again)
            self._again, self._turned = again, turn
        return self._again


def some_rows(n: int, wanted: int | None, seed: int, step: int) -> Tensor:
    """Which of ``n`` rows a step uses: as many as wanted, drawn by seed and step; or all."""
    if wanted is None or wanted >= n:
        return torch.arange(n)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return torch.randperm(n, generator=generator)[:wanted]
