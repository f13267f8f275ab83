"""The commands about lenses: ``lens read``, ``lens train``, ``compare``."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensscope.cli.grouped import grouped
from lensscope.cli.pairs import Checkpoint
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
    print_table,
    said,
    say,
    usage,
)
from lensscope.store.files import write

if TYPE_CHECKING:
    from lensscope.lenses.lens import Lens

lens_app = typer.Typer(
    help="Read hidden states as distributions over the vocabulary, and fit what reads them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_LENSES = "logit, token-identity, or a saved lens (a file, or a tuned-lens folder)."
Lenses = Annotated[list[str], typer.Option("--lens", help=_LENSES + " May be given again.")]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read files of torch.save; only their tensors.")
]
Layers = Annotated[str, typer.Option(help="all, or 3,5, or 0:12.")]


class Kind(str, Enum):
    """Lenses that are fitted."""

    tuned = "tuned"
    affine = "affine"
    jacobian = "jacobian"


class SiteChoice(str, Enum):
    """Kinds of place that a lens may read."""

    resid_pre = "resid_pre"
    resid_mid = "resid_mid"
    resid_post = "resid_post"
    attn_out = "attn_out"
    mlp_out = "mlp_out"


@lens_app.command()
@grouped
def read(
    *,
    prompt: Annotated[list[str] | None, typer.Option(help="A prompt. May be given again.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="A text file, a prompt a line.")] = None,
    chat: Chat = False,
    lens: Lenses = ["logit"],  # noqa: B006  typer's way
    model: ModelName = "demo",
    position: Annotated[str, typer.Option(help="all, -1, 2:5, a substring, or span:TEXT.")] = "all",
    site: Annotated[SiteChoice, typer.Option(help="The kind of place.")] = SiteChoice.resid_post,
    layers: Layers = "all",
    top_k: Annotated[int, typer.Option(help="Most probable tokens that are kept.")] = 10,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="entropy, kl, next_token_rank, … or all. May be given again."),
    ] = None,
    loading: Loading,
    allow_pickle: AllowPickle = False,
    colour: Annotated[
        str, typer.Option(help="What colours the cells: probability, or a measure such as kl.")
    ] = "probability",
    svg: Svg = None,
    output: Output,
) -> None:
    """Read every layer and token of prompts; with two lenses, side by side."""
    quiet = output.quiet
    with errors(quiet):
        if (prompt is None) == (prompts is None):
            raise usage("one of --prompt and --prompts is needed", 'such as --prompt "The Eiffel"')
        if chat and prompts is not None:
            raise usage("--chat is of --prompt", "leave out --prompts")
        if len(lens) > 2:
            raise usage("two lenses go side by side at most", "give --lens once or twice")
        from lensscope.show.pages import page, rendered
        from lensscope.values import sites

        lenses = _lenses(lens, allow_pickle)
        loaded = load(model, loading, quiet)
        kind = getattr(sites, site.value)
        places = None if layers == "all" else [kind(n) for n in numbers_of(layers)]
        if places is None and site is not SiteChoice.resid_post:
            places = [kind]
        measures: Any = "all" if measure == ["all"] else tuple(measure or ())
        if colour != "probability" and measures != "all" and colour not in measures:
            measures = (*measures, colour)
        asked = prompts if prompts is not None else [said(one, chat) for one in prompt or ()]
        where = position_of(position)
        readings = [
            one.read(loaded, asked, places, where, top_k, measures=measures) for one in lenses
        ]
        beside = readings[1] if len(readings) > 1 else None
        picture(readings[0], svg, quiet, value=colour, beside=beside)
        if len(readings) == 1:
            if output.html is not None:
                write(output.html, readings[0].to_html(value=colour))
                say(quiet, f"Page written to {output.html}")
            deliver(readings[0], replace(output, html=None))
            return
        if output.html is not None:
            title = " and ".join(one.title for one in readings)
            pair = readings[0].to_svg(value=colour, beside=beside)
            section = rendered("beside.html", notes=readings[0].notes, picture=pair)
            write(output.html, page(title, [section]))
            say(quiet, f"Page written to {output.html}")
        whole = "[" + ",\n".join(one.to_json() for one in readings) + "]"
        if output.json == "-":
            print(whole)
        elif output.json is not None:
            write(Path(output.json), whole)
            say(quiet, f"JSON written to {output.json}")
        if not quiet and output.json != "-":
            for one in readings:
                print_table(one)


@lens_app.command()
@grouped
def train(
    *,
    out: Annotated[Path, typer.Option(help="Where the lens goes (a .safetensors file).")],
    kind: Annotated[Kind, typer.Option(help="What is fitted.")] = Kind.tuned,
    texts: Annotated[
        str, typer.Option(help="A text file; or python-docs, which Python itself brings along.")
    ] = "python-docs",
    model: ModelName = "demo",
    steps: Annotated[int, typer.Option(help="Of a tuned lens.")] = 250,
    batch_size: Annotated[int, typer.Option(help="Pieces a step, of a tuned lens.")] = 4,
    length: Annotated[int, typer.Option(help="Tokens of a piece of text.")] = 64,
    tokens_per_step: Annotated[
        int, typer.Option(help="Tokens a step whose loss is taken, of a tuned lens.")
    ] = 64,
    optimizer: Annotated[str, typer.Option(help="adam or sgd, of a tuned lens.")] = "adam",
    learning_rate: Annotated[float | None, typer.Option(help="Of a tuned lens.")] = None,
    pieces: Annotated[int, typer.Option(help="Pieces of text, of a Jacobian lens.")] = 20,
    skip_first: Annotated[
        int | None, typer.Option(help="Tokens left out at the start of each piece of text.")
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(help="A text file of another kind, to measure the lens on as well."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of texts.")] = 0,
    loading: Loading,
    output: Output,
) -> None:
    """Fit a lens. A tuned or Jacobian lens that is broken off goes on from its last checkpoint when
    the same command is given again; an affine lens, which takes a minute, begins anew."""
    quiet = output.quiet
    with errors(quiet):
        from lensscope.lenses.affine import AffineLens
        from lensscope.lenses.corpus import python_docs
        from lensscope.lenses.fit_report import FitReport
        from lensscope.lenses.jacobian import JacobianLens
        from lensscope.lenses.linear import LinearLens
        from lensscope.lenses.states import lines_of
        from lensscope.lenses.tuned import TunedLens

        if held_out is not None:
            lines_of(held_out)  # which says now, and not after the fit, what is wrong with it
        loaded = load(model, loading, quiet)
        own = texts == "python-docs"
        corpus: Any = python_docs() if own else Path(texts)
        called = "the Python language reference" if own else Path(texts).name
        checkpoint = out.with_name(out.name + ".checkpoint")
        if checkpoint.exists() and kind is not Kind.affine:
            say(quiet, f"Going on from {checkpoint}")
        how: dict[str, Any] = {"length": length, "corpus": called}
        how |= {} if skip_first is None else {"skip_first": skip_first}
        how |= {} if kind is Kind.affine else {"checkpoint": checkpoint, "seed": seed}
        fitted: LinearLens
        if kind is Kind.tuned:
            fitted = TunedLens.fit(
                loaded,
                corpus,
                steps=steps,
                batch_size=batch_size,
                tokens_per_step=tokens_per_step,
                optimizer=optimizer,
                learning_rate=learning_rate,
                **how,
            )
        elif kind is Kind.affine:
            fitted = AffineLens.fit(loaded, corpus, **how)
        else:
            fitted = JacobianLens.fit(loaded, corpus, max_pieces=pieces, **how)
        fitted.save(out)
        checkpoint.unlink(missing_ok=True)
        say(quiet, f"Lens written to {out}")
        elsewhere = None if held_out is None else fitted.scores(loaded, held_out, length=length)
        deliver(FitReport(fitted, elsewhere), output)


@grouped
def compare(
    *,
    prompts: Annotated[Path, typer.Option(help="A text file, a prompt a line.")],
    lens: Lenses = ["logit", "token-identity"],  # noqa: B006  typer's way
    model: ModelName = "demo",
    position: Annotated[str, typer.Option(help="-1, all, 2:5, a substring, or span:TEXT.")] = "-1",
    layers: Layers = "all",
    checkpoint: Checkpoint = None,
    loading: Loading,
    allow_pickle: AllowPickle = False,
    svg: Svg = None,
    output: Output,
) -> None:
    """Compare lenses by layer: precision@1, surprisal, divergence, entropy, the next token."""
    quiet = output.quiet
    with errors(quiet):
        from lensscope.lenses.compare import compare as compared

        lenses = _lenses(lens, allow_pickle)
        loaded = load(model, loading, quiet)
        report = compared(
            loaded,
            prompts,
            lenses,
            positions=position_of(position),
            layers=None if layers == "all" else numbers_of(layers),
            checkpoint=checkpoint,
        )
        picture(report, svg, quiet)
        deliver(report, output)


def _lenses(names: list[str], allow_pickle: bool) -> list[Lens]:
    from lensscope.patchscope.lens_names import lens_of

    found = [lens_of(name, allow_pickle=allow_pickle) for name in names]
    called = [lens.name for lens in found]
    # Several of one name are called by their files.
    return [
        lens.renamed(Path(name).stem) if called.count(lens.name) > 1 else lens
        for lens, name in zip(found, names, strict=True)
    ]
