"""What the commands about studies have in common: their options, and running one."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.cli.terminal import Loading, ModelName, Output, deliver, load, numbers_of, say, usage

if TYPE_CHECKING:
    from lensscope.studies.study import Study


class MatchChoice(str, Enum):
    """What is correct."""

    words = "words"
    substring = "substring"


class ExecutorChoice(str, Enum):
    """Where parts are run."""

    local = "local"
    ray = "ray"


Out = Annotated[
    Path | None, typer.Option(help="The folder of the study; by default named after it.")
]
Resume = Annotated[
    bool,
    typer.Option(help="Go on with what is in --out; with --no-resume, refuse if anything is."),
]
ExecutorOption = Annotated[ExecutorChoice, typer.Option(help="This process, or Ray's workers.")]
Workers = Annotated[int | None, typer.Option(help="Of Ray: how many; one a CPU or GPU.")]
Gpus = Annotated[float, typer.Option(help="Of Ray: GPUs for each worker.")]
Address = Annotated[
    str | None, typer.Option(help="Of Ray: a running cluster, such as auto or 10.0.0.1:6379.")
]
Layers = Annotated[str, typer.Option(help="Source layers: all, or 3,5, or 0:12.")]
Targets = Annotated[str, typer.Option(help="Target layers: same, all, or 3,5, or 0:12.")]
Inspection = Annotated[
    list[str] | None,
    typer.Option(help="An inspection prompt with the placeholder x. May be given again."),
]
Tokens = Annotated[int, typer.Option(help="New tokens for each cell.")]
Draws = Annotated[int, typer.Option(help="Random vectors for each layer.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
Entities = Annotated[
    Path | None, typer.Option(help="A .csv or .json with name, kind, reference, unresolved.")
]
Limit = Annotated[int | None, typer.Option(help="So many entities, of each kind in turn.")]


def layers_of(text: str) -> list[int] | None:
    """Layers from what is written on a command line; ``None`` for all."""
    return None if text == "all" else numbers_of(text)


def targets_of(text: str) -> Any:
    """Target layers from what is written on a command line."""
    return text if text in ("same", "all") else numbers_of(text)


def readers_of(given: list[str], model: Any, question: str | None, block: int) -> dict[str, Any]:
    """Readers by name from what is written on a command line, ``reader`` or ``name=reader``."""
    from lensscope.patchscope.reader_names import PRESETS, reader_of

    found: dict[str, Any] = {}
    for text in given:
        name, _, reader = text.rpartition("=")
        name = name or Path(reader).stem
        if name in found:
            raise usage(f"two readers are called {name}", f"--reader other={reader}")
        preset = reader.replace("_", "-") in PRESETS
        own = block if preset else None
        found[name] = reader_of(reader, model, question, block=own)
    return found


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a study is run, and where what it finds goes."""

    seed: Seed = 0
    model: ModelName = "demo"
    loading: Loading
    out: Out = None
    resume: Resume = True
    executor: ExecutorOption = ExecutorChoice.local
    num_workers: Workers = None
    num_gpus: Gpus = 0
    address: Address = None
    output: Output

    def loaded(self, name: str) -> Any:
        """A model of the study."""
        return load(name, self.loading, self.output.quiet)

    def run(self, study: Study, name: str) -> None:
        """Run a study in its folder, which is named so by default, and say what it found."""
        from lensscope.studies.folder import Folder

        out, quiet = self.out or Path(name), self.output.quiet
        before = len(Folder(out).done())
        if before and not self.resume:
            raise usage(
                f"{out} holds {before} finished parts", "leave out --no-resume, or name a new --out"
            )
        if before:
            say(quiet, f"Going on in {out}, where {before} parts are finished")
        start = time.monotonic()
        try:
            where = (self.num_workers, self.num_gpus, self.address)
            result = study.run(out, self.executor.value, *where)
        except KeyboardInterrupt:
            kept = len(Folder(out).done())
            say(quiet, f"Broken off; {kept} parts are kept in {out}, and the same command goes on.")
            raise
        took = f"{time.monotonic() - start:.0f} s, {_peak():.1f} GB at most in this process"
        say(quiet, f"All parts are in {out} ({took}); `lensscope report {out}` draws them again.")
        deliver(result, self.output)


def _peak() -> float:
    """The most memory that this process has taken, in GB."""
    import psutil

    memory = psutil.Process().memory_info()
    try:
        import resource
    except ImportError:  # not on Windows, which tells it elsewhere
        return float(getattr(memory, "peak_wset", memory.rss)) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit / 1e9
