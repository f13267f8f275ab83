"""How translators are trained: the settings, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeVar

from lensscope.checks import REPEATS, flag, number, whole_number
from lensscope.errors import LensError

_WARM_UP: Final = 20
_INSTEAD: Final[dict[str, Any]] = {"learning_rate": 1e-3, "skip_first": 1}
"""Good numbers for settings that are none by default."""
_OPTIONAL: Final = ("tokens_per_step", "learning_rate", "skip_first")
_FROM_ZERO: Final = ("seed", "momentum", "weight_decay", "skip_first")

S = TypeVar("S")


def falling(rate: float, step: int, steps: int) -> float:
    """The learning rate of a step: up to its highest in a short warm-up, then linearly to zero."""
    warm = max(1, min(_WARM_UP, steps // 3))
    return rate * min(1.0, (step + 1) / warm) * (1 - step / steps)


def settings_of(kind: type[S], options: Mapping[str, Any], instead: str) -> S:
    """Settings, a dataclass, from what a user gave.

    Raises:
        LensError: names that it does not have, or values that make no sense.
    """
    of_kind: Any = kind
    known = [f.name for f in fields(of_kind)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise LensError(
            "There is no such setting of training.",
            got=", ".join(unknown),
            expected=", ".join(known),
            instead=instead,
        )
    return kind(**options)


@dataclass(frozen=True)
class Training:
    """How translators are trained.

    Attributes:
        steps: updates.
        batch_size: pieces of text run in each step.
        length: tokens of a piece.
        tokens_per_step: tokens, drawn from the batch, whose loss is taken in each step; all of
            them if ``None``. The unembedding at every layer is most of the work.
        optimizer: ``"adam"``, or ``"sgd"`` with Nesterov momentum.
        learning_rate: at its highest, after a short warm-up; it falls to zero linearly. By default
            0.001 for Adam and 1 for SGD.
        momentum: of SGD.
        weight_decay: towards the identity.
        clip: the largest norm of each translator's gradient.
        bf16: unembed in bfloat16 while training; where the machine has it, by default.
        n_held_out: pieces that are measured on and not trained on.
        skip_first: tokens at the start of each piece that are left out of both; by default the
            first one where it is no BOS, which in most models is an attention sink.
        seed: of the order of texts, and of the tokens drawn.
        checkpoint_every: steps between checkpoints.
    """

    steps: int = 250
    batch_size: int = 4
    length: int = 64
    tokens_per_step: int | None = 64
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float = 1.0
    bf16: bool | None = None
    n_held_out: int = 8
    skip_first: int | None = None
    seed: int = 0
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            instead = _INSTEAD.get(name, field.default)
            if isinstance(instead, str) or instead is None:
                continue
            if value is not None or name not in _OPTIONAL:
                check: Any = whole_number if isinstance(instead, int) else number
                least: float = 0 if name in _FROM_ZERO else 1
                if name in ("learning_rate", "clip"):
                    least = 1e-30
                most = {"most": REPEATS} if name == "batch_size" else {}
                object.__setattr__(self, name, check(value, name, least, instead, **most))
        if self.bf16 is not None:
            object.__setattr__(self, "bf16", flag(self.bf16, "bf16", LensError))
        if self.optimizer not in ("adam", "sgd"):
            raise LensError(
                "There is no such optimizer.",
                got=repr(self.optimizer),
                expected='"adam" or "sgd"',
                instead='optimizer="adam"',
            )

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or {"adam": 1e-3, "sgd": 1.0}[self.optimizer]

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        return falling(self.rate, step, self.steps)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Training:
        """From what a user gave.

        Raises:
            LensError: names that it does not have, or values that make no sense.
        """
        return settings_of(cls, options, "steps=250")
