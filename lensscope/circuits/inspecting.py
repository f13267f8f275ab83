"""What the nodes of a circuit write, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from lensscope.circuits.ablation import tokens_of
from lensscope.circuits.naming import check_heads
from lensscope.circuits.wiring import Wiring
from lensscope.engine.capture import capture
from lensscope.errors import PromptError
from lensscope.lenses.components import as_residual
from lensscope.lenses.lens import Lens
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.token_texts import labels_of
from lensscope.model.tokens import tokenize
from lensscope.patchscope.layers import targets_of
from lensscope.signs import visible
from lensscope.values.positions import resolve
from lensscope.values.prompts import PromptsLike
from lensscope.values.sites import Site, resid_pre

if TYPE_CHECKING:
    from lensscope.patchscope.scope import Patchscope


_WORDS: Final = 3
"""Of a lens, so many of the most probable words; of one word there are several tokens."""
_TOKENS: Final = 12


@torch.no_grad()
def words_of(
    circuit: Wiring,
    scope: Patchscope | Lens,
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
    if isinstance(scope, Lens):
        scope.check(backend, [_place(node) for node in circuit.nodes])
    whole = [Site(s.kind, s.layer) for s in circuit.nodes]
    cache = capture(model, prompts, list(dict.fromkeys(whole)))
    states: dict[Site, Tensor] = {}
    for node, site in zip(circuit.nodes, whole, strict=True):
        if node.position is None:
            token = resolve(position, prompts[0])[-1]
        else:
            token = tokens_of(node, prompts[0], named, names)[-1]
        own = cache[site][0, token]
        states[node] = own if node.head is None else own[node.head]
    if isinstance(scope, Lens):
        return {node: _tokens(backend, scope, node, state) for node, state in states.items()}
    target = backend if scope.model is None else backend_of(scope.model)
    asked = scope.settled(target.n_layers)
    layers: dict[int, list[tuple[Site, Tensor]]] = {}
    for node, state in states.items():
        vector = as_residual(backend, node, state[None])[0]
        (layer,) = targets_of(target, asked.write, node.layer or 0, "same", asked.earliest)
        layers.setdefault(layer, []).append((node, vector))
    words: dict[Site, str] = {}
    for layer, nodes in layers.items():
        said = asked.inspect(model, torch.stack([v for _, v in nodes]), layers=[layer])
        texts = said.frame()["text"].tolist()
        words |= {node: str(text) for (node, _), text in zip(nodes, texts, strict=True)}
    return words


def _place(node: Site) -> Site:
    """Where a lens reads what a node writes."""
    return resid_pre(0) if node.kind == "embed" else node.whole(node.layer, node.head)


def _tokens(backend: Backend, lens: Lens, node: Site, state: Tensor) -> str:
    """The most probable words that a lens reads in what a node writes."""
    logits = lens.logits(backend.model, state[None], _place(node))[0]
    labels = labels_of(backend, logits.topk(min(_TOKENS, len(logits))).indices.tolist())
    words = dict.fromkeys(visible(label.strip() or label) for label in labels)
    return ", ".join(list(words)[:_WORDS])
