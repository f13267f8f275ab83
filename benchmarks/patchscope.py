"""One source position at every layer, 20 new tokens each: together, and one `generate` a layer.

    python -m benchmarks.patchscope [--repeats 3]

Prints both times and their ratio, and checks that the texts are the same. Nothing else should run
on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import time

import lensscope as ls

SOURCE = "Diana, Princess of Wales"
NEW_TOKENS = 20


def together(model: object) -> list[str]:
    """One call of `inspect`."""
    scope = ls.Patchscope.entity_description(max_new_tokens=NEW_TOKENS)
    return list(scope.inspect(model, SOURCE).frame()["text"])


def one_by_one(model: object) -> list[str]:
    """One call of `generate` with one patch for each layer; the source is read once."""
    scope = ls.Patchscope.entity_description()
    cache = ls.capture(model, SOURCE, ls.resid_post.at(-1))
    (place,) = scope.inspection.places(model)
    texts = []
    for site in cache:
        patch = ls.resid_post(site.layer).at(place).set(cache[site][0, 0])
        texts.append(ls.generate(model, scope.inspection.text, [patch], NEW_TOKENS).text)
    return texts


def seconds(act: object, model: object) -> tuple[float, list[str]]:
    """How long it takes, and what it says."""
    start = time.perf_counter()
    texts = act(model)  # type: ignore[operator]
    return time.perf_counter() - start, texts


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    model = ls.load_model()
    together(model)  # warm
    fast, slow = [], []
    for _ in range(repeats):
        took, texts = seconds(together, model)
        fast.append(took)
        took, expected = seconds(one_by_one, model)
        slow.append(took)
        assert texts == expected, "the two ways say different things"
    layers = model.cfg.n_layers
    print(f"{SOURCE!r}, last token, {layers} layers, {NEW_TOKENS} new tokens each, same texts")
    print(f"one generate a layer: {statistics.median(slow):6.2f} s (median of {repeats})")
    print(f"inspect:              {statistics.median(fast):6.2f} s (median of {repeats})")
    print(f"ratio:                {statistics.median(slow) / statistics.median(fast):6.1f} x")


if __name__ == "__main__":
    main()
