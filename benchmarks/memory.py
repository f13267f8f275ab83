"""What a capture takes in memory, and what reading one site of a large cache file takes.

    python -m benchmarks.memory

1. A single site of the demo model on a long prompt: peak resident memory on top of the model,
   against 1.3 times the bytes kept plus one layer's activations.
2. A cache file of 2 GB: what opening it and reading one site makes resident, and how long it takes.
3. A sweep of 900 rows under a memory budget of 1 GB: peak resident memory on top of the model, and
   without a budget.

Each measurement is a process of its own (Linux: it resets the peak through /proc).
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 2**20


def resident() -> int:
    """Bytes resident now."""
    return _status("VmRSS")


def peak() -> int:
    """Most bytes resident since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Start measuring the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def give_memory_back() -> None:
    """Return what was freed to the system, so that the next piece of work is seen to take it."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def one_layer_bytes(model: object, ids: list[int], layer: int) -> int:
    """All activations of one block that TransformerLens has hook points for, each counted once."""
    import warnings

    import torch

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hook points that are switched off hold nothing
        _, cache = model.run_with_cache(  # type: ignore[attr-defined]
            torch.tensor([ids]), names_filter=lambda name: name.startswith(f"blocks.{layer}.")
        )
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in cache.values()}
    return sum(sizes.values())


def capture_peak(length: int) -> None:
    """Measure one capture."""
    import torch

    import lensscope as ls

    model = ls.load_model()
    ids = (torch.arange(length) * 37 % 40000 + 100).tolist()
    site = ls.resid_post(15)
    ls.capture(model, ids[:16], site)
    before = resident()
    reset_peak()
    start = time.perf_counter()
    cache = ls.capture(model, ids, site)
    took = time.perf_counter() - start
    top = peak() - before
    kept = cache[site].nbytes
    bound = 1.3 * kept + one_layer_bytes(model, ids, 15)
    print(
        f"capture of {site} on {length} tokens: peak {top / MIB:.0f} MiB on top of the model; "
        f"kept {kept / MIB:.1f} MiB; bound (1.3 x kept + one layer) {bound / MIB:.0f} MiB: "
        f"{'holds' if top <= bound else 'DOES NOT HOLD'} ({took:.1f} s)"
    )
    sys.exit(top > bound)


def file_read(path: str) -> None:
    """Measure opening a large file and reading one site of it."""
    import safetensors.torch  # noqa: F401

    import lensscope as ls
    import lensscope.values.cache_file

    before = resident()
    reset_peak()
    start = time.perf_counter()
    cache = ls.Cache.load(path)
    opened, open_s = peak() - before, time.perf_counter() - start
    site = next(iter(cache))
    value = cache[site]
    took = time.perf_counter() - start
    size = Path(path).stat().st_size
    print(
        f"cache file of {size / 1e9:.2f} GB, {len(cache)} sites: opening makes {opened / MIB:.1f} "
        f"MiB resident ({open_s * 1000:.0f} ms), opening and reading one site of "
        f"{value.nbytes / MIB:.1f} MiB {(peak() - before) / MIB:.1f} MiB ({took * 1000:.0f} ms)"
    )


def make_file(path: str) -> None:
    """Write a cache of 2 GB: 200 sites of 10 MB."""
    import torch

    import lensscope as ls
    from lensscope.values.cache import Cache
    from lensscope.values.entries import hold

    model = ls.load_model()
    small = ls.capture(model, "Jurassic Park", ls.resid_post(0))
    tensor = torch.rand(1, 4, 625_000)
    positions = [tuple(range(4))]
    sites = [ls.Site(kind, n) for kind in ("resid_pre", "resid_post") for n in range(100)]
    entries = {site: hold(tensor.clone(), positions) for site in sites}
    Cache(entries, small.prompts, small.provenance).save(path)


def sweep_peak(what: str, budget: int) -> None:
    """Measure one sweep of 900 rows; a budget of 0 is none."""
    import torch

    import lensscope as ls

    model = ls.load_model()
    text = ls.Patchscope.token_identity().inspection.text
    torch.manual_seed(0)
    width = int(model.cfg.d_model)
    # Written at the last token, most of the prompt is run once; at the first, nothing of it is.
    position = -1 if what == "last" else 0
    sets = [[ls.resid_pre(n % 30).at(position).set(torch.randn(width))] for n in range(900)]
    options = {"positions": -1} if what == "last" else {"positions": ls.ALL, "top_k": 5}
    ls.run_many(model, text, sets[:40], **options)
    give_memory_back()
    before = resident()
    reset_peak()
    start = time.perf_counter()
    out = ls.run_many(model, text, sets, memory_budget=budget or None, **options)
    took, top = time.perf_counter() - start, peak() - before
    kept = "logits at the last token" if what == "last" else "the top 5 at every token"
    verdict = f": {'kept' if top <= budget else 'NOT KEPT'}" if budget else ""
    print(
        f"900 rows that write the {what} of {out.plan.prompt_tokens} tokens, {kept}, "
        + (f"budget {budget / 1e9:.0f} GB" if budget else "no budget")
        + f": peak {top / 1e9:.2f} GB on top of the model, {len(out.plan.chunks)} batch(es), "
        f"{took:.1f} s{verdict}"
    )


def main() -> None:
    """Run each measurement in a process of its own."""
    if len(sys.argv) > 1:
        globals()[sys.argv[1]](*(int(a) if a.isdigit() else a for a in sys.argv[2:]))
        return
    command = [sys.executable, "-m", "benchmarks.memory"]
    for length in ("1024", "4096"):
        subprocess.run([*command, "capture_peak", length], check=True)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "large.safetensors")
        subprocess.run([*command, "make_file", path], check=True)
        subprocess.run([*command, "file_read", path], check=True)
    for what in ("last", "first"):
        for budget in (0, 10**9):
            subprocess.run([*command, "sweep_peak", what, str(budget)], check=True)


if __name__ == "__main__":
    main()
