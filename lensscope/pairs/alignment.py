"""Whether a tokenizer keeps a pair aligned: prompts of equal length, answers of one token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lensscope.errors import PromptError
from lensscope.model.backend import Backend
from lensscope.model.token_texts import labels_of
from lensscope.model.tokens import ids_of, tokenize
from lensscope.values.positions import resolve
from lensscope.values.prompts import TokenizedPrompt


@dataclass(frozen=True)
class PromptPair:
    """One clean and one corrupted prompt with their answers: a row of `Pairs`."""

    clean: str
    corrupted: str
    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    positions: Mapping[str, slice | int]


def continued(backend: Backend, prompt: str, answer: str) -> tuple[bool, list[str]]:
    """Whether a prompt keeps its tokens when an answer follows, and the tokens after those kept."""
    before, after = ids_of(backend, prompt), ids_of(backend, prompt + answer)
    kept = 0
    while kept < min(len(before), len(after)) and before[kept] == after[kept]:
        kept += 1
    return kept == len(before), list(labels_of(backend, after[kept:]))


def is_token(backend: Backend, prompt: str, answer: str) -> bool:
    """Whether an answer is one token of its own after a prompt, and not an unknown one."""
    kept, added = continued(backend, prompt, answer)
    return kept and len(added) == 1 and added[0].strip() == answer.strip()


def require_aligned(backend: Backend, number: int, pair: PromptPair) -> TokenizedPrompt:
    """The tokens of a clean prompt whose pair lines up and whose answers are single tokens.

    Raises:
        PromptError: the prompts differ in length, or an answer is not one token.
        PositionError: a position outside of the prompt.
    """
    clean, corrupted = tokenize(backend, [pair.clean, pair.corrupted])
    if len(clean) != len(corrupted):
        raise PromptError(
            f"The prompts of pair {number} are not equally long.",
            got=f"clean, {len(clean)} tokens: {clean.shown()}\n"
            f"            corrupted, {len(corrupted)} tokens: {corrupted.shown()}",
            expected="as many tokens in the one as in the other",
            instead="words of as many tokens where the two differ",
        )
    for answer in (*pair.correct, *pair.wrong):
        if not is_token(backend, pair.clean, answer):
            _refuse(backend, number, pair.clean, answer)
    for position in pair.positions.values():
        resolve(position, clean)
    return clean


def _refuse(backend: Backend, number: int, prompt: str, answer: str) -> None:
    """Say why an answer is not one token."""
    kept, added = continued(backend, prompt, answer)
    if not kept:
        got = f"{answer!r} joins the end of {prompt[-20:]!r}: {'|'.join(added)}"
        instead = f"{' ' + answer.strip()!r}, and a prompt without a space at its end"
    elif len(added) == 1:
        got = f"{answer!r} is read as {added[0]!r}, for the tokenizer does not know it"
        instead = "an answer that the tokenizer knows"
    else:
        got = f"{answer!r} is {len(added)} tokens: {'|'.join(added)}"
        instead = f"its first token {added[0]!r}, or another answer" if added else "some text"
    raise PromptError(
        f"An answer of pair {number} is not one token.",
        got=got,
        expected="one token that follows the prompt",
        instead=instead,
    )
