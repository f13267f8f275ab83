"""Caches as safetensors files: a header with all but the numbers, read lazily, written aside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from lensscope.cache import Cache, Entry, Stored
from lensscope.errors import CacheError
from lensscope.positions import ALL, All, Slice, Span
from lensscope.prompts import TokenizedPrompt
from lensscope.provenance import Provenance
from lensscope.sites import Site

_FORMAT: Final = "lensscope-cache-1"


def save(cache: Cache, path: Path) -> Path:
    """Write a cache; what is at ``path`` is replaced only once all is written."""
    from safetensors.torch import save_file

    header = {
        "format": _FORMAT,
        "provenance": asdict(cache.provenance),
        "prompts": [asdict(prompt) for prompt in cache.prompts],
        "sites": [
            # a site without a position holds every token, which needs no list
            {
                **_site_to_json(site),
                "positions": None if site.position is None else cache.positions(site),
            }
            for site in cache
        ],
    }
    tensors = {str(n): cache[site].contiguous() for n, site in enumerate(cache)}
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, aside, metadata={"lensscope": json.dumps(header)})
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def load(path: Path, device: str | torch.device) -> Cache:
    """Read the header; each site is read when asked for.

    Raises:
        CacheError: no such file, or not a cache.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["lensscope"])
        if header["format"] != _FORMAT:
            raise KeyError(header["format"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CacheError(
            f"{path} is not a lensscope cache.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a safetensors file of format {_FORMAT}",
            instead="cache.save(path) writes one",
        ) from error
    provenance = header["provenance"]
    provenance["tokens"] = tuple(tuple(row) for row in provenance["tokens"])
    prompts = [
        TokenizedPrompt(
            tuple(p["ids"]),
            p["text"],
            tuple(p["labels"]),
            tuple((a, b) for a, b in p["char_spans"]),
        )
        for p in header["prompts"]
    ]
    entries = {
        _site_from_json(s): Entry(
            Stored(path, str(n), device),
            tuple(tuple(range(len(p))) for p in prompts)
            if s["positions"] is None
            else tuple(tuple(row) for row in s["positions"]),
        )
        for n, s in enumerate(header["sites"])
    }
    return Cache(entries, prompts, Provenance(**provenance))


def _site_to_json(site: Site) -> dict[str, Any]:
    position: Any = site.position
    if isinstance(position, Span):
        position = {"span": position.text}
    elif isinstance(position, Slice):
        position = {"slice": [position.start, position.stop, position.step]}
    elif isinstance(position, All):
        position = {"all": True}
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
            position = Span(position["span"])
        elif "slice" in position:
            position = Slice(*position["slice"])
        else:
            position = ALL
    return Site(value["kind"], value["layer"], value["head"], position, value["occurrence"])
