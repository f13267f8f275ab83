"""How a patchscope is trained: the settings, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from lensscope.checks import INDEX, REPEATS, number, whole_number
from lensscope.errors import LensError
from lensscope.lenses.settings import falling, settings_of

OBJECTIVES: Final = ("description", "next_token")
MAPS: Final = ("scale", "low_rank", "full")
STARTS: Final = ("aligned", "raw")
_WHOLE: Final[Mapping[str, tuple[int, int]]] = {
    "rank": (1, 64),
    "batch_size": (1, 32),
    "max_tokens": (1, 10),
    "n_held_out": (2, 120),
    "length": (2, 64),
    "seed": (0, 0),
    "checkpoint_every": (1, 50),
}
"""The least that a setting may be, and a good value."""
_OPTIONAL: Final[Mapping[str, tuple[int, int]]] = {
    "steps": (1, 80),
    "anchor": (0, 8),
    "keep_rank": (1, 64),
}
_REAL: Final[Mapping[str, tuple[float, float]]] = {
    "passes": (1e-6, 2.0),
    "learning_rate": (1e-30, 1e-3),
    "weight_decay": (0.0, 0.0),
    "clip": (1e-30, 1.0),
}
_RATES: Final = {"scale": 2e-3, "low_rank": 1e-3, "full": 2e-4}


@dataclass(frozen=True)
class FitSettings:
    """How a patchscope is trained.

    Attributes:
        objective: ``"description"``, what the model says of a name that stands in the prompt as
            text; or ``"next_token"``, what the model says next where a state was read.
        map: ``"scale"`` (a number and a bias), ``"low_rank"`` (and a product of two matrices of
            ``rank``) or ``"full"`` (a matrix and a bias). Layers share the matrices,
            unless each is written at its own.
        rank: of ``"low_rank"``.
        start: ``"aligned"``: states of each layer are first brought to one layer, by regression, so
            that all maps begin at the raw write of that one; or ``"raw"``, each at its own. Where
            each is written at its own layer, only those that are written later than they were read
            are brought there.
        anchor: that layer; by default the one that is read best as it is.
        blend: begin, at early layers, with as much of the raw write in the mix as is best on what
            was kept apart, and mix again what was learnt.
        keep_rank: give the nearest maps of this rank, which take less room.
        template: the sentence that a name stands in, in which its states are read; several are
            used in turn.
        max_tokens: of a description.
        stop: a description ends with the token that has one of these in it.
        passes: how often all is gone through.
        steps: updates, in place of ``passes``.
        batch_size: rows of an update.
        learning_rate: at its highest, after a short warm-up; it falls to zero linearly.
        weight_decay: towards where the maps begin.
        clip: the largest norm of the gradient.
        n_held_out: names, or pieces of text, kept apart: one half says when to stop, the other is
            scored before and after.
        length: tokens of a piece of text, of ``"next_token"``.
        seed: of the order, of layers and of what is kept apart.
        checkpoint_every: steps between checkpoints.
    """

    objective: str = "description"
    map: str = "low_rank"
    rank: int = 64
    start: str = "aligned"
    anchor: int | None = None
    blend: bool = True
    keep_rank: int | None = None
    template: str | tuple[str, ...] = "I have read about {}"
    max_tokens: int = 10
    stop: tuple[str, ...] = (".", "\n")
    passes: float = 2.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    weight_decay: float = 0.0
    clip: float = 1.0
    n_held_out: int = 120
    length: int = 64
    seed: int = 0
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        for name, (least, good) in _WHOLE.items():
            most = REPEATS if name == "batch_size" else INDEX
            value = whole_number(getattr(self, name), name, least, good, LensError, most)
            object.__setattr__(self, name, value)
        for name, (low, usual) in _REAL.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, number(value, name, low, usual))
        for name, (least, good) in _OPTIONAL.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, whole_number(value, name, least, good))
        for name, known in (("objective", OBJECTIVES), ("map", MAPS), ("start", STARTS)):
            if getattr(self, name) not in known:
                raise LensError(
                    f"There is no such {name} of training.",
                    got=repr(getattr(self, name)),
                    expected=" or ".join(map(repr, known)),
                    instead=f"{name}={known[0]!r}",
                )
        for name in ("template", "stop"):
            value = getattr(self, name)
            texts = (value,) if isinstance(value, str) else tuple(value)
            if not all(isinstance(text, str) for text in texts):
                raise LensError(
                    f"{name}= is not text.",
                    got=repr(value),
                    expected="a text, or several",
                    instead="stop=('.',)" if name == "stop" else "template='I know {}'",
                )
            object.__setattr__(self, name, texts)
        if not self.template or any(text.count("{}") != 1 for text in self.template):
            raise LensError(
                "A template has one place for the name.",
                got=repr(self.template),
                expected="{} in it, once",
                instead="template='I have read about {}'",
            )

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or _RATES[self.map]

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step."""
        return falling(self.rate, step, steps)

    @property
    def told(self) -> dict[str, Any]:
        """All of them, as JSON has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def again(cls, told: Mapping[str, Any]) -> FitSettings:
        """From what `told` gave, as JSON has it, and whatever stands beside it."""
        known: dict[str, Any] = {
            f.name: tuple(told[f.name]) if isinstance(told[f.name], list) else told[f.name]
            for f in fields(cls)
            if f.name in told
        }
        return settings_of(cls, known, "a reader that fit made")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> FitSettings:
        """From what a user gave.

        Raises:
            LensError: names that it does not have, or values that make no sense.
        """
        return settings_of(cls, options, "passes=2, rank=64")
