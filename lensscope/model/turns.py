"""Whose turn it is to run a model, where several threads use it.

Two forwards of one model at a time would share what its modules keep for themselves. So the second
thread waits, forward by forward. A forward that is called from within another one's hook, on the
same thread, goes ahead. What could never end is refused: threads that wait for each other's models,
and a thread that a hook has handed its own call on to.

There is no lock that an interrupt could leave locked: a turn is taken and given up by one operation
of a dictionary, which no other thread and no signal can split.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

from lensscope.errors import ModelError

_PAUSE: Final = 0.001
"""Seconds between two looks at whether the model is free."""


class Holder(ABC):
    """A forward: the frame that it is called in, and what takes its hooks off again."""

    frame: FrameType | None

    @abstractmethod
    def take_off(self) -> None:
        """Leave the model as it was; as often as one likes."""


class Turn:
    """Whose turn it is to run one model."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, Holder]] = {}
        self._before: int | None = None
        self._begun: list[Holder] = []

    def take(self, here: Holder, around: Sequence[Holder]) -> None:
        """Wait until no other thread runs the model.

        Args:
            here: the forward that is to run.
            around: the forwards that it is called from within, on whatever thread.

        Raises:
            ModelError: that would never be.
        """
        me = threading.get_ident()
        if self._before == me and self in list(_WAITING.values()):
            time.sleep(2 * _PAUSE)  # the others first
        while self._held.setdefault("by", (me, here))[1] is not here:
            thread, holder = self._held.get("by", (me, here))
            if holder is here:
                continue  # it has become free
            if thread == me and on_stack(holder.frame):
                self._begun.append(here)
                return
            if thread == me or thread not in sys._current_frames():
                self._held.pop("by", None)  # an interrupt has left it
                continue
            if any(holder is other for other in around):
                _refuse("A thread that a hook has started uses the model whose hook it is.")
            _WAITING[me] = self
            if self._waits_for(me):
                _refuse("Two threads wait for each other's models.")
            time.sleep(_PAUSE)
        _WAITING.pop(me, None)
        self._clear()
        self._begun.append(here)

    def leave(self, here: Holder) -> None:
        """Take off what the forward put on, and let others run the model; as often as one likes."""
        me = threading.get_ident()
        _WAITING.pop(me, None)
        here.take_off()
        if here in self._begun:
            self._begun.remove(here)
        if self._held.get("by", (me, None))[1] is here:
            self._before = me
            self._held.pop("by", None)

    @property
    def has_left(self) -> bool:
        """Whether forwards have ended without having left, and none is under way elsewhere."""
        if not self._begun:
            return False
        thread, holder = self._held.get("by", (threading.get_ident(), None))
        return thread == threading.get_ident() and (holder is None or not on_stack(holder.frame))

    def _clear(self) -> None:
        """Take off what was left: no other forward is under way now."""
        for other in list(self._begun):
            other.take_off()
            self._begun.remove(other)

    def _waits_for(self, me: int) -> bool:
        """Whether who holds the model waits, by way of however many others, for this thread."""
        turn: Turn | None = self
        for _ in range(len(_WAITING) + 1):
            thread, _holder = turn._held.get("by", (None, None)) if turn is not None else (None, 0)
            if thread == me:
                return True
            turn = _WAITING.get(thread) if thread is not None else None
        return False


_TURNS: weakref.WeakKeyDictionary[Any, Turn] = weakref.WeakKeyDictionary()
_WAITING: dict[int, Turn] = {}
"""What each thread that waits, waits for."""


def turn_of(model: Any) -> Turn:
    """The turn of a model."""
    return _TURNS.setdefault(model, Turn())


def on_stack(frame: FrameType | None) -> bool:
    """Whether this thread is within a frame."""
    here: FrameType | None = sys._getframe(1)
    while here is not None:
        if here is frame:
            return True
        here = here.f_back
    return False


def _refuse(what: str) -> None:
    raise ModelError(
        what,
        got="a call that would wait for ever",
        expected="a model that becomes free",
        instead="the call itself in the hook, without another thread, or one model after the other",
    )
