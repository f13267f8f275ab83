"""What a model is made of: its parameters and its hook points, gone through once.

To walk through all modules, or to ask a bridge for its hook points, takes as long as a small
model's forward. So both are kept for as long as no module and no parameter comes, goes or is
replaced, which is looked up at each call.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Structure:
    """A model's parameters and hook points.

    Modules are held weakly, for one may lead to the model, which would then never be let go.

    Attributes:
        named: the parameters by their names, sorted.
        first: the first parameter of the model.
        points: the hook points by their names, aliases too.
        held: each module, and what it holds.
        stamp: what else the names of hook points depend on.
    """

    named: tuple[tuple[str, Tensor], ...]
    first: Tensor
    points: Mapping[str, Any]
    held: tuple[tuple[weakref.ref[Any], list[int]], ...]
    stamp: object

    def stands(self, model: Any) -> bool:
        """Whether no module and no parameter has come, gone or been replaced."""
        if self.stamp != _stamp(model):
            return False
        for ref, before in self.held:
            module = ref()
            if module is None or _holdings(module) != before:
                return False
        return True


def structure_of(model: Any) -> Structure:
    """A model's structure as it is now."""
    known = _KNOWN.get(model)
    if known is not None and known.stands(model):
        return known
    named = list(model.named_parameters())
    # A hook point holds nothing, and of those there are the most.
    modules = [m for m in model.modules() if "fwd_hooks" not in vars(m)]
    found = Structure(
        tuple(sorted(named, key=lambda item: item[0])),
        named[0][1],
        weakref.WeakValueDictionary(model.hook_dict),
        tuple((weakref.ref(m), _holdings(m)) for m in modules),
        _stamp(model),
    )
    _KNOWN[model] = found
    return found


_KNOWN: weakref.WeakKeyDictionary[Any, Structure] = weakref.WeakKeyDictionary()


def _holdings(module: Any) -> list[int]:
    inside = vars(module)
    return [*map(id, inside["_modules"].values()), *map(id, inside["_parameters"].values())]


def _stamp(model: Any) -> object:
    """A bridge names its hook points anew where it is told to be compatible."""
    inside = vars(model)
    return inside.get("compatibility_mode"), len(inside.get("_hook_registry", ()))
