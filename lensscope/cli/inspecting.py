"""The commands that put states into words: ``inspect`` and ``read``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensscope.cli.grouped import grouped
from lensscope.cli.study_options import Layers, layers_of
from lensscope.cli.terminal import (
    Chat,
    Loading,
    ModelName,
    Output,
    Svg,
    deliver,
    errors,
    load,
    numbers_of,
    picture,
    position_of,
    said,
    usage,
)

if TYPE_CHECKING:
    from lensscope.patchscope.scope import Patchscope

Position = Annotated[
    str, typer.Option(help="-1, 2:5, a substring (its last token), span:TEXT, or all.")
]
Occurrence = Annotated[
    int | None, typer.Option(help="Which match of a substring: 0 the first, -1 the last.")
]
Tokens = Annotated[int | None, typer.Option(help="New tokens for each cell.")]
Stop = Annotated[
    list[str] | None, typer.Option(help="A text that ends the texts. May be given again.")
]


class Preset(str, Enum):
    """Inspection prompts with a name."""

    entity_description = "entity-description"
    token_identity = "token-identity"
    attribute = "attribute"
    selfie = "selfie"
    definition = "definition"


@grouped
def inspect(
    *,
    source: Annotated[str, typer.Option(help="The source prompt.")],
    model: ModelName = "demo",
    position: Position = "-1",
    occurrence: Occurrence = None,
    preset: Annotated[Preset, typer.Option(help="The inspection prompt.")] = (
        Preset.entity_description
    ),
    text: Annotated[
        str | None,
        typer.Option(help="The inspection prompt itself, with its placeholder (for attribute)."),
    ] = None,
    placeholder: Annotated[str | None, typer.Option(help="What marks the place to write.")] = None,
    layers: Layers = "all",
    target_layers: Annotated[
        str, typer.Option(help="own, where the inspection prompt is read best; same; all; or 3,5.")
    ] = "own",
    max_new_tokens: Tokens = None,
    stop: Stop = None,
    chat: Chat = False,
    loading: Loading,
    output: Output,
) -> None:
    """Read hidden states of a prompt and let the model describe each."""
    with errors(output.quiet):
        where = position_of(position)
        words = ("own", "same", "all")
        targets = target_layers if target_layers in words else numbers_of(target_layers)
        sources = layers_of(layers)
        if preset is Preset.attribute and text is None:
            raise usage("--preset attribute needs --text", 'such as --text "The largest city in x"')
        result = _scope(preset, text, placeholder).inspect(
            load(model, loading, output.quiet),
            said(source, chat),
            position=where,
            occurrence=occurrence,
            layers=sources,
            target_layers=targets,
            max_new_tokens=max_new_tokens,
            stop=stop or (),
        )
        deliver(result, output)


def _scope(preset: Preset, text: str | None, placeholder: str | None) -> Patchscope:
    from dataclasses import replace

    from lensscope.patchscope.inspection import InspectionPrompt
    from lensscope.patchscope.scope import Patchscope

    if preset is Preset.attribute:
        return Patchscope.attribute(text or "", placeholder or "x")
    scope: Patchscope = getattr(Patchscope, preset.name)()
    if text is None and placeholder is None:
        return scope
    own = scope.inspection
    return replace(
        scope, inspection=InspectionPrompt(text or own.text, placeholder or own.placeholder)
    )


ReaderNames = (
    "definition, tuned, entity-description, token-identity, attribute, selfie, or the path of a "
    "reader."
)


@grouped
def read(
    *,
    text: Annotated[str, typer.Argument(help="The prompt whose states are read.")],
    reader: Annotated[str, typer.Option(help=ReaderNames)] = "definition",
    question: Annotated[
        str | None,
        typer.Option(help="What the reader is asked; of attribute, its prompt with an x in it."),
    ] = None,
    model: ModelName = "demo",
    position: Position = "-1",
    span: Annotated[
        str | None, typer.Option(help="All tokens of this text, in place of --position.")
    ] = None,
    occurrence: Occurrence = None,
    layers: Layers = "all",
    block: Annotated[
        int | None, typer.Option(help="Of a preset: write into the input of this block.")
    ] = None,
    max_new_tokens: Tokens = None,
    stop: Stop = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="A text file whose lines' mean state is a control; some come along."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random vectors.")] = 0,
    chat: Chat = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read files of torch.save; only their tensors.")
    ] = False,
    loading: Loading,
    svg: Svg = None,
    output: Output,
) -> None:
    """What a reader says of hidden states, beside what it says of nothing, of a random vector, of
    the mean state of other texts, and of another prompt's state."""
    with errors(output.quiet):
        if span is not None and position != "-1":
            raise usage("--span and --position are two places", "leave out one of them")
        where = position_of(position if span is None else f"span:{span}")
        sources = layers_of(layers)
        from lensscope.lenses.states import lines_of
        from lensscope.patchscope.controls import controlled
        from lensscope.patchscope.reader_names import reader_of
        from lensscope.studies.texts import control_texts

        own = control_texts() if texts is None else [str(one) for one in lines_of(texts)]
        loaded = load(model, loading, output.quiet)
        scope = reader_of(reader, loaded, question, block=block, allow_pickle=allow_pickle)
        result = controlled(
            scope,
            loaded,
            said(text, chat),
            where,
            sources,
            texts=own,
            max_new_tokens=max_new_tokens,
            occurrence=occurrence,
            stop=stop or (),
            seed=seed,
        )
        picture(result, svg, output.quiet)
        deliver(result, output)
