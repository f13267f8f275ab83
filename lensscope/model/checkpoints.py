"""Models and tokenizers as Hugging Face has them: of a folder, a ``.gguf`` file, a Hub id."""

from __future__ import annotations

import difflib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from lensscope.errors import LensscopeError, ModelError, ModelNotFoundError
from lensscope.model.demo_model import DEMO_NAME, demo_folder
from lensscope.model.gguf_files import gguf_folder
from lensscope.model.known_models import known_names
from lensscope.store.kept import models_folder

_HUB_TIMEOUT_S: Final = 5.0
_WEIGHT_FILES: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


_ONE_AT_A_TIME: Final = threading.RLock()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A Hugging Face model with its tokenizer, and what they are called."""

    hf_model: Any
    tokenizer: Any
    title: str


def opened(name: str | Path | None, dtype: torch.dtype) -> Checkpoint:
    """What a name leads to; ``None`` is the demo model.

    Raises:
        ModelNotFoundError: nowhere.
        ModelError: to something that cannot be loaded.
    """
    if name is None:
        return Checkpoint(*_from_pretrained(str(demo_folder()), dtype, local=True), DEMO_NAME)
    try:
        path = Path(name).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long, or of no user
        raise _not_found(str(name), f"{str(name)[:80]!r}: {error}") from error
    if is_file and path.suffix == ".gguf":
        folder = gguf_folder(path)
        return Checkpoint(*_from_pretrained(str(folder), dtype, local=True), path.stem)
    if is_folder:
        if not (path / "config.json").is_file():
            raise ModelNotFoundError(
                "The folder holds no model.",
                got=f"{path}: {', '.join(sorted(p.name for p in path.iterdir())[:6]) or 'empty'}",
                expected="config.json, weights and tokenizer files",
                instead="model.save_pretrained(folder); tokenizer.save_pretrained(folder)",
            )
        return Checkpoint(*_from_pretrained(str(path), dtype, local=True), path.name)
    text = str(name)
    if is_file:
        raise ModelNotFoundError(
            "This file is no model.",
            got=text,
            expected="a .gguf file, or a folder with config.json, weights and tokenizer files",
            instead="ls.load_model(folder)",
        )
    if path.is_absolute() or text.startswith((".", "~")) or path.suffix == ".gguf":
        raise ModelNotFoundError(
            "There is no such file or folder.",
            got=text,
            expected="an existing folder or .gguf file",
            instead="the right path" + ("" if path.is_absolute() else f", from {Path.cwd()}"),
        )
    return Checkpoint(*_from_pretrained(text, dtype, local=not _on_hub(text)), text)


def _from_pretrained(name: str, dtype: torch.dtype, *, local: bool) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"dtype": dtype, "local_files_only": local}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
        try:
            hf_model = AutoModelForCausalLM.from_pretrained(
                name, attn_implementation="eager", **options
            )
        except (ValueError, ImportError, AttributeError, TypeError) as error:
            if not any(word in str(error).lower() for word in ("eager", "attention", "attn")):
                raise
            # An architecture that has no eager attention is read as it is.
            hf_model = AutoModelForCausalLM.from_pretrained(name, **options)
    except Exception as error:  # transformers and safetensors fail in many ways
        raise ModelError(
            f"{name} cannot be loaded.",
            got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            expected="a causal language model with whole weights and a tokenizer",
            instead=_way_out(name, error),
        ) from error
    return hf_model, tokenizer


def _way_out(name: str, error: Exception) -> str:
    if models_folder() in Path(name).parents:
        return f"delete {name}, and it is made again"
    if type(error).__name__ == "SafetensorError":
        return f"the weights are damaged: delete the files of {name}, and fetch or save them again"
    return "another model, or the missing files or packages"


def text_part(hf_model: Any) -> Any:
    """The language model of a model that also takes images or sound, which shares its weights.

    What has no such part, or has it under no known name, is given back as it is.
    """
    from transformers import AutoModelForCausalLM

    config = hf_model.config.get_text_config()
    decoder = getattr(getattr(hf_model, "model", None), "language_model", None)
    known = type(config) in AutoModelForCausalLM._model_mapping
    if config is hf_model.config or decoder is None or not known:
        return hf_model
    with torch.device("meta"):
        text = AutoModelForCausalLM.from_config(config)
    if type(getattr(text, "model", None)) is not type(decoder):
        return hf_model
    text.model, text.lm_head = decoder, hf_model.lm_head
    text.config.architectures = [type(text).__name__]
    text.generation_config = hf_model.generation_config
    return text.eval()


@contextmanager
def failing_as_model_error(title: str) -> Iterator[None]:
    """Whatever fails within is a `ModelError`, with what failed as its cause.

    Raises:
        ModelError: something failed.
    """
    try:
        yield
    except LensscopeError:
        raise
    except Exception as error:  # TransformerLens fails in as many ways as there are architectures
        raise ModelError(
            f"TransformerLens cannot load {title}.",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            expected="an architecture that TransformerLens supports, in one of its usual forms",
            instead="another model; `lensscope models` lists the architectures",
        ) from error


@contextmanager
def nothing_installed() -> Iterator[None]:
    """Within, no process that installs packages can be started.

    TransformerLens runs ``pip install torchvision`` for models that take images, which may replace
    the user's torch.
    """

    def refuse(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        words = args.split() if isinstance(args, str) else [str(a) for a in args]
        if "install" in words:
            self.returncode, self._child_created = -1, False  # what its own finalizer asks for
            raise ModelError(
                "A library tried to install packages while a model was loaded.",
                got=" ".join(words)[:200],
                expected="an environment that nothing changes",
                instead="install them yourself, if the model needs them",
            )
        start(self, args, *rest, **options)

    with _ONE_AT_A_TIME:
        start = subprocess.Popen.__init__
        subprocess.Popen.__init__ = refuse  # type: ignore[method-assign]
        try:
            yield
        finally:
            subprocess.Popen.__init__ = start  # type: ignore[method-assign]


def _on_hub(name: str) -> bool:
    """Whether a Hub id must be fetched (``True``) or lies in the local cache (``False``).

    Raises:
        ModelNotFoundError: neither; says so within seconds, also without a network.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        if any(isinstance(try_to_load_from_cache(name, f), str) for f in _WEIGHT_FILES):
            return False
        if HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
        return True
    except (RepositoryNotFoundError, HFValidationError) as error:
        got = f"{name!r}, which the Hub does not know (or does not show without a token)"
        raise _not_found(name, got) from error
    except Exception as error:  # the network's errors are of many libraries
        got = (
            f"{name!r}, not in the local cache, and no answer from the Hub ({type(error).__name__})"
        )
        raise _not_found(name, got) from error


def _not_found(name: str, got: str) -> ModelNotFoundError:
    known = known_names()
    short = {n.split("/")[-1].lower(): n for n in known}
    wanted = name.split("/")[-1].lower()
    close = difflib.get_close_matches(wanted, short, n=3, cutoff=0.6)
    near = list(dict.fromkeys([short[n] for n in close] + [short[n] for n in short if wanted in n]))
    return ModelNotFoundError(
        "There is no such model here.",
        got=got,
        expected="None for the demo model, a Hub id, a folder, or a .gguf file"
        + (f"; near names: {', '.join(near[:5])}" if near else ""),
        instead="ls.load_model(), which works offline once the demo model is there; or a folder "
        "made where there is a network: hf download NAME --local-dir FOLDER",
    )
