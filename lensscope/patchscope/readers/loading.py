"""Readers by what lies in their folder or file."""

from __future__ import annotations

from typing import Any

from lensscope.errors import LensError
from lensscope.lenses.files import refuse_pickle
from lensscope.model.adapter_files import CONFIG as ADAPTER
from lensscope.patchscope.readers.autoencoders import load_autoencoder, sides
from lensscope.patchscope.readers.given import Given
from lensscope.patchscope.readers.oracle_lenses import RUN, load_oracle_lens
from lensscope.patchscope.readers.oracles import CONFIG as ORACLE
from lensscope.patchscope.readers.oracles import load_oracle
from lensscope.patchscope.readers.saved import load_saved
from lensscope.patchscope.readers.selfie_adapters import load_selfie


def loaded(given: Given) -> dict[str, Any]:
    """The fields of the patchscope that lies in a folder or file, by which files there are.

    Raises:
        LensError: nothing of a kind that is known, or something that is not whole.
        BasisError: it is for another model.
        PromptError: its prompt cannot be made of the model's tokens.
    """
    path = given.path
    if path.is_dir():
        found = sides(path)
        if found is not None:
            return load_autoencoder(given, *found)
        if (path / ORACLE).exists():
            return load_oracle(given)
        if (path / RUN).exists():
            return load_oracle_lens(given)
        if (path / ADAPTER).exists():  # an oracle of before there was a configuration
            return load_oracle(given)
        raise _unknown(given, ", ".join(sorted(p.name for p in path.iterdir())[:6]) or "empty")
    if not path.is_file():
        raise _unknown(given, "no such file or folder")
    if path.suffix == ".safetensors":
        refuse_pickle(path)
        return load_saved(given) if _is_own(given) else load_selfie(given)
    if path.suffix in (".pt", ".pth"):
        return load_selfie(given)
    raise _unknown(given, f"a file with the ending {path.suffix!r}")


def _is_own(given: Given) -> bool:
    """Whether `lensscope` wrote a safetensors file; what cannot be read is left to others."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(given.path, framework="pt") as file:
            return "lensscope" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _unknown(given: Given, got: str) -> LensError:
    return LensError(
        "There is no reader here.",
        got=f"{given.path}: {got}",
        expected="a folder of an Activation Oracle (ao_config.json), an oracle lens (run.json) or "
        "a natural-language autoencoder (nla_meta.yaml), a SelfIE adapter (.safetensors), or a "
        "file that scope.save(path) wrote",
        instead="the folder as it was published: hf download NAME --local-dir FOLDER",
    )
