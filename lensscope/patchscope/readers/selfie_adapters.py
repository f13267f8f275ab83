"""SelfIE adapters: trained maps from a state to what is written in place of an embedding.

"Learning Self-Interpretation from Interpretability Artifacts" (arXiv 2602.10352): one safetensors
file with its configuration in the header, or an older one of ``torch.save``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.files import load_pickled
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.readers.given import Given, not_whole
from lensscope.patchscope.trained import Trained
from lensscope.store.files import path_of, write
from lensscope.store.json_text import conform, json_text, read_json
from lensscope.values import rules
from lensscope.values.sites import resid_post, resid_pre
from lensscope.values.transforms import Projection

_WHAT: Final = "SelfIE adapter"
_FORMAT: Final = "selfie_adapter_v1"
_SHAPE: Final = {
    "projection": {"type": str, "normalize_input": bool},
    "soft_prompt?": {"template": str, "reserved_token": str},
}
_TENSORS: Final[Mapping[str, tuple[str, ...]]] = {
    "scale_only": ("log_scale",),
    "scalar_affine": ("log_scale", "bias"),
    "full_rank": ("weight", "bias"),
    "low_rank_only": ("U", "V", "bias"),
    "scalar_affine_plus_low_rank": ("log_scale", "U", "V", "bias"),
}
_AXES: Final = {"log_scale": 0, "bias": 1, "weight": 2, "U": 1, "V": 1}
"""How many of a tensor's axes are as wide as the model."""
_NAMES: Final = {"matrix": "weight", "down": "U", "up": "V", "bias": "bias"}
_RESERVED: Final = "<|reserved_special_token_0|>"


def load_selfie(given: Given) -> dict[str, Any]:
    """The fields of the patchscope that a SelfIE adapter is.

    Raises:
        LensError: not whole, of another version, pickled and not allowed, or without a prompt.
        BasisError: it is for a model of another width.
        PromptError: a placeholder that is missing or not one token.
    """
    config, tensors, width = _pickled(given) if _is_pickled(given) else _safe(given)
    try:
        conform(config, _SHAPE, "config")
        transform = _projection(config["projection"], tensors)
    except (ValueError, KeyError) as error:
        expected = f"one of {', '.join(_TENSORS)}, with its tensors"
        raise not_whole(given.path, _WHAT, f"{type(error).__name__}: {error}", expected) from error
    own = next((len(held) for name, held in tensors.items() if name != "log_scale"), width)
    if own is None:
        raise not_whole(given.path, _WHAT, "a scale alone, and no model_dim", "model_dim")
    given.check_basis(own, _WHAT)
    soft = config.get("soft_prompt", {})
    placeholder, text = (
        soft.get("reserved_token", _RESERVED),
        given.question or soft.get("template"),
    )
    if text is None:
        raise LensError(
            "The prompt of this SelfIE adapter is not in its file.",
            got=f"no soft_prompt in {given.path}",
            expected="the prompt that it was trained with",
            instead=f'question="… {placeholder} …", with the special tokens of the conversation',
        )
    inspection = InspectionPrompt(text, placeholder, prepend_bos=False)
    inspection.placed(given.backend)
    return {
        "inspection": inspection,
        "write": resid_pre(0),
        "read": resid_post,
        "transform": transform,
        "rule": given.rule or rules.replace(),
        "max_new_tokens": 50,
        "trained": Trained(_WHAT, given.backend.provenance()),
    }


def write_selfie(path: Path, inspection: InspectionPrompt, own: Projection) -> Path:
    """Write a map of one layer as a SelfIE adapter.

    Raises:
        LensError: a chat, or a map of another kind.
        FileError: the disk is full, or refuses.
    """
    held = {_NAMES[name]: tensor.float().contiguous() for name, tensor in own.tensors.items()}
    names = {*held, *(["log_scale"] if own.scale is not None else [])}
    kind = next((kind for kind, needed in _TENSORS.items() if set(needed) == names), None)
    scaled = own.scale is None or own.scale > 0
    told = isinstance(inspection.text, str) and not inspection.prepend_bos
    if kind is None or not scaled or not told:
        raise LensError(
            "This reader is no SelfIE adapter.",
            got=f"{own!r}, {inspection.text!r}"[:200],
            expected="a prompt that is text, without a BOS of its own, and a map with a scale "
            "above 0, a matrix or a low rank, and a bias",
            instead="reader.save(path), which keeps any reader",
        )
    if own.scale is not None:
        held["log_scale"] = torch.tensor([own.scale]).log()
    config = {
        "projection": {"type": kind, "normalize_input": own.normalize},
        "soft_prompt": {"template": inspection.text, "reserved_token": inspection.placeholder},
    }
    width = str(own.bias.shape[0]) if own.bias is not None else ""
    header = {"format": _FORMAT, "config_json": json_text(config), "model_dim": width}
    return write(path_of(path), save(held, header))


def _is_pickled(given: Given) -> bool:
    return given.path.suffix != ".safetensors"


def _safe(given: Given) -> tuple[Any, Mapping[str, Tensor], int | None]:
    """The configuration, the tensors and the width of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(given.path, framework="pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        versions = [value for value in told.values() if value.startswith("selfie_adapter_")]
        if set(versions) - {_FORMAT}:
            raise ValueError(f"format {versions[0]!r}")
        width = int(told["model_dim"]) if "model_dim" in told else None
        return read_json(told["config_json"]), tensors, width
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        expected = f"a safetensors file of format {_FORMAT}, with config_json in its header"
        raise not_whole(given.path, _WHAT, f"{type(error).__name__}: {error}", expected) from error


def _pickled(given: Given) -> tuple[Any, Mapping[str, Tensor], int | None]:
    """The same of a file of ``torch.save``, of which only tensors and plain values are read."""
    held = load_pickled(given.path, allow_pickle=given.allow_pickle)
    try:
        conform(held, {"config": dict, "projection_state": {str: Tensor}}, "the file")
        conform(held, {"model_dim?": (int, None)}, "the file")
    except ValueError as error:
        expected = "config and projection_state, as the adapters' own trainer writes them"
        raise not_whole(given.path, _WHAT, error, expected) from error
    return held["config"], held["projection_state"], held.get("model_dim")


def _projection(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Projection:
    """The map.

    Raises:
        ValueError, KeyError: no such type, or other tensors.
    """
    names = _TENSORS[told["type"]]
    shapes = {name: tuple(held.shape) for name, held in tensors.items()}
    wide = {size for name in names for size in shapes.get(name, ())[: _AXES[name]]}
    rank = {shapes[name][1] for name in ("U", "V") if name in shapes and len(shapes[name]) == 2}
    fits = all(len(shapes.get(n, ())) == (2 if n in ("weight", "U", "V") else 1) for n in names)
    finite = all(bool(held.isfinite().all()) for held in tensors.values())
    if set(names) != set(tensors) or not fits or len(wide) > 1 or len(rank) > 1 or not finite:
        raise ValueError(f"{told['type']} of {shapes}" + ("" if finite else ", not finite"))
    own = {name: held.float() for name, held in tensors.items()}
    return Projection(
        float(own["log_scale"].exp()) if "log_scale" in own else None,
        own.get("weight"),
        own.get("U"),
        own.get("V"),
        own.get("bias"),
        told["normalize_input"],
    )
