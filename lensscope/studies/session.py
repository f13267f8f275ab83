"""When, where and with which versions a study is run."""

from __future__ import annotations

import datetime
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

_VERSIONS: Final = (
    "lensscope",
    "transformer-lens",
    "transformers",
    "torch",
    "numpy",
    "pandas",
    "scikit-learn",
    "rouge-score",
    "ray",
)


def session(executor: str) -> dict[str, Any]:
    """What a manifest keeps of a run.

    Args:
        executor: where parts are run.
    """
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "executor": executor,
        "versions": versions,
        "git": _revision(),
    }


def _revision() -> str | None:
    """The git revision of the folder that the study is run in, where there is one."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
