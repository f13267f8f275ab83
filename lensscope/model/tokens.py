"""Prompts as the model will see them: token ids, their text, and where each token stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lensscope.errors import PromptError
from lensscope.model.chat_templates import written
from lensscope.model.token_texts import decoded
from lensscope.model.token_texts import labels_of as labels_of
from lensscope.values.chats import Chat
from lensscope.values.prompts import PromptLike as PromptLike
from lensscope.values.prompts import PromptsLike as PromptsLike
from lensscope.values.prompts import TokenizedPrompt as TokenizedPrompt
from lensscope.values.prompts import is_single as is_single
from lensscope.values.prompts import parts_of as parts_of
from lensscope.values.prompts import token_id as token_id

if TYPE_CHECKING:
    from lensscope.model.backend import Backend


def tokenize(
    backend: Backend, prompts: PromptsLike, prepend_bos: bool | None = None
) -> list[TokenizedPrompt]:
    """Every prompt as the tokens that will be run.

    Args:
        backend: the model.
        prompts: a string, a chat, a list of these, token ids (which are run exactly as given), or
            what a tokenizer returns, whose padding is left out.
        prepend_bos: whether text starts with BOS; ``None`` follows the model's own default, and of
            a chat its template. A text that already starts with BOS never gets a second one.

    Raises:
        PromptError: empty, longer than the context, outside the vocabulary, or not a prompt at all.
    """
    return [_tokenize_one(backend, part, prepend_bos) for part in parts_of(prompts)[0]]


def _tokenize_one(
    backend: Backend,
    prompt: str | Chat | Sequence[int] | TokenizedPrompt,
    prepend_bos: bool | None,
) -> TokenizedPrompt:
    if isinstance(prompt, Chat):
        text, messages = written(backend, prompt)
        return replace(_tokenize_one(backend, text, bool(prepend_bos)), messages=messages)
    size = len(prompt)
    if not isinstance(prompt, str):
        _check_length(backend, size)  # before it is spelt out: a range may be of any length
    if isinstance(prompt, TokenizedPrompt):
        _check_vocabulary(backend, prompt.ids)
        result = prompt
    elif isinstance(prompt, str):
        result = _from_text(backend, prompt, prepend_bos)
        _check_length(backend, len(result.ids))
    else:
        result = _from_ids(backend, list(prompt)) if size else TokenizedPrompt((), "", (), ())
    if not result.ids:
        raise PromptError(
            "The prompt is empty.",
            got=repr(prompt),
            expected="at least one token",
            instead='some text, such as "Hello"',
        )
    return result


def _check_length(backend: Backend, size: int) -> None:
    if backend.n_ctx is not None and size > backend.n_ctx:
        raise PromptError(
            "The prompt is longer than the model's context.",
            got=f"{size} tokens",
            expected=f"at most {backend.n_ctx} tokens",
            instead="a shorter prompt, or token ids cut to the context: ids[-n_ctx:]",
        )


def _check_vocabulary(backend: Backend, ids: Sequence[int], text: str | None = None) -> None:
    """Refuse ids that the model has no embedding for, whichever way they came."""
    wrong = [i for i in ids if not 0 <= i < backend.d_vocab]
    if not wrong:
        return
    if text is None:
        raise PromptError(
            "A token id is outside the vocabulary.",
            got=wrong[:5],
            expected=f"0 to {backend.d_vocab - 1}",
            instead="ids from this model's own tokenizer: model.to_tokens(…)",
        )
    raise PromptError(
        "The tokenizer has a token that the model's vocabulary lacks.",
        got=f"{backend.tokenizer.convert_ids_to_tokens(wrong[0])!r}, token {wrong[0]}, "
        f"in {text[:60]!r}",
        expected=f"tokens 0 to {backend.d_vocab - 1}",
        instead="a text without it, or a model whose embedding was resized for the added token",
    )


def ids_of(backend: Backend, text: str | Chat, prepend_bos: bool | None = None) -> list[int]:
    """The token ids of a text, with a BOS where it is wanted and not there yet.

    Raises:
        PromptError: no tokenizer, or one without a BOS that is asked for.
    """
    if isinstance(text, Chat):
        text, prepend_bos = written(backend, text)[0], bool(prepend_bos)
    return _encoded(backend, text, prepend_bos)[0]


def _from_text(backend: Backend, text: str, prepend_bos: bool | None) -> TokenizedPrompt:
    ids, spans = _encoded(backend, text, prepend_bos)
    if not text:
        return TokenizedPrompt((), "", (), ())
    added = len(ids) - len(spans)
    return TokenizedPrompt(
        tuple(ids), text, labels_of(backend, ids), ((0, 0),) * added + tuple(spans)
    )


def _encoded(
    backend: Backend, text: str, prepend_bos: bool | None
) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids, and where those of the text itself stand in it."""
    tokenizer = backend.tokenizer
    if tokenizer is None:
        raise PromptError(
            "The model has no tokenizer, so it cannot read text.",
            got=repr(text[:60]),
            expected="token ids",
            instead="pass token ids, or give the model a tokenizer",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            "The text holds a half of a character, which is no text.",
            got=f"{text[error.start : error.end]!r} at {error.start}",
            expected="text that can be written in UTF-8",
            instead='text.encode(errors="replace").decode()',
        ) from None
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ids = [int(i) for i in encoded["input_ids"]]
        spans = [(int(a), int(b)) for a, b in encoded["offset_mapping"]]
    else:
        ids = [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
        spans = list(_from_ids(backend, ids).char_spans)
    bos = tokenizer.bos_token_id
    wants_bos = backend.default_prepend_bos if prepend_bos is None else prepend_bos
    if wants_bos and bos is None and prepend_bos:
        raise PromptError(
            "prepend_bos=True, but the tokenizer has no BOS token.",
            got=type(tokenizer).__name__,
            expected="a tokenizer with bos_token_id",
            instead="prepend_bos=None or False",
        )
    if wants_bos and bos is not None and ids[:1] != [bos]:
        # TransformerLens gives tokenizers without a BOS one that the model may have no row for.
        known = bos < backend.d_vocab or prepend_bos
        ids = [bos, *ids] if known else ids
    _check_vocabulary(backend, ids, text)
    return ids, spans


def _from_ids(backend: Backend, ids: list[int]) -> TokenizedPrompt:
    _check_vocabulary(backend, ids)
    if backend.tokenizer is None:
        labels = tuple(str(i) for i in ids)
        return TokenizedPrompt(tuple(ids), "", labels, ((0, 0),) * len(ids))
    text = decoded(backend, ids)
    ends = _ends(backend, ids, 32)
    if not ends or ends[-1] != len(text):  # a tokenizer whose pieces do not simply add up
        ends = _ends(backend, ids, len(ids))
    ends = [min(end, len(text)) for end in ends]
    starts = [0, *ends[:-1]]
    spans = tuple((min(a, b), b) for a, b in zip(starts, ends, strict=True))
    return TokenizedPrompt(tuple(ids), text, labels_of(backend, ids), spans)


def _ends(backend: Backend, ids: list[int], window: int) -> list[int]:
    """Where each token ends in the text, decoded a window at a time."""
    ends: list[int] = []
    done, first = 0, 0
    for stop in range(1, len(ids) + 1):
        piece = decoded(backend, ids[first:stop])
        whole = not piece.endswith("\ufffd")  # not in the middle of a character
        ends.append(done + len(piece.rstrip("\ufffd")))
        if whole and stop - first >= window:
            done, first = done + len(piece), stop
    return ends


def eos_ids(backend: Backend) -> frozenset[int]:
    """The tokens that end a text."""
    ids: set[int] = set()
    if backend.tokenizer is not None and backend.tokenizer.eos_token_id is not None:
        ids.add(int(backend.tokenizer.eos_token_id))
    inner = getattr(backend.model, "original_model", None) or backend.model
    generation = getattr(inner, "generation_config", None)
    more = getattr(generation, "eos_token_id", None)
    if more is not None:
        ids.update(int(i) for i in (more if isinstance(more, list | tuple) else [more]))
    return frozenset(ids)
