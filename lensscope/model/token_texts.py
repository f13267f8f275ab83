"""What tokens say: each by itself, and new ones after others.

A decoder may treat what starts its input in its own way: of SentencePiece's kind it strips the
first space. So nothing is decoded by itself that is the continuation of something else.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lensscope.model.backend import Backend

_BEFORE: Final = 16
"""Tokens that new ones are decoded after: what a decoder strips or joins is at their edge."""


def decoded(backend: Backend, ids: Sequence[int]) -> str:
    """The ids as the start of a text, special tokens included."""
    return _decode(backend.tokenizer, ids)


def labels_of(backend: Backend, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token id as text, with the space that it stands for; the number itself where the model
    has no tokenizer."""
    if backend.tokenizer is None:
        return tuple(str(i) for i in ids)
    known = _LABELS.setdefault(backend.tokenizer, {})
    for i in set(ids) - known.keys():
        known[i] = _label(backend.tokenizer, i)
    return tuple(known[i] for i in ids)


def text_of(backend: Backend, ids: Sequence[int], after: Sequence[int] = ()) -> str:
    """What the ids add to a text, without special tokens.

    Args:
        backend: the model.
        ids: the new tokens.
        after: the tokens that they follow.
    """
    tokenizer = backend.tokenizer
    if tokenizer is None:
        return " ".join(str(i) for i in ids)
    alone = _decode(tokenizer, ids, skip_special_tokens=True)
    if _has_no_decoder(tokenizer):
        return alone
    for before in (list(after)[-_BEFORE:], _word(tokenizer)):
        start = _decode(tokenizer, before, skip_special_tokens=True)
        whole = _decode(tokenizer, [*before, *ids], skip_special_tokens=True)
        if start and whole.startswith(start):
            return whole[len(start) :]
    return alone


_LABELS: weakref.WeakKeyDictionary[Any, dict[int, str]] = weakref.WeakKeyDictionary()


def _label(tokenizer: Any, token: int) -> str:
    alone = _decode(tokenizer, [token])
    piece = tokenizer.convert_ids_to_tokens(token)
    if isinstance(piece, str) and piece.endswith("</w>"):
        return f"{alone} "  # of a vocabulary that marks where words end
    word = _word(tokenizer)
    start, whole = _decode(tokenizer, word), _decode(tokenizer, [*word, token])
    added = whole[len(start) :] if start and whole.startswith(start) else alone
    space = added.removesuffix(alone)
    # Where the space is no part of the token, the decoder puts it between any two.
    own = added.endswith(alone) and space.isspace() and added != f" {piece}"
    return added if own else alone


def _word(tokenizer: Any) -> list[int]:
    """A token that ordinary text ends in, for others to follow."""
    return [int(i) for i in tokenizer("a", add_special_tokens=False)["input_ids"]][-1:]


def _has_no_decoder(tokenizer: Any) -> bool:
    """Whether tokens are only joined by spaces, which are then no part of any text."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    return inner is not None and inner.decoder is None


def _decode(tokenizer: Any, ids: Sequence[int], **options: Any) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False, **options))
