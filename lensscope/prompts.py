"""Prompts as the model will see them: token ids, their text, and where each token stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from lensscope.errors import PromptError

if TYPE_CHECKING:
    from lensscope.backend import Backend

PromptLike: TypeAlias = "str | Sequence[int] | torch.Tensor | TokenizedPrompt"
PromptsLike: TypeAlias = "PromptLike | Sequence[PromptLike]"


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt, unpadded: what is run, and what every result shows.

    Attributes:
        ids: token ids, BOS included where it is run.
        text: the text, without a BOS that was added.
        labels: each token as text.
        char_spans: for each token the range of characters of ``text`` it stands for; ``(0, 0)``
            for an added BOS.
    """

    ids: tuple[int, ...]
    text: str
    labels: tuple[str, ...]
    char_spans: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def shown(self, limit: int = 24) -> str:
        """The tokens, numbered, for an error message."""
        numbered = [f"{i}:{label!r}" for i, label in enumerate(self.labels)]
        if len(numbered) > limit:
            half = limit // 2
            numbered = [*numbered[:half], "…", *numbered[-half:]]
        return " ".join(numbered)


def is_single(prompt: PromptsLike) -> bool:
    """Whether this is one prompt, not a list of prompts."""
    if isinstance(prompt, str | TokenizedPrompt):
        return True
    if isinstance(prompt, np.ndarray):
        prompt = torch.as_tensor(prompt)
    if isinstance(prompt, torch.Tensor):
        return prompt.ndim < 2 or (prompt.ndim == 2 and len(prompt) == 1)
    if not isinstance(prompt, Sequence):
        return True
    return len(prompt) > 0 and all(isinstance(part, int) for part in prompt)


def tokenize(
    backend: Backend, prompts: PromptsLike, prepend_bos: bool | None = None
) -> list[TokenizedPrompt]:
    """Every prompt as the tokens that will be run.

    Args:
        backend: the model.
        prompts: a string, a list of strings, or token ids (which are run exactly as given).
        prepend_bos: whether text starts with BOS; ``None`` follows the model's own default.
            A text that already starts with BOS never gets a second one.

    Raises:
        PromptError: empty, longer than the context, or not a prompt at all.
    """
    if is_single(prompts):
        return [_tokenize_one(backend, prompts, prepend_bos)]
    parts = list(prompts)  # type: ignore[arg-type]
    if not parts:
        raise PromptError(
            "There is no prompt.",
            got=repr(prompts),
            expected="a string, a list of strings, or token ids",
            instead='["The Eiffel Tower is in the city of"]',
        )
    return [_tokenize_one(backend, part, prepend_bos) for part in parts]


def _tokenize_one(backend: Backend, prompt: Any, prepend_bos: bool | None) -> TokenizedPrompt:
    if isinstance(prompt, np.ndarray):
        prompt = torch.as_tensor(prompt)
    if isinstance(prompt, TokenizedPrompt):
        result = prompt
    elif isinstance(prompt, str):
        result = _from_text(backend, prompt, prepend_bos)
    elif isinstance(prompt, torch.Tensor) and not prompt.is_floating_point():
        result = _from_ids(backend, [int(i) for i in prompt.flatten()])
    elif isinstance(prompt, Sequence) and all(isinstance(part, int) for part in prompt):
        result = _from_ids(backend, list(prompt))
    else:
        raise PromptError(
            "This is not a prompt.",
            got=f"{type(prompt).__name__}: {str(prompt)[:80]}",
            expected="a string, a list of strings, or token ids",
            instead='"The Eiffel Tower is in the city of", or model.to_tokens(…)',
        )
    if not result.ids:
        raise PromptError(
            "The prompt is empty.",
            got=repr(prompt),
            expected="at least one token",
            instead='some text, such as "Hello"',
        )
    if backend.n_ctx is not None and len(result.ids) > backend.n_ctx:
        raise PromptError(
            "The prompt is longer than the model's context.",
            got=f"{len(result.ids)} tokens",
            expected=f"at most {backend.n_ctx} tokens",
            instead="a shorter prompt, or token ids cut to the context: ids[-n_ctx:]",
        )
    return result


def ids_of(backend: Backend, text: str, prepend_bos: bool | None = None) -> list[int]:
    """The token ids of a text, with a BOS where it is wanted and not there yet.

    Raises:
        PromptError: no tokenizer, or one without a BOS that is asked for.
    """
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
        ids = [bos, *ids]
    return ids, spans


def _from_ids(backend: Backend, ids: list[int]) -> TokenizedPrompt:
    wrong = [i for i in ids if not 0 <= i < backend.d_vocab]
    if wrong:
        raise PromptError(
            "A token id is outside the vocabulary.",
            got=wrong[:5],
            expected=f"0 to {backend.d_vocab - 1}",
            instead="ids from this model's own tokenizer: model.to_tokens(…)",
        )
    if backend.tokenizer is None:
        labels = tuple(str(i) for i in ids)
        return TokenizedPrompt(tuple(ids), "", labels, ((0, 0),) * len(ids))
    text = _decode(backend, ids)
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
        piece = _decode(backend, ids[first:stop])
        whole = not piece.endswith("\ufffd")  # not in the middle of a character
        ends.append(done + len(piece.rstrip("\ufffd")))
        if whole and stop - first >= window:
            done, first = done + len(piece), stop
    return ends


def _decode(backend: Backend, ids: Sequence[int]) -> str:
    return str(backend.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def labels_of(backend: Backend, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token id as text; the number itself where the model has no tokenizer."""
    if backend.tokenizer is None:
        return tuple(str(i) for i in ids)
    return tuple(_decode(backend, [i]) for i in ids)


def text_of(backend: Backend, ids: Sequence[int]) -> str:
    """The ids as one text, without special tokens."""
    if backend.tokenizer is None:
        return " ".join(str(i) for i in ids)
    return str(
        backend.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    )
