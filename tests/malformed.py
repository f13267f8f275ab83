"""Random malformed calls: valid ones of every public function, an argument or two made hostile.

Each call either works or raises an error of lensscope. A failure is anything else: another
exception, a call that does not end, hooks that are left, a model or a value that was changed, NaN
that the valid call does not give, an argument that no one could mean and that was taken all the
same, and one that was ignored: the result is that of the valid call, though the argument is no
other way to write the valid one.

Run as a process of its own, without the type checker that the other tests run under, because that
would answer first: ``python -m tests.malformed --calls 1500 --seed 0``.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr

import lensscope as ls
from tests.doors import Bench, Door
from tests.fair import FAIR, NO_GAP, QUIET, spelling
from tests.hostile import NUMBERS, SMALL, THINGS

SECONDS = 20.0
"""Of this process' own time, after which a call hangs."""
MEMORY = 16 << 30
"""Bytes of addresses; what asks for more is a MemoryError, before the machine is full."""


class Hang(BaseException):
    """A call took too long."""


@dataclass
class Outcome:
    """What became of a call."""

    kind: str
    said: str = ""


@dataclass
class Judge:
    """Calls, one after the other, and what is wrong with them."""

    bench: Bench
    expected: dict[str, Any] = field(default_factory=dict)

    def call(self, door: Door, changed: dict[str, str]) -> Outcome:
        given = {name: self.bench.value(w) for name, w in {**door.valid, **changed}.items()}
        hostile = {name: self.bench.value(w) for name, w in changed.items()}
        before = self.bench.state()
        signal.signal(signal.SIGPROF, _hang)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            result = door.call(**given)
            if isinstance(result, Iterator):
                result = list(result)
            signal.setitimer(signal.ITIMER_PROF, 0)
            outcome = self._worked(door, hostile, result)
        except ls.LensscopeError as error:
            long = len(str(error)) > 5000
            ugly = any(c < " " and c not in "\n\t" for c in str(error))
            outcome = (
                Outcome("FAILED", "a message that is too long" if long else "control")
                if (long or ugly)
                else Outcome("refused", type(error).__name__)
            )
        except Hang:
            outcome = Outcome("FAILED", f"no end after {SECONDS:g} s")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            module = any(isinstance(v, torch.nn.Module) for v in hostile.values())
            if module and "lensscope" not in where.filename:
                outcome = Outcome("refused", "by the function that was given")
            else:
                at = f"{Path(where.filename).name}:{where.lineno}"
                outcome = Outcome("FAILED", f"{type(error).__name__}: {str(error)[:90]!r} at {at}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        after = self.bench.state()
        if after != before:
            hooks = after[1] != before[1]
            self.bench.model.reset_hooks()
            return Outcome("FAILED", "hooks are left" if hooks else "a value was changed")
        return outcome

    def _worked(self, door: Door, hostile: dict[str, Any], result: Any) -> Outcome:
        for name, value in hostile.items():
            if value is not None and name in FAIR and not FAIR[name](value):
                return Outcome("FAILED", f"{name} was taken, which could not be meant")
        if door.name not in self.expected:
            fresh = {name: self.bench.value(w) for name, w in door.valid.items()}
            try:
                self.expected[door.name] = digest(door.call(**fresh))
            except ls.LensscopeError:
                self.expected[door.name] = None
        known, found = self.expected[door.name], digest(result)
        told = any(name in NO_GAP and NO_GAP[name](value) for name, value in hostile.items())
        if known is not None and nans(found) > 0 and nans(known) == 0 and not told:
            return Outcome("FAILED", "NaN came out")
        loud = [n for n in hostile if n in door.valid and n not in QUIET]
        same = known is not None and json.dumps(found) == json.dumps(known)
        if same and loud and len(loud) == len(hostile):
            right = {name: self.bench.value(w) for name, w in door.valid.items()}
            if not all(spelling(hostile[n], right[n]) for n in loud):
                return Outcome("FAILED", "ignored: the result is that of the valid call")
        return Outcome("worked")


def digest(result: Any) -> Any:
    """A result in numbers and text, as JSON has them."""
    if isinstance(result, torch.Tensor):
        return [list(result.shape), [round(float(x), 4) for x in result.detach().float().flatten()]]
    if isinstance(result, ls.Runs):
        return [
            digest(getattr(result, n)) for n in ("logits", "metric", "top_tokens", "generation")
        ]
    if isinstance(result, ls.Run):
        return [digest(result.logits), digest(dict(result.cache))]
    if isinstance(result, ls.Generation):
        return [result.text, result.tokens]
    if isinstance(result, ls.Lens):
        return [digest(t.matrix) for t in getattr(result, "translators", {}).values()]
    if isinstance(result, xr.Dataset | xr.DataArray):
        return json.loads(json.dumps(result.to_dict(), default=str))
    if isinstance(result, pd.DataFrame):
        return json.loads(result.to_json(orient="records"))
    if hasattr(result, "data") and isinstance(result.data, xr.Dataset):
        return digest(result.data)
    if isinstance(result, dict | ls.Cache):
        return [[repr(key), digest(value)] for key, value in result.items()]
    if isinstance(result, list | tuple):
        return [digest(part) for part in result]
    if hasattr(result, "to_plotly_json"):
        return str(result)[:2000]
    if is_dataclass(result) and not isinstance(result, type):
        shown = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "model"}
        return repr(shown)
    return result if isinstance(result, int | float | str | None) else type(result).__name__


def nans(found: Any) -> int:
    """How many numbers are NaN."""
    if isinstance(found, float):
        return int(math.isnan(found))
    if isinstance(found, list | tuple):
        return sum(map(nans, found))
    if isinstance(found, dict):
        return sum(map(nans, found.values()))
    return 0


def _hang(*_: Any) -> None:
    raise Hang


def draw(bench: Bench, seed: int, number: int) -> tuple[Door, dict[str, str]]:
    """A call: which function, and which arguments are replaced by what."""
    rng = random.Random(f"{seed}/{number}")
    door = rng.choice(bench.doors)
    names = [*door.valid, *door.more]
    if rng.random() < 0.9:  # one check for all, and much else to look at
        names = [name for name in names if name not in ("model", "source", "target")] or names
    chosen = rng.sample(names, min(len(names), rng.choice([1, 1, 1, 2])))
    return door, {name: _hostile(rng, name) for name in chosen}


def _hostile(rng: random.Random, name: str) -> str:
    """A value for an argument: of a number, mostly another number."""
    number = name in FAIR and any(FAIR[name](value) for value in (1, 0.5, True))
    if number and rng.random() < 0.4:
        return rng.choice(SMALL)
    return rng.choice(NUMBERS if rng.random() < (0.5 if number else 0.2) else THINGS)


def tried(
    calls: int, seed: int, *, first: int = 0, loud: bool = False, log: bool = False
) -> tuple[collections.Counter[str], list[str]]:
    """What became of some calls, and a line for each failure."""
    warnings.simplefilter("ignore")
    bench = Bench()
    judge = Judge(bench)
    tally: collections.Counter[str] = collections.Counter()
    failures = []
    with tempfile.TemporaryDirectory() as where:
        os.chdir(where)
        for number in range(first, first + calls):
            door, changed = draw(bench, seed, number)
            given = ", ".join(f"{name}={w}" for name, w in changed.items())
            if log:
                print(f"{number} {door.name}({given})", file=sys.stderr, flush=True)
            outcome = judge.call(door, changed)
            tally[outcome.kind] += 1
            tally[f"  {outcome.said}"] += outcome.kind == "refused"
            if outcome.kind == "FAILED":
                failures.append(f"{door.name}({given}): {outcome.said}  [--first {number}]")
                if loud:
                    print(failures[-1], flush=True)
        os.chdir("/")
    return tally, failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="start at this call")
    parser.add_argument("--log", action="store_true", help="each call to stderr, before it is made")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tally, failures = tried(asked.calls, asked.seed, first=asked.first, loud=True, log=asked.log)
    for kind, count in tally.items():
        if count:
            print(f"{count:6} {kind}")
    print(f"{len(failures)} failures of {asked.calls} calls")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
