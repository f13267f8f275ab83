"""The folder of a study: a manifest, and one parquet file for each finished part.

Everything is written aside and renamed, so that what has its name is whole, whenever the process
dies; and nothing is believed because of its name: see `lensscope.studies.part_file`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from lensscope.errors import FileError, StudyError
from lensscope.store.files import FULL, ROOM, refusals, sweep, write
from lensscope.store.json_text import conform, json_text, sealed
from lensscope.store.tensors import read_tensors, write_tensors
from lensscope.studies.manifest import FORMAT, check_same, identity, read_manifest
from lensscope.studies.part_file import part_bytes, read_earlier_part, read_part

if TYPE_CHECKING:
    import pandas as pd

_MANIFEST: Final = "manifest.json"
_SHARED: Final = "shared.safetensors"
_LOCK: Final = ".lensscope.lock"


@dataclass(frozen=True)
class Folder:
    """Where a study keeps what it has found.

    Attributes:
        path: the folder.
    """

    path: Path
    _known: dict[str, tuple[Any, Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def parts(self) -> Path:
        """The folder of the finished parts."""
        return self.path / "parts"

    # ---------------------------------------------------------------- manifest

    def manifest(self) -> dict[str, Any]:
        """What is kept here.

        Raises:
            StudyError: no study's folder, or a manifest that cannot be read, or was changed.
        """
        place = self.path / _MANIFEST
        try:
            state = _state(place)
            if self._known.get(_MANIFEST, (None,))[0] != state:
                self._known[_MANIFEST] = state, read_manifest(place.read_bytes())
        except (OSError, ValueError) as error:
            raise StudyError(
                f"{self.path} is not the folder of a study.",
                got=f"{type(error).__name__}: {error}"[:300],
                expected=f"a folder with a {_MANIFEST} of format {FORMAT}, as it was written",
                instead=f"study.run(out={str(self.path)!r}) makes one where there is none",
            ) from error
        found: dict[str, Any] = self._known[_MANIFEST][1]
        return dict(found)

    @property
    def keys(self) -> list[str] | None:
        """The parts that there will be; ``None`` in a folder of an earlier version, whose parts
        have neither checksums nor names that can be relied on."""
        return self.manifest().get("keys")

    def identity(self) -> str:
        """Which study this is: one of the same arguments and models has the same."""
        return identity(self.manifest())

    def begin(self, manifest: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        """Go on in the folder, or make it one of this study.

        Args:
            manifest: what the study is: ``study``, ``arguments``, ``models``, ``parts``, ``keys``.
            session: when and with what it is run now; added to those before.

        Raises:
            StudyError: something else is there, the same study with other arguments, with what
                differs, or one of an earlier version.
        """
        sessions: list[Any] = []
        self.check()
        if (self.path / _MANIFEST).exists():
            before = self.manifest()
            check_same(self.path, before, manifest)
            if before.get("keys") != list(manifest["keys"]):
                raise StudyError(
                    f"{self.path} cannot be gone on with.",
                    got="parts of an earlier version of lensscope",
                    expected="parts with checksums, cut as this version cuts them",
                    instead=f"ls.studies.load({str(self.path)!r}) for what is there; another out=",
                )
            sessions = before["sessions"]
        whole = {"format": FORMAT, **manifest, "sessions": [*sessions, dict(session)]}
        # first of all: a folder with anything in it but this is none of ours
        self._write(self.path / _MANIFEST, json_text(sealed(whole)).encode())
        with self._refusals():
            self.parts.mkdir(exist_ok=True)
        sweep(self.path)
        sweep(self.parts)

    def check(self) -> None:
        """Refuse what is there and no study's.

        Raises:
            StudyError: a file, or a folder of something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StudyError(
                "A study is kept in a folder.",
                got=f"the file {self.path}",
                expected="a new folder, or that of the same study",
                instead=f"out={str(self.path.with_suffix('')) + '-study'!r}",
            )
        with self._refusals():
            names = sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []
        others = [name for name in names if name != _LOCK and not ROOM.fullmatch(name)]
        if others and _MANIFEST not in others:
            raise StudyError(
                f"{self.path} holds something else.",
                got=", ".join(others[:6]),
                expected="an empty or new folder, or that of the same study",
                instead="another out=",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process work in the folder meanwhile.

        Raises:
            StudyError: another one does, or something else is there.
        """
        from filelock import FileLock, Timeout

        self.check()
        with self._refusals():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise StudyError(
                    f"Another run is at work in {self.path}.",
                    got="a lock that is held",
                    expected="one run at a time",
                    instead="wait for the other one, or write to another out=",
                ) from error
        try:
            yield
        finally:
            lock.release()

    # ---------------------------------------------------------------- parts

    def done(self) -> set[str]:
        """The finished parts: those that are whole, and of this study."""
        found: set[str] = set()
        if not (self.path / _MANIFEST).exists():
            return found
        for key in self._there():
            try:
                self._checked(key)
            except (OSError, ValueError):
                continue
            found.add(key)
        return found

    def check_parts(self) -> None:
        """Refuse to go on beside a part that is not what it should be.

        Raises:
            StudyError: with the first such part.
        """
        for key in self._there():
            with self._whole(key):
                self._checked(key)

    def write(self, key: str, frame: pd.DataFrame) -> None:
        """Keep a part.

        Raises:
            StudyError: the disk is full, or refuses; the parts before it stay.
        """
        self._write(self._place(key), part_bytes(frame, self.identity(), key))

    def read(
        self, prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[pd.DataFrame]:
        """The finished parts whose names begin so, one after another in order.

        Raises:
            StudyError: one that is not whole, or is of another study or another part.
        """
        for key in self._there():
            if key.startswith(prefix):
                yield self.part(key, columns)

    def part(self, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One finished part.

        Raises:
            StudyError: it cannot be read, or is another one than its name says.
        """
        with self._whole(key):
            if self.keys is None:
                return read_earlier_part(self._place(key), columns)
            return read_part(self._place(key).read_bytes(), self.identity(), key, columns)

    def _place(self, key: str) -> Path:
        return self.parts / f"{key}.parquet"

    def _there(self) -> list[str]:
        """The parts that have a file, in order; files of other names are none of ours."""
        names = {path.stem for path in self.parts.glob("*.parquet")}
        keys = self.keys
        return sorted(names if keys is None else names & set(keys))

    def _checked(self, key: str) -> None:
        """Look at a part once for each time that it is written.

        Raises:
            OSError, ValueError: it is not what it should be.
        """
        state = _state(self._place(key)), self.identity()
        if self._known.get(key, (None,))[0] != state:
            if self.keys is None:
                read_earlier_part(self._place(key))
            else:
                read_part(self._place(key).read_bytes(), self.identity(), key)
            self._known[key] = state, None

    @contextmanager
    def _whole(self, key: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            path = self._place(key)
            raise StudyError(
                f"A part of the study in {self.path} cannot be read.",
                got=f"{path.name}: {type(error).__name__}: {str(error)[:200]}",
                expected="a parquet file as this study wrote it for this part",
                instead=f"delete {path} and run the study again: it does only what is missing",
            ) from error

    # ---------------------------------------------------------------- what all parts share

    def shared(self, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What all parts need: made once, read again later.

        Raises:
            StudyError: the disk is full, or the file is not whole, or of another study.
        """
        path = self.path / _SHARED
        if not path.exists():
            made = {name: t.detach().cpu().contiguous().clone() for name, t in make().items()}
            with self._refusals():
                write_tensors(path, {"format": FORMAT, "study": self.identity()}, made)
        try:
            header, found = read_tensors(path)
            conform(header, {"study": str}, "the header")
            if header["study"] != self.identity():
                raise ValueError("of another study, or of this one with other arguments")
        except ValueError as error:
            raise StudyError(
                f"{path} cannot be read.",
                got=f"{type(error).__name__}: {error}",
                expected="a safetensors file as this study wrote it",
                instead=f"delete {path} and run the study again: it is made anew",
            ) from error
        return found

    def _write(self, path: Path, content: bytes) -> None:
        """A file, written aside and renamed."""
        with self._refusals():
            write(path, content, sweeps=False)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the disk refuses, as the study says it."""
        try:
            with refusals(self.path):
                yield
        except FileError as error:
            full = error.errno in FULL
            raise StudyError(
                error.what,
                got=error.got,
                expected="room for the next part" if full else error.expected,
                instead="make room, then the same call again: finished parts are whole, and only "
                "what is missing is done"
                if full
                else "another out=",
            ) from error


def _state(path: Path) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
