"""Runs a study that is killed again and again, and tells whether it came to the same.

A process of its own, which forks before anything has started threads: each child goes on with the
study and is killed by SIGKILL at one of its next writes, in turn before it, in the middle of it,
and between writing and renaming.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import lensscope as ls
from lensscope.store import files as store
from tests import planted

AFTER = 3
"""A child finishes so many parts, less or more, before it is killed."""


def main(place: Path) -> None:
    study = ls.studies.attribute_extraction(
        planted.model(), planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
    )
    out = place / "killed"
    killed = lost = 0
    kept: dict[str, bytes] = {}
    for turn in range(24):
        child = os.fork()
        if not child:
            _die_at(turn % 3, 1 + turn % AFTER)
            study.run(out)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        parts = {p.name: p.read_bytes() for p in (out / "parts").glob("*.parquet")}
        lost += sum(parts.get(name) != content for name, content in kept.items())
        kept = parts
        if os.WIFSIGNALED(status):
            killed += 1
        else:
            break
    again, whole = study.run(out), study.run(place / "whole")
    same = again.frame().equals(whole.frame()) and again.headline.equals(whole.headline)
    left = list(out.rglob("*.part"))
    print(json.dumps({"killed": killed, "lost": lost, "same": bool(same and not left)}))


def _die_at(stage: int, write: int) -> None:
    """Let this process die at a write: before it, when half is written, before it is renamed."""
    real_open, real_replace = open, os.replace
    seen = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Half:
        def __init__(self, file):  # type: ignore[no-untyped-def]
            self.file = file

        def __enter__(self):  # type: ignore[no-untyped-def]
            return self

        def __exit__(self, *of: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> None:
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            die()

    def opened(path, *args):  # type: ignore[no-untyped-def]
        nonlocal seen
        if args == ("wb",):
            seen += 1
            if seen == write and stage == 0:
                die()
            if seen == write and stage == 1:
                return Half(real_open(path, *args))
        return real_open(path, *args)

    def replaced(source, target):  # type: ignore[no-untyped-def]
        if seen == write and stage == 2:
            die()
        real_replace(source, target)

    store.open = opened  # type: ignore[attr-defined]
    store.os.replace = replaced  # type: ignore[assignment]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
