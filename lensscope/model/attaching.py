"""Hooks that act in one forward and nowhere else, and that leave nothing behind.

`Hooked` and `Alone` say, in a ``with`` block, what is to hold for the forwards in it. The model
itself is touched in one place only, around each forward: `passage`. So that an exception may come
at any instruction, as a signal's handler raises one:

- A hook acts only in the forward that it was attached for. Which one is under way is told by a
  context variable that is set within ``Context.run``: that is C, which no exception can leave
  undone. A hook that is left behind does nothing, and a hook of the user's that was silenced acts.
- What is put on is noted before, and taken off up to four times, until once was not disturbed.
- What is left even so is taken off the next time that lensscope comes to the model.

The same keeps threads apart, and calls from within a hook: other forwards pass the hooks by. Of
lensscope's own forwards of one model, one runs at a time (`lensscope.model.turns`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, copy_context
from types import FrameType
from typing import Any, Final, TypeVar

from lensscope.model.turns import Holder, Turn, on_stack, turn_of

T = TypeVar("T")

_WRAPPERS: Final = ("contextlib", "jaxtyping", "beartype")
"""What may stand between a ``with`` block and ``__enter__``."""
_TRIES: Final = 4
"""How often what was put on is taken off; as many interrupts, each at the worst place, less one."""


class Mark:
    """What is to hold in a ``with`` block, for the forwards of one model.

    It holds while the frame of the block is on the stack: after an interrupt that kept ``__exit__``
    from being called, it holds no more. So the block stands in the function that runs the model,
    or in one that calls it, not in a generator.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.frame: FrameType | None = None

    def __enter__(self) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and _package(frame) in _WRAPPERS:
            frame = frame.f_back
        self.frame = frame
        _MARKS.set((*_in_force(), self))

    def __exit__(self, *_: object) -> None:
        _MARKS.set(tuple(mark for mark in _MARKS.get() if mark is not self))
        self.frame = None

    def put_on(self, passage: Passage) -> None:
        """Make it hold for a forward."""
        raise NotImplementedError


class Hooked(Mark):
    """Functions on modules of a model, after the user's own hooks.

    Args:
        model: the model.
        after: hook points or modules, and what is done to what they give: a function of the module,
            its arguments and its output; ``None`` leaves the output as it is.
        before: modules, and a function of the module, its arguments and its keyword arguments,
            that gives both.
    """

    def __init__(
        self,
        model: Any,
        after: Mapping[Any, Sequence[Callable[..., Any]]],
        before: Mapping[Any, Sequence[Callable[..., Any]]] | None = None,
    ) -> None:
        super().__init__(model)
        self.after = after
        self.before = before or {}

    def put_on(self, passage: Passage) -> None:
        for kind, modules in ((_After, self.after), (_Before, self.before)):
            for module, functions in modules.items():
                for function in functions:
                    passage.put(kind(passage, module, function))


class Alone(Mark):
    """No hooks of the user's own at a model's hook points."""

    def __init__(self, model: Any, points: Iterable[Any]) -> None:
        super().__init__(model)
        self.points = points

    def put_on(self, passage: Passage) -> None:
        for point in set(self.points):
            for key, function in list(point._forward_hooks.items()):
                if not isinstance(function, _After):
                    passage.put(_Silenced(passage, point._forward_hooks, key, function))


class Passage(Holder):
    """One forward: what it put on the model, and whether one of its own hooks is being called."""

    def __init__(self, frame: FrameType) -> None:
        self.frame: FrameType | None = frame
        self.noted: list[_After | _Before | _Silenced] = []
        self.calling = False

    def put(self, what: _After | _Before | _Silenced) -> None:
        """Note it, then put it on."""
        self.noted.append(what)
        what.put_on()

    def take_off(self) -> None:
        for what in reversed(self.noted):
            what.take_off()
        self.noted.clear()
        self.frame = None

    def run(self, function: Callable[[], T]) -> T:
        """Call a function in which the hooks act; in a context of its own."""
        _UNDER_WAY.set((*_UNDER_WAY.get(), self))
        _MARKS.set(())  # what holds here does not for what a hook calls
        return function()

    @property
    def is_under_way(self) -> bool:
        """Whether it is what runs here and now, and not a hook of its own, which may call other
        forwards."""
        return _UNDER_WAY.get()[-1:] == (self,) and not self.calling


_MARKS: ContextVar[tuple[Mark, ...]] = ContextVar("lensscope_marks", default=())
_UNDER_WAY: ContextVar[tuple[Passage, ...]] = ContextVar("lensscope_under_way", default=())


def passage(model: Any, function: Callable[[], T]) -> T:
    """Call a function that runs a model or a part of it, with what the blocks around it ask for.

    Raises:
        ModelError: waiting for the model would never end.
    """
    marks = [mark for mark in _in_force() if mark.model is model]
    here, turn = Passage(sys._getframe()), turn_of(model)

    def act() -> T:
        turn.take(here, _UNDER_WAY.get())
        for mark in marks:
            mark.put_on(here)
        return copy_context().run(here.run, function)

    return _surely(act, lambda: turn.leave(here), _TRIES)


def apart(function: Callable[[], T]) -> T:
    """Call a function outside of the blocks that we are in: what they ask for does not hold."""

    def act() -> T:
        _MARKS.set(())
        return function()

    return copy_context().run(act)


def heal(model: Any) -> None:
    """Take off what interrupts have left on a model."""
    turn: Turn = turn_of(model)
    if turn.has_left:
        passage(model, lambda: None)


def are_own(hooks: Mapping[Any, Any]) -> bool:
    """Whether any of a hook point's hooks are the user's."""
    return any(not isinstance(hook, _After) for hook in list(hooks.values()))


def _surely(act: Callable[[], T], undo: Callable[[], None], times: int) -> T:
    """``act()``, and ``undo()`` after it, again where an interrupt came in between."""
    if not times:
        return act()
    try:
        return _surely(act, undo, times - 1)
    finally:
        undo()


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _in_force() -> tuple[Mark, ...]:
    """The blocks that we are in."""
    marks = _MARKS.get()
    return tuple(mark for mark in marks if on_stack(mark.frame)) if marks else ()


class _After:
    """A hook on what a module gives."""

    # What TransformerLens looks for in a hook point's list of handles: itself is the torch handle.
    is_permanent = True
    context_level = None

    def __init__(self, passage: Passage, module: Any, function: Callable[..., Any]) -> None:
        self.passage, self.module, self.function = passage, module, function
        self.user_hook = function
        self.hook = self

    def __call__(self, module: Any, *given: Any) -> Any:
        passage = self.passage
        if not passage.is_under_way:
            return None
        passage.calling = True
        try:
            return self.function(module, *given)
        finally:
            passage.calling = False

    def put_on(self) -> None:
        handles = vars(self.module).get("fwd_hooks")
        if handles is not None:
            handles.append(self)
        self.module._forward_hooks[self] = self

    def take_off(self) -> None:
        self.module._forward_hooks.pop(self, None)
        handles = vars(self.module).get("fwd_hooks")
        if handles is not None:
            with suppress(ValueError):
                handles.remove(self)

    remove = take_off


class _Before(_After):
    """A hook on what a module is given."""

    def put_on(self) -> None:
        self.module._forward_pre_hooks_with_kwargs[self] = True
        self.module._forward_pre_hooks[self] = self

    def take_off(self) -> None:
        self.module._forward_pre_hooks.pop(self, None)
        self.module._forward_pre_hooks_with_kwargs.pop(self, None)


class _Silenced:
    """A hook of the user's that does not act in one forward, under its own key and in its place."""

    def __init__(
        self, passage: Passage, hooks: dict[Any, Any], key: object, function: Callable[..., Any]
    ) -> None:
        self.passage, self.hooks, self.key, self.function = passage, hooks, key, function

    def __call__(self, *given: Any) -> Any:
        return None if self.passage.is_under_way else self.function(*given)

    def put_on(self) -> None:
        self.hooks[self.key] = self

    def take_off(self) -> None:
        if self.hooks.get(self.key) is self:
            self.hooks[self.key] = self.function
