"""The two classes of TransformerLens models, each as a `Backend`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensscope.errors import ModelError
from lensscope.model import attaching, trials
from lensscope.model.backend import Backend, TokenBatch
from lensscope.model.key_values import BridgeKeyValues, HookedKeyValues, KeyValues
from lensscope.model.rotary import forget_longest, is_rotary, rotary_class
from lensscope.model.trials import Way
from lensscope.model.trying import once


def renamed(model: Any) -> AbstractContextManager[None]:
    """Give attention the cache under the name that TransformerLens' bridges look for.

    transformers 5.24 calls it ``cache``; a bridge's attention reads ``past_key_values``.
    """

    def rename(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "cache" not in kwargs:
            return None
        rest = {name: value for name, value in kwargs.items() if name != "cache"}
        return args, {**rest, "past_key_values": kwargs["cache"]}

    found = [getattr(block, "attn", None) for block in model.blocks]
    return attaching.Hooked(model, {}, {a: [rename] for a in found if a is not None})


class BridgeBackend(Backend):
    """A ``TransformerBridge``: Hugging Face's own forward, with hook points in it."""

    # Its hook_resid_mid sits on the input of the second norm, past the branching of the residual.
    writes_resid_mid = False

    @property
    def why_no_cache(self) -> str:  # type: ignore[override]
        config = getattr(self._inner.config, "text_config", None) or self._inner.config
        kinds = set(getattr(config, "layer_types", None) or ())
        others = sorted(kinds - {"full_attention", "sliding_attention"})
        return f"layers of other kinds than attention ({', '.join(others)})" if others else ""

    @property
    def _inner(self) -> Any:
        return self.model.original_model

    def new_key_values(self, rows: int) -> KeyValues:
        from transformers import DynamicCache

        # Without a config, layers of a sliding window keep all tokens, and the mask hides them: so
        # what came first can be told apart.
        return BridgeKeyValues(DynamicCache())

    def ways(self, about: Literal["cache", "mask"] | None) -> tuple[Way, ...]:
        way = Way() if about is None else trials.plain(self)[1]
        name = {None: "told", "mask": "positions", "cache": "renamed"}[about]
        first = name != "renamed"
        return replace(way, **{name: first}), replace(way, **{name: not first})

    def length_class(self, length: int) -> int:
        return max((rotary_class(m, length) for m in self._rotary), default=0)

    @property
    def _rotary(self) -> list[Any]:
        """Modules whose rotary factors depend on the longest position that they are given."""
        modules = self._inner.modules()
        return once(self, "rotary", lambda: [m for m in modules if is_rotary(m)])

    def call(
        self,
        tokens: TokenBatch,
        way: Way,
        *,
        mask: Int[Tensor, "row all"] | None = None,
        key_values: KeyValues | None = None,
    ) -> Float[Tensor, "picked columns d_vocab"]:
        kwargs: dict[str, Any] = {}
        if mask is not None:
            kwargs["attention_mask"] = mask
            if way.positions:
                positions = (mask.cumsum(-1) - 1).clamp_min(0)
                kwargs["position_ids"] = positions[:, -tokens.shape[1] :]
        if isinstance(key_values, BridgeKeyValues):
            kwargs |= {"past_key_values": key_values.cache, "use_cache": True}
        elif way.told:
            kwargs["use_cache"] = False
        rotary = self._rotary

        def forward() -> Tensor:
            for module in rotary:
                forget_longest(module)
            return self.model(tokens, return_type="logits", **kwargs)

        with renamed(self.model) if way.renamed else nullcontext():
            return self.passage(forward)

    @property
    def processing(self) -> Literal["raw", "folded"]:
        return "folded" if getattr(self.model, "_weights_processed", False) else "raw"

    @property
    def name(self) -> str:
        config = getattr(self.model.original_model, "config", None)
        return super().name or str(getattr(config, "_name_or_path", ""))


class HookedBackend(Backend):
    """A ``HookedTransformer`` of TransformerLens 3.x."""

    def new_key_values(self, rows: int) -> KeyValues:
        from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

        return HookedKeyValues(
            TransformerLensKeyValueCache.init_cache(self.model.cfg, self.device, rows)
        )

    def call(
        self,
        tokens: TokenBatch,
        way: Way,
        *,
        mask: Int[Tensor, "row all"] | None = None,
        key_values: KeyValues | None = None,
    ) -> Float[Tensor, "picked columns d_vocab"]:
        # The mask is always given: without one, HookedTransformer guesses it from pad ids.
        now = torch.ones_like(tokens) if mask is None else mask[:, -tokens.shape[1] :]
        cache = key_values.cache if isinstance(key_values, HookedKeyValues) else None
        return self.passage(
            lambda: self.model(
                tokens, return_type="logits", attention_mask=now, past_kv_cache=cache
            )
        )

    @property
    def processing(self) -> Literal["raw", "folded"]:
        return "folded" if str(self.model.cfg.normalization_type).endswith("Pre") else "raw"


_CLASSES: Final[dict[str, type[Backend]]] = {
    "TransformerBridge": BridgeBackend,
    "HookedTransformer": HookedBackend,
}


def backend_of(model: Any) -> Backend:
    """The backend of a user's own model; that of a backend is itself.

    Raises:
        ModelError: not a TransformerLens language model, or one in training mode.
    """
    if isinstance(model, Backend):
        return model
    found = next(
        (_CLASSES[c.__name__] for c in type(model).__mro__ if c.__name__ in _CLASSES), None
    )
    if found is None:
        raise ModelError(
            "This is not a TransformerLens model.",
            got=f"{type(model).__module__}.{type(model).__qualname__}",
            expected="a HookedTransformer (TransformerLens 3.x) or a TransformerBridge (3.x, 4.x)",
            instead="TransformerBridge.boot_transformers(name, hf_model=model), or ls.load_model()",
        )
    # A HookedTransformer has no dropout, and is made with training=True: nothing to refuse there.
    if found is BridgeBackend and model.original_model.training:
        raise ModelError(
            "The model is in training mode.",
            got="model.training is True, so dropout may act",
            expected="a model in evaluation mode",
            instead="model.eval()",
        )
    attaching.heal(model)
    return found(model)
