"""Patching by lensscope, beside TransformerLens' own modules and plain passes, in one process.

    python -m benchmarks.patching [--pairs 200] [--rounds 3] [--write]

On the demo model: all layers and positions and all heads of a pair, exactly; all heads and MLPs to
first order, beside one plain forward and backward; and what a data set of pairs takes. ``--write``
puts the tables into benchmarks/patching.md. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")  # of TransformerLens' own sweeps

import torch
from torch import Tensor

import lensscope as ls
from benchmarks.machine import describe
from benchmarks.memory import give_memory_back, peak, reset_peak, resident
from benchmarks.sweeps import Way, Work

CLEAN = "When Mary and John went home, John gave a drink to"
SWAPPED = "When John and Mary went home, Mary gave a drink to"
METRIC = ls.logit_difference(" Mary", " John")
COMPONENTS = (ls.head_out, ls.mlp_out)


def exact(model: Any, rounds: int) -> Work:
    """Every layer and position, and every head, of one pair."""
    from transformer_lens import patching as theirs

    ids = [model.tokenizer.encode(t, add_special_tokens=False) for t in (CLEAN, SWAPPED)]
    good, bad = (model.tokenizer.encode(t)[-1] for t in (" Mary", " John"))
    batch = torch.tensor(ids)

    def metric(logits: Tensor) -> Tensor:
        return logits[0, -1, good] - logits[0, -1, bad]

    def transformer_lens() -> Tensor:
        with torch.no_grad():
            _, cache = model.run_with_cache(batch[:1])
            resid = theirs.get_act_patch_resid_pre(model, batch[1:], cache, metric)
            heads = theirs.get_act_patch_attn_head_out_all_pos(model, batch[1:], cache, metric)
        return torch.cat([resid.flatten(), heads.flatten()])

    def lensscope() -> Tensor:
        resid = ls.activation_patching(model, CLEAN, SWAPPED, ls.resid_pre, METRIC)
        heads = ls.activation_patching(model, CLEAN, SWAPPED, ls.head_out, METRIC, positions=ls.ALL)
        found = [one.data["metric"].values.ravel() for one in (resid, heads)]
        return torch.cat([torch.tensor(values, dtype=torch.float32) for values in found])

    layers, width, heads = model.cfg.n_layers, len(ids[0]), model.cfg.n_heads
    return Work(
        f"Activation patching: {layers} layers x {width} positions, and {layers} x {heads} heads",
        [
            Way("transformer_lens.patching, clean run included", transformer_lens, rounds),
            Way("activation_patching, twice", lensscope, rounds),
        ],
    )


def first_order(model: Any, rounds: int) -> Work:
    """All heads and MLPs, beside one plain forward and backward."""
    ids = torch.tensor([model.tokenizer.encode(SWAPPED, add_special_tokens=False)])
    clean = torch.tensor([model.tokenizer.encode(CLEAN, add_special_tokens=False)])
    good, bad = (model.tokenizer.encode(t)[-1] for t in (" Mary", " John"))

    def metric(logits: Tensor) -> Tensor:
        return logits[0, -1, good] - logits[0, -1, bad]

    def plain() -> None:
        """To the embeddings only: no gradients of weights are computed."""
        held: list[Tensor] = []

        def start(embedded: Tensor, hook: Any) -> Tensor:
            held.append(embedded.detach().requires_grad_())
            return held[0]

        with torch.enable_grad(), model.hooks([("hook_embed", start)]):
            value = metric(model(ids))
        torch.autograd.grad(value, held)

    def theirs() -> None:
        from transformer_lens.tools.analysis import attribution_patch

        attribution_patch(model, clean, ids, metric)

    def lensscope() -> None:
        ls.attribution_patching(model, CLEAN, SWAPPED, COMPONENTS, METRIC, positions=ls.ALL)

    ways = [Way("one forward and one backward, plain", plain, 2 * rounds)]
    try:
        theirs()
        name = "transformer_lens.tools.analysis.attribution_patch, each position"
        ways.append(Way(name, theirs, rounds))
    except ImportError:
        pass
    ways.append(Way("attribution_patching, two forwards and one backward", lensscope, 2 * rounds))
    n = model.cfg.n_layers * (1 + model.cfg.n_heads)
    return Work(f"Attribution patching of all {n} heads and MLPs of a pair", ways)


def many(model: Any, n: int) -> list[str]:
    """What data sets of pairs take, and how much more a larger one takes."""
    lines = [
        "### Data sets of pairs (indirect object identification)",
        "",
        "| work | pairs | seconds | peak MiB on top of the model |",
        "| --- | ---: | ---: | ---: |",
    ]
    works: list[tuple[str, Callable[[Any], Any]]] = [
        (
            "attribution_patching, heads and MLPs",
            lambda p: ls.attribution_patching(
                model, p.clean, p.corrupted, COMPONENTS, p.metric, positions=ls.ALL
            ),
        ),
        (
            "activation_patching, MLPs, all positions together",
            lambda p: ls.activation_patching(
                model, p.clean, p.corrupted, ls.mlp_out, p.metric, positions=ls.ALL
            ),
        ),
        (
            "activation_patching, resid_pre at five named groups of tokens",
            lambda p: ls.activation_patching(
                model, p.clean, p.corrupted, ls.resid_pre, p.metric, positions=p.groups
            ),
        ),
    ]
    for name, work in works:
        for size in (n // 10, n):
            pairs = ls.pairs.ioi(model, size)
            give_memory_back()
            before = resident()
            reset_peak()
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pairs that the model gets wrong
                work(pairs)
            seconds = time.perf_counter() - start
            lines.append(f"| {name} | {size} | {seconds:.1f} | {(peak() - before) / 2**20:.0f} |")
            print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    """Time everything, print it, and write it down if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    lines = ["# Patching, timed side by side", "", *describe(), "", "The demo model, float32.", ""]
    print(*lines, sep="\n", flush=True)
    model = ls.load_model()
    for make in (exact, first_order):
        work = make(model, args.rounds)
        work.time()
        if make is exact:
            work.check()
        table = list(work.lines())
        print(*table, sep="\n", flush=True)
        lines += table
    lines += many(model, args.pairs)
    if args.write:
        text = "\n".join([*lines, "Made by `python -m benchmarks.patching --write`.", ""])
        (Path(__file__).parent / "patching.md").write_text(text)


if __name__ == "__main__":
    main()
