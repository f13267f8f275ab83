"""What a sweep is over: items, where their states are read, and how texts about them are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.studies.places import Placed
from lensscope.values.prompts import TokenizedPrompt

Score: TypeAlias = Callable[..., Sequence[float]]
"""Of a text, the number of an item, and the first token of the text; -1 where there is none."""


@dataclass(frozen=True)
class Sample:
    """Where states of an item are read.

    Attributes:
        item: its number.
        variant: the number of the way in which it is put.
        prompt: the source prompt.
        tokens: which tokens are read, the last one of the item last.
        name_tokens: how many tokens the item's name has.
        inside: whether the name stands only within other words.
        led: whether a lead-in was put before the text.
    """

    item: int
    variant: int
    prompt: TokenizedPrompt
    tokens: tuple[int, ...]
    name_tokens: int
    inside: bool = False
    led: bool = False

    @classmethod
    def of(cls, item: int, variant: int, found: Placed, *, every: bool) -> Sample:
        """Of a name that was found, all its tokens or the last one."""
        tokens = found.tokens if every else found.tokens[-1:]
        return cls(item, variant, found.prompt, tokens, len(found.tokens), found.inside, found.led)


@runtime_checkable
class Items(Protocol):
    """What a sweep must know of its items."""

    @property
    def names(self) -> Sequence[str]:
        """The items."""

    @property
    def variants(self) -> Sequence[str]:
        """The ways in which an item is put."""

    @property
    def pooled(self) -> bool:
        """Whether variants are samples of one kind."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What a text is scored by; the first is 1 for a right one and 0 for a wrong one."""

    @property
    def score(self) -> Score:
        """A text about an item, by each of `metrics`."""

    def sample(self, item: int, variant: int) -> Sample:
        """Where an item's states are read."""

    def others(self) -> Sequence[int]:
        """For each item another one, for which its texts must not be right."""

    def unpatched(self, item: int, inspection: InspectionPrompt) -> str | None:
        """The inspection prompt with the item's own name in it, if only those items count which
        the model itself then answers rightly."""
