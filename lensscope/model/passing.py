"""The hooks that act on a pass: as TransformerLens shows it, on its way up, and to its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from torch import Tensor

from lensscope.model.attaching import Hooked

Hook: TypeAlias = Callable[[Tensor], Tensor | None]


class StopForward(Exception):
    """Raised by a hook once nothing above it is needed; the forward that it ends catches it."""


def shown(hooks: Mapping[Any, Sequence[Hook]]) -> dict[Any, list[Callable[..., Any]]]:
    """Hooks as they act on what hook points give, in the shape that TransformerLens shows."""
    return {point: [_on_output(f) for f in functions] for point, functions in hooks.items()}


def _on_output(function: Hook) -> Callable[..., Any]:
    def hook(point: Any, args: Any, output: Tensor) -> Tensor | None:
        shape = getattr(point, "hook_conversion", None)
        if shape is None:
            return function(output)
        found = function(shape.convert(output))
        return None if found is None else shape.revert(found)

    return hook


def partly(
    model: Any,
    enter: Callable[[int, Tensor], Tensor] | None,
    pick: Callable[[Tensor], Tensor] | None,
) -> Hooked:
    """A pass whose batch may grow on its way up, and of which only a part is unembedded, in a
    ``with`` block; see `lensscope.model.backend.Backend.run`."""
    blocks = list(model.blocks)

    def before(layer: int) -> Callable[..., Any]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            assert enter is not None
            entered = enter(layer, args[0] if args else kwargs["hidden_states"])
            fit = partial(_for_rows, len(entered))
            rest = {name: fit(value) for name, value in kwargs.items()}
            if args:
                return (entered, *map(fit, args[1:])), rest
            return args, {**rest, "hidden_states": entered}

        return hook

    def after(module: Any, args: Any, output: Any) -> Any:
        rest = output[1:] if isinstance(output, tuple) else ()
        hidden = output[0] if isinstance(output, tuple) else output
        hidden = hidden if enter is None else enter(len(blocks), hidden)
        if pick is None:
            raise StopForward
        return (hidden, *rest) if isinstance(output, tuple) else hidden

    def narrow(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert pick is not None
        return (pick(args[0]), *args[1:]), kwargs

    entered = {} if enter is None else {b: [before(n)] for n, b in enumerate(blocks)}
    if pick is not None:
        entered[model.unembed] = [narrow]
    return Hooked(model, {blocks[-1]: [after]}, entered)


def _for_rows(rows: int, value: Any) -> Any:
    """What a block is given, where it is an attention mask of another number of rows, as that of
    the first row, which is that of all rows."""
    mask = isinstance(value, Tensor) and value.ndim == 4
    return value[:1] if mask and value.shape[0] != rows else value
