"""Models that are converted once and kept in the user's cache folder.

A conversion is written aside and renamed, so an interrupted one leaves nothing half-made; a lock
lets one process do it while others wait. What is kept is sealed with a checksum of each file, so
that one that was damaged is made again instead of being believed.
"""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lensscope.errors import FileError, ModelError
from lensscope.store.files import aside, write
from lensscope.store.json_text import json_text, read_json

_SEAL: Final = "lensscope.json"


def cache_folder() -> Path:
    """Where converted models are kept: ``LENSSCOPE_CACHE``, or the user's cache folder.

    Raises:
        ModelError: the user has no home folder.
    """
    import platformdirs

    chosen = os.environ.get("LENSSCOPE_CACHE")
    with _writable("the user's cache folder"):
        return (
            Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("lensscope"))
        )


def models_folder() -> Path:
    """The folder of all converted models."""
    return cache_folder() / "models"


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made by ``make`` if it is not there yet, or is not what was sealed.

    Raises:
        ModelError: the cache folder cannot be written.
    """
    from filelock import FileLock

    if folder.is_dir() and _is_whole(folder):
        return folder
    models = folder.parent
    with _writable(models):
        models.mkdir(parents=True, exist_ok=True)
        lock = FileLock(models / f"{folder.name}.lock")
        lock.acquire()
    try:
        if folder.is_dir():
            if _is_whole(folder):
                return folder
            print(f"{folder} is damaged: making it again.", file=sys.stderr)
            with _writable(models):
                shutil.rmtree(folder)
        with _writable(models), aside(folder, folder=True) as new:
            make(new)
    finally:
        lock.release()
    return folder


def seal(folder: Path) -> None:
    """Note what each file of a folder holds."""
    noted = {path.name: _checksum(path) for path in sorted(folder.iterdir())}
    write(folder / _SEAL, json_text(noted), sweeps=False)


def _is_whole(folder: Path) -> bool:
    """Whether each file is as it was sealed; a folder without a seal is believed."""
    try:
        noted = read_json((folder / _SEAL).read_text(encoding="utf-8"))
        return all(_checksum(folder / name) == found for name, found in noted.items())
    except FileNotFoundError:
        return not (folder / _SEAL).exists()
    except (OSError, ValueError, AttributeError):
        return False


def _checksum(path: Path) -> list[int]:
    """Size and CRC-32: a quarter of a second for the demo model."""
    size = path.stat().st_size
    if not size:
        return [0, 0]
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
    ):
        return [size, zlib.crc32(view)]


@contextmanager
def _writable(folder: Path | str) -> Iterator[None]:
    """Say which variable names another folder where this one cannot be used."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not isinstance(error, OSError) and "home directory" not in str(error):
            raise
        told = error.__cause__ if isinstance(error, FileError) else error
        raise ModelError(
            "The folder of converted models cannot be used.",
            got=f"{folder}: {getattr(told, 'strerror', None) or told or error}",
            expected="a folder that can be written, with room for the model",
            instead="set LENSSCOPE_CACHE to such a folder",
        ) from error
