"""The machine that a benchmark ran on, in words."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil
import torch


def describe() -> list[str]:
    """What a reader needs to know to compare."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    versions = [f"{n} {version(n)}" for n in ("torch", "transformer-lens", "transformers")]
    return [
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"{platform.system()}, Python {platform.python_version()}, {', '.join(versions)}; "
        f"{torch.get_num_threads()} threads, no GPU used.",
        f"Load of the machine before: {os.getloadavg()[0]:.2f}.",
    ]
