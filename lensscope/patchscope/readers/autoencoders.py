"""Natural-language autoencoders: a model that puts a state in words, and one that goes back.

Each is a folder of a whole model with ``nla_meta.yaml``. The text side writes a state, at a length
that the file says, in place of the embedding of a marker. The way back is cut off after the layer
that was read; its ``value_head.safetensors`` makes a vector of its last state, without final norm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lensscope import checks
from lensscope.errors import LensError
from lensscope.model import loading
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.readers.given import Given, not_whole
from lensscope.patchscope.reconstruction import EXPLANATION, WayBack
from lensscope.patchscope.trained import Trained
from lensscope.store.json_text import conform
from lensscope.values import rules
from lensscope.values.chats import chat
from lensscope.values.sites import resid_post, resid_pre

META: Final = "nla_meta.yaml"
_WHAT: Final = "natural-language autoencoder"
_HEAD: Final = "value_head.safetensors"
_TEXT_SIDE: Final = ("av", "actor")
_BACK_SIDE: Final = ("ar", "critic")
_SHAPE: Final = {
    "kind": str,
    "d_model": int,
    "role?": (str, None),
    "schema_version?": int,
    "extraction?": dict,
    "prompt_templates": {str: (str, None)},
}
_TOKENS: Final = {
    "injection_char": str,
    "injection_token_id": int,
    "injection_left_neighbor_id": int,
    "injection_right_neighbor_id": int,
}
_TEMPERATURE: Final = (
    "The reader was trained to be drawn from: temperature=1, with seed= and, for several, samples=."
)


def sides(folder: Path) -> tuple[Path, Path | None] | None:
    """The folders of the text side and of the way back, if this is such a reader: the text side's
    own, or one that has both in it, as ``av`` (or ``actor``) and ``ar`` (or ``critic``)."""
    if (folder / META).is_file():
        return folder, None
    text = [folder / name for name in _TEXT_SIDE if (folder / name / META).is_file()]
    back = [folder / name for name in _BACK_SIDE if (folder / name / META).is_file()]
    return (text[0], back[0] if back else None) if text else None


def load_autoencoder(given: Given, text: Path, back: Path | None) -> dict[str, Any]:
    """The fields of the patchscope that a natural-language autoencoder is.

    Raises:
        LensError: files that are missing, not whole or of another version, or the way back alone.
        BasisError: it is for a model of another width.
        PromptError: the marker is not the token that the file says.
        ModelError: the model in the folder cannot be loaded.
    """
    told = _meta(text, _TEXT_SIDE, _TOKENS)
    given.check_basis(told["d_model"], _WHAT)
    model = _model(given, text)
    target = backend_of(model)
    rule = given.rule or rules.replace(length=_scale(text, told))
    way_back, layer = None, _layer(told)
    if back is not None:
        way_back = _way_back(given, back)
        layer = backend_of(way_back.model).n_layers - 1 if layer is None else layer
    return {
        "inspection": _prompt(text, told, target),
        "write": resid_pre(0),
        "read": resid_post,
        "rule": rule,
        "model": model,
        "max_new_tokens": 200,
        "trained": Trained(
            _WHAT,
            target.provenance(),
            None if layer is None else (layer,),
            way_back,
            (_TEMPERATURE,),
        ),
    }


def _meta(folder: Path, roles: tuple[str, ...], tokens: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a folder says of itself."""
    what = "Natural-language autoencoders need the extra readers."
    with checks.needing("readers", what, "PyYAML", LensError):
        import yaml
    path = folder / META
    try:
        told: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        conform(told, {**_SHAPE, **({"tokens": tokens} if tokens else {})}, META)
        if told["kind"] != "nla_model" or told.get("schema_version", 2) not in (1, 2):
            raise ValueError(f"{told['kind']} of version {told.get('schema_version')}")
        if told.get("role") not in (None, *roles):
            raise ValueError(f"role {told['role']!r}, not {' or '.join(roles)}")
    except (OSError, ValueError, yaml.YAMLError) as error:
        expected = f"nla_model of version 1 or 2, as {roles[0]}, with its tokens and templates"
        raise not_whole(path, _WHAT, f"{type(error).__name__}: {error}", expected) from error
    return told


def _template(folder: Path, told: Mapping[str, Any], roles: tuple[str, ...], field: str) -> str:
    found = [told["prompt_templates"].get(role) for role in roles]
    text = next((one for one in found if one), "")
    if field not in text:
        got = f"prompt_templates {told['prompt_templates']}"
        raise not_whole(folder / META, _WHAT, got, f"{roles[0]}, with {field}")
    return text


def _prompt(folder: Path, told: Mapping[str, Any], target: Backend) -> InspectionPrompt:
    """The prompt, whose marker and neighbours are the tokens that they were in training."""
    tokens = told["tokens"]
    marker = tokens["injection_char"]
    text = _template(folder, told, _TEXT_SIDE, "{injection_char}")
    found = InspectionPrompt(chat(text.replace("{injection_char}", marker)), marker)
    places, ids = found.placed(target), found.tokenized(target).ids
    around = [list(ids[max(0, at - 1) : at + 2]) for at in places]
    three = ("injection_left_neighbor_id", "injection_token_id", "injection_right_neighbor_id")
    expected = [tokens[name] for name in three]
    if around != [expected]:
        raise not_whole(
            folder / META,
            _WHAT,
            f"token ids {around} at the marker {marker!r}",
            f"{expected} once: the tokenizer that it was trained with",
        )
    return found


def _scale(folder: Path, told: Mapping[str, Any]) -> float:
    scale = told.get("extraction", {}).get("injection_scale")
    if scale == "sqrt_d_model":
        return math.sqrt(told["d_model"])
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise LensError(
            "The file does not say at which length states are written.",
            got=f"injection_scale {scale!r} in {folder / META}",
            expected="a number above 0, or sqrt_d_model",
            instead="rule=ls.rules.replace(length=150), with the length of its training",
        )
    return float(scale)


def _layer(told: Mapping[str, Any]) -> int | None:
    """The layer that it was trained on, where the file says it."""
    for block, name in (
        *((side, "extraction_layer_index") for side in _BACK_SIDE),
        *((side, "num_hidden_layers") for side in _BACK_SIDE),
        ("extraction", "layer_index"),
    ):
        held = told.get(block)
        found = held.get(name) if isinstance(held, dict) else None
        if isinstance(found, int):
            return found
    return None


def _model(given: Given, folder: Path) -> Any:
    here = given.backend
    return loading.load_model(folder, dtype=here.dtype, device=here.device)


def _way_back(given: Given, folder: Path) -> WayBack:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    told = _meta(folder, _BACK_SIDE, {})
    given.check_basis(told["d_model"], "way back")
    template = _template(folder, told, _BACK_SIDE, EXPLANATION)
    try:
        (head,) = load_file(folder / _HEAD).values()
        if head.shape != (told["d_model"],) * 2 or not head.isfinite().all():
            raise ValueError(f"a head of shape {tuple(head.shape)}")
    except (OSError, SafetensorError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        expected = f"{_HEAD} with one finite matrix of {told['d_model']} x {told['d_model']}"
        raise not_whole(folder, "way back", got, expected) from error
    model = _model(given, folder)
    head = head.to(given.backend.device, given.backend.dtype)
    return WayBack(model, head, template, loading.puts_bos_first(folder))
