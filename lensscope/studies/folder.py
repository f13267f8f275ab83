"""The folder of a study: a manifest, and one parquet file for each finished part.

Everything is written aside and renamed, so that what has its name is whole, whenever the process
dies.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from lensscope.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

FORMAT: Final = "lensscope-study-1"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MANIFEST: Final = "manifest.json"
_SHARED: Final = "shared.safetensors"


@dataclass(frozen=True)
class Folder:
    """Where a study keeps what it has found.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def parts(self) -> Path:
        """The folder of the finished parts."""
        return self.path / "parts"

    # ---------------------------------------------------------------- manifest

    def manifest(self) -> dict[str, Any]:
        """What is kept here.

        Raises:
            StudyError: no study's folder, or a manifest that cannot be read.
        """
        place = self.path / _MANIFEST
        try:
            found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise KeyError(found["format"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(
                f"{self.path} is not the folder of a study.",
                got=f"{type(error).__name__}: {error}",
                expected=f"a folder with a {_MANIFEST} of format {FORMAT}",
                instead=f"study.run(out={str(self.path)!r}) makes one",
            ) from error
        return found

    def begin(self, manifest: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        """Make the folder, or go on in the one that is there.

        Args:
            manifest: what the study is: ``study``, ``arguments``, ``models``, ``parts``.
            session: when and with what it is run now; added to those before.

        Raises:
            StudyError: something else is there, or the same study with other arguments, with what
                differs.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StudyError(
                "A study is kept in a folder.",
                got=f"the file {self.path}",
                expected="a new folder, or that of the same study",
                instead=f"out={str(self.path.with_suffix('')) + '-study'!r}",
            )
        sessions: list[Any] = []
        if (self.path / _MANIFEST).exists():
            before = self.manifest()
            check_same(self.path, before, manifest)
            sessions = before["sessions"]
        elif self.path.is_dir() and any(
            entry.name != ".lock" and not entry.name.endswith(".part")
            for entry in self.path.iterdir()
        ):
            raise StudyError(
                f"{self.path} holds something else.",
                got=", ".join(sorted(p.name for p in self.path.iterdir())[:6]),
                expected="an empty or new folder, or that of the same study",
                instead="another out=",
            )
        whole = {"format": FORMAT, **manifest, "sessions": [*sessions, dict(session)]}
        # first of all: a folder with anything in it but this is none of ours
        self._write(self.path / _MANIFEST, json.dumps(whole, ensure_ascii=False, indent=1).encode())
        with _disk(self.path):
            self.parts.mkdir(exist_ok=True)
        for left in (*self.path.glob("*.part"), *self.parts.glob("*.part")):
            left.unlink(missing_ok=True)  # a process that was killed wrote these

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process work in the folder meanwhile.

        Raises:
            StudyError: another one does.
        """
        from filelock import FileLock, Timeout

        with _disk(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
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
        """The finished parts."""
        return {path.stem for path in self.parts.glob("*.parquet")}

    def write(self, key: str, frame: pd.DataFrame) -> None:
        """Keep a part.

        Raises:
            StudyError: the disk is full, or refuses; the parts before it stay.
        """
        held = io.BytesIO()
        frame.to_parquet(held, index=False, compression="zstd")
        self._write(self.parts / f"{key}.parquet", held.getvalue())

    def read(
        self, prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[pd.DataFrame]:
        """The finished parts whose names begin so, one after another in order.

        Raises:
            StudyError: one that is not whole.
        """
        for key in sorted(self.done()):
            if key.startswith(prefix):
                yield self.part(key, columns)

    def part(self, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One finished part.

        Raises:
            StudyError: it cannot be read.
        """
        import pandas as pd

        path = self.parts / f"{key}.parquet"
        try:
            return pd.read_parquet(path, columns=None if columns is None else list(columns))
        except (OSError, ValueError) as error:
            raise StudyError(
                f"A part of the study in {self.path} cannot be read.",
                got=f"{path.name}: {type(error).__name__}: {str(error)[:200]}",
                expected="a parquet file as the study wrote it",
                instead=f"delete {path} and run the study again: it does only what is missing",
            ) from error

    # ---------------------------------------------------------------- what all parts share

    def shared(self, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What all parts need: made once, read again later.

        Raises:
            StudyError: the disk is full, or the file is not whole.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file, save

        path = self.path / _SHARED
        if not path.exists():
            made = {name: t.detach().cpu().contiguous().clone() for name, t in make().items()}
            self._write(path, save(made))
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise StudyError(
                f"{path} cannot be read.",
                got=f"{type(error).__name__}: {error}",
                expected="a safetensors file as the study wrote it",
                instead=f"delete {self.path} and run the study again",
            ) from error

    def _write(self, path: Path, content: bytes) -> None:
        """A file, written aside and renamed."""
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        with _disk(self.path):
            try:
                with open(aside, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """What the disk refuses, in three parts."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise StudyError(
            "The disk is full." if full else f"{path} cannot be written.",
            got=f"{error.strerror} at {error.filename or path}",
            expected="room for the next part" if full else "a folder that may be written to",
            instead="make room, then the same call again: finished parts are whole, and only "
            "what is missing is done"
            if full
            else "another out=",
        ) from error


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a study that is another one.

    Raises:
        StudyError: with what differs.
    """
    if before["study"] != now["study"]:
        raise StudyError(
            f"{path} is the folder of another study.",
            got=before["study"],
            expected=now["study"],
            instead="another out=",
        )
    then = {**before["arguments"], **before["models"]}
    asked = json.loads(json.dumps({**now["arguments"], **now["models"]}))
    differ = [name for name in {**then, **asked} if then.get(name) != asked.get(name)]
    if differ:
        raise StudyError(
            f"{path} holds this study with other arguments.",
            got="; ".join(f"{name}: {_brief(then.get(name))}" for name in differ),
            expected="; ".join(f"{name}: {_brief(asked.get(name))}" for name in differ),
            instead="the same arguments to go on, or another out=",
        )


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"
