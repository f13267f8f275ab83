"""The commands about studies: ``study …`` and ``report``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.terminal import (
    BackendChoice,
    Html,
    Json,
    ModelName,
    ProcessingChoice,
    Quiet,
    deliver,
    errors,
    numbers_of,
    say,
    usage,
    write,
)

if TYPE_CHECKING:
    from lensscope.studies.study import Study

study_app = typer.Typer(
    help="The experiments of the Patchscopes paper, with controls. What is done is kept in --out; "
    "the same command goes on where it was broken off.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


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
Backend = Annotated[BackendChoice, typer.Option()]
Processing = Annotated[ProcessingChoice, typer.Option()]


@study_app.command("entity-resolution")
def entity_resolution(
    entities: Annotated[
        Path | None, typer.Option(help="A .csv or .json with name, kind, reference, unresolved.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="So many entities, of each kind in turn.")] = (
        None
    ),
    variant: Annotated[
        list[str],
        typer.Option(
            help="How the name is put: bare, space, lower, upper, sentence, or a text with {}. "
            "May be given again."
        ),
    ] = ["bare"],  # noqa: B006  typer's way
    all_tokens: Annotated[bool, typer.Option(help="Read every token of the name.")] = False,
    layers: Layers = "all",
    target_layers: Targets = "same",
    inspection: Inspection = None,
    max_new_tokens: Tokens = 15,
    similarity: Annotated[
        str | None, typer.Option(help="Also score by this sentence model: a folder.")
    ] = None,
    random_draws: Draws = 2,
    seed: Seed = 0,
    model: ModelName = "demo",
    backend: Backend = BackendChoice.bridge,
    processing: Processing = ProcessingChoice.raw,
    out: Out = None,
    resume: Resume = True,
    executor: ExecutorOption = ExecutorChoice.local,
    num_workers: Workers = None,
    num_gpus: Gpus = 0,
    address: Address = None,
    html: Html = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """At which layer, and from which tokens, a model knows what a name is the name of."""
    with errors(quiet):
        from lensscope import studies

        given = studies.entities(entities, limit=limit)
        study = studies.entity_resolution(
            _load(model, backend, processing, quiet),
            given,
            variants=variant,
            all_tokens=all_tokens,
            layers=_layers(layers),
            target_layers=_targets(target_layers),
            inspection=inspection or None,
            max_new_tokens=max_new_tokens,
            similarity=similarity,
            random_draws=random_draws,
            seed=seed,
        )
        folder = out or Path("lensscope-entity-resolution")
        _run(study, folder, resume, executor, num_workers, num_gpus, address, html, json, quiet)


@study_app.command("attribute-extraction")
def attribute_extraction(
    relation: Annotated[
        str, typer.Option(help="capital, currency, … (see --list), or an LRE .json file.")
    ] = "capital",
    list_: Annotated[bool, typer.Option("--list", help="The relations that come along.")] = False,
    subjects: Annotated[int | None, typer.Option(help="Only so many subjects.")] = None,
    sentences: Annotated[int | None, typer.Option(help="Only so many source sentences.")] = None,
    layers: Layers = "all",
    target_layers: Targets = "all",
    inspection: Inspection = None,
    max_new_tokens: Tokens = 20,
    only_known: Annotated[
        bool, typer.Option(help="Only subjects that the unpatched model answers rightly.")
    ] = True,
    lens: Annotated[
        list[str],
        typer.Option(help="logit, token-identity, or a lens file. May be given again."),
    ] = ["logit"],  # noqa: B006  typer's way
    probe: Annotated[bool, typer.Option(help="Fit probes, which need scikit-learn.")] = True,
    random_draws: Draws = 2,
    seed: Seed = 0,
    model: ModelName = "demo",
    backend: Backend = BackendChoice.bridge,
    processing: Processing = ProcessingChoice.raw,
    out: Out = None,
    resume: Resume = True,
    executor: ExecutorOption = ExecutorChoice.local,
    num_workers: Workers = None,
    num_gpus: Gpus = 0,
    address: Address = None,
    html: Html = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Whether a subject's state holds the object of a relation; beside probes and lenses."""
    with errors(quiet):
        from lensscope import studies
        from lensscope.lenses.named import lens_of

        if list_:
            for name in studies.relations():
                found = studies.relation(name)
                print(f"{name}  {found.name}, {len(found)} subjects")
            return
        found = studies.relation(relation)
        readers = [lens_of(name) for name in lens]
        study = studies.attribute_extraction(
            _load(model, backend, processing, quiet),
            found,
            subjects=subjects,
            sentences=sentences,
            layers=_layers(layers),
            target_layers=_targets(target_layers),
            inspection=inspection or None,
            max_new_tokens=max_new_tokens,
            only_known=only_known,
            lenses=readers,
            probe=probe,
            random_draws=random_draws,
            seed=seed,
        )
        folder = out or Path(f"lensscope-attribute-extraction-{Path(relation).stem}")
        _run(study, folder, resume, executor, num_workers, num_gpus, address, html, json, quiet)


def report(
    folder: Annotated[Path, typer.Argument(help="What a study wrote, finished or not.")],
    html: Annotated[
        Path | None, typer.Option(help="The page; report.html in the folder by default.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table as LaTeX.")] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """The page and the tables of a study, from its folder alone: no model is loaded."""
    with errors(quiet):
        from lensscope import studies

        result = studies.load(folder)
        for path, text in ((markdown, result.to_markdown), (latex, result.to_latex)):
            if path is not None:
                write(path, text())
                say(quiet, f"Table written to {path}")
        deliver(result, html or folder / "report.html", json, quiet)


def _load(model: str, backend: BackendChoice, processing: ProcessingChoice, quiet: bool) -> Any:
    from lensscope.models import load_model

    say(quiet, f"Loading {model} …")
    return load_model(model, backend=backend.value, processing=processing.value)


def _layers(text: str) -> list[int] | None:
    return None if text == "all" else numbers_of(text)


def _targets(text: str) -> Any:
    return text if text in ("same", "all") else numbers_of(text)


def _run(
    study: Study,
    out: Path,
    resume: bool,
    executor: ExecutorChoice,
    num_workers: int | None,
    num_gpus: float,
    address: str | None,
    html: Path | None,
    json: str | None,
    quiet: bool,
) -> None:
    """Run a study in its folder, and say what it found."""
    from lensscope.studies.folder import Folder

    before = len(Folder(out).done())
    if before and not resume:
        raise usage(
            f"{out} holds {before} finished parts", "leave out --no-resume, or name a new --out"
        )
    if before:
        say(quiet, f"Going on in {out}, where {before} parts are finished")
    try:
        result = study.run(out, executor.value, num_workers, num_gpus, address)
    except KeyboardInterrupt:
        say(
            quiet,
            f"Broken off; {len(Folder(out).done())} parts are kept in {out}, and the same "
            "command goes on from there.",
        )
        raise
    say(
        quiet,
        f"All {len(Folder(out).done())} parts are in {out}; `lensscope report {out}` draws "
        "them again.",
    )
    deliver(result, html, json, quiet)
