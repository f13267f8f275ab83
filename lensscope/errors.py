"""One exception tree for everything a user can get wrong.

::

    LensscopeError
    ├── ModelError          not a usable TransformerLens model, or one in training mode
    │   └── ModelNotFoundError  a name that leads to no model
    ├── PromptError         an empty prompt, one over the context length, a bad placeholder
    ├── PositionError       a position that names no token, or several
    ├── SiteError           a site that the model lacks, a layer or head out of range
    ├── PatchError          a value of the wrong width, dtype or device, or not finite
    │   ├── SweepError          a patching measurement that cannot be made as it was asked
    │   │   └── CheckpointError     a checkpoint that it cannot go on from (a LensError too)
    │   └── CircuitError        a circuit that cannot be made, measured or read
    ├── CacheError          a site that a cache lacks, or a file that is not a cache
    ├── BasisError          two models or two bases mixed where it makes no sense
    ├── LensError           a lens or reader that lacks a layer, cannot be fitted, or is no file
    ├── StudyError          an output folder of something else, a worker or disk that fails
    ├── FileError           a path that is none, a full disk, a file that cannot be written
    ├── CourseError         an exercise that the course does not have
    ├── PlanError           a plan, metric or top_k that a sweep cannot follow
    └── BudgetError         a memory budget that not even one row fits

Every message has three parts: what failed, what was got and expected, what to write instead.
"""

from __future__ import annotations

from typing import Final

from lensscope.signs import cut, without_control

_LONGEST: Final = 800
"""Characters of each part of a message; a prompt in it may have any number."""


class LensscopeError(Exception):
    """The root of all errors that lensscope raises on purpose.

    Args:
        what: what failed, one sentence.
        got: what was found.
        expected: what would have been right.
        instead: what to write instead.
    """

    def __init__(self, what: str, *, got: object, expected: object, instead: str) -> None:
        self.what = what
        self.got = got
        self.expected = expected
        self.instead = instead
        parts = (
            cut(without_control(f"{part}"), _LONGEST) for part in (what, got, expected, instead)
        )
        super().__init__("{}\n  got:      {}\n  expected: {}\n  instead:  {}".format(*parts))


class ModelError(LensscopeError, ValueError):
    """The model cannot be used as it is."""


class ModelNotFoundError(ModelError):
    """A name that leads to no model."""


class PromptError(LensscopeError, ValueError):
    """A prompt that cannot be run."""


class PositionError(LensscopeError, ValueError):
    """A position that names no token of the prompt, or more than one candidate."""


class SiteError(LensscopeError, ValueError):
    """A site that the model does not have."""


class CourseError(LensscopeError, ValueError):
    """An exercise that the course does not have."""


class PatchError(LensscopeError, ValueError):
    """A patch whose value or operation does not fit its site."""


class SweepError(PatchError):
    """A patching measurement that cannot be made, or read, as it was asked."""


class CircuitError(PatchError):
    """A circuit that cannot be made, measured or read."""


class CacheError(LensscopeError, KeyError):
    """A cache that does not hold what was asked for, or a file that is not a cache."""

    def __str__(self) -> str:
        return str(self.args[0])


class BasisError(LensscopeError, ValueError):
    """Values of one model or basis used in another where it makes no sense."""


class LensError(LensscopeError, ValueError):
    """A lens or reader that cannot read what is asked for, cannot be fitted, or is no such file."""


class CheckpointError(SweepError, LensError):
    """A file that patching cannot go on from; a `LensError` too, as which it was caught before."""


class PlanError(LensscopeError, ValueError):
    """A plan, metric or top_k that a sweep cannot follow."""


class StudyError(LensscopeError, RuntimeError):
    """A study that cannot be run, gone on with or read as it was asked for."""


class FileError(LensscopeError, OSError):
    """A path that leads nowhere, or a file that cannot be written; what was there before stays."""


class BudgetError(LensscopeError, MemoryError):
    """A memory budget that not even one row fits into."""
