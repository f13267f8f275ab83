"""The states that lenses read, prompt by prompt, and what the model says in the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.engine.capture import capture
from lensscope.engine.finite import check_states
from lensscope.errors import PositionError, PromptError
from lensscope.lenses.checks import refuse_nan
from lensscope.lenses.measures import FinalDistribution
from lensscope.lenses.notes import parts_of_words
from lensscope.lenses.places import States
from lensscope.model.backend import Backend
from lensscope.model.head import unembed
from lensscope.model.tokens import tokenize
from lensscope.values.positions import ALL, PositionLike, resolve
from lensscope.values.prompts import TokenizedPrompt, is_single, parts_of, token_id
from lensscope.values.site_kinds import KINDS
from lensscope.values.sites import Site, resid_post

_HELD: Final = 256 << 20
_TOKENS: Final = 2048
"""Bytes of states, and tokens, that are run and held at a time."""


@dataclass(frozen=True)
class Asked:
    """A prompt and the tokens of it that are read.

    Attributes:
        prompt: the prompt.
        tokens: by number.
        inside: what is to be said of substrings that name a part of a word.
    """

    prompt: TokenizedPrompt
    tokens: tuple[int, ...]
    inside: tuple[str, ...] = ()

    @property
    def following(self) -> list[int]:
        """The token after each of them; -1 at the end of the prompt."""
        ids = (*self.prompt.ids, -1)
        return [ids[token + 1] for token in self.tokens]


@dataclass(frozen=True, eq=False)
class Gathered:
    """States of some prompts.

    Attributes:
        prompts: which ones, by number.
        rows: how many rows each of them has, in order.
        states: at each site, ``[row, width]``.
        last: the last residual, ``[row, d_model]``, if it was asked for.
        following: the token after each row's.
    """

    prompts: list[int]
    rows: list[int]
    states: States
    last: Float[Tensor, "row d_model"] | None
    following: Int[Tensor, " row"]

    def final(self, backend: Backend, rows: slice) -> FinalDistribution:
        """What the model itself says at some rows."""
        assert self.last is not None
        log_p = unembed(backend, self.last[rows]).float().log_softmax(-1)
        refuse_nan(log_p, f"The last layer of {backend.name}")
        return FinalDistribution(log_p, self.following[rows].to(log_p.device))


def asked(
    backend: Backend,
    prompts: Any,
    positions: PositionLike | None,
    prepend_bos: bool | None = None,
) -> list[Asked]:
    """Prompts and the tokens that are read.

    Args:
        backend: the model.
        prompts: a prompt or several; a text file with a prompt a line; or pairs of a prompt and
            its own position or positions.
        positions: which tokens, of prompts that do not say themselves; all by default.
        prepend_bos: ``None`` follows the model's own default.

    Raises:
        PromptError: none, an empty one, or a file that cannot be read.
        PositionError: see there.
    """
    found = []
    for prompt in _each_prompt(prompts):
        own = isinstance(prompt, tuple) and len(prompt) == 2 and not _is_ids(prompt)
        text, where = prompt if own else (prompt, ALL if positions is None else positions)
        tokenized = tokenize(backend, text, prepend_bos)
        if len(tokenized) != 1:
            raise PromptError(
                "A prompt in a list of prompts is itself a list of prompts.",
                got=repr(text)[:80],
                expected="a string, or token ids, for each prompt",
                instead="one list of all prompts",
            )
        several = _positions(where)
        places = [place for one in several for place in resolve(one, tokenized[0])]
        inside = tuple(note for one in several for note in parts_of_words(one, tokenized[0]))
        if not places:
            raise PositionError(
                "No token of a prompt is read.",
                got=f"positions={where!r} of {tokenized[0].shown()}",
                expected="at least one position",
                instead="positions=-1",
            )
        found.append(Asked(tokenized[0], tuple(dict.fromkeys(places)), inside))
    if not found:
        raise PromptError(
            "There is no prompt.",
            got=repr(prompts)[:80],
            expected="at least one prompt",
            instead='["The Eiffel Tower is in the city of"]',
        )
    return found


def inside_words(reads: Sequence[Asked]) -> list[str]:
    """What is to be said of all substrings that name a part of a word."""
    return [note for one in reads for note in one.inside]


def _positions(where: Any) -> list[Any]:
    """One position or several, as a list."""
    if isinstance(where, np.ndarray | Tensor):
        where = where.tolist()
    return list(where) if isinstance(where, list | tuple | range) else [where]


def _is_ids(prompt: tuple[Any, ...]) -> bool:
    return all(token_id(part) is not None for part in prompt)


def _each_prompt(prompts: Any) -> Iterable[Any]:
    if isinstance(prompts, Path):
        return lines_of(prompts)
    if isinstance(prompts, Mapping):  # what a tokenizer returns
        return parts_of(prompts)[0]
    known = isinstance(prompts, str | Sequence | TokenizedPrompt | Tensor | np.ndarray)
    if isinstance(prompts, Iterable) and not known:
        return prompts  # one that can be gone through once
    return [prompts] if is_single(prompts) else prompts


def lines_of(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        PromptError: no such file, or not text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(
            f"{path} cannot be read.",
            got=f"{type(error).__name__}: {error}",
            expected="a text file in UTF-8, a prompt on each line",
            instead="the path of such a file",
        ) from error
    return [line for line in lines if line.strip()]


def gathered(
    backend: Backend,
    reads: Sequence[Asked],
    sites: Sequence[Site],
    *,
    final: bool = True,
    together: bool = False,
    memory_budget: int | None = None,
) -> Iterator[Gathered]:
    """The states of all prompts, some prompts of about one length at a time.

    Args:
        backend: the model.
        reads: prompts and tokens.
        sites: where states are taken.
        final: whether what the model says in the end is needed; if not, nothing above the highest
            of the sites is run.
        together: all prompts at a time.
        memory_budget: bytes that running some of the prompts may take.

    Raises:
        ModelError: states that are not finite, with the first layer that has them.
    """
    last = resid_post(backend.n_layers - 1)
    kept = list(dict.fromkeys([*_whole(sites), *([last] if final else [])]))
    width = sum(math.prod(backend.shape(site, 1, 1)) for site in kept)
    all_of_them = iter([list(range(len(reads)))])
    token_bytes = width * backend.dtype.itemsize
    for numbers in all_of_them if together else _batches(reads, token_bytes):
        prompts = [reads[n].prompt for n in numbers]
        # One token each, as far from the end: no need to keep the others.
        ends = {tuple(t - len(reads[n].prompt) for t in reads[n].tokens) for n in numbers}
        shared = next(iter(ends))
        place = shared[0] if len(ends) == 1 and len(shared) == 1 else None
        at = {site: site if place is None else site.at(place) for site in kept}
        cache = capture(backend, prompts, list(at.values()), memory_budget=memory_budget)
        index = [
            (b, 0 if place is not None else token)
            for b, n in enumerate(numbers)
            for token in reads[n].tokens
        ]
        at_rows = tuple(list(axis) for axis in zip(*index, strict=True))
        found = {site: cache[at[site]][at_rows] for site in kept}
        for site in sorted(kept, key=lambda site: (site.layer or 0, list(KINDS).index(site.kind))):
            check_states(backend, site.kind, {site.layer or 0: found[site]})
        states = {
            site: found[site.whole][:, site.head] if site.head is not None else found[site]
            for site in sites
        }
        yield Gathered(
            numbers,
            [len(reads[n].tokens) for n in numbers],
            states,
            found[last] if final else None,
            torch.tensor([token for n in numbers for token in reads[n].following]),
        )


def _whole(sites: Sequence[Site]) -> list[Site]:
    """Sites with all their heads, each once."""
    return list(dict.fromkeys(site.whole for site in sites))


def _batches(reads: Sequence[Asked], token_bytes: int) -> Iterator[list[int]]:
    """Numbers of prompts of about one length that are run together."""
    order = sorted(range(len(reads)), key=lambda n: len(reads[n].prompt))
    batch: list[int] = []
    for n in order:
        tokens = (len(batch) + 1) * len(reads[n].prompt)
        if batch and (tokens > _TOKENS or tokens * token_bytes > _HELD):
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch
