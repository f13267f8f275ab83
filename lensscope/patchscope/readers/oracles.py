"""Activation Oracles: LoRA adapters that answer questions about states.

Karvonen et al. 2025, "Activation Oracles: Training and Evaluating LLMs as General-Purpose
Activation Explainers" (arXiv 2512.15674). A folder of PEFT with ``ao_config.json``, which those of
before 2026 lack. Since 2025-10-26 states are added to what stands at the placeholders; before, they
replaced it. No file says which, so the date in ``ao_config.json`` decides, or ``rule=``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from lensscope.errors import LensError
from lensscope.model.adapter_files import read_adapter
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.readers.given import Given, json_of, not_whole
from lensscope.patchscope.trained import Trained
from lensscope.values import rules
from lensscope.values.chats import chat
from lensscope.values.sites import resid_post

CONFIG: Final = "ao_config.json"
_ADDS_SINCE: Final = date(2025, 10, 26)
_SHAPE: Final = {
    "special_token": str,
    "hook_onto_layer": int,
    "steering_coefficient": (int, float),
    "prefix_template": str,
    "act_layer_combinations": [[int]],
    "schema_version?": int,
    "created_at_utc?": (str, None),
    "generation_kwargs?": dict,
}
_PUBLISHED: Final = {
    "special_token": " ?",
    "hook_onto_layer": 1,
    "steering_coefficient": 1.0,
    "prefix_template": "Layer: {layer}\\n{special_token} * {num_positions} \\n",
}
"""Of those without a configuration."""
_DEPTHS: Final = (25, 50, 75)
"""Where they read, in hundredths of the model's layers."""


def load_oracle(given: Given) -> dict[str, Any]:
    """The fields of the patchscope that an Activation Oracle is.

    Raises:
        LensError: files that are missing, damaged or of another version, an oracle of several
            layers at once, or one of which nobody can tell how it writes.
        BasisError: it is for another model.
        PromptError: a placeholder that is not one token, or is in the question.
    """
    path = given.path / CONFIG
    n = given.backend.n_layers
    told: Mapping[str, Any] = {
        **_PUBLISHED,
        "act_layer_combinations": [[int(n * depth / 100)] for depth in _DEPTHS],
    }
    if path.exists():
        told = json_of(path, "Activation Oracle", _SHAPE)
    if told.get("schema_version", 1) != 1:
        version = f"schema_version {told['schema_version']}"
        raise not_whole(path, "Activation Oracle", version, "schema_version 1")
    rule = given.rule or _rule(path, told)
    together = told["act_layer_combinations"]
    if not together or any(len(layers) != 1 for layers in together):
        raise LensError(
            "This Activation Oracle reads several layers at once, which is not supported.",
            got=f"act_layer_combinations {together} in {path}",
            expected="one layer each",
            instead="an oracle of single layers, such as [[9], [18], [27]]",
        )
    adapter = read_adapter(given.path).placed(given.backend)
    site = resid_post(told["hook_onto_layer"])
    given.backend.concrete(site)
    new = told.get("generation_kwargs", {}).get("max_new_tokens", 20)
    return {
        "inspection": given.asked(_prompt(path, told)),
        "write": site,
        "read": resid_post,
        "rule": rule,
        "max_new_tokens": new if isinstance(new, int) and new > 0 else 20,
        "adapter": adapter,
        "trained": Trained(
            "activation oracle",
            given.backend.provenance(),
            tuple(layer for (layer,) in together),
            notes=notes_on_base(adapter.base, given.backend.name),
        ),
    }


def notes_on_base(base: str, name: str) -> tuple[str, ...]:
    """What is to be said where an adapter names another model than the one at hand."""
    if not base or Path(base).name.lower() == Path(name).name.lower():
        return ()
    return (f"The adapter names {base} as its model, and speaks through {name}.",)


def _rule(path: Path, told: Mapping[str, Any]) -> rules.Rule:
    times = float(told["steering_coefficient"])
    try:
        made = date.fromisoformat(str(told.get("created_at_utc") or "")[:10])
    except ValueError:
        since = _ADDS_SINCE.isoformat()
        raise LensError(
            "It cannot be told how this Activation Oracle writes.",
            got=f"no date of its training in {path}",
            expected=f"created_at_utc: those of before {since} replace what is there, later ones "
            "add to it",
            instead=f"rule=ls.rules.add(times={times:g}), or "
            f"rule=ls.rules.replace(length='own', times={times:g}) for one of before {since}",
        ) from None
    if made < _ADDS_SINCE:
        return rules.replace(length="own", times=times)
    return rules.add(times=times)


def _prompt(path: Path, told: Mapping[str, Any]) -> InspectionPrompt:
    """The prompt: in the file, a line break and a repeated token are spelt out."""
    special = told["special_token"]
    text = told["prefix_template"].replace("\\n", "\n")
    text, found = re.subn(r"\{special_token\} ?\* ?\{num_positions\}", lambda _: special, text)
    fields = set(re.findall(r"\{\w*\}", text)) - {"{layer}"}
    if found != 1 or fields:
        raise not_whole(
            path,
            "Activation Oracle",
            f"prefix_template {told['prefix_template']!r}",
            "{layer}, and {special_token} * {num_positions} once",
        )
    asked = chat(text + "{question}", enable_thinking=False)
    return InspectionPrompt(asked, special)
