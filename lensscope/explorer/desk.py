"""Where questions wait, are answered one at a time, are stopped, and what was answered is kept."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from torch.nn.modules.module import register_module_forward_pre_hook

from lensscope.errors import LensscopeError
from lensscope.explorer.answers import answered
from lensscope.explorer.lab import Lab
from lensscope.explorer.questions import Question, asked, key_of
from lensscope.progress import one_bar, watched
from lensscope.signs import cut
from lensscope.store.json_text import json_text, plain

Told: TypeAlias = Mapping[str, Any]
IDLE: Final = "idle"
"""The lane of what is asked for before anybody wants it: it gives way to all else."""
_WAITING: Final = 64
_KEPT: Final = 64 << 20
_LARGEST: Final = 8 << 20
"""Questions that may wait; bytes of answers that are kept, and of one of them."""
_LONG: Final = ("matters", "circuit", "step")
"""Answers of many steps, which let others go before."""
_EVERY: Final = 0.15
"""Seconds between two reports of progress."""


class Stopped(BaseException):
    """Work that nobody waits for any more. No `Exception`: nothing that tries something out and
    goes on without it may take this for a failure of that."""


@dataclass(eq=False)
class Job:
    """A question on its way.

    Attributes:
        given: the question as it came.
        question: the same, checked.
        session: who asks.
        lane: a later question of the same session and lane ends this one.
        tell: told what comes of it.
        stopped: whether nobody waits for it any more.
    """

    given: Mapping[str, Any]
    question: Question
    session: str
    lane: str
    tell: Callable[[Told], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    ended: bool = False

    def say(self, told: Told) -> None:
        """Tell, unless nobody listens."""
        if not self.stopped.is_set():
            self._tell(told)

    def end(self, told: Told) -> None:
        """Tell the last thing, once."""
        if not self.ended:
            self.ended = True
            self._tell(told)

    def _tell(self, told: Told) -> None:
        try:
            self.tell(told)
        except Exception:  # whoever listened has gone: that is no reason to answer nobody else
            self.stopped.set()


class Kept:
    """The parts of answers by what was asked, the last ones that fit."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most, self._bytes = most, 0
        self._held: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> list[Any] | None:
        """The parts of an answer, if they are there."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return None if found is None else json.loads(found[1])

    def put(self, key: str, given: Mapping[str, Any], parts: list[Any]) -> None:
        """Keep an answer; the oldest ones go."""
        texts = json_text(given, indent=None), json_text(parts, indent=None)
        size = _size(key, texts)
        with self._lock:
            if size > _LARGEST or key in self._held:
                return
            self._held[key] = texts
            self._bytes += size
            while self._bytes > self._most:
                self._bytes -= _size(*self._held.popitem(last=False))

    def all(self) -> list[dict[str, Any]]:
        """All of them, as they are written to a file."""
        with self._lock:
            each = [[json.loads(text) for text in held] for held in self._held.values()]
        return [
            {"question": given, "parts": parts}
            for given, parts in each
            if given.get("kind") != "controls"
        ]


def _size(key: str, texts: tuple[str, str]) -> int:
    """About how many bytes an answer takes."""
    return len(key) + sum(map(len, texts))


class Desk:
    """Takes questions, and answers them in turn.

    Args:
        lab: the model.
        kept: answers that are known.
    """

    def __init__(self, lab: Lab, kept: Kept | None = None) -> None:
        self.lab, self.kept = lab, kept or Kept()
        self._waiting: list[Job] = []
        self._begun: list[Job] = []
        self._changed = threading.Condition()
        self.closed = False

    def ask(self, given: Any, session: str, lane: str, tell: Callable[[Told], None]) -> Job | None:
        """Put a question at the end of the line, in place of an earlier one of its lane.

        What is known is told at once. Told of each: ``part``, ``progress``, and at last ``done`` or
        ``error``.
        """
        try:
            question = asked(given)
        except LensscopeError as error:
            tell({"error": failure(error)})
            return None
        job = Job(given, question, session, lane, tell)
        known = self.kept.get(key_of(question))
        with self._changed:
            for other in (*self._waiting, *self._begun):
                same = (other.session, other.lane) == (session, lane)
                if same or (other.lane == IDLE and lane != IDLE):
                    self._stop(other)
            busy = len(self._waiting) >= _WAITING or self.closed
            if known is None and not busy:
                self._waiting.append(job)
                self._changed.notify()
                return job
        if known is None:
            job.end({"error": _BUSY})
        else:
            _tell_again(job, known)
        return None

    def cancel(self, job: Job) -> None:
        """End a question that nobody waits for."""
        with self._changed:
            self._stop(job)

    def close(self) -> None:
        """End all of them, and take no more."""
        with self._changed:
            self.closed = True
            for job in (*self._waiting, *self._begun):
                self._stop(job)
            self._changed.notify_all()

    def _stop(self, job: Job) -> None:
        job.stopped.set()
        if job in self._waiting:
            self._waiting.remove(job)
        job.end({"done": True, "stopped": True})

    def next(self, *, wait: bool) -> Job | None:
        """The next question; what is asked for before anybody wants it comes last. Nothing once it
        is closed, or where there is none and nobody waits for one."""
        with self._changed:
            while not self.closed:
                order = sorted(self._waiting, key=lambda job: job.lane == IDLE)
                if order:
                    return self._begin(order[0])
                if not wait:
                    return None
                self._changed.wait()
        return None

    def _begin(self, job: Job) -> Job:
        self._waiting.remove(job)
        self._begun.append(job)
        return job

    def _quick(self) -> Job | None:
        """What need not wait for a long answer to end."""
        with self._changed:
            for job in self._waiting:
                if job.lane != IDLE and job.question.kind not in _LONG:
                    return self._begin(job)
        return None

    def answer_all(self, *, wait: bool = True) -> None:
        """Answer what is asked until it is closed; without waiting, what waits already."""
        while (job := self.next(wait=wait)) is not None:
            for _ in self.steps(job):
                pass

    def steps(self, job: Job) -> Iterator[None]:
        """Answer a question, a step at a time; a long one lets others go before, between two of its
        steps."""
        for _ in self.work(job):
            yield
            while job.question.kind in _LONG and (other := self._quick()) is not None:
                for _ in self.work(other):
                    yield

    def work(self, job: Job) -> Iterator[None]:
        """Answer a question, a step at a time."""
        try:
            yield from self._work(job)
        except Stopped:
            pass
        except LensscopeError as error:
            job.end({"error": failure(error)})
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            job.end({"error": _unknown(error)})
        finally:
            job.end({"done": True, "stopped": True})  # unless it was told already
            with self._changed:
                self._begun.remove(job)

    def _work(self, job: Job) -> Iterator[None]:
        key = key_of(job.question)
        known = self.kept.get(key)
        if known is not None:  # it was asked for twice
            _tell_again(job, known)
            return
        parts: list[Any] = []
        watch = _Watch(job)
        answer = answered(
            self.lab, job.question, lambda part: job.say({"part": plain(part), "more": True})
        )
        while True:
            with self.lab.lock, one_bar(), watched(watch), _asking(watch):
                watch(0, 0, "")
                part = next(answer, None)
            if part is None:
                break
            parts.append(plain(part))
            job.say({"part": parts[-1]})
            yield
        self.kept.put(key, job.given, parts)
        job.end({"done": True})


class _Watch:
    """Stops a job between two of its steps, and tells how far it has come."""

    def __init__(self, job: Job) -> None:
        self.job, self.last = job, time.monotonic()

    def __call__(self, done: float, total: float, what: str) -> None:
        if self.job.stopped.is_set():
            raise Stopped
        now = time.monotonic()
        if what and now - self.last > _EVERY:
            self.last = now
            self.job.say({"progress": {"done": done, "total": total, "what": what}})


@contextmanager
def _asking(watch: _Watch) -> Iterator[None]:
    """Let every module of a model ask, before it acts, whether anybody still waits: within a
    forward, too, work ends when the next click comes."""
    here = threading.get_ident()

    def ask(module: Any, given: Any) -> None:
        if threading.get_ident() == here:
            watch(0, 0, "")

    hook = register_module_forward_pre_hook(ask)
    try:
        yield
    finally:
        hook.remove()


def _tell_again(job: Job, parts: list[Any]) -> None:
    for part in parts:
        job.tell({"part": part})
    job.end({"done": True})


class Worker:
    """A thread that answers the questions of a desk.

    Where nothing else is to be done, `Desk.answer_all` in the main thread is faster: OpenMP has a
    team of threads for each that runs a model, and waits less eagerly where there are several.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        name = "lensscope explorer"
        self._thread = threading.Thread(target=desk.answer_all, name=name, daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 10) -> None:
        """End what is being done, and the thread."""
        self.desk.close()
        self._thread.join(seconds)


def failure(error: LensscopeError) -> dict[str, str]:
    """An error as the browser is told it."""
    parts = {"what": error.what, "got": error.got, "expected": error.expected}
    return {name: cut(str(part), 800) for name, part in {**parts, "instead": error.instead}.items()}


def _unknown(error: Exception) -> dict[str, str]:
    return {
        "what": "Something failed that should not have.",
        "got": cut(f"{type(error).__name__}: {error}", 400),
        "expected": "an answer",
        "instead": "the traceback stands where lensscope was started; please report it",
    }


_BUSY: Final = {
    "what": "Too much is asked at once.",
    "got": f"{_WAITING} questions that wait",
    "expected": "fewer",
    "instead": "the same in a moment",
}
