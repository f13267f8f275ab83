"""A model that is made by hand: what a name means reaches its last token at a known layer."""

from __future__ import annotations

import copy
from typing import Any

import torch

from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.studies.entities import Entity
from lensscope.studies.relations import Relation
from tests import families

SUBJECTS = 8
LAYER = 1
INSPECTION = InspectionPrompt("w60 w50", "w50")


def model(layer: int = LAYER) -> Any:
    """A GPT-2 in which one block's attention copies the first token's answer to the last.

    Names are two tokens, ``w10 w40`` to ``w17 w40``, of which the first alone says what the answer
    is, ``w20`` to ``w27``. Attention is even over all tokens; every other block does nothing.
    """
    inner = copy.deepcopy(families.hf_model("gpt2"))
    with torch.no_grad():
        for name, parameter in inner.named_parameters():
            norm = ".ln_" in name and name.endswith("weight")
            parameter.fill_(1.0 if norm else 0.0)
        core = inner.transformer
        for n in range(SUBJECTS):
            core.wte.weight[10 + n, n] = 1.0
            core.wte.weight[20 + n, SUBJECTS + n] = 1.0
        for n, token in enumerate((1, 40, 50, 60, 61, 62)):
            core.wte.weight[token, 2 * SUBJECTS + n] = 1.0
        attention = core.h[layer].attn
        width = core.wte.weight.shape[1]
        for n in range(SUBJECTS):
            attention.c_attn.weight[n, 2 * width + n] = 1.0
            attention.c_proj.weight[n, SUBJECTS + n] = 20.0
    return families.wrap(inner, family="gpt2")


def relation(sentences: int = 2) -> Relation:
    """The relation that is planted."""
    names = [f"w{10 + n} w40" for n in range(SUBJECTS)]
    starts = ["w61", "w62 w61", "w61 w62"][:sentences]
    return Relation(
        "planted",
        tuple(names),
        tuple((f"w{20 + n}",) for n in range(SUBJECTS)),
        ("w60 w50",),
        tuple(tuple(f"{start} {name}" for start in starts) for name in names),
    )


def entities() -> list[Entity]:
    """The same as entities: unresolved, a name is its last token."""
    return [
        Entity(f"w{10 + n} w40", "odd" if n % 2 else "even", f"w{20 + n}", "w40")
        for n in range(SUBJECTS)
    ]
