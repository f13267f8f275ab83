"""What TransformerLens leaves out of a model's configuration, put in again.

Only what a few lines make right is here; whatever else is left out is found by
`lensscope.model.agreement`, which refuses the model.
"""

from __future__ import annotations

import types
from typing import Any

from torch import Tensor


def repair(bridge: Any) -> None:
    """Make a bridge obey the switches of its configuration that TransformerLens does not know."""
    config = bridge.original_model.config
    if getattr(config, "scale_attn_weights", True) is False:  # GPT-2 and GPTBigCode
        for block in bridge.blocks:
            block.attn._apply_reconstruct_attention_mask = types.MethodType(_unscaled, block.attn)


def _unscaled(attention: Any, *, attn_scores: Tensor, **kwargs: Any) -> Any:
    """The mask, on scores that TransformerLens has divided by the root of the heads' width."""
    plain = type(attention)._apply_reconstruct_attention_mask
    return plain(attention, attn_scores=attn_scores * attention.config.d_head**0.5, **kwargs)
