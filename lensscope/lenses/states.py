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

from lensscope.engine.capture import captured
from lensscope.engine.finite import check_states
from lensscope.engine.rows import PatchLike, rows_of
from lensscope.errors import LensError, PromptError
from lensscope.lenses.checks import refuse_nan
from lensscope.lenses.measures import FinalDistribution
from lensscope.lenses.notes import parts_of_words
from lensscope.lenses.places import States
from lensscope.model.backend import Backend
from lensscope.model.head import unembed
from lensscope.model.tokens import tokenize
from lensscope.values.positions import ALL, PositionsLike, each_position, resolve_each
from lensscope.values.prompts import TokenizedPrompt, is_single, parts_of, token_id
from lensscope.values.site_kinds import KINDS
from lensscope.values.sites import Site, resid_post
from lensscope.values.vectors import Vectors

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
    positions: PositionsLike | None,
    prepend_bos: bool | None = None,
    occurrence: int | None = None,
) -> list[Asked]:
    """Prompts and the tokens that are read.

    Args:
        backend: the model.
        prompts: a prompt or several; a text file with a prompt a line; or pairs of a prompt and
            its own position or positions.
        positions: which tokens, of prompts that do not say themselves; all by default.
        prepend_bos: ``None`` follows the model's own default.
        occurrence: which match of a substring is meant.

    Raises:
        PromptError: none, an empty one, or a file that cannot be read.
        PositionError: see there.
    """
    given = list(_each_prompt(prompts))
    if not given:
        raise PromptError(
            "There is no prompt.",
            got=repr(prompts)[:80],
            expected="at least one prompt",
            instead='["The Eiffel Tower is in the city of"]',
        )
    found = []
    shared = each_position(ALL if positions is None else positions, len(given))
    for prompt, where in zip(given, shared, strict=True):
        text = prompt
        if isinstance(prompt, tuple) and len(prompt) == 2 and not _is_ids(prompt):
            text, (where,) = prompt[0], each_position(prompt[1], 1)
        tokenized = tokenize(backend, text, prepend_bos)
        if len(tokenized) != 1:
            raise PromptError(
                "A prompt in a list of prompts is itself a list of prompts.",
                got=repr(text)[:80],
                expected="a string, or token ids, for each prompt",
                instead="one list of all prompts",
            )
        for one in where if occurrence is not None else ():
            Site("resid_post", None, None, one, occurrence)  # refused where it is of a number
        tokens = resolve_each([where], tokenized, occurrence)[0]
        inside = [n for one in where for n in parts_of_words(one, tokenized[0], occurrence)]
        found.append(Asked(tokenized[0], tokens, tuple(inside)))
    return found


def inside_words(reads: Sequence[Asked]) -> list[str]:
    """What is to be said of all substrings that name a part of a word."""
    return [note for one in reads for note in one.inside]


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
    patches: Sequence[PatchLike] = (),
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
        patches: what is written in the run that the states are of.
        memory_budget: bytes that running some of the prompts may take.

    Raises:
        ModelError: states that are not finite, with the first layer that has them.
    """
    last = resid_post(backend.n_layers - 1)
    kept = list(dict.fromkeys([*_whole(sites), *([last] if final else [])]))
    width = sum(math.prod(backend.shape(site, 1, 1)) for site in kept)
    rows = rows_of(backend, [r.prompt for r in reads], [list(patches)] * len(reads), None, None)
    all_of_them = iter([list(range(len(reads)))])
    token_bytes = width * backend.dtype.itemsize
    for numbers in all_of_them if together else _batches(reads, token_bytes):
        # One token each, as far from the end: no need to keep the others.
        ends = {tuple(t - len(reads[n].prompt) for t in reads[n].tokens) for n in numbers}
        shared = next(iter(ends))
        place = shared[0] if len(ends) == 1 and len(shared) == 1 else None
        at = {site: site if place is None else site.at(place) for site in kept}
        some = [rows[n] for n in numbers]
        cache = captured(backend, some, list(at.values()), memory_budget=memory_budget)
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


def given(
    backend: Backend, vectors: Vectors, sites: Sequence[Site]
) -> tuple[list[Asked], Iterator[Gathered]]:
    """Raw vectors as if each had been read at each of some sites: a prompt each, of no token.

    Raises:
        LensError: they are not as wide as the sites.
    """
    rows = vectors.cast(backend.dtype).rows.to(backend.device)
    widths = {backend.shape(site, 1, 1)[-1] for site in sites}
    if widths != {rows.shape[-1]}:
        raise LensError(
            "Raw vectors do not fit the sites that they are to be read at.",
            got=f"width {rows.shape[-1]}, at {', '.join(map(repr, sites[:4]))}",
            expected=f"width {', '.join(map(str, sorted(widths)))}",
            instead="sites=ls.head_out(6, 2) for a head's output, layers=12 for a residual",
        )
    n = len(rows)
    reads = [Asked(TokenizedPrompt((), name, ("",), ()), (-1,)) for name in vectors.names]
    nothing = torch.full((n,), -1)
    part = Gathered(list(range(n)), [1] * n, dict.fromkeys(sites, rows), None, nothing)
    return reads, iter([part])


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
