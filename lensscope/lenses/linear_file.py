"""The file of an affine lens: its translators, what it was fitted on and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.files import load, save
from lensscope.lenses.origin import HEADER as ORIGIN
from lensscope.lenses.origin import Origin
from lensscope.lenses.translators import Translator, check_translators
from lensscope.store.json_text import conform
from lensscope.values.sites import Site

_HEADER: Final = {
    "name": str,
    "origin": ORIGIN,
    "sites": [[(str, int, None)]],
    "residual": [bool],
    "settings": dict,
}


@dataclass(frozen=True, eq=False, repr=False)
class Maps:
    """The fields of a lens of affine maps, as its file has them.

    Attributes:
        translators: by site. Block ``l``'s output and block ``l + 1``'s input are one place, and
            the last block's output needs no translator.
        origin: what it was fitted on.
        name: what it is called.
        settings: how it was fitted.
        history: numbers of its fitting, by name.
    """

    translators: Mapping[Site, Translator]
    origin: Origin
    name: str = "linear lens"
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Tensor] = field(default_factory=dict)


def write_lens(path: Path, lens: Maps, more: Mapping[str, Any]) -> Path:
    """Write the fields of a lens, and what more its kind keeps, to a safetensors file.

    Raises:
        LensError: a folder.
        FileError: a full disk, a refusal; what was there before stays.
    """
    tensors = {f"history.{key}": value for key, value in lens.history.items()}
    for n, translator in enumerate(lens.translators.values()):
        tensors[f"{n}.matrix"] = translator.matrix
        if translator.bias is not None:
            tensors[f"{n}.bias"] = translator.bias
    header = {
        "kind": type(lens).__name__,
        "name": lens.name,
        "origin": lens.origin.to_json(),
        "sites": [[site.kind, site.layer] for site in lens.translators],
        "residual": [t.residual for t in lens.translators.values()],
        "settings": dict(lens.settings),
        **more,
    }
    return save(path, header, tensors)


def read_lens(
    path: Path,
    kind: str,
    shape: Mapping[str, Any],
    extra: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> dict[str, Any]:
    """The fields of a lens that `write_lens` wrote.

    Args:
        path: the file.
        kind: what it must hold.
        shape: what more must be in its header.
        extra: the fields that these are.

    Raises:
        LensError: no such file, not whole, a pickle, or not a lens of this kind.
    """
    header, tensors = load(path, kind)
    try:
        conform(header, {**_HEADER, **shape}, "the header")
        if len(header["residual"]) != len(header["sites"]) or not header["sites"]:
            raise ValueError(f"{len(header['sites'])} sites, {len(header['residual'])} maps")
        translators = {
            Site(where, layer): Translator(
                tensors[f"{n}.matrix"], tensors.get(f"{n}.bias"), header["residual"][n]
            )
            for n, (where, layer) in enumerate(header["sites"])
        }
        found = {
            "translators": translators,
            "origin": Origin.from_json(header["origin"]),
            "name": header["name"],
            "settings": header["settings"],
            **extra(header),
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise LensError(
            f"{path} is not a whole lens.",
            got=f"{type(error).__name__}: {error}",
            expected="a file that lens.save(path) wrote",
            instead="the file again, from where it came",
        ) from error
    check_translators(translators, str(path))
    found["history"] = {
        name.removeprefix("history."): value
        for name, value in tensors.items()
        if name.startswith("history.")
    }
    return found
