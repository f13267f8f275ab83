"""What holds on which architecture family, judged by plain Hugging Face.

    python -m benchmarks.families [FAMILY …] [--write]

Each act of lensscope runs on a tiny random model of each family, and on Hugging Face's own model
with plain PyTorch hooks (tests/judge.py, tests/plain.py). ``--write`` puts the table into
docs/families.md.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from tests import families, judge

PLACE = Path(__file__).parents[1] / "docs" / "families.md"
_EXPLAINED = """\
Each cell is one act of lensscope on a tiny random model of the family (float32, weights large \
enough for attention to be uneven), beside Hugging Face's own model with plain PyTorch hooks, one \
unpadded and uncached forward at a time:

- **equal**: the same numbers; in brackets the largest difference, as a part of the spread of what \
is expected (of the logits, or of the states). 1e-4 is allowed.
- **refused**: an error of lensscope that says why.
- **not built**: transformers or TransformerLens cannot make the model, and what they say.

What the acts are is in `tests/judge.py`, the configurations in `tests/more_families.py`. Prompts \
are of 14, 5 and 18 tokens, and one of 300 where the context holds it; sliding windows are of 4 \
tokens, and rotary factors switch at 16."""


def rows(names: Sequence[str]) -> Iterator[list[str]]:
    """A family and its cells."""
    for family in names:
        reason = families.not_built(family)
        if reason is not None:
            yield [family, f"not built: {shown(reason)}", *[""] * (len(judge.ACTS) - 1)]
            continue
        it = judge.subject(family)
        yield [family, *(cell(judge.verdict(it, act)) for act in judge.ACTS)]


def cell(found: judge.Verdict) -> str:
    """A verdict in a few words."""
    if found.reason:
        return f"{found.outcome}: {shown(found.reason)}"
    return f"{found.outcome} ({found.error:.0e})" if found.error else f"{found.outcome} (0)"


def shown(text: str) -> str:
    """The start of an error, as it may stand in a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= 120 else line[:119] + "…"


def main() -> None:
    """Try everything, print it, and write it down if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    every = (*families.FAMILIES, *families.MORE)
    unknown = [name for name in args.families if name not in every]
    if unknown:
        parser.error(f"no family {', '.join(unknown)}; there are {', '.join(every)}")
    if args.write and args.families:
        parser.error("--write writes the whole table: name no family")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    versions = [f"{n} {version(n)}" for n in ("torch", "transformers", "transformer-lens")]
    lines = ["# What holds on which family", "", f"With {', '.join(versions)}.", "", _EXPLAINED, ""]
    lines += [f"| family | {' | '.join(judge.ACTS)} |", "| --- " * (len(judge.ACTS) + 1) + "|"]
    print(*lines, sep="\n")
    for row in rows(args.families or every):
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    if args.write:
        PLACE.parent.mkdir(exist_ok=True)
        text = "\n".join([*lines, "", "Made by `python -m benchmarks.families --write`.", ""])
        PLACE.write_text(text)


if __name__ == "__main__":
    main()
