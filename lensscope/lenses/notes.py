"""What a result has to say of the tokens that were read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lensscope.model.backend import Backend
from lensscope.values.positions import PositionLike, Span, inside_word
from lensscope.values.prompts import TokenizedPrompt

_SHOWN: Final = 6


def begins_with_bos(backend: Backend, ids: Sequence[int]) -> bool:
    """Whether the first token is the tokenizer's BOS."""
    bos = getattr(backend.tokenizer, "bos_token_id", None)
    return bos is not None and list(ids[:1]) == [bos]


def notes_on(
    backend: Backend,
    reads: Iterable[tuple[TokenizedPrompt, Sequence[int]]],
    inside: Iterable[str] = (),
    patches: Sequence[object] = (),
) -> tuple[str, ...]:
    """What is to be said of tokens that are read: of a first token without BOS, of substrings that
    are parts of words, and of patches in the run.

    Args:
        backend: the model.
        reads: prompts, and which of their tokens are read.
        inside: as `parts_of_words` found them.
        patches: what was written in the run that they are read in.
    """
    several = list(reads)
    bare = [p for p, tokens in several if 0 in tokens and not begins_with_bos(backend, p.ids)]
    notes = []
    if bare:
        which = f" of {len(bare)} of {len(several)} prompts" if len(several) > 1 else ""
        notes.append(
            f"Token 0{which} ({bare[0].labels[0]!r}) is no BOS: most models make an attention sink "
            "of the first token, whose states say little of what it is."
        )
    if patches:
        shown = ", ".join(map(repr, patches[:_SHOWN]))
        more = f" and {len(patches) - _SHOWN} more" if len(patches) > _SHOWN else ""
        notes.append(f"Read in a run that is patched by {shown}{more}.")
    return (*notes, *dict.fromkeys(inside))


def parts_of_words(
    position: PositionLike, prompt: TokenizedPrompt, occurrence: int | None = None
) -> list[str]:
    """What is to be said of a substring that is found in the middle of a word."""
    word = inside_word(position, prompt, occurrence)
    text = position.text if isinstance(position, Span) else position
    return [f"{text!r} is found inside the word {word!r}."] if word else []
