"""Files: written aside and renamed, so that what has its name is whole; and paths.

What a process that was killed left aside is swept by the next write in the same folder. Nothing is
swept whose name was not given here.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lensscope.errors import FileError, LensscopeError

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a disk that is full."""
ROOM: Final = re.compile(r"\.lensscope-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part")
"""The names of the folders in which files are written before they are renamed."""
_LONGEST: Final = 255
"""Bytes of a file's name, as file systems allow them."""
_OLD: Final = 24 * 3600.0
"""Seconds after which what another machine left is taken for left."""


def path_of(path: Any) -> Path:
    """A path as it was given, with ``~`` as the user's folder.

    Raises:
        FileError: no path.
    """
    try:
        found = os.fspath(path)
        if not isinstance(found, str) or not found or "\0" in found:
            raise TypeError(found)
        place = Path(found).expanduser()
        if max(map(len, map(os.fsencode, place.parts)), default=0) > _LONGEST:
            raise ValueError(found)
        return place
    except (TypeError, RuntimeError, ValueError) as error:
        raise FileError(
            "This is not the path of a file or folder.",
            got=f"{type(path).__name__}: {repr(path)[:80]}",
            expected="a text that is not empty, or a pathlib.Path",
            instead='"results/out.html", or Path("results") / "out.html"',
        ) from error


def write(path: str | Path, content: str | bytes, *, sweeps: bool = True) -> Path:
    """Write a file; what was there is replaced only once all is written.

    Args:
        path: where to. A link stays one, and what it leads to is written.
        content: a text is written in UTF-8, and half a character pair as ``\\udcXX``, which is what
            JSON wants too.
        sweeps: look for what killed processes left in the folder.

    Raises:
        FileError: no path, a folder, a folder that is missing, a full disk, a refusal.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    place = path_of(path)
    if place.exists() and not place.is_file() and not place.is_dir():
        with refusals(place), open(place, "wb") as stream:  # a pipe or a device is never replaced
            stream.write(data)
        return place
    with aside(place, sweeps=sweeps) as new, open(new, "wb") as file:
        file.write(data)
    return place


@contextmanager
def aside(path: str | Path, *, folder: bool = False, sweeps: bool = True) -> Iterator[Path]:
    """Where to write what shall be at ``path``; renamed if nothing is raised.

    Args:
        path: where it shall be.
        folder: a folder is written, where there is none yet or an empty one.
        sweeps: look for what killed processes left in the folder.

    Raises:
        FileError: as `write` does.
    """
    place = path_of(path)
    with refusals(place):
        real = Path(os.path.realpath(place))
        _check(place, real, folder=folder)
        if sweeps:
            sweep(real.parent)
        room = real.parent / f".lensscope-{_here()}-{os.getpid()}-{secrets.token_hex(4)}.part"
        room.mkdir(mode=0o700)
    try:
        with refusals(place):
            new = room / real.name
            if folder:
                new.mkdir()
                mode = new.stat().st_mode
            else:
                new.touch()
                mode = (real if real.exists() else new).stat().st_mode
            yield new
            for file in new.iterdir() if folder else [new]:
                with open(file, "rb+") as written:
                    os.fsync(written.fileno())
            os.chmod(new, stat.S_IMODE(mode))
            os.replace(new, real)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _check(path: Path, real: Path, *, folder: bool) -> None:
    """Refuse what cannot be written, before anything is made.

    Raises:
        FileError: with what is in the way.
    """
    if real.is_dir() and not (folder and not any(real.iterdir())):
        raise FileError(
            f"{path} is a folder.",
            got="a folder with something in it" if folder else "a folder",
            expected="a new folder, or an empty one" if folder else "the path of a file",
            instead=repr(str(path / "name")),
        )
    if not real.parent.is_dir():
        there = real.parent.exists()
        raise FileError(
            f"{path} cannot be written.",
            got=f"{real.parent} is a file" if there else f"there is no folder {real.parent}",
            expected="a path in a folder that is there",
            instead="another path" if there else "make the folder first, or name another",
        )
    if real.exists() and not os.access(real, os.W_OK):
        raise FileError(
            f"{path} cannot be written.",
            got="a file that is protected against writing",
            expected="a new file, or one that may be replaced",
            instead="another path",
        )


def room_for(path: Path, what: str, instead: str, error: type[LensscopeError]) -> None:
    """Make the folder that a file goes into, and refuse a path that is a folder itself.

    Raises:
        LensscopeError: of the kind asked for: a folder.
        FileError: the disk refuses.
    """
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.is_dir()
    if folder:
        raise error(what, got=f"the folder {path}", expected="the path of a file", instead=instead)


@contextmanager
def refusals(path: str | Path) -> Iterator[None]:
    """What the system refuses, in three parts.

    Raises:
        FileError: the disk is full, or the path cannot be written.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        got = f"{error.strerror or error} at {error.filename or path}"
        raise refused(path, error.errno, got) from error


def refused(path: str | Path, number: int | None, got: str) -> FileError:
    """The error for what the system refused, by its number."""
    full = number in FULL
    made = FileError(
        "The disk is full." if full else f"{path} cannot be written.",
        got=got,
        expected="room for the whole file" if full else "a folder that may be written to",
        instead="make room, then the same call again; what was there before is still there"
        if full
        else "another path",
    )
    made.errno = number
    return made


# -------------------------------------------------------------------- what killed writes left


def sweep(folder: Path) -> None:
    """Delete what processes that are gone left aside in a folder."""
    try:
        with os.scandir(folder) as found:
            left = [Path(entry.path) for entry in found if ROOM.fullmatch(entry.name)]
    except OSError:
        return
    for room in left:
        if _is_left(room):
            shutil.rmtree(room, ignore_errors=True)


def _is_left(room: Path) -> bool:
    """Whether nobody writes there any more."""
    import psutil

    match = ROOM.fullmatch(room.name)
    assert match is not None
    try:
        changed = room.stat().st_mtime
        if match[1] != _here():  # of another machine nothing else is known
            return time.time() - changed > _OLD
        process = psutil.Process(int(match[2]))
        gone = process.status() == psutil.STATUS_ZOMBIE
        return gone or process.create_time() > changed + 2  # another one with its number
    except psutil.NoSuchProcess:
        return True
    except (OSError, psutil.Error):
        return False


@functools.cache
def _here() -> str:
    """This machine since it was started, and its numbering of processes, which a container has of
    its own."""
    parts = [socket.gethostname()]
    if sys.platform == "linux":
        try:
            parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
            parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
        except OSError:
            pass
    return f"{zlib.crc32('|'.join(parts).encode()):08x}"
