"""Which models there are: those at hand, and those that TransformerLens knows by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from lensscope.model.demo_model import DEMO_NAME, demo_place
from lensscope.store.json_text import read_json

_IN_A_NAME: Final = re.compile(r"(?<![a-z\d.])((?:\d+x)?\d+(?:\.\d+)?[mbt])(?![a-z\d])", re.I)
"""How many parameters a name says: ``135M``, ``1.5B``, ``8x7B``."""
_VERIFIED: Final = 1


@dataclass(frozen=True)
class Known:
    """A model by name.

    Attributes:
        name: what `load_model` takes.
        architecture: its class in transformers; empty if that is not known.
        parameters: how many, as they are said: ``135M``; empty if that is not known.
        loads_with: the TransformerLens classes that it loads as, and whether TransformerLens has
            ``verified`` it against Hugging Face.
        where: where it is.
    """

    name: str
    architecture: str
    parameters: str
    loads_with: str
    where: str


def search(text: str = "") -> list[Known]:
    """The models that have all words of a text in their name or architecture, those at hand first;
    without a text, those at hand."""
    here = [_demo(), *_cached()]
    if not text.strip():
        return here
    names = {one.name for one in here}
    rest = [one for one in _registry() if one.name not in names]
    words = text.lower().split()
    return [
        one
        for one in (*here, *rest)
        if all(word in f"{one.name} {one.architecture}".lower() for word in words)
    ]


@cache
def architectures() -> tuple[str, ...]:
    """Those that TransformerBridge supports."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    return tuple(SUPPORTED_ARCHITECTURES)


def known_names() -> list[str]:
    """Names worth suggesting: the demo model and those that TransformerLens lists."""
    from transformer_lens import supported_models

    lists = (getattr(supported_models, "OFFICIAL_MODEL_NAMES", None) or []) or [
        name
        for value in vars(supported_models).values()
        if isinstance(value, list)
        for name in value
    ]
    return sorted({DEMO_NAME, *map(str, lists)})


@cache
def _hooked() -> frozenset[str]:
    """Those that HookedTransformer knows, where TransformerLens still has it."""
    try:
        from transformer_lens import HookedTransformer  # noqa: F401
    except ImportError:
        return frozenset()
    return frozenset(known_names())


def _demo() -> Known:
    where = "here" if demo_place().is_dir() else "fetched on first use, 93 MB"
    return _known(DEMO_NAME, "LlamaForCausalLM", f"demo model, {where}")


def _cached() -> Iterator[Known]:
    """The models in the Hub's local cache."""
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        return
    for name in sorted(repos):
        found = try_to_load_from_cache(name, "config.json")
        yield _known(name, _architecture(found), "Hub cache, here")


def _architecture(config: Any) -> str:
    """What a file with a configuration says; empty if there is none that can be read."""
    try:
        held = read_json(Path(config).read_text(encoding="utf-8")) if config else {}
    except (OSError, TypeError, ValueError):
        return ""
    several = held.get("architectures") if isinstance(held, Mapping) else None
    return str(several[0]) if isinstance(several, list) and several else ""


def _registry() -> list[Known]:
    """The models that TransformerLens lists, those that it has verified first."""
    try:
        from transformer_lens.tools.model_registry.api import get_supported_models
    except ImportError:  # an older line
        return [_known(name, "", "Hub") for name in known_names() if name != DEMO_NAME]
    found = sorted(get_supported_models(), key=lambda m: (m.status != _VERIFIED, m.model_id))
    return [
        _known(
            one.model_id,
            one.architecture_id,
            "Hub",
            getattr(one.metadata, "total_params", None),
            verified=one.status == _VERIFIED,
        )
        for one in found
    ]


def _known(
    name: str,
    architecture: str,
    where: str,
    parameters: int | None = None,
    *,
    verified: bool = False,
) -> Known:
    """A model with what its name and its architecture say."""
    said = _IN_A_NAME.findall(name)
    size = _brief(parameters) if parameters else said[-1].upper().replace("X", "x") if said else ""
    classes = ["bridge"] if not architecture or architecture in architectures() else []
    classes += ["hooked"] if name in _hooked() else []
    return Known(name, architecture, size, ", ".join([*classes, *["verified"] * verified]), where)


def _brief(number: int) -> str:
    """A number in three digits: ``1.89B``."""
    for size, sign in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g}{sign}"
    return str(number)
