"""The forms that prompts are given in: text, a chat, token ids, what a tokenizer returns.

The one door for all of them: whatever is no prompt is refused here, whichever function was called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np
import torch

from lensscope.errors import PromptError
from lensscope.values.chats import Chat

PromptLike: TypeAlias = "str | Chat | Sequence[int] | torch.Tensor | TokenizedPrompt"
PromptsLike: TypeAlias = "PromptLike | Sequence[PromptLike]"

# What a tokenizer may say about its ids besides the ids and their mask.
_SAID: Final = {
    *("input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "offset_mapping"),
    *("length", "overflow_to_sample_mapping", "num_truncated_tokens", "overflowing_tokens"),
}


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt, unpadded: what is run, and what every result shows.

    Attributes:
        ids: token ids, BOS included where it is run.
        text: the text, without a BOS that was added.
        labels: each token as text.
        char_spans: for each token the range of characters of ``text`` it stands for; ``(0, 0)``
            for an added BOS.
        messages: of a chat, for each message the range of its characters of ``text``.
    """

    ids: tuple[int, ...]
    text: str
    labels: tuple[str, ...]
    char_spans: tuple[tuple[int, int], ...]
    messages: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def holding(self, start: int, stop: int) -> list[int]:
        """The tokens that have a part in a range of characters of the text."""
        spans = enumerate(self.char_spans)
        return [n for n, (first, last) in spans if first < stop and start < last]

    def shown(self, limit: int = 24) -> str:
        """The tokens, numbered, for an error message."""
        numbered = [f"{i}:{label!r}" for i, label in enumerate(self.labels)]
        if len(numbered) > limit:
            half = limit // 2
            numbered = [*numbered[:half], "…", *numbered[-half:]]
        return " ".join(numbered)


def parts_of(prompts: Any) -> tuple[list[str | Chat | Sequence[int] | TokenizedPrompt], bool]:
    """Each prompt as text, chat, ids or tokens; and whether it was one prompt, not a list.

    Raises:
        PromptError: neither a prompt nor a list of prompts.
    """
    single = _one(prompts)
    if single is not None:
        return [single], True
    parts = []
    for part in _rows(prompts):
        one = _one(part)
        if one is None and not len(part):
            one = []
        if one is None:
            _refuse(
                "A prompt in a list of prompts is itself a list of prompts.",
                part,
                "one list of all prompts",
            )
        parts.append(one)
    if not parts:
        _refuse("There is no prompt.", prompts, '["The Eiffel Tower is in the city of"]')
    return parts, False


def is_single(prompt: Any) -> bool:
    """Whether this is one prompt, not a list of prompts, whatever that holds.

    Raises:
        PromptError: it is neither.
    """
    return _one(prompt) is not None


def _one(given: Any) -> str | Chat | Sequence[int] | TokenizedPrompt | None:
    """A prompt; ``None`` for what holds several."""
    if isinstance(given, str | Chat | TokenizedPrompt):
        return given
    if isinstance(given, range):
        if given and max(abs(given[0]), abs(given[-1])) >= 1 << 62:
            _refuse("Token ids are numbers that a model can hold.", given)
        return given
    if isinstance(given, Mapping):
        return _one(_unpadded(given))
    if isinstance(given, np.ndarray) and given.dtype.kind in "UO":
        return str(given) if given.ndim == 0 and given.dtype.kind == "U" else _one(given.tolist())
    if isinstance(given, torch.Tensor | np.ndarray):
        if given.ndim == 0 or given.ndim > 2 or not _holds_integers(given):
            _refuse("This is not a prompt.", given)
        return given.reshape(-1).tolist() if given.ndim == 1 or len(given) == 1 else None
    if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray | memoryview):
        _refuse("This is not a prompt.", given)
    ids = [token_id(part) for part in given]
    if not ids or all(i is None for i in ids):
        numbers = int | float | complex | np.number | np.bool_
        if any(isinstance(part, numbers) for part in given):
            _refuse("Token ids are integers.", given)
        return None
    if None in ids:
        _refuse("Token ids are mixed with something else.", given)
    return [i for i in ids if i is not None]


def _rows(given: Any) -> list[Any]:
    """What a list of prompts holds."""
    if isinstance(given, Mapping):
        given = _unpadded(given)
    return list(given)


def _holds_integers(given: torch.Tensor | np.ndarray) -> bool:
    if isinstance(given, np.ndarray):
        return given.dtype.kind in "iu" or given.size == 0
    whole = not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
    return whole or given.numel() == 0


def token_id(part: Any) -> int | None:
    """A token id in whichever form; ``None`` for what is none."""
    if isinstance(part, bool | np.bool_):
        return None
    if isinstance(part, int | np.integer):
        return int(part)
    if isinstance(part, torch.Tensor | np.ndarray) and part.ndim == 0:
        if isinstance(part, np.ndarray) and part.dtype.kind in "UO":
            return None
        if not _holds_integers(part):
            _refuse("Token ids are integers.", part)
        return int(part)
    return None


def _unpadded(encoding: Mapping[str, Any]) -> Any:
    """The ids that a tokenizer returned, without those that its mask hides."""
    said = {str(name) for name, value in encoding.items() if value is not None}
    if {"role", "content"} <= said:
        _refuse("A message of a conversation is no prompt by itself.", encoding, "ls.chat([…])")
    if "input_ids" not in said or not said <= _SAID:
        _refuse(
            "This is not what a tokenizer returns for text.",
            f"{type(encoding).__name__} of {', '.join(sorted(said)) or 'nothing'}",
            "tokenizer(text), or the ids themselves",
        )
    ids, mask = encoding["input_ids"], encoding.get("attention_mask")
    if mask is None:
        return ids
    one = _one(ids)
    if isinstance(mask, torch.Tensor | np.ndarray):
        mask = mask.reshape(-1).tolist() if one is not None else mask.tolist()
    if one is not None:
        return _kept(one, mask, encoding)
    if not isinstance(mask, Sequence) or len(mask) != len(ids):
        _refuse("The mask is of other prompts than the ids.", encoding)
    return [_kept(_one(row), own, encoding) for row, own in zip(ids, mask, strict=True)]


def _kept(ids: Any, mask: Any, encoding: Any) -> list[int]:
    """The ids of one prompt that its mask shows, which must be side by side."""
    if isinstance(mask, torch.Tensor | np.ndarray):
        mask = mask.tolist()
    if ids is None or not isinstance(mask, Sequence) or len(ids) != len(mask):
        _refuse("The mask is of other prompts than the ids.", encoding)
    shown = [n for n, seen in enumerate(mask) if seen]
    if not shown or shown[-1] - shown[0] >= len(shown) or not {0, 1}.issuperset(mask):
        _refuse(
            "The mask hides tokens in the middle of a prompt, or all of them.",
            list(mask),
            "a mask of ones beside zeros of padding; ls.attention_knockout hides tokens",
        )
    return list(ids[shown[0] : shown[-1] + 1])


def _refuse(what: str, given: Any, instead: str | None = None) -> NoReturn:
    raise PromptError(
        what,
        got=given if isinstance(given, str) else f"{type(given).__name__}: {str(given)[:80]}",
        expected="a string, a chat, a list of these, or token ids",
        instead=instead or '"The Eiffel Tower is in the city of", or model.to_tokens(…)',
    )
