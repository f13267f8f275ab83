"""GGUF files: their weights made floats, converted once for each content."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lensscope.errors import ModelError
from lensscope.store.kept import made_once, models_folder, seal


def gguf_folder(path: Path) -> Path:
    """The folder of a GGUF file's model, converted if one of its content is not there yet.

    Raises:
        ModelError: transformers cannot read it, or the cache folder cannot be written.
    """

    def make(target: Path) -> None:
        print(f"{path.name} is read and converted, once.", file=sys.stderr)
        convert(path, target)

    place = models_folder() / f"{path.stem[:80]}-{checksum(path)[:16]}"
    return made_once(place, make)


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            total.update(block)
    return total.hexdigest()


def convert(path: Path, target: Path) -> None:
    """Write the model and tokenizer of a GGUF file as Hugging Face's own files, in float32."""
    with calm():
        hf_model, tokenizer = from_gguf(path, torch.float32)
        hf_model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    seal(target)


def from_gguf(path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Model and tokenizer of a GGUF file, its weights made floats.

    Raises:
        ModelError: transformers cannot read it.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        hf_model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=dtype, attn_implementation="eager"
        )
    except Exception as error:  # gguf and transformers fail in many ways
        raise ModelError(
            f"{path} cannot be loaded.",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            expected="a whole GGUF file of an architecture that transformers reads",
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
