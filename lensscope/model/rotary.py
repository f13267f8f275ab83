"""Rotary factors that depend on how long a prompt is: ``longrope`` and ``dynamic`` of transformers.

Such a model tells the positions of a short prompt in another way than those of a long one, and
those of all prompts of a batch as those of the longest. Keys that were made on one side of a switch
are no keys on the other.
"""

from __future__ import annotations

from typing import Any


def is_rotary(module: Any) -> bool:
    """Whether a module's factors depend on the longest position that it is given."""
    kinds = _kinds(module)
    return bool(kinds) and any("dynamic" in kind or kind == "longrope" for kind in kinds.values())


def rotary_class(module: Any, length: int) -> int:
    """Equal for lengths that have the same factors."""
    found = 0
    for name, kind in _kinds(module).items():
        if kind == "longrope":
            parameters = module.config.rope_parameters
            parameters = parameters.get(name, parameters)
            found += length > int(parameters["original_max_position_embeddings"])
        elif "dynamic" in kind:
            found += max(0, length - int(module.original_max_seq_len))
    return found


def forget_longest(module: Any) -> None:
    """Let a ``dynamic`` module forget the longest prompt that it was ever given, which otherwise
    decides about every later one."""
    for name, kind in _kinds(module).items():
        prefix = f"{name}_" if name else ""
        if "dynamic" in kind and hasattr(module, f"{prefix}max_seq_len_cached"):
            original = getattr(module, f"{prefix}original_inv_freq")
            now = getattr(module, f"{prefix}inv_freq")
            setattr(module, f"{prefix}inv_freq", original.to(now.device))
            setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def _kinds(module: Any) -> dict[str, str]:
    """The kinds of rotary factors of a module, by layer type where they differ (else by "")."""
    kinds = getattr(module, "rope_type", None)
    if isinstance(kinds, str):
        return {"": kinds}
    return dict(kinds) if isinstance(kinds, dict) else {}
