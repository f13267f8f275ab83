"""What a model says of items by their names, and how a reading is scored beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.model.backend import Backend
from lensscope.model.token_texts import text_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.studies.described import first_description
from lensscope.studies.scoring import rouge_l
from lensscope.values.prompts import TokenizedPrompt

FIRST: Final = 4
"""So many first tokens are compared."""


class Said(NamedTuple):
    """What was said, as far as it counts.

    Attributes:
        text: as it was generated.
        ids: its tokens.
        brief: the text as far as it counts.
        counted: the tokens that this is in, from the first on.
    """

    text: str
    ids: tuple[int, ...]
    brief: str
    counted: tuple[int, ...]


def first_sentence(text: str) -> str:
    """What a text says before its sentence ends.

    Example:
        >>> from lensscope.studies.experiments.reading_quality.descriptions import first_sentence
        >>> first_sentence(" a British actor.\\n\\nThe answer is")
        'a British actor'
    """
    return re.split(r"[.!?\n]", text.lstrip(), maxsplit=1)[0].strip()


def brief_of(inspection: InspectionPrompt) -> Callable[[str], str] | None:
    """What of a text counts, by its prompt: of one that ends with a list of described entities, the
    first description; of one that ends with a sentence just begun, after others, that sentence;
    ``None`` where all counts.

    Example:
        >>> from lensscope.studies.experiments.reading_quality.descriptions import brief_of
        >>> scopes = ls.Patchscope.entity_description(), ls.Patchscope.selfie()
        >>> [brief_of(scope.inspection) is None for scope in scopes]
        [False, True]
    """
    text = inspection.text
    if not isinstance(text, str):
        return None
    mark = re.escape(inspection.placeholder)
    if re.search(rf"\w:\s[^:]+,\s{mark}\s*\Z", text):
        return first_description
    return first_sentence if re.search(rf"\.\s+{mark}(\s\w+){{1,3}}\s*\Z", text) else None


def counted(
    backend: Backend,
    prompt: TokenizedPrompt,
    ids: Sequence[int],
    brief_of: Callable[[str], str] | None,
) -> Said:
    """What was said after a prompt, as far as it counts.

    Args:
        backend: the model.
        prompt: what was gone on from.
        ids: the new tokens.
        brief_of: gives the part of the text that counts; without it, all does.
    """
    own = tuple(ids)
    text = text_of(backend, own, prompt.ids)
    if brief_of is None:
        return Said(text, own, text.strip(), own)
    brief = brief_of(text)
    end = text.find(brief) + len(brief)
    number = 1
    while number < len(own) and len(text_of(backend, own[:number], prompt.ids)) < end:
        number += 1
    return Said(text, own, brief, own[:number])


def agreement(reading: Said, own: Said) -> dict[str, float]:
    """How near a reading is to what the model says itself.

    Returns:
        ``rouge_l``, of the texts as far as they count; ``first_tokens``, whether the first four
        tokens are the same; ``first_word``, whether the first word is.
    """
    first = (_first_word(reading.brief), _first_word(own.brief))
    return {
        "rouge_l": rouge_l(reading.brief, own.brief),
        "first_tokens": float(reading.ids[:FIRST] == own.ids[:FIRST]),
        "first_word": float(first[0] == first[1] and bool(first[0])),
    }


def _first_word(text: str) -> str:
    found = re.search(r"\w+", text)
    return found[0].casefold() if found else ""


def ranked_first(scores: Float[Tensor, " candidate"]) -> float:
    """Whether the first candidate's score is above all others'; a tie is not.

    Example:
        >>> from lensscope.studies.experiments.reading_quality.descriptions import ranked_first
        >>> ranked_first(torch.tensor([-1.0, -2.0])), ranked_first(torch.tensor([-1.0, -1.0]))
        (1.0, 0.0)
    """
    return float(bool(torch.all(scores[0] > scores[1:])))


def nats_of(
    logits: Float[Tensor, "row position d_vocab"], ids: Sequence[int]
) -> Float[Tensor, " row"]:
    """Minus the mean log-probability of the tokens of a text, where each is to come."""
    log_p = logits.float().log_softmax(-1)
    wanted = torch.tensor(list(ids), device=log_p.device).expand(len(log_p), -1)
    return -log_p.gather(-1, wanted[..., None])[..., 0].mean(-1)
