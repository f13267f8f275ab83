"""The commands ``study …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lensscope.cli.grouped import grouped
from lensscope.cli.study_options import (
    Draws,
    Entities,
    Inspection,
    Layers,
    Limit,
    MatchChoice,
    Running,
    Targets,
    Tokens,
    layers_of,
    targets_of,
)
from lensscope.cli.terminal import errors, numbers_of, position_of

study_app = typer.Typer(
    help="The experiments of the Patchscopes paper, with controls. What is done is kept in --out; "
    "the same command goes on where it was broken off.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@study_app.command("entity-resolution")
@grouped
def entity_resolution(
    *,
    entities: Entities = None,
    limit: Limit = None,
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
    how: Running,
) -> None:
    """At which layer, and from which tokens, a model knows what a name is the name of."""
    with errors(how.output.quiet):
        from lensscope import studies

        given = studies.entities(entities, limit=limit)
        study = studies.entity_resolution(
            how.loaded(how.model),
            given,
            variants=variant,
            all_tokens=all_tokens,
            layers=layers_of(layers),
            target_layers=targets_of(target_layers),
            inspection=inspection or None,
            max_new_tokens=max_new_tokens,
            similarity=similarity,
            random_draws=random_draws,
            seed=how.seed,
        )
        how.run(study, "lensscope-entity-resolution")


@study_app.command("attribute-extraction")
@grouped
def attribute_extraction(
    *,
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
    match: Annotated[
        MatchChoice, typer.Option(help="What is correct: whole words, or any substring.")
    ] = MatchChoice.words,
    random_draws: Draws = 2,
    how: Running,
) -> None:
    """Whether a subject's state holds the object of a relation; beside probes and lenses."""
    with errors(how.output.quiet):
        from lensscope import studies
        from lensscope.patchscope.lens_names import lens_of

        if list_:
            for name in studies.relations():
                found = studies.relation(name)
                print(f"{name}  {found.name}, {len(found)} subjects")
            return
        found = studies.relation(relation)
        readers = [lens_of(name) for name in lens]
        study = studies.attribute_extraction(
            how.loaded(how.model),
            found,
            subjects=subjects,
            sentences=sentences,
            layers=layers_of(layers),
            target_layers=targets_of(target_layers),
            inspection=inspection or None,
            max_new_tokens=max_new_tokens,
            only_known=only_known,
            lenses=readers,
            probe=probe,
            match=match.value,
            random_draws=random_draws,
            seed=how.seed,
        )
        how.run(study, f"lensscope-attribute-extraction-{Path(relation).stem}")


@study_app.command("next-token")
@grouped
def next_token(
    *,
    texts: Annotated[
        Path | None, typer.Option(help="A text file with a prompt a line; some come along.")
    ] = None,
    lens: Annotated[
        list[str] | None,
        typer.Option(help="logit, token-identity (both by default), or a lens file. Several."),
    ] = None,
    position: Annotated[str, typer.Option(help="-1, 2:5, or all.")] = "-1",
    layers: Layers = "all",
    random_draws: Draws = 1,
    how: Running,
) -> None:
    """Which token is next? Precision@1 and surprisal of lenses, by layer."""
    with errors(how.output.quiet):
        from lensscope import studies
        from lensscope.patchscope.lens_names import lens_of

        study = studies.next_token(
            how.loaded(how.model),
            texts,
            [lens_of(name) for name in lens] if lens else None,
            positions=position_of(position),
            layers=layers_of(layers),
            random_draws=random_draws,
            seed=how.seed,
        )
        how.run(study, "lensscope-next-token")


@study_app.command("multihop")
@grouped
def multihop(
    *,
    questions: Annotated[
        Path | None, typer.Option(help="A .json list with first, bridge, second, answer.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many questions.")] = None,
    layers: Layers = "all",
    target_layers: Annotated[str, typer.Option(help="Target layers: all, or 3,5, or 0:12.")] = (
        "all"
    ),
    max_new_tokens: Tokens = 10,
    random_draws: Draws = 1,
    how: Running,
) -> None:
    """Two-step questions: alone, by chain of thought in one patch, and by back-patching."""
    with errors(how.output.quiet):
        from lensscope import studies

        study = studies.multihop(
            how.loaded(how.model),
            studies.questions(questions, limit=limit),
            layers=layers_of(layers),
            target_layers=layers_of(target_layers),
            max_new_tokens=max_new_tokens,
            random_draws=random_draws,
            seed=how.seed,
        )
        how.run(study, "lensscope-multihop")


@study_app.command("cross-model")
@grouped
def cross_model(
    *,
    target: Annotated[str, typer.Option(help="The model that is written into.")],
    texts: Annotated[
        Path | None, typer.Option(help="A text file to fit the maps on; some come along.")
    ] = None,
    entities: Entities = None,
    limit: Limit = None,
    layers: Layers = "all",
    target_layers: Annotated[
        str, typer.Option(help="Target layers: proportional, all, or 3,5, or 0:12.")
    ] = "proportional",
    max_new_tokens: Tokens = 15,
    random_draws: Draws = 1,
    how: Running,
) -> None:
    """Identity and entity patchscopes from --model into --target, through fitted affine maps."""
    with errors(how.output.quiet):
        from lensscope import studies

        targets = target_layers if target_layers in ("proportional", "all") else None
        study = studies.cross_model(
            how.loaded(how.model),
            how.loaded(target),
            texts,
            entities=studies.entities(entities, limit=limit),
            layers=layers_of(layers),
            target_layers=targets or numbers_of(target_layers),  # type: ignore[arg-type]
            max_new_tokens=max_new_tokens,
            random_draws=random_draws,
            seed=how.seed,
        )
        how.run(study, "lensscope-cross-model")
