"""Adapter folders of PEFT, read by its own classes: plain LoRA, safetensors only."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from lensscope import checks
from lensscope.errors import LensError
from lensscope.model.adapters import Adapter, LowRank
from lensscope.store.json_text import read_json

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
_PREFIX: Final = "base_model.model."
_PLAIN: Final = frozenset(
    (
        *("peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
        *("inference_mode", "task_type", "r", "target_modules", "exclude_modules", "lora_alpha"),
        *("lora_dropout", "fan_in_fan_out", "use_rslora", "layers_to_transform", "layers_pattern"),
        *("rank_pattern", "alpha_pattern", "runtime_config"),
    )
)
"""Settings of plain LoRA; whichever other is set asks for something else."""
_STARTS: Final = (True, False, "gaussian", "eva")
"""Ways to start that leave the model's own weights as they are."""


def read_adapter(folder: Path) -> Adapter:
    """The adapter that PEFT saved in a folder.

    Raises:
        LensError: PEFT is not installed, files that are missing, damaged or pickled, or something
            else than plain LoRA.
    """
    with checks.needing("readers", "Adapters need the extra readers.", "peft", LensError):
        import peft
        from peft.utils import load_peft_weights
        from peft.utils.other import get_pattern_key
    _check_files(folder)
    try:
        told = read_json((folder / CONFIG).read_text(encoding="utf-8"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that it does not know, which we refuse
            config: Any = peft.PeftConfig.from_pretrained(str(folder))
            weights: Mapping[str, Tensor] = load_peft_weights(str(folder), device="cpu")
            usual: Mapping[str, Any] = peft.LoraConfig().to_dict()
    except Exception as error:  # PEFT, safetensors and the file system fail in many ways
        raise LensError(
            f"{folder} holds no whole adapter.",
            got=f"{type(error).__name__}: {error}"[:300],
            expected=f"{CONFIG} and {WEIGHTS}, as PEFT saved them",
            instead="the folder as it was published",
        ) from error
    _check_plain(folder, told, config, usual)
    matrices: dict[str, dict[str, Tensor]] = {}
    for key, tensor in weights.items():
        name, _, which = key.removeprefix(_PREFIX).rpartition(".lora_")
        matrices.setdefault(name, {})[which] = tensor
    parts = {}
    for name, held in matrices.items():
        rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern, name), config.r)
        alpha = config.alpha_pattern.get(
            get_pattern_key(config.alpha_pattern, name), config.lora_alpha
        )
        down, up = held.get("A.weight"), held.get("B.weight")
        shapes = {which: tuple(tensor.shape) for which, tensor in held.items()}
        if len(held) != 2 or down is None or up is None or [len(down), up.shape[-1]] != [rank] * 2:
            raise LensError(
                f"The weights of the adapter in {folder} are not those of its configuration.",
                got=f"{name or 'outside of modules'}: {shapes}",
                expected=f"A.weight and B.weight of a linear module, of rank {rank}",
                instead="an adapter of plain LoRA on linear modules, as PEFT saved it",
            )
        times = alpha / (math.sqrt(rank) if config.use_rslora else rank)
        # in float32 whatever the file has, as PEFT runs it
        parts[name] = LowRank(down.float(), up.float(), times)
    if not parts or not all(
        p.down.isfinite().all() and p.up.isfinite().all() for p in parts.values()
    ):
        raise LensError(
            f"The weights of the adapter in {folder} are none.",
            got="NaN or infinity" if parts else "no weights",
            expected="finite numbers",
            instead="the folder as it was published",
        )
    return Adapter(parts, str(config.base_model_name_or_path or ""))


def _check_files(folder: Path) -> None:
    lacking = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if lacking:
        there = sorted(path.name for path in folder.iterdir())
        pickles = [name for name in there if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
        raise LensError(
            f"{folder} holds no adapter in safetensors.",
            got=f"no {', '.join(lacking)}; "
            + (f"{', '.join(pickles)}: a pickle, which could run any code" if pickles else "")
            + ("" if pickles else f"{', '.join(there[:6]) or 'an empty folder'}"),
            expected=f"{CONFIG} and {WEIGHTS}",
            instead="model.save_pretrained(folder) of a current PEFT, which writes safetensors",
        )


def _check_plain(folder: Path, told: Any, config: Any, usual: Mapping[str, Any]) -> None:
    """Refuse whatever else than plain LoRA a configuration asks for, known here or not."""
    asked = {
        name: value
        for name, value in (told if isinstance(told, dict) else {}).items()
        if name not in _PLAIN and value and value != usual.get(name)
    }
    if told.get("init_lora_weights") in _STARTS:
        asked.pop("init_lora_weights", None)
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind != "LORA" or asked:
        shown = ", ".join(f"{name}={value!r}" for name, value in asked.items())
        raise LensError(
            "The adapter is something else than plain LoRA.",
            got=f"{kind}" + (f" with {shown}" if shown else "") + f", in {folder}",
            expected="LORA of linear modules (ranks and alphas by pattern and rsLoRA included), "
            "without DoRA, biases or other trained modules",
            instead="PeftModel.merge_and_unload(), saved as a model of its own, and "
            "Patchscope(…, model=ls.load_model(folder))",
        )
