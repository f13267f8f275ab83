"""Caches as safetensors files: a header with all but the numbers, read lazily, written aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from lensscope.errors import CacheError, PositionError, SiteError
from lensscope.store.json_text import conform
from lensscope.store.tensors import DamagedError, TensorFile, write_tensors
from lensscope.values.chats import InMessage
from lensscope.values.entries import Entry, Stored
from lensscope.values.positions import ALL, All, Slice, Span
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.provenance import HEADER, Provenance
from lensscope.values.sites import Site

_FORMAT: Final = "lensscope-cache-1"
_SITE: Final = {
    "kind": str,
    "layer": (int, None),
    "head": (int, None),
    "position": (int, str, dict, None),
    "occurrence": (int, None),
    "positions": (list, None),
}
_PROMPT: Final = {
    "ids": [int],
    "text": str,
    "labels": [str],
    "char_spans": [[int]],
    "messages?": [[int]],
}
_HEADER: Final = {"format": str, "provenance": HEADER, "prompts": [_PROMPT], "sites": [_SITE]}


Fields: TypeAlias = "tuple[dict[Site, Entry], list[TokenizedPrompt], Provenance]"
"""What a cache is made of."""


def save(
    path: Path,
    provenance: Provenance,
    prompts: Sequence[TokenizedPrompt],
    sites: Mapping[Site, tuple[Sequence[Sequence[int]], Tensor]],
) -> Path:
    """Write what a cache holds: of each site, the tokens of each prompt and their tensor. What is
    at ``path`` is replaced only once all is written."""
    header = {
        "format": _FORMAT,
        "provenance": asdict(provenance),
        "prompts": [{n: v for n, v in asdict(p).items() if n != "messages" or v} for p in prompts],
        "sites": [
            # a site without a position holds every token, which needs no list
            {**_site_to_json(site), "positions": None if site.position is None else tokens}
            for site, (tokens, _) in sites.items()
        ],
    }
    tensors = {str(n): tensor.contiguous() for n, (_, tensor) in enumerate(sites.values())}
    return write_tensors(path, header, tensors)


def load(path: str | Path, device: str | torch.device) -> Fields:
    """Read the header; each site is read when asked for.

    Raises:
        CacheError: no such file, or not a cache.
        FileError: no path.
    """
    try:
        file = TensorFile.open(path)
        header = file.header
        conform(header, _HEADER, "the header")
        if header["format"] != _FORMAT:
            raise DamagedError(f"format {header['format'][:80]!r}")
        missing = {str(n) for n in range(len(header["sites"]))} - file.shapes.keys()
        if missing or not header["sites"] or not header["prompts"]:
            raise DamagedError(f"{len(header['sites'])} sites, {len(file.shapes)} tensors")
        return _fields(file, header, device)
    except (ValueError, TypeError, SiteError, PositionError) as error:
        raise CacheError(
            f"{path} is not a lensscope cache, or not whole.",
            got=f"{type(error).__name__}: {error}"[:400],
            expected=f"a safetensors file of format {_FORMAT}, as it was written",
            instead="cache.save(path) writes one; capture again what is damaged",
        ) from error


def _fields(file: TensorFile, header: Mapping[str, Any], device: str | torch.device) -> Fields:
    """What a header says.

    Raises:
        ValueError: something that cannot be.
    """
    provenance = Provenance.from_header(header["provenance"])
    prompts = [
        TokenizedPrompt(
            tuple(p["ids"]),
            p["text"],
            tuple(p["labels"]),
            tuple((a, b) for a, b in p["char_spans"]),
            tuple((a, b) for a, b in p.get("messages", ())),
        )
        for p in header["prompts"]
    ]
    for prompt in prompts:
        if not len(prompt.ids) == len(prompt.labels) == len(prompt.char_spans):
            raise ValueError("a prompt with other numbers of ids, labels and spans")
    entries = {}
    for n, told in enumerate(header["sites"]):
        site, positions = _site_from_json(told), told["positions"]
        if (positions is None) != (site.position is None):
            raise ValueError(f"{site!r} has no positions, or too many")
        if positions is not None:
            conform(positions, [[int]], f"the positions of {site!r}")
            rows = zip(positions, prompts, strict=True)
            if not all(0 <= i < len(prompt) for row, prompt in rows for i in row):
                raise ValueError(f"{site!r} is at tokens that the prompts do not have")
        held = [range(len(p)) for p in prompts] if positions is None else positions
        if file.shapes[str(n)][:2] != (len(prompts), max(map(len, held))):
            raise ValueError(f"{site!r} has {file.shapes[str(n)]} numbers")
        entries[site] = Entry(Stored(file, str(n), device), tuple(map(tuple, held)))
    return entries, prompts, provenance


def _site_to_json(site: Site) -> dict[str, Any]:
    position: Any = site.position
    if isinstance(position, Span):
        position = {"span": position.text}
    elif isinstance(position, Slice):
        position = {"slice": [position.start, position.stop, position.step]}
    elif isinstance(position, All):
        position = {"all": True}
    elif isinstance(position, InMessage):
        position = {"message": position.number, "text": position.text, "whole": position.whole}
    return {
        "kind": site.kind,
        "layer": site.layer,
        "head": site.head,
        "position": position,
        "occurrence": site.occurrence,
    }


def _site_from_json(value: Mapping[str, Any]) -> Site:
    position = value["position"]
    if isinstance(position, dict):
        if "span" in position:
            conform(position, {"span": str}, "a position")
            position = Span(position["span"])
        elif "slice" in position:
            conform(position, {"slice": [(int, None)]}, "a position")
            position = Slice(*position["slice"])
        elif position == {"all": True}:
            position = ALL
        elif "message" in position:
            conform(position, {"message": int, "text": (str, None), "whole": bool}, "a position")
            position = InMessage(position["message"], position["text"], position["whole"])
        else:
            raise ValueError(f"a position {position!r}"[:80])
    return Site(value["kind"], value["layer"], value["head"], position, value["occurrence"])
