"""Sweeps by lensscope, beside the ways in which they are run elsewhere, in one process.

    python -m benchmarks.sweeps [--repeats 3] [--models tiny demo] [--write]

Every way is timed in turn, round after round, and checked to give the same numbers. A time is the
median over the rounds, a ratio is of two medians, memory is the most that was resident on top of
what was before. Nothing else should run on the machine meanwhile. ``--write`` puts the tables into
benchmarks/results.md. With three rounds the demo model takes about half an hour, nearly all of it
in the other ways.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")  # of TransformerLens' own sweeps

import torch
from torch import Tensor

import lensscope as ls
from benchmarks.machine import describe
from benchmarks.memory import give_memory_back, peak, reset_peak, resident
from lensscope.model.classes import backend_of

SOURCE = "The Eiffel Tower is in the city of"
ENTITY = "Diana, Princess of Wales"
CLEAN = "When Mary and John went to the store, John gave a"
SWAPPED = "When John and Mary went to the store, Mary gave a"
LATE = "When Mary and John went to the store, Mary gave a"
NEW_TOKENS = 20
LONG = 10.0  # seconds


@dataclass
class Way:
    """One way to do a piece of work."""

    name: str
    act: Callable[[], Any]
    rounds: int = 3
    note: str = ""
    seconds: list[float] = field(default_factory=list)
    memory: float = 0.0
    result: Any = None

    def run(self) -> float:
        """Do it, and say how long it took."""
        start = time.perf_counter()
        self.result = self.act()
        return time.perf_counter() - start

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Work:
    """One piece of work, and the ways to do it; the last is lensscope's, as it comes."""

    title: str
    ways: list[Way]
    floor: Callable[[], float] | None = None
    floors: list[float] = field(default_factory=list)

    def time(self) -> None:
        """Every way once for its memory, which also warms it up; then all, round after round."""
        for way in self.ways:
            give_memory_back()
            before = resident()
            reset_peak()
            took = way.run()
            way.memory = (peak() - before) / 2**20
            if took > LONG:
                way.seconds.append(took)  # what memory costs that is new does not count there
        while any(len(way.seconds) < way.rounds for way in self.ways):
            if self.floor is not None:
                self.floors.append(self.floor())
            for way in self.ways:
                if len(way.seconds) < way.rounds:
                    way.seconds.append(way.run())

    def check(self) -> None:
        """Whether all ways give the same."""
        expected = self.ways[-1].result
        for way in self.ways:
            if isinstance(expected, Tensor):
                spread = float(expected.max() - expected.min())
                error = float((way.result - expected).abs().max())
                assert error < 1e-4 * spread, f"{way.name} differs by {error:.2g} of {spread:.2g}"
            else:
                assert way.result == expected, f"{way.name} says something else"
            way.result = None

    def lines(self) -> Iterator[str]:
        """A table."""
        ours = self.ways[-1]
        yield f"### {self.title}"
        yield ""
        yield "| way | seconds | rounds | times the last line | peak MiB |"
        yield "| --- | ---: | ---: | ---: | ---: |"
        for way in self.ways:
            ratio = way.median / ours.median
            name = f"{way.name} ({way.note})" if way.note else way.name
            yield (
                f"| {name} | {way.median:.2f} | {len(way.seconds)} | {ratio:.1f} | "
                f"{way.memory:.0f} |"
            )
        if self.floors:
            floor = statistics.median(self.floors)
            yield ""
            yield (
                f"Floor: {floor:.2f} s (median of {len(self.floors)}): the operations that differ, "
                f"over the matrix-product rate of the same process. The last line takes "
                f"{ours.median / floor:.2f} times as long."
            )
        yield ""


# ------------------------------------------------------- the works


def identity(model: Any, rounds: int) -> Work:
    """Every source layer written to every target layer of the token-identity prompt."""
    scope = ls.Patchscope.token_identity()
    tokens = scope.inspection.tokenized(backend_of(model)).ids
    (place,) = scope.inspection.places(model)
    layers = range(model.cfg.n_layers)
    cells = [(source, target) for source in layers for target in layers]
    cache = ls.capture(model, SOURCE, ls.resid_post.at(-1))
    states = [cache[ls.resid_post(n).at(-1)][0, 0] for n in layers]
    batch = torch.tensor([tokens])

    def writes(value: Tensor) -> Callable[..., Tensor]:
        def hook(resid: Tensor, hook: Any) -> Tensor:
            resid[:, place] = value
            return resid

        return hook

    def plain() -> Tensor:
        with torch.no_grad():
            return torch.stack(
                [
                    model.run_with_hooks(
                        batch,
                        fwd_hooks=[(f"blocks.{target}.hook_resid_post", writes(states[source]))],
                    )[0, -1]
                    for source, target in cells
                ]
            )

    def batched() -> Tensor:
        """One batch of all source layers for each target layer, full prompts."""
        stacked, many, found = torch.stack(states), batch.expand(len(states), -1), []
        with torch.no_grad():
            for target in layers:
                hooks = [(f"blocks.{target}.hook_resid_post", writes(stacked))]
                found.append(model.run_with_hooks(many, fwd_hooks=hooks)[:, -1])
        return torch.stack(found, 1).flatten(0, 1)

    def engine(**on: bool) -> Callable[[], Tensor]:
        names = ("source", "prefix", "depth", "unchanged", "outputs")
        plan = ls.Plan(**{name: on.get(name, False) for name in names})
        moves = [
            [ls.resid_post(source).at(-1) >> ls.resid_post(target).at(place)]
            for source, target in cells
        ]

        def act() -> Tensor:
            out = ls.run_many(model, scope.inspection.text, moves, source=SOURCE, plan=plan)
            assert out.logits is not None
            return out.logits[:, 0]

        return act

    n = len(layers)
    deep = sum(n - 1 - target for target in layers) * n  # blocks above each write, one token each
    operations = deep * block_operations(model) + len(cells) * head_operations(model)
    steps = [
        ("rows of one batch, nothing saved but memory", {}),
        ("+ the source run once", {"source": True}),
        ("+ only the last position unembedded", {"outputs": True}),
        ("+ the prefix run once", {"prefix": True}),
        ("+ rows join at their layer", {"depth": True}),
    ]
    ways = [
        Way("one forward a cell, plain hooks, source cached", plain, rounds),
        Way(f"one batch of {n} rows a target layer, plain hooks, source cached", batched, rounds),
    ]
    on: dict[str, bool] = {}
    for name, step in steps:
        on |= step
        quick = "depth" in on or "prefix" in on
        ways.append(Way(f"run_many: {name}", engine(**on), rounds if quick else 1))
    on |= {"unchanged": True}
    ways.append(Way("run_many: + unchanged rows found out (everything)", engine(**on), rounds))
    title = f"Token-identity patchscope, all {len(cells)} cells, next-token logits"
    return Work(title, ways, lambda: operations / matrix_product_rate(model))


def description(model: Any, rounds: int) -> Work:
    """One source position at every layer, written where it was read, and 20 new tokens."""
    scope = ls.Patchscope.entity_description(max_new_tokens=NEW_TOKENS)
    tokens = torch.tensor([scope.inspection.tokenized(backend_of(model)).ids])
    (place,) = scope.inspection.places(model)
    layers = range(model.cfg.n_layers)
    cache = ls.capture(model, ENTITY, ls.resid_post.at(-1))

    def generate() -> list[str]:
        texts = []
        for layer in layers:
            value = cache[ls.resid_post(layer).at(-1)][0, 0]

            def hook(resid: Tensor, hook: Any, value: Tensor = value) -> Tensor:
                if resid.shape[1] > place:  # the prompt, and not a new token
                    resid[:, place] = value
                return resid

            with torch.no_grad(), model.hooks([(f"blocks.{layer}.hook_resid_post", hook)]):
                ids = model.generate(
                    tokens,
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    return_type="tokens",
                    verbose=False,
                )
            new = ids[0, tokens.shape[1] :].tolist()
            texts.append(model.tokenizer.decode(new, skip_special_tokens=True))
        return texts

    def inspect() -> list[str]:
        return list(scope.inspect(model, ENTITY, target_layers="same").frame()["text"])

    n = len(layers)
    title = f"Entity-description patchscope, {n} layers, {NEW_TOKENS} new tokens each"
    return Work(
        title,
        [
            Way("one model.generate a layer with a hook, source cached", generate, rounds),
            Way("Patchscope.inspect, source and logit lens included", inspect, rounds),
        ],
    )


def patching(model: Any, rounds: int, corrupted: str, heads: bool) -> Work:
    """TransformerLens' own sweep of activation patching."""
    from transformer_lens import patching as theirs

    ids = [model.tokenizer.encode(t, add_special_tokens=False) for t in (CLEAN, corrupted)]
    good, bad = (model.tokenizer.encode(t)[-1] for t in (" Mary", " John"))
    batch = torch.tensor(ids)
    site = ls.head_out if heads else ls.resid_pre
    with torch.no_grad():
        _, clean_cache = model.run_with_cache(batch[:1])
    cache = ls.capture(model, ids[0], site)
    layers, width = range(model.cfg.n_layers), len(ids[0])
    n_heads = model.cfg.n_heads

    def metric(logits: Tensor) -> Tensor:
        return logits[:, -1, good] - logits[:, -1, bad]

    def transformer_lens() -> Tensor:
        sweep = (
            theirs.get_act_patch_attn_head_out_all_pos if heads else theirs.get_act_patch_resid_pre
        )
        with torch.no_grad():
            return sweep(model, batch[1:], clean_cache, lambda logits: metric(logits)[0])

    def sets() -> Iterator[list[ls.Patch]]:
        for layer in layers:
            states = cache[site(layer)][0]
            if heads:
                for head in range(n_heads):
                    yield [ls.head_out(layer, head).set(states[:, head])]
            else:
                for position in range(width):
                    yield [ls.resid_pre(layer).at(position).set(states[position])]

    def lensscope() -> Tensor:
        out = ls.run_many(model, ids[1], sets(), metric=metric)
        assert out.metric is not None
        return out.metric.view(len(layers), -1)

    first = next(n for n in range(width) if ids[0][n] != ids[1][n])
    what = f"every head, {len(layers)} x {n_heads}, all positions" if heads else "resid_pre"
    cells = "" if heads else f", {len(layers)} layers x {width} positions"
    ours = "get_act_patch_attn_head_out_all_pos" if heads else "get_act_patch_resid_pre"
    return Work(
        f"Activation patching of {what}{cells}; the prompts differ from token {first} on",
        [
            Way(f"transformer_lens.patching.{ours}", transformer_lens, rounds),
            Way("run_many with a metric", lensscope, rounds),
        ],
    )


# ------------------------------------------------------- the floor


def block_operations(model: Any) -> int:
    """Floating-point operations of one token in one block: its weights' matrix products."""
    weights = sum(p.numel() for p in model.blocks[0].parameters() if p.ndim > 1)
    return 2 * weights


def head_operations(model: Any) -> int:
    """Floating-point operations of one unembedding."""
    return 2 * int(model.cfg.d_model) * int(model.cfg.d_vocab)


def matrix_product_rate(model: Any) -> float:
    """Operations a second of products of this model's shapes: a block's weights, by as many rows as
    the sweep has on average, and the head, by as many as it has in the end."""
    cells = int(model.cfg.n_layers) ** 2
    torch.manual_seed(0)
    weights = [p.detach() for p in model.blocks.parameters() if p.ndim > 1]
    head = torch.randn(int(model.cfg.d_vocab), int(model.cfg.d_model))
    products = [(torch.randn(cells // 2, weight.shape[1]), weight) for weight in weights]
    products.append((torch.randn(cells, head.shape[1]), head))
    operations, start = 0, time.perf_counter()
    with torch.no_grad():
        for x, weight in products:
            torch.nn.functional.linear(x, weight)
            operations += 2 * x.shape[0] * weight.numel()
    return operations / (time.perf_counter() - start)


# ------------------------------------------------------- running it


def tiny_gpt2() -> Any:
    """A random GPT-2 of twelve narrow layers, with the demo model's tokenizer."""
    import transformers

    tokenizer = ls.load_model().tokenizer
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=128,
        n_layer=12,
        n_head=4,
        n_positions=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return ls.load_model(folder)


def works(model: Any, rounds: int) -> Iterator[Work]:
    """All pieces of work."""
    yield identity(model, rounds)
    yield description(model, rounds)
    yield patching(model, rounds, SWAPPED, heads=False)
    yield patching(model, rounds, LATE, heads=False)
    yield patching(model, rounds, SWAPPED, heads=True)
    yield patching(model, rounds, LATE, heads=True)


def main() -> None:
    """Time everything, print it, and write it down if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["tiny", "demo"])
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    made = {"tiny": ("a random GPT-2", tiny_gpt2), "demo": ("the demo model", ls.load_model)}
    lines = ["# Sweeps, timed side by side", "", *describe(), ""]
    for key in args.models:
        title, load = made[key]
        model = load()
        cfg = model.cfg
        heading = f"## {title[0].upper()}{title[1:]}: {cfg.n_layers} layers, d_model {cfg.d_model}"
        lines += [f"{heading}, vocabulary {cfg.d_vocab:,}, float32", ""]
        print(*lines, sep="\n", flush=True)
        for work in works(model, args.repeats):
            work.time()
            work.check()
            table = list(work.lines())
            print(*table, sep="\n", flush=True)
            lines += table
    if args.write:
        text = "\n".join([*lines, "Made by `python -m benchmarks.sweeps --write`.", ""])
        (Path(__file__).parent / "results.md").write_text(text)


if __name__ == "__main__":
    main()
