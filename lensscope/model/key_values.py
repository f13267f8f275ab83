"""Keys and values of tokens that were run, in the caches of the two classes of models."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class KeyValues(ABC):
    """Keys and values of the tokens that were run, one row of the batch each."""

    @abstractmethod
    def first(self, n: int) -> KeyValues:
        """A copy that knows only the first ``n`` tokens."""

    @abstractmethod
    def repeat(self, n: int) -> None:
        """Repeat the one row ``n`` times."""

    @abstractmethod
    def grow(self, *, keep: bool) -> None:
        """From now on, give the one row, in each layer, to as many rows as come to that layer.

        Args:
            keep: hold on to the new keys and values; `settle` then gives all layers all rows.
        """

    @abstractmethod
    def settle(self, rows: Sequence[int]) -> None:
        """These rows in every layer; a row that a layer lacks is there as its row 0."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """Keys and values of each layer, ``[row, …]``."""


class BridgeKeyValues(KeyValues):
    """In a cache of transformers."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    @property
    def _layers(self) -> list[Any]:
        return [layer for layer in self.cache.layers if layer.is_initialized]

    def first(self, n: int) -> KeyValues:
        from transformers import DynamicCache

        new = DynamicCache()
        for number, layer in enumerate(self.cache.layers):
            new.update(layer.keys[:, :, :n], layer.values[:, :, :n], number)
        return BridgeKeyValues(new)

    def repeat(self, n: int) -> None:
        self.cache.batch_repeat_interleave(n)

    def select(self, rows: Sequence[int]) -> None:
        self.cache.batch_select_indices(torch.as_tensor(rows))

    def grow(self, *, keep: bool) -> None:
        _grow_cache(self.cache, keep)

    def settle(self, rows: Sequence[int]) -> None:
        vars(self.cache).pop("update", None)
        for layer in self._layers:
            layer.keys = _settled(layer.keys, rows)
            layer.values = _settled(layer.values, rows)

    def tensors(self) -> list[Tensor]:
        return [t for layer in self._layers for t in (layer.keys, layer.values)]


def _settled(t: Tensor, rows: Sequence[int]) -> Tensor:
    """These rows of a layer; one that it lacks is as its row 0."""
    return t[torch.as_tensor([r if r < t.shape[0] else 0 for r in rows], device=t.device)]


def _grow_cache(cache: Any, keep: bool) -> None:
    """Make a transformers cache give its one row to as many as ask for it."""
    inner = cache.update

    def update(keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        layer = cache.layers[layer_idx] if layer_idx < len(cache.layers) else None
        if layer is None or not layer.is_initialized:
            return inner(keys, values, layer_idx, *args, **kwargs)
        held = dict(vars(layer))
        if layer.keys.shape[0] != keys.shape[0]:
            layer.keys = layer.keys.expand(keys.shape[0], *layer.keys.shape[1:])
            layer.values = layer.values.expand(values.shape[0], *layer.values.shape[1:])
        found = inner(keys, values, layer_idx, *args, **kwargs)
        if not keep:
            vars(layer).update(held)
        return found

    cache.update = update


class HookedKeyValues(KeyValues):
    """In a cache of TransformerLens 3.x."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def first(self, n: int) -> KeyValues:
        new = copy.deepcopy(self.cache)
        new.previous_attention_mask = new.previous_attention_mask[:, :n]
        for entry in new.entries:
            entry.past_keys, entry.past_values = entry.past_keys[:, :n], entry.past_values[:, :n]
        return HookedKeyValues(new)

    def repeat(self, n: int) -> None:
        self._each(lambda t: t.repeat_interleave(n, dim=0))

    def select(self, rows: Sequence[int]) -> None:
        index = torch.as_tensor(rows)
        self._each(lambda t: t[index.to(t.device)])

    def grow(self, *, keep: bool) -> None:
        for entry in self.cache.entries:
            _grow_entry(entry, keep)

    def settle(self, rows: Sequence[int]) -> None:
        self._each(lambda t: _settled(t, rows))
        for entry in self.cache.entries:
            vars(entry).pop("append", None)

    def tensors(self) -> list[Tensor]:
        return [t for entry in self.cache.entries for t in (entry.past_keys, entry.past_values)]

    def _each(self, function: Callable[[Tensor], Tensor]) -> None:
        cache = self.cache
        cache.previous_attention_mask = function(cache.previous_attention_mask)
        for entry in cache.entries:
            entry.past_keys = function(entry.past_keys)
            entry.past_values = function(entry.past_values)


def _grow_entry(entry: Any, keep: bool) -> None:
    """Make a key-value cache entry give its one row to as many as ask for it."""
    inner = entry.append

    def append(keys: Tensor, values: Tensor) -> Any:
        held = (entry.past_keys, entry.past_values)
        if held[0].shape[0] != keys.shape[0]:
            entry.past_keys, entry.past_values = (
                t.expand(keys.shape[0], *t.shape[1:]) for t in held
            )
        found = inner(keys, values)
        if not keep:
            entry.past_keys, entry.past_values = held
        return found

    entry.append = append
