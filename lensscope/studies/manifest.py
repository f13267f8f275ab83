"""The manifest of a study: what it is, of which models, and when it was run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lensscope.errors import StudyError
from lensscope.store.json_text import SEAL, check_seal, conform, plain, read_json

FORMAT: Final = "lensscope-study-1"
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOLD: Final = {
    "format": str,
    "study": str,
    "arguments": dict,
    "models": {str: {"model": str}},
    "parts": int,
    "keys?": [str],
    "sessions": [
        {"started": str, "executor": str, "versions": {str: str}, "git": (str, None)},
    ],
}


def read_manifest(content: bytes) -> dict[str, Any]:
    """What a manifest says.

    Raises:
        ValueError: it is none, or not as it was written.
    """
    found: dict[str, Any] = read_json(content)
    conform(found, _TOLD, "the manifest")
    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format'][:80]!r}")
    if "keys" in found or SEAL in found:
        conform(found, {SEAL: str, "keys": [str]}, "the manifest")
        check_seal(found)
        keys = found["keys"]
        if len(set(keys)) != found["parts"] or not all(_KEY.fullmatch(key) for key in keys):
            raise ValueError(f"{found['parts']} parts, {len(keys)} names")
    return {name: held for name, held in found.items() if name != SEAL}


def identity(manifest: Mapping[str, Any]) -> str:
    """Which study it is: one of the same arguments and models has the same."""
    own = json.dumps([manifest[n] for n in ("study", "arguments", "models")], sort_keys=True)
    return hashlib.sha256(own.encode()).hexdigest()[:16]


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a study that is another one.

    Raises:
        StudyError: with what differs.
    """
    if before["study"] != now["study"]:
        raise StudyError(
            f"{path} is the folder of another study.",
            got=before["study"],
            expected=now["study"],
            instead="another out=",
        )
    then = {**before["arguments"], **before["models"]}
    asked = plain({**now["arguments"], **now["models"]})
    differ = [name for name in {**then, **asked} if then.get(name) != asked.get(name)]
    if differ:
        raise StudyError(
            f"{path} holds this study with other arguments.",
            got="; ".join(f"{name}: {_brief(then.get(name))}" for name in differ),
            expected="; ".join(f"{name}: {_brief(asked.get(name))}" for name in differ),
            instead="the same arguments to go on, or another out=",
        )


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"
