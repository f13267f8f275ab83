"""Hugging Face's own model with plain PyTorch hooks: what `tests.judge` compares with.

It shares no code with the package and does not go through TransformerLens: one unbatched, uncached
forward at a time, with hooks on the modules that `tests.more_families` names.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.more_families import Parts

D_HEAD = 8  # in every family here, in its first blocks


@dataclass(frozen=True)
class Edit:
    """Change what stands at a token (``None``: at all); ``function`` takes and gives it."""

    kind: str
    layer: int
    position: int | None
    function: Callable[[Tensor], Tensor]
    head: int | None = None


class _Given:
    """A hook on what the function of a module's file that computes attention is given."""

    def __init__(self, module: Any, which: int, act: Callable[[Tensor], Tensor | None]) -> None:
        self.names = sys.modules[type(module).__module__].__dict__
        self.before = before = self.names["eager_attention_forward"]

        def attend(caller: Any, *args: Any, **kwargs: Any) -> Any:
            given = list(args)
            if caller is module:
                side_by_side = given[which].transpose(1, 2).flatten(2)
                new = act(side_by_side)
                if new is not None:
                    heads = given[which].shape[1]
                    given[which] = new.unflatten(2, (heads, -1)).transpose(1, 2)
            return before(caller, *given, **kwargs)

        self.names["eager_attention_forward"] = attend

    def remove(self) -> None:
        self.names["eager_attention_forward"] = self.before


class Plain:
    """A Hugging Face model, run with plain hooks."""

    def __init__(self, model: Any, parts: Parts) -> None:
        self.model, self.parts = model, parts
        self.blocks = list(model.get_submodule(parts.blocks))
        config = model.config
        self.n_heads = int(getattr(config, "num_attention_heads", None) or 1)
        rope = getattr(config, "rope_parameters", None) or {}
        self._keeps = rope.get("rope_type") == "dynamic"

    @property
    def _qkv(self) -> tuple[str | None, ...]:
        given = self.parts.qkv
        return (given,) * 3 if isinstance(given, str) else given

    def part(self, kind: str, layer: int) -> Any:
        """The module that a kind of site is read at, or ``None``."""
        path = {
            "attn_out": self.parts.attention,
            "mlp_out": self.parts.mlp,
            "head_out": self.parts.heads,
            "mlp_hidden": self.parts.down,
            **dict(zip("qkv", self._qkv, strict=True)),
        }[kind]
        if path is None:
            return None
        module = self.blocks[layer]
        for name in path.split("."):
            module = getattr(module, name, None)
        return module

    def layers(self, kind: str) -> list[int]:
        """The layers that have a kind of site."""
        return [n for n in range(len(self.blocks)) if self.part(kind, n) is not None]

    # ---------------------------------------------------------------- hooks

    def _hook(self, kind: str, layer: int, act: Callable[[Tensor], Tensor | None]) -> Any:
        """Call ``act`` on the activation ``[1, pos, width]``; what it gives takes its place."""

        def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                new = act(args[0])
                return None if new is None else ((new, *args[1:]), kwargs)
            new = act(kwargs["hidden_states"])
            return None if new is None else (args, {**kwargs, "hidden_states": new})

        def after(module: Any, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                new = act(output[0])
                return None if new is None else (new, *output[1:])
            return act(output)

        if kind in "qkv" and self.parts.layout == "given":
            return _Given(self.part("attn_out", layer), "qkv".index(kind), act)
        if kind in ("resid_pre", "head_out", "mlp_hidden"):
            module = self.blocks[layer] if kind == "resid_pre" else self.part(kind, layer)
            return module.register_forward_pre_hook(before, with_kwargs=True)
        module = self.blocks[layer] if kind == "resid_post" else self.part(kind, layer)
        return module.register_forward_hook(after)

    @contextlib.contextmanager
    def hooked(self, hooks: Sequence[tuple[str, int, Callable[[Tensor], Any]]]) -> Iterator[None]:
        self.forget()
        handles = [self._hook(*hook) for hook in hooks]
        try:
            yield
        finally:
            for handle in reversed(handles):
                handle.remove()

    def _edit(self, edit: Edit) -> Callable[[Tensor], Tensor]:
        def act(x: Tensor) -> Tensor:
            flat = x.ndim == 2  # OPT's MLP sees tokens without a batch
            new = x.clone().reshape(1, *x.shape) if flat else x.clone()
            at = slice(None) if edit.position is None else edit.position
            if edit.kind in "qkv":
                columns = self._columns(edit.kind, x.shape[-1])
                new[0, at, columns] = edit.function(new[0, at, columns])
            elif edit.head is None:
                factor = self._factor(edit.kind)
                new[0, at] = edit.function(new[0, at] * factor) / factor
            else:
                heads = new.view(*new.shape[:2], self.n_heads, -1)
                heads[0, at, edit.head] = edit.function(heads[0, at, edit.head])
            return new[0] if flat else new

        return act

    def _factor(self, kind: str) -> float:
        return self.parts.added if kind in ("attn_out", "mlp_out") else 1.0

    def _chosen(self, kind: str, x: Tensor) -> Tensor:
        """What a kind is of a module's ``[pos, width]``."""
        if not isinstance(self.parts.qkv, str) or kind not in "qkv":
            return x * self._factor(kind)
        heads, kv = self.n_heads, self.parts.kv_heads
        if self.parts.layout == "stacked":
            width = x.shape[-1] // (heads + 2 * kv)
            return x.split([heads * width, kv * width, kv * width], -1)["qkv".index(kind)]
        if self.parts.layout == "given":
            return x
        groups = x.reshape(len(x), kv, heads // kv + 2, -1)
        if kind == "q":
            return groups[:, :, :-2].flatten(1)
        value_first = self.parts.layout == "grouped qvk"
        return groups[:, :, -2 if (kind == "v") == value_first else -1].flatten(1)

    def _columns(self, kind: str, width: int) -> Tensor:
        """Where the first head of queries, keys or values is in what a projection gives."""
        first = width // self.n_heads if self.parts.layout == "given" else D_HEAD
        return self._chosen(kind, torch.arange(width)[None])[0, :first].long()

    def head_width(self, kind: str, layer: int) -> int:
        """Of one head of queries, keys or values."""
        if self.parts.layout != "given":
            return D_HEAD
        return self.activations([3], kind)[layer].shape[-1] // self.n_heads

    @contextlib.contextmanager
    def masked(self, layer: int, query: int, key: int) -> Iterator[None]:
        """Keep a query from looking at a key, before the softmax."""

        def act(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            mask = kwargs["attention_mask"].clone()
            if mask.shape[-1] > key:  # not the token that `forget` runs
                hidden = True if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
                mask[:, :, query, key] = hidden
            return args, {**kwargs, "attention_mask": mask}

        assert self.parts.heads is not None
        attention = self.blocks[layer].get_submodule(self.parts.heads.rpartition(".")[0])
        handle = attention.register_forward_pre_hook(act, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    # ---------------------------------------------------------------- runs

    def forward(self, ids: Sequence[int], **options: Any) -> Any:
        return self.model(torch.tensor([list(ids)]), use_cache=False, **options)

    def forget(self) -> None:
        """Drop the rotary factors of a longer text, which Hugging Face keeps."""
        if self._keeps:
            with torch.no_grad():
                self.forward([3])

    def logits(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> Tensor:
        """``[pos, d_vocab]``."""
        with torch.no_grad(), self.hooked([(e.kind, e.layer, self._edit(e)) for e in edits]):
            return self.forward(ids).logits[0].float()

    def activations(self, ids: Sequence[int], kind: str) -> dict[int, Tensor]:
        """``[pos, width]`` of each layer that has it."""
        seen: dict[int, Tensor] = {}

        def keep(layer: int) -> Callable[[Tensor], None]:
            def act(x: Tensor) -> None:
                seen[layer] = self._chosen(kind, x.detach().reshape(-1, x.shape[-1]).float())

            return act

        whole = kind in ("resid_pre", "resid_post")
        layers = range(len(self.blocks)) if whole else self.layers(kind)
        with torch.no_grad(), self.hooked([(kind, n, keep(n)) for n in layers]):
            self.forward(ids)
        return seen

    def patterns(self, ids: Sequence[int]) -> dict[int, Tensor]:
        """``[head, query, key]`` of each layer that has them."""
        with torch.no_grad(), self.hooked([]):
            found = self.forward(ids, output_attentions=True).attentions
        shown = [x for x in found if x is not None]
        having = self.layers("head_out")
        assert len(shown) in (len(having), len(found))
        layers = having if len(shown) == len(having) else range(len(found))
        return {n: x[0].float() for n, x in zip(layers, shown, strict=True)}

    def read(self, states: Tensor) -> Tensor:
        """The logits if each state were the last block's output."""
        last = len(self.blocks) - 1
        edit = Edit("resid_post", last, None, lambda x: states.to(x.dtype))
        return self.logits([3] * len(states), [edit])

    def gap(self, ids: Sequence[int], edits: Sequence[Edit], tokens: Sequence[int]) -> float:
        """By how much greedy tokens fall short of the best, as a part of the spread."""
        worst, grown = 0.0, list(ids)
        for token in tokens:
            last = self.logits(grown, edits)[-1]
            worst = max(worst, float((last.max() - last[token]) / (last.max() - last.min())))
            grown.append(int(token))
        return worst
