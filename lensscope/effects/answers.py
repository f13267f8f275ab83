"""Answers: tokens of the model's own tokenizer that follow a prompt."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.engine.run_many import run_many
from lensscope.errors import LensscopeError, PlanError, PromptError
from lensscope.model.backend import Backend
from lensscope.model.token_texts import labels_of
from lensscope.model.tokens import ids_of
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Patch

Answer: TypeAlias = "str | int | tuple[str | int, ...]"
"""A token as text or id, or several of which any will do."""
Answers: TypeAlias = "Answer | list[Answer]"
"""One for all pairs, or a list with one for each."""


@dataclass(frozen=True)
class Case:
    """What a metric is bound to: one of several pairs.

    Attributes:
        backend: the model.
        prompt: the clean prompt, which answers follow.
        index: which of the pairs.
        pairs: how many there are.
        clean: logits of the clean run.
    """

    backend: Backend
    prompt: TokenizedPrompt
    index: int
    pairs: int
    clean: Float[Tensor, " d_vocab"]


def as_answers(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A check: an answer, several in a tuple, or a list with one of these for each pair.

    Raises:
        error: it is neither.
    """
    found = checks.listed(value, name, error)
    if isinstance(found, list | tuple):
        return type(found)(as_answers(one, name, error) for one in found)
    found = checks.plain(found)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise _no_token(value, error)
    return found


def _no_token(value: Any, error: type[LensscopeError] = PromptError) -> LensscopeError:
    return error(
        "An answer is a token.",
        got=checks.seen(value),
        expected="its text, its id, or a tuple of several",
        instead='" Paris", or (" Paris", " Lyon")',
    )


def token_ids(case: Case, answers: Answers, which: str) -> list[int]:
    """The ids that an answer stands for, for one pair.

    Raises:
        PromptError: several tokens, none, an id that does not exist, or not one answer a pair.
    """
    if isinstance(answers, list):
        if len(answers) != case.pairs:
            raise PromptError(
                "There is not one answer for each pair.",
                got=f"{len(answers)} {which} answers, {case.pairs} pairs",
                expected="one answer for all, or a list with one for each pair",
                instead=f"{which}=list(pairs.{which}); several answers to one pair are a tuple",
            )
        answers = answers[case.index]
    several = answers if isinstance(answers, tuple) else (answers,)
    if not several:
        raise PromptError(
            f"There is no {which} answer.",
            got=f"{answers!r} for pair {case.index}",
            expected="at least one token",
            instead='" Paris"',
        )
    return [_token_id(case, answer) for answer in several]


def _token_id(case: Case, answer: str | int) -> int:
    backend = case.backend
    if not isinstance(answer, str):
        try:
            number = operator.index(answer)
        except TypeError:
            raise _no_token(answer) from None
        if not 0 <= number < backend.d_vocab:
            raise PromptError(
                "An answer is outside the vocabulary.",
                got=number,
                expected=f"0 to {backend.d_vocab - 1}",
                instead='the token as text, such as " Paris"',
            )
        return number
    alone = _continuation(case, answer) if answer else []
    if len(alone) == 1:
        return alone[0]
    raise PromptError(
        f"The answer {answer!r} is not one token.",
        got=f"{len(alone)} tokens: " + " | ".join(map(repr, labels_of(backend, alone))),
        expected="one token of the model, usually with its leading space",
        instead=f"{labels_of(backend, alone[:1])[0]!r}, its first token, or another answer"
        if alone
        else '" Paris"',
    )


def _continuation(case: Case, answer: str) -> list[int]:
    """The tokens of an answer where it follows the prompt; by itself, if the two run together."""
    backend, before = case.backend, list(case.prompt.ids)
    if case.prompt.text:
        bos = before[: len(before) - len(ids_of(backend, case.prompt.text, prepend_bos=False))]
        whole = [*bos, *ids_of(backend, case.prompt.text + answer, prepend_bos=False)]
        if whole[: len(before)] == before:
            return whole[len(before) :]
    return ids_of(backend, answer, prepend_bos=False)


def most_probable(
    backend: Backend, prompts: Sequence[TokenizedPrompt], memory_budget: int | None = None
) -> list[Answer]:
    """The model's own next token after each prompt, as text where that says which it is.

    Raises:
        PlanError: logits that are not numbers.
    """
    rows: list[list[Patch]] = [[] for _ in prompts]
    out = run_many(backend, list(prompts), rows, top_k=1, memory_budget=memory_budget)
    assert out.top_tokens is not None
    assert out.top_log_probabilities is not None
    unknown = int((~out.top_log_probabilities.isfinite()).sum())
    if unknown:
        raise PlanError(
            "The model has no next token.",
            got=f"logits that are NaN or infinite, of {unknown} of {len(prompts)} prompts",
            expected="finite logits",
            instead="a model without NaN or infinity in its weights",
        )
    found: list[Answer] = []
    for token in out.top_tokens[:, 0, 0].tolist():
        (text,) = labels_of(backend, [token])
        plain = backend.tokenizer is not None and ids_of(backend, text, False) == [token]
        found.append(text if plain else token)
    return found


def shown(answers: Answers, which: str) -> str:
    """Answers in words: themselves for one pair, which they are for several."""
    if isinstance(answers, list):
        return shown(answers[0], which) if len(answers) == 1 else f"{which} answer"
    several: Sequence[Any] = answers if isinstance(answers, tuple) else (answers,)
    more = f" or {len(several) - 4} more" if len(several) > 4 else ""
    return " or ".join(map(repr, several[:4])) + more
