"""LoRA adapters beside a model: what they add to what its linear modules give, while it is asked.

PEFT would put modules of its own in the place of the model's. Here it does not: states that are
read, the fingerprint and what TransformerLens knows of the model would be those of another model,
for whoever holds it, and stay so where an exception comes in between. An adapter that is on is a
`lensscope.model.attaching.Hooked`: it acts in the forwards of one ``with`` block, nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import BasisError, ModelError
from lensscope.model import attaching
from lensscope.model.backend import Backend
from lensscope.model.trying import trial_tokens, undisturbed

_SHOWN: Final = 4
_NOT_NAMES: Final = ("_original_component", "language_model")
"""Parts of module names that TransformerLens, or a model that also takes images, puts in."""


@dataclass(frozen=True, eq=False)
class LowRank:
    """What is added to a linear module's output: ``times · up (down x)``."""

    down: Float[Tensor, "rank d_in"]
    up: Float[Tensor, "d_out rank"]
    times: float

    def __call__(self, module: Any, given: tuple[Any, ...], output: Tensor) -> Tensor:
        """As a hook on the module; in the adapter's own dtype, as PEFT has it."""
        down, up = self.down.to(output.device), self.up.to(output.device)
        added = given[0].to(down.dtype) @ down.mT @ up.mT
        return (output + self.times * added).to(output.dtype)


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA adapter.

    Attributes:
        parts: what is added, by the name of the module as Hugging Face has it.
        base: the name of the model that it was trained on; empty if it is not known.
    """

    parts: Mapping[str, LowRank]
    base: str = ""

    @property
    def signature(self) -> str:
        """Equal for adapters that do the same."""
        told = hashlib.sha256()
        for name, part in sorted(self.parts.items()):
            told.update(f"{name} {part.times!r} {tuple(part.down.shape)}".encode())
            for tensor in (part.down, part.up):
                told.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return told.hexdigest()[:16]

    def on(self, backend: Backend) -> AbstractContextManager[None]:
        """It acts in the forwards of this thread in a ``with`` block.

        The block stands in the function that runs the model: see `lensscope.model.attaching.Mark`.

        Raises:
            ModelError: the model has no linear modules of its own.
            BasisError: it has others, or other weights at their places.
        """
        modules = self._modules(backend)
        return attaching.Hooked(backend.model, {modules[n]: [p] for n, p in self.parts.items()})

    def placed(self, backend: Backend) -> Adapter:
        """The same on the devices of a model, tried once on a few tokens.

        Raises:
            ModelError: the model has no linear modules of its own.
            BasisError: it is not for this model, a module of it never runs, or it changes nothing.
        """
        modules = self._modules(backend)
        parts = {}
        for name, part in self.parts.items():
            device = next(modules[name].parameters()).device
            parts[name] = replace(part, down=part.down.to(device), up=part.up.to(device))
        found = replace(self, parts=parts)
        undisturbed(backend, lambda: found._check_acting(backend, modules))
        return found

    def _check_acting(self, backend: Backend, modules: Mapping[str, Any]) -> None:
        called: set[Any] = set()
        tokens = trial_tokens(backend)
        plain = backend.forward(tokens)

        def note(module: Any, *_: Any) -> None:
            called.add(module)

        hooks: dict[Any, list[Any]] = {
            modules[name]: [part, note] for name, part in self.parts.items()
        }
        with attaching.Hooked(backend.model, hooks):
            other = backend.forward(tokens)
        idle = [name for name in self.parts if modules[name] not in called]
        if idle or torch.equal(plain, other):
            raise BasisError(
                "The adapter would change nothing." if not idle else "A part of the adapter idles.",
                got=f"{_named(idle)}: not run by {backend.name}" if idle else "the same logits",
                expected="modules that each run, and other logits with the adapter than without",
                instead="an adapter for modules that TransformerLens runs as they are: it splits "
                "joint query, key and value projections"
                if idle
                else "an adapter that was trained: its second matrices are zeros at the start",
            )

    def _modules(self, backend: Backend) -> dict[str, Any]:
        """The linear modules by name."""
        inner = getattr(backend.model, "original_model", None)
        if inner is None:
            raise ModelError(
                "An adapter needs the linear modules of Hugging Face's own model.",
                got=f"{type(backend.model).__name__}, which has its weights in other shapes",
                expected="a TransformerBridge",
                instead='ls.load_model(name, backend="bridge")',
            )
        if backend.processing != "raw":
            raise BasisError(
                "An adapter was trained on weights as they are.",
                got=f"{backend.processing} weights in {backend.name}",
                expected="raw weights",
                instead='ls.load_model(name, processing="raw")',
            )
        linear = _linear(inner)
        names = {name: _plain(name) for name in self.parts}
        lacking = [name for name, plain in names.items() if plain not in linear]
        if lacking:
            raise BasisError(
                "The adapter is for modules that the model does not have.",
                got=f"{_named(lacking)}: not in {backend.name}",
                expected=f"linear modules such as {_named(list(linear))}",
                instead=f"the model that it was trained on{': ' + self.base if self.base else ''}",
            )
        for name, part in self.parts.items():
            shape = (part.down.shape[1], part.up.shape[0])
            own = _shape(linear[names[name]])
            if shape != own:
                raise BasisError(
                    "The adapter is for a model of another width.",
                    got=f"{name}: {shape[0]} -> {shape[1]}",
                    expected=f"{own[0]} -> {own[1]}, as in {backend.name}",
                    instead="the model that it was trained on"
                    + (f": {self.base}" if self.base else ""),
                )
        return {name: linear[plain] for name, plain in names.items()}

    def __repr__(self) -> str:
        return f"Adapter({len(self.parts)} modules of {self.base or 'a model'})"


def _linear(inner: Any) -> dict[str, Any]:
    from transformers.pytorch_utils import Conv1D

    return {
        _plain(name): module
        for name, module in inner.named_modules(remove_duplicate=False)
        if isinstance(module, torch.nn.Linear | Conv1D)
    }


def _plain(name: str) -> str:
    """The name of a module as Hugging Face has it."""
    return ".".join(part for part in name.split(".") if part not in _NOT_NAMES)


def _shape(module: Any) -> tuple[int, int]:
    """How wide what goes into a linear module is, and what comes out."""
    if isinstance(module, torch.nn.Linear):
        return module.in_features, module.out_features
    return module.weight.shape[0], module.weight.shape[1]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
