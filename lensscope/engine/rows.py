"""Prompts and patches as rows; what the moves among the patches read is read first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from lensscope import checks
from lensscope.checks.plain import goes_through
from lensscope.engine.batch import Row, resolve_row
from lensscope.engine.capture import capture
from lensscope.errors import PatchError, PromptError
from lensscope.model.backend import Backend
from lensscope.model.tokens import tokenize
from lensscope.values.cache import Cache
from lensscope.values.prompts import PromptsLike, TokenizedPrompt
from lensscope.values.sites import Move, Patch

PatchLike: TypeAlias = Patch | Move


def rows_of(
    backend: Backend,
    prompts: Sequence[TokenizedPrompt],
    patchsets: Sequence[list[PatchLike]],
    source: PromptsLike | Cache | None,
    prepend_bos: bool | None,
    *,
    once: bool = True,
) -> list[Row]:
    """Prompts and patches as rows, the moves among the patches read first.

    Args:
        once: read what all rows' moves need in one run, not in one for each row.

    Raises:
        SiteError, PositionError, PatchError, PromptError: see `lensscope.run_many`.
    """
    if source is not None and not any(isinstance(p, Move) for s in patchsets for p in s):
        raise PatchError(
            "Nothing is read from the source.",
            got="source= and no move among the patches",
            expected="a move, which reads from it",
            instead="patches=[ls.resid_post(12).at(-1) >> ls.resid_post(12).at(-1)]",
        )
    if not once and not isinstance(source, Cache):
        own: list[Any] = [None] if source is None else tokenize(backend, source, prepend_bos)
        _check_sources(own, prompts)
        each = zip(prompts, patchsets, own * len(prompts) if len(own) == 1 else own, strict=True)
        return [row for p, s, o in each for row in _rows(backend, [p], [s], o, prepend_bos)]
    return _rows(backend, prompts, patchsets, source, prepend_bos)


def _rows(
    backend: Backend,
    prompts: Sequence[TokenizedPrompt],
    patchsets: Sequence[list[PatchLike]],
    source: PromptsLike | Cache | None,
    prepend_bos: bool | None,
) -> list[Row]:
    """The rows whose moves read from one run, or from a cache."""
    reads = {m.read: None for patches in patchsets for m in patches if isinstance(m, Move)}
    unique = list(dict.fromkeys(prompts))
    cache: Cache | None = None
    if not reads:
        pass
    elif isinstance(source, Cache):
        cache = source
        cache.provenance.check_basis(backend.provenance(), "The cache that a move reads from")
    else:
        texts = unique if source is None else source
        cache = capture(backend, texts, list(reads), prepend_bos=prepend_bos)
    if cache is not None and source is not None:
        _check_sources(cache.prompts, prompts)
    rows = []
    bound: dict[object, Patch] = {}
    for n, (prompt, patches) in enumerate(zip(prompts, patchsets, strict=True)):
        if cache is None:
            rows.append(resolve_row(backend, prompt, patches))  # type: ignore[arg-type]
            continue
        at = unique.index(prompt) if source is None else n if len(cache.prompts) > 1 else 0
        patched = [_bound(p, cache, at, bound) if isinstance(p, Move) else p for p in patches]
        rows.append(resolve_row(backend, prompt, patched))
    return rows


def _check_sources(sources: Sequence[object], prompts: Sequence[TokenizedPrompt]) -> None:
    if len(sources) not in (1, len(prompts)):
        raise PromptError(
            "There is not one source for each prompt.",
            got=f"{len(sources)} sources, {len(prompts)} prompts",
            expected="one source, or as many as prompts",
            instead="source=[…] with one prompt for each",
        )


def _bound(move: Move, cache: Cache, at: int, bound: dict[object, Patch]) -> Patch:
    """The patch of a move; what many moves read alike is read once."""
    if move.transforms or move.write is None:
        return move.patch(cache, at)
    key = (move.read, at)
    if key not in bound:
        bound[key] = move.patch(cache, at)
    return replace(bound[key], site=move.write)


def as_list(patches: Sequence[PatchLike]) -> list[PatchLike]:
    """Patches as a list.

    Raises:
        PatchError: they are none.
    """
    if isinstance(patches, Patch | Move):
        raise PatchError(
            "A single patch stands where a list of patches belongs.",
            got=repr(patches),
            expected="a list of patches",
            instead=f"[{patches!r}]",
        )
    if not goes_through(patches) or isinstance(patches, str | bytes | Mapping):
        raise PatchError(
            "These are not patches.",
            got=checks.seen(patches),
            expected="a list of patches",
            instead='[ls.resid_post(12).at("Wales").zero()]',
        )
    return list(checks.listed(patches, "A list of patches", PatchError))
