"""The plain hook loop: one unbatched, uncached forward a cell. The judge of everything clever.

It shares no code with the package: hook names are written out, positions are plain numbers, and a
text grows by running all of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

HOOKS = {
    "embed": "hook_embed",
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_mid": "blocks.{}.hook_resid_mid",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "q": "blocks.{}.attn.hook_q",
    "k": "blocks.{}.attn.hook_k",
    "v": "blocks.{}.attn.hook_v",
    "head_out": "blocks.{}.attn.hook_z",
    "pattern": "blocks.{}.attn.hook_pattern",
    "mlp_hidden": "blocks.{}.mlp.hook_post",
}


@dataclass
class Edit:
    """Change one token's activations: ``function`` takes and gives what stands there."""

    kind: str
    layer: int | None
    position: int
    function: Callable[[Tensor], Tensor]
    head: int | None = None

    @property
    def hook(self) -> str:
        return HOOKS[self.kind].format(self.layer)

    def __call__(self, tensor: Tensor, hook: Any) -> Tensor:
        tensor = tensor.clone()
        if self.kind == "pattern":
            heads = slice(None) if self.head is None else self.head
            tensor[0, heads, self.position] = self.function(tensor[0, heads, self.position])
        elif self.head is not None:
            tensor[0, self.position, self.head] = self.function(tensor[0, self.position, self.head])
        else:
            tensor[0, self.position] = self.function(tensor[0, self.position])
        return tensor


def logits(model: Any, ids: Sequence[int], edits: Sequence[Edit] = ()) -> Tensor:
    """``[pos, d_vocab]`` of one prompt."""
    with torch.no_grad():
        hooks = [(edit.hook, edit) for edit in edits]
        tokens = torch.tensor([list(ids)])
        return model.run_with_hooks(tokens, fwd_hooks=hooks, return_type="logits")[0]


def activations(model: Any, ids: Sequence[int], kind: str, layer: int | None = None) -> Tensor:
    """What TransformerLens' own cache holds, ``[pos, …]`` (``[head, query, key]`` for patterns)."""
    name = HOOKS[kind].format(layer)
    with torch.no_grad():
        _, cache = model.run_with_cache(torch.tensor([list(ids)]))
    return cache[name][0].clone()


def generate(model: Any, ids: Sequence[int], edits: Sequence[Edit], steps: int) -> list[int]:
    """Greedy tokens, everything run again at each step; never stops early."""
    grown = list(ids)
    for _ in range(steps):
        grown.append(int(logits(model, grown, edits)[-1].argmax()))
    return grown[len(ids) :]


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Equal within ``tolerance`` of the spread of what is expected."""
    spread = float((expected.max() - expected.min()).clamp_min(1e-6))
    error = float((got - expected).abs().max())
    assert error <= tolerance * spread, f"differs by {error:.3g}, spread {spread:.3g}"
