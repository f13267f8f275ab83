"""What the nodes of a circuit write, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lensscope.circuits.ablation import tokens_of
from lensscope.circuits.naming import check_heads
from lensscope.circuits.wiring import Wiring
from lensscope.engine.capture import capture
from lensscope.errors import PromptError
from lensscope.lenses.components import as_residual
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.values.positions import resolve
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Site

if TYPE_CHECKING:
    from lensscope.patchscope.scope import Patchscope


@torch.no_grad()
def words_of(
    circuit: Wiring,
    scope: Patchscope,
    model: Any,
    prompt: PromptsLike,
    position: Any,
    positions: Mapping[str, Any] | None,
) -> dict[Site, str]:
    """What each node writes; see `Circuit.inspect`."""
    backend = backend_of(model)
    circuit.check_basis(backend.provenance())
    check_heads(circuit.nodes)
    prompts = tokenize(backend, prompt)
    if len(prompts) != 1:
        raise PromptError(
            "Nodes are read in one prompt.",
            got=f"{len(prompts)} prompts",
            expected="one prompt",
            instead="circuit.inspect(scope, model, pairs.clean[0])",
        )
    names = frozenset(map(str, circuit.settings.get("groups", ())))
    named = {
        name: resolve(where[0] if isinstance(where, tuple) else where, prompts[0])
        for name, where in (positions or {}).items()
    }
    whole = [Site(s.kind, s.layer) for s in circuit.nodes]
    cache = capture(model, prompts, list(dict.fromkeys(whole)))
    layers: dict[int, list[tuple[Site, torch.Tensor]]] = {}
    for node, site in zip(circuit.nodes, whole, strict=True):
        if node.position is None:
            token = resolve(position, prompts[0])[-1]
        else:
            token = tokens_of(node, prompts[0], named, names)[-1]
        states = cache[site][0, token]
        states = states if node.head is None else states[node.head]
        vector = as_residual(backend, replace(node, position=None, occurrence=None), states[None])
        layers.setdefault(node.layer or 0, []).append((node, vector[0]))
    words: dict[Site, str] = {}
    for layer, nodes in layers.items():
        said = scope.inspect(model, torch.stack([v for _, v in nodes]), layers=[layer])
        texts = said.frame()["text"].tolist()
        words |= {node: str(text) for (node, _), text in zip(nodes, texts, strict=True)}
    return words
