"""Clean and corrupted prompts in pairs, and which tokens of them belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from lensscope.errors import PositionError, PromptError
from lensscope.model.backend import Backend
from lensscope.model.tokens import tokenize
from lensscope.values.positions import All, PositionLike, as_position, resolve
from lensscope.values.prompts import PromptsLike, TokenizedPrompt

GroupLike: TypeAlias = "PositionLike | tuple[PositionLike, PositionLike] | list[Any]"
"""Tokens: one position for both prompts, ``(in the clean one, in the corrupted one)``, or a list of
these with one for each pair."""
PositionsLike: TypeAlias = (
    "PositionLike | Sequence[PositionLike | list[Any]] | Mapping[str, GroupLike] | None"
)


@dataclass(frozen=True)
class Pair:
    """A clean and a corrupted prompt."""

    clean: TokenizedPrompt
    corrupted: TokenizedPrompt

    @property
    def aligned(self) -> bool:
        """Whether token ``i`` of one stands for token ``i`` of the other."""
        return len(self.clean) == len(self.corrupted)


@dataclass(frozen=True)
class TokenGroup:
    """Tokens that are patched together.

    Attributes:
        label: what the group is called: a name, a token's number, or ``"all"``.
        clean, corrupted: the tokens in each prompt, as many in both.
        token: as text, of a single token.
    """

    label: str | int
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    token: str = ""


def pairs_of(
    backend: Backend, clean: PromptsLike, corrupted: PromptsLike, prepend_bos: bool | None
) -> list[Pair]:
    """Prompts in pairs.

    Raises:
        PromptError: not as many of one kind as of the other.
    """
    found = [tokenize(backend, prompts, prepend_bos) for prompts in (clean, corrupted)]
    if len(found[0]) != len(found[1]):
        raise PromptError(
            "Clean and corrupted prompts do not make pairs.",
            got=f"{len(found[0])} clean, {len(found[1])} corrupted",
            expected="one corrupted prompt for each clean one",
            instead='activation_patching(model, "… France …", "… Japan …", …), or two lists',
        )
    return [Pair(a, b) for a, b in zip(*found, strict=True)]


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Refuse to go on without pairs.

    Raises:
        PromptError: no pairs.
    """
    if not pairs:
        raise PromptError(
            "There are no pairs.",
            got="empty lists",
            expected="at least one clean and one corrupted prompt",
            instead='clean="… France …", corrupted="… Japan …"',
        )


def groups_of(pairs: Sequence[Pair], positions: PositionsLike) -> list[list[TokenGroup]]:
    """The groups of tokens of each pair; the same labels for all of them.

    Raises:
        PromptError: pairs that are not aligned.
        PositionError: positions that name no tokens.
    """
    if isinstance(positions, Mapping):
        if not positions:
            raise PositionError(
                "There are no tokens to patch.",
                got="positions={}",
                expected="at least one named group of tokens",
                instead='positions={"subject": ls.span("The Eiffel Tower"), "last": -1}',
            )
        return _grouped(pairs, positions)
    if positions is None or isinstance(positions, All):
        for n, pair in enumerate(pairs):
            _check_aligned(pair, n)
        if positions is None:
            return [[_token(pair, t) for t in range(len(pair.clean))] for pair in pairs]
        every = [tuple(range(len(pair.clean))) for pair in pairs]
        return [[TokenGroup("all", tokens, tokens)] for tokens in every]
    several = positions if isinstance(positions, list | tuple | range) else [positions]
    if not several:
        raise PositionError(
            "There are no tokens to patch.",
            got="positions=[]",
            expected="at least one position",
            instead="positions=None for every token, or positions=ls.ALL for all together",
        )
    own = [isinstance(one, list) for one in several]
    named = _by_pair(several, len(pairs)) if all(own) else _named(several)
    return _grouped(pairs, named)


def _grouped(pairs: Sequence[Pair], named: Mapping[Any, Any]) -> list[list[TokenGroup]]:
    return [
        [_group(pair, n, len(pairs), label, where) for label, where in named.items()]
        for n, pair in enumerate(pairs)
    ]


def _named(positions: Sequence[Any]) -> dict[str | int, Any]:
    """Positions by their labels, each once.

    Raises:
        PositionError: two that a label does not tell apart.
    """
    named: dict[str | int, Any] = {}
    for where in positions:
        label, found = label_of(where), as_position(where)
        if label in named and as_position(named[label]) != found:
            raise PositionError(
                "Two positions have one name.",
                got=f"{named[label]!r} and {where!r}",
                expected="positions that their names tell apart",
                instead=f'positions={{"one": {named[label]!r}, "other": {where!r}}}',
            )
        named.setdefault(label, where)
    return named


def _by_pair(positions: Sequence[Any], pairs: int) -> dict[str | int, Any]:
    """Lists of positions, one for each pair, as groups that have a position in each.

    Raises:
        PositionError: not one list for each pair, or lists of several lengths.
    """
    if len(positions) != pairs or len(set(map(len, positions))) != 1 or not positions[0]:
        raise PositionError(
            "These lists of positions are not one for each pair.",
            got=f"{len(positions)} lists of {[len(row) for row in positions][:8]}, {pairs} pairs",
            expected="one list for each pair, all equally long",
            instead="positions=[['Diana', -1], ['Paris', -1]] for two pairs",
        )
    named: dict[str | int, Any] = {}
    for n, column in enumerate(zip(*positions, strict=True)):
        labels = {label_of(where) for where in column}
        named[labels.pop() if len(labels) == 1 else f"position {n}"] = list(column)
    return named


def label_of(where: Any) -> str | int:
    """What a group of tokens is called that is given by its position alone."""
    found = as_position(where)
    return found if isinstance(found, int | str) else getattr(found, "text", repr(found))


def _token(pair: Pair, token: int) -> TokenGroup:
    return TokenGroup(token, (token,), (token,), _shown(pair, token, token))


def _shown(pair: Pair, clean: int, corrupted: int) -> str:
    one, other = pair.clean.labels[clean], pair.corrupted.labels[corrupted]
    return one if one == other else f"{one} / {other.strip()}"


def _group(pair: Pair, n: int, total: int, label: str | int, where: Any) -> TokenGroup:
    """One group of one pair."""
    if isinstance(where, list):
        if len(where) != total:
            raise PositionError(
                f"The group {label!r} has not one position for each pair.",
                got=f"{len(where)} positions, {total} pairs",
                expected="one for all, or a list with one for each pair",
                instead="positions=pairs.groups",
            )
        where = where[n]
    if isinstance(where, tuple) and len(where) == 2:
        clean, corrupted = resolve(where[0], pair.clean), resolve(where[1], pair.corrupted)
    elif pair.aligned:
        clean = corrupted = resolve(where, pair.clean)
    else:
        clean, corrupted = (_resolved(where, p, label) for p in (pair.clean, pair.corrupted))
    if len(clean) != len(corrupted):
        raise PromptError(
            f"The group {label!r} has not as many tokens in both prompts of pair {n}.",
            got=f"clean {_row(pair.clean, clean)}, corrupted {_row(pair.corrupted, corrupted)}",
            expected="as many tokens in both, which are patched one for one",
            instead="their last tokens: a substring in place of ls.span(…)",
        )
    token = _shown(pair, clean[0], corrupted[0]) if len(clean) == 1 else ""
    return TokenGroup(label, clean, corrupted, token)


def _resolved(where: Any, prompt: TokenizedPrompt, label: str | int) -> tuple[int, ...]:
    if isinstance(as_position(where), int) and int(where) >= 0:
        raise PositionError(
            f"Token {where} need not be the same in prompts of different lengths.",
            got=f"the group {label!r} of prompts that are not aligned",
            expected="a position that says what is meant in each",
            instead=f'{{"{label}": ("Paris", "New York")}}: in the clean and in the corrupted one',
        )
    return resolve(where, prompt)


def _check_aligned(pair: Pair, n: int) -> None:
    if pair.aligned:
        return
    raise PromptError(
        f"The prompts of pair {n} are not equally long, so their tokens do not match one for one.",
        got=f"{len(pair.clean)} tokens: {pair.clean.shown()}\n            "
        f"{len(pair.corrupted)} tokens: {pair.corrupted.shown()}",
        expected="as many tokens in both, or named groups that say which belong together",
        instead=_SAY_WHICH,
    )


_SAY_WHICH: Final = (
    'positions={"subject": ("Eiffel Tower", "Colosseum"), "last": -1}: the last token of each '
    "substring, in the clean and in the corrupted prompt"
)


def _row(prompt: TokenizedPrompt, tokens: Sequence[int]) -> str:
    return "|".join(prompt.labels[t] for t in tokens)
