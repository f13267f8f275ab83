"""What tokens say: each by itself, and new ones after others.

A decoder may treat what starts its input in its own way: of SentencePiece's kind it strips the
first space. So nothing is decoded by itself that is the continuation of something else.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lensscope.model.backend import Backend

_BEFORE: Final = 16
"""Tokens that new ones are decoded after: what a decoder strips or joins is at their edge."""


def decoded(backend: Backend, ids: Sequence[int]) -> str:
    """The ids as the start of a text, special tokens included."""
    return _decode(backend.tokenizer, ids)


def labels_of(backend: Backend, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token id as text, with the space that it stands for, and ``<EC>`` for each byte that is
    no character by itself; the number itself where the model has no tokenizer."""
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
    if "\ufffd" in alone:  # a part of a character, which only the tokens beside it make whole
        return _spelt(piece) or alone
    if isinstance(piece, str) and piece.endswith("</w>"):
        return f"{alone} "  # of a vocabulary that marks where words end
    word = _word(tokenizer)
    start, whole = _decode(tokenizer, word), _decode(tokenizer, [*word, token])
    added = whole[len(start) :] if start and whole.startswith(start) else alone
    space = added.removesuffix(alone)
    # Where the space is no part of the token, the decoder puts it between any two.
    own = added.endswith(alone) and space.isspace() and added != f" {piece}"
    return added if own else alone


def _spelt(piece: Any) -> str:
    """A piece of bytes as text, where they make some, with ``<EC>`` for each byte that does not;
    empty where a piece does not say its bytes.

    Example:
        >>> from lensscope.model.token_texts import _spelt
        >>> _spelt("Ġìķ"), _spelt("<0xEC>")
        (' <EC><95>', '<EC>')
    """
    fallback = re.fullmatch(r"<0x([0-9A-F]{2})>", str(piece))
    known = _bytes_of_signs()
    if isinstance(piece, bytes):
        own = piece
    elif fallback:
        own = bytes.fromhex(fallback[1])
    elif isinstance(piece, str) and all(sign in known for sign in piece):
        own = bytes(known[sign] for sign in piece)
    else:
        return ""
    parts = own.decode("utf-8", "surrogateescape")
    return "".join(f"<{ord(c) - 0xDC00:02X}>" if "\udc80" <= c <= "\udcff" else c for c in parts)


@cache
def _bytes_of_signs() -> dict[str, int]:
    """The byte that each sign of a byte-level vocabulary stands for (Radford et al. 2019): those
    that can be printed for themselves, the others from 256 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(0x100) if byte not in printed]
    return {chr(b): b for b in printed} | {chr(0x100 + n): b for n, b in enumerate(rest)}


def _word(tokenizer: Any) -> list[int]:
    """A token that ordinary text ends in, for others to follow."""
    return [int(i) for i in tokenizer("a", add_special_tokens=False)["input_ids"]][-1:]


def _has_no_decoder(tokenizer: Any) -> bool:
    """Whether tokens are only joined by spaces, which are then no part of any text."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    return inner is not None and inner.decoder is None


def _decode(tokenizer: Any, ids: Sequence[int], **options: Any) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False, **options))
