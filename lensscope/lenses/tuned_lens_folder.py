"""The folder format of the tuned-lens library: ``config.json`` and ``params.pt``.

The translators of the library are numbered by ``hidden_states`` of transformers: number ``i`` is
for the input of block ``i``, so there are as many as blocks, and each is ``h + W h + b``. The
config names the model and a hash of its unembedding.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from lensscope.errors import LensError
from lensscope.lenses.files import load_pickled
from lensscope.lenses.origin import Origin, unembed_hashes
from lensscope.lenses.translators import Translator
from lensscope.model.backend import Backend
from lensscope.store.files import aside, refusals, write
from lensscope.store.json_text import conform, json_text, read_json
from lensscope.values.sites import Site, resid_pre

_CONFIG: Final = "config.json"
_PARAMETERS: Final = "params.pt"
_SAFE: Final = "params.safetensors"


def read_folder(folder: Path, *, allow_pickle: bool) -> tuple[dict[Site, Translator], Origin]:
    """Translators and origin of a folder.

    Raises:
        LensError: files that are missing or not whole, pickle that was not allowed, or parameters
            that are not those of the config.
    """
    config = _config(folder)
    state = _parameters(folder, allow_pickle=allow_pickle)
    d, n_layers = config["d_model"], config["num_hidden_layers"]
    translators = {}
    for n in range(n_layers):
        weight, bias = state.get(f"{n}.weight"), state.get(f"{n}.bias")
        fits = (
            isinstance(weight, torch.Tensor)
            and weight.shape == (d, d)
            and (bias is None or isinstance(bias, torch.Tensor))
            and (bias is None or (bias.shape == (d,) and bool(bias.isfinite().all())))
            and bool(weight.isfinite().all())
        )
        if not fits:
            raise LensError(
                f"The parameters in {folder} are not those of its config.",
                got=f"layer {n}: {_brief(weight)} and {_brief(bias)}",
                expected=f"{n_layers} finite matrices of {d} x {d}",
                instead="the folder as it was published",
            )
        assert weight is not None
        matrix = weight.float()
        translators[resid_pre(n)] = Translator(
            matrix, None if bias is None else bias.float(), residual=True
        )
    origin = Origin.elsewhere(
        str(config.get("base_model_name_or_path") or ""),
        "tuned-lens library",
        d,
        n_layers,
        str(config.get("unembed_hash") or ""),
    )
    return translators, origin


def _config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    try:
        config: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
        conform(config, {}, "config.json")
        kind = config.get("lens_type", "linear_tuned_lens")
        if kind != "linear_tuned_lens":
            raise KeyError(f"lens_type {kind!r}")
        config["d_model"] = int(config["d_model"])
        config["num_hidden_layers"] = int(config["num_hidden_layers"])
        if min(config["d_model"], config["num_hidden_layers"]) < 1:
            raise ValueError(f"{config['num_hidden_layers']} layers of {config['d_model']}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LensError(
            f"{folder} is not a lens of the tuned-lens library.",
            got=f"{type(error).__name__}: {error}",
            expected="config.json of a linear tuned lens, and params.pt",
            instead="the folder as it was published, or a file of lens.save(path)",
        ) from error
    return config


def _parameters(folder: Path, *, allow_pickle: bool) -> dict[str, Any]:
    safe = folder / _SAFE
    if safe.is_file():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(safe))
        except (OSError, SafetensorError) as error:
            raise LensError(
                f"{safe} is not whole.",
                got=f"{type(error).__name__}: {error}",
                expected="a safetensors file",
                instead="the folder as it was published",
            ) from error
    state = load_pickled(folder / _PARAMETERS, allow_pickle=allow_pickle)
    if not isinstance(state, dict):
        raise LensError(
            f"{folder / 'params.pt'} does not hold parameters.",
            got=type(state).__name__,
            expected="tensors by name",
            instead="the folder as it was published",
        )
    # Some were saved with the module list's own name before each number.
    return {re.sub(r"^(layer_translators|probes)\.", "", str(k)): v for k, v in state.items()}


def write_folder(translators: Mapping[Site, Translator], folder: Path, backend: Backend) -> Path:
    """Write the translators of a model as such a folder.

    Raises:
        LensError: they lack the input of a block, are of folded weights, or something else is in
            the folder.
        FileError: a full disk, a refusal; what was there before stays.
    """
    missing = [n for n in range(backend.n_layers) if resid_pre(n) not in translators]
    more = [site for site in translators if site.kind != "resid_pre"]
    if missing or more or backend.processing != "raw":
        raise LensError(
            "The tuned-lens library has no place for this lens.",
            got=f"layers without a translator: {missing[:5]}, other sites: {more[:3]}, "
            f"{backend.processing} weights",
            expected="translators at every block's input and nowhere else, on raw weights",
            instead="ls.TunedLens.fit(model, texts), with sites=ls.resid_pre",
        )
    state = {}
    for n in range(backend.n_layers):
        translator = translators[resid_pre(n)]
        bias = translator.bias
        state[f"{n}.weight"] = translator.matrix.clone()
        state[f"{n}.bias"] = torch.zeros(backend.d_model) if bias is None else bias.clone()
    config = {
        "base_model_name_or_path": backend.name,
        "d_model": backend.d_model,
        "num_hidden_layers": backend.n_layers,
        "bias": True,
        "base_model_revision": None,
        "unembed_hash": unembed_hashes(backend)[0],
        "lens_type": "linear_tuned_lens",
    }
    held = io.BytesIO()
    torch.save(state, held)
    params, text = held.getvalue(), json_text(config)
    with refusals(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if new:
        with aside(folder, folder=True) as whole:
            (whole / _PARAMETERS).write_bytes(params)
            (whole / _CONFIG).write_text(text, encoding="utf-8")
    else:
        _check_same(folder, config)
        write(folder / _PARAMETERS, params)
    return folder


def _check_same(folder: Path, config: dict[str, Any]) -> None:
    """Refuse a folder whose config would have to be replaced too: two files cannot be replaced at
    once, and the parameters of one lens with the config of another would be a wrong lens.

    Raises:
        LensError: something else is there than a lens of the same model.
    """
    try:
        before = read_json((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        before = f"{type(error).__name__}: {error}"
    if before != config or (folder / _SAFE).exists():
        raise LensError(
            f"{folder} holds something else than a lens of this model.",
            got=", ".join(sorted(path.name for path in folder.iterdir())[:6])
            if not isinstance(before, dict)
            else f"a lens of {before.get('base_model_name_or_path')!r:.80}, in "
            + (_SAFE if (folder / _SAFE).exists() else _PARAMETERS),
            expected=f"no such folder yet, an empty one, or a {_PARAMETERS} of this model's lens",
            instead="another folder, or delete this one before",
        )


def _brief(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
