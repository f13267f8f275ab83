"""Lenses compared by lensscope, beside reading layer by layer with hooks, in one process.

    python -m benchmarks.lenses [--prompts 500] [--plain 8] [--write]

Four lenses read the last token but one of prompts of 31 tokens at all 30 layers of the demo model.
The plain ways are run on the first prompts only, because they take minutes for each ten, and their
time is multiplied; the numbers of all ways are checked to be the same on those prompts. ``--write``
puts the table into benchmarks/lenses.md. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lensscope as ls
from benchmarks.machine import describe
from lensscope.lenses.corpus import pieces, python_docs
from lensscope.lenses.linear import Translator

LENGTH = 31
READ = LENGTH - 2
IDENTITY = "cat -> cat\n1135 -> 1135\nhello -> hello\n?"


def random_lens(model: Any, kind: Any, name: str, **rest: Any) -> Any:
    """A lens with random translators: what is in them does not matter to the time."""
    blank = ls.TunedLens.identity(model)
    generator = torch.Generator().manual_seed(len(name))
    d = int(model.cfg.d_model)
    made = {
        site: Translator(
            torch.randn(d, d, generator=generator) / d,
            torch.randn(d, generator=generator),
            residual=kind is ls.TunedLens,
        )
        for site in blank.translators
    }
    return kind(made, blank.origin, name=name, **rest)


def numbers(logits: Tensor, final: Tensor) -> tuple[float, float, float]:
    """precision@1, surprisal and KL of one reading."""
    log_q, log_p = logits.log_softmax(-1), final.log_softmax(-1)
    best = int(log_q.argmax())
    kl = float((log_p.exp() * (log_p - log_q)).sum())
    return float(best == int(log_p.argmax())), -float(log_p[best]), kl


def head(model: Any, state: Tensor) -> Tensor:
    """The model's own final norm and unembedding."""
    return model.unembed(model.ln_final(state[None, None]))[0, 0]


def identity_logits(model: Any, inspection: Tensor, layer: int, state: Tensor) -> Tensor:
    """One forward of the inspection prompt with a state written at its last token."""

    def write(tensor: Tensor, hook: Any) -> Tensor:
        tensor = tensor.clone()
        tensor[0, -1] = state
        return tensor

    hooks = [(f"blocks.{layer}.hook_resid_post", write)]
    return model.run_with_hooks(inspection, fwd_hooks=hooks, return_type="logits")[0, -1]


def plain(model: Any, prompts: list[list[int]], linear: list[Any], *, cached: bool) -> Any:
    """Layer by layer, one prompt after the other, with TransformerLens' own hooks.

    Args:
        model: the demo model.
        prompts: token ids.
        linear: the lenses besides logit lens and token identity.
        cached: one forward for the states of all layers, in place of one a layer.
    """
    n_layers = int(model.cfg.n_layers)
    inspection = torch.tensor([model.tokenizer(IDENTITY, add_special_tokens=False)["input_ids"]])
    names = [f"blocks.{n}.hook_resid_post" for n in range(n_layers)]
    found = []
    for ids in prompts:
        tokens = torch.tensor([ids])
        states = {}
        if cached:
            wanted = lambda name: name in names  # noqa: E731
            logits, cache = model.run_with_cache(tokens, names_filter=wanted)
            states = {n: cache[names[n]][0, READ] for n in range(n_layers)}
        final = logits[0, READ] if cached else model(tokens, return_type="logits")[0, READ]
        for layer in range(n_layers):
            if not cached:
                held: list[Tensor] = []
                keep = lambda x, hook, held=held: held.append(x[0, READ].clone())  # noqa: E731
                model.run_with_hooks(tokens, fwd_hooks=[(names[layer], keep)], return_type=None)
                states[layer] = held[0]
            state = states[layer]
            row = [numbers(head(model, state), final)]
            for lens in linear:
                moved = state
                if layer < n_layers - 1:
                    translator = lens.translators[ls.resid_pre(layer + 1)]
                    moved = state @ translator.matrix.T + translator.bias
                    moved = moved + state if translator.residual else moved
                row.append(numbers(head(model, moved), final))
            row.append(numbers(identity_logits(model, inspection, layer, state), final))
            found.append(row)
    return torch.tensor(found)  # [prompt x layer, lens, value]


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and how long it took."""
    start = time.perf_counter()
    with torch.no_grad():
        result = act()
    return result, time.perf_counter() - start


def main() -> None:
    """Time everything, check it, print it, and write it down if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--plain", type=int, default=8)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    model = ls.load_model()
    texts = [list(p) for p in pieces(model, python_docs(), LENGTH, shortest=LENGTH)][: args.prompts]
    last = ls.resid_post(int(model.cfg.n_layers) - 1)
    linear = [
        random_lens(model, ls.TunedLens, "tuned lens"),
        random_lens(model, ls.AffineLens, "affine lens", target=last),
    ]
    lenses = [ls.LogitLens(), *linear, ls.Patchscope.token_identity().as_lens()]
    ls.compare(model, texts[:2], lenses)  # what is made once, made before
    report, own = timed(lambda: ls.compare(model, [(t, READ) for t in texts], lenses))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    few = texts[: args.plain]
    hooked, slow = timed(lambda: plain(model, few, linear, cached=False))
    cached, less_slow = timed(lambda: plain(model, few, linear, cached=True))
    check(report, hooked, len(few))
    check(report, cached, len(few))
    scale = len(texts) / len(few)
    lines = ["# Lenses, timed side by side", "", *describe(), ""]
    lines += [
        f"{len(lenses)} lenses (logit, tuned, affine, token identity), {len(texts)} prompts of "
        f"{LENGTH} tokens, one token read in each, 30 layers; the demo model, float32.",
        "",
        "| way | seconds | prompts run | seconds for all | ratio |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, seconds, n in (
        ("layer by layer with hooks", slow, len(few)),
        ("one run_with_cache a prompt, then layer by layer", less_slow, len(few)),
        ("ls.compare", own, len(texts)),
    ):
        whole = seconds * scale if n == len(few) else seconds
        lines.append(f"| {name} | {seconds:.1f} | {n} | {whole:.0f} | {whole / own:.1f} |")
    lines += ["", f"The process took {peak:.2f} GiB at its most, model and libraries included.", ""]
    print(*lines, sep="\n")
    if args.write:
        text = "\n".join([*lines, "Made by `python -m benchmarks.lenses --write`.", ""])
        (Path(__file__).parent / "lenses.md").write_text(text)


def check(report: Any, plainly: Tensor, n: int) -> None:
    """Refuse to print times of ways that do not agree."""
    values = report.values.isel(read=slice(0, n))
    for i, name in enumerate(("precision_at_1", "surprisal", "kl")):
        ours = torch.tensor(values[name].transpose("read", "layer", "lens").values).flatten(0, 1)
        error = float((ours - plainly[..., i]).abs().max())
        allowed = 1e-2 * max(1.0, float(plainly[..., i].abs().max()))
        if name == "precision_at_1":  # two tokens may be as probable as each other
            error, allowed = float((ours - plainly[..., i]).abs().mean()), 0.005
        assert error <= allowed, f"{name} differs by {error}"


if __name__ == "__main__":
    main()
