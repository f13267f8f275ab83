"""`explore`: a model's states in words, lenses and patches, to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lensscope import checks
from lensscope.errors import BasisError, LensError, LensscopeError
from lensscope.explorer.about import about
from lensscope.explorer.answers import merged
from lensscope.explorer.desk import Desk
from lensscope.explorer.lab import RAW, Lab
from lensscope.explorer.lenses import affine_lens, fits
from lensscope.explorer.page import recorded_page
from lensscope.explorer.python import given_as
from lensscope.explorer.record import record_of
from lensscope.explorer.scenes import first_questions, scene
from lensscope.explorer.serving import served
from lensscope.lenses.lens import Lens
from lensscope.model.classes import backend_of
from lensscope.patchscope.lens_names import lens_of
from lensscope.patchscope.reader_names import reader_of
from lensscope.patchscope.scope import Patchscope
from lensscope.progress import progress
from lensscope.store.files import write
from lensscope.store.json_text import json_text


class Explorer:
    """A model to be looked at; made by `explore`.

    In a notebook it shows itself. `serve` shows it in a browser, `export` writes what was answered
    to one file that needs nothing, and `ask` gives an answer to Python.

    Args:
        lab: the model, with its lenses and readers.
        prompt: what is looked at first.
    """

    def __init__(self, lab: Lab, prompt: str | None = None) -> None:
        self.lab = lab
        self.about = about(lab, prompt)
        self.desk = Desk(lab)
        self._widget: Any = None

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question of the browser, as one value.

        Args:
            question: as `explorer/src/protocol.ts` has it; what a saved view lists.

        Raises:
            LensscopeError: what the browser would be told.

        Example:
            >>> explorer = ls.explore(model, lenses=["logit"], readers=[])
            >>> answer = explorer.ask({"kind": "grid", "prompt": "Paris is", "lens": "logit"})
            >>> len(answer["rows"]), answer["rows"][0]["layer"]
            (30, 29)
        """
        error, whole = list[Mapping[str, str]](), list[Mapping[str, Any]]()

        def tell(told: Mapping[str, Any]) -> None:
            if "error" in told:
                error.append(told["error"])
            if "part" in told and not told.get("more"):
                whole.append(told["part"])

        self.desk.ask(question, "python", "ask", tell)
        self.desk.answer_all(wait=False)
        if error:
            raise LensscopeError(error[0]["what"], **{n: error[0][n] for n in _PARTS})
        return merged(whole)

    def serving(
        self, host: str | None = None, port: int | None = None
    ) -> AbstractContextManager[str]:
        """A server while a ``with`` block lasts, which gives its address.

        Args:
            host: the loopback address by default; another one gets a token in its URL.
            port: a free one by default.

        Raises:
            FileError: the address or port cannot be used.
        """
        return self._served(Desk(self.lab, self.desk.kept), host, port)

    @checks.door(LensError, open=checks.flag)
    def serve(
        self, host: str | None = None, port: int | None = None, *, open: bool = False
    ) -> None:
        """Serve it until it is interrupted (Ctrl-C).

        Args:
            host: as in `serving`.
            port: as there.
            open: open the browser.

        Raises:
            FileError: the address or port cannot be used.
        """
        desk = Desk(self.lab, self.desk.kept)
        with self._served(desk, host, port, works=False) as address:
            print(f"{self.about['model']['name']} at {address}\nCtrl-C ends it.", flush=True)
            if open:
                import webbrowser

                webbrowser.open(address)
            try:
                desk.answer_all()
            except KeyboardInterrupt:
                print("\nEnded.")

    def _served(
        self, desk: Desk, host: str | None, port: int | None, *, works: bool = True
    ) -> AbstractContextManager[str]:
        first = first_questions(self.about["state"])
        return served(desk, self.about, host, port, first, works=works)

    @checks.door(LensError, prompt=checks.text, position=checks.whole(-(1 << 20), instead=-1))
    def record(self, prompt: str | None = None, position: int = -1) -> dict[str, Any]:
        """Answer what one asks first of a prompt, so that `export` has it: the grid of each lens,
        and lenses, words and controls of a token at every layer.

        Args:
            prompt: what one begins with by default.
            position: which token.

        Returns:
            The state of the screen that shows it.
        """
        state, questions = scene(self.lab, self.about, prompt, position)
        with progress(len(questions), "record", "question") as bar:
            for question in questions:
                self.ask(question)
                bar.update()
        return state

    @checks.door(LensError)
    def export(self, path: str | Path, state: Mapping[str, Any] | None = None) -> Path:
        """Write all that was answered to one file that needs nothing: no model, no network.

        Args:
            path: where to; ``.json`` gives what the explorer itself opens again.
            state: what is on its screen; what `record` gave, or where one begins. A grid's answers
                are found if they are not yet.

        Raises:
            FileError: a file that cannot be written.
        """
        shown = self.about["state"] if state is None else state
        for question in first_questions(shown) if shown["view"] == "grid" else ():
            self.ask(question)
        record = record_of(self.about, shown, self.desk.kept.all())
        as_json = Path(path).suffix.lower() == ".json"
        return write(path, json_text(record) if as_json else recorded_page(record))

    @property
    def widget(self) -> Any:
        """The widget that a notebook shows.

        Raises:
            FileError: anywidget is not installed: the extra ``notebook``.
        """
        if self._widget is None:
            from lensscope.explorer.widget import widget_of

            self._widget = widget_of(self.desk, self.about)
        return self._widget

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def _display_(self) -> Any:
        """What marimo shows."""
        return self.widget

    def __repr__(self) -> str:
        return f"Explorer({self.about['model']['name']}; .serve() opens it in a browser)"


_PARTS = ("got", "expected", "instead")


@checks.door(LensError, prompt=checks.optional(checks.text), loading=checks.anything)
def explore(
    model: Any,
    prompt: str | None = None,
    *,
    lenses: Sequence[str | Lens] | None = None,
    readers: Sequence[str | Patchscope] | None = None,
    loading: Sequence[str] = ("# model: the one that ls.explore was given",),
) -> Explorer:
    """Look at a model: its states in words beside lenses and controls, states moved between
    prompts, where a run matters; in a notebook, in a browser, or in one file.

    Args:
        model: a ``HookedTransformer`` or ``TransformerBridge``.
        prompt: what is looked at first.
        lenses: names and paths as of ``lensscope compare``, or lenses. By default the logit lens,
            an affine lens that is fitted in some seconds, once for each model (it is kept in the
            user's cache folder), and the token-identity patchscope.
        readers: trained readers, or their paths; by default the one that comes with lensscope, if
            it is of this model.
        loading: lines of Python that give ``model``, for what is copied as Python.

    Returns:
        An `Explorer`.

    Raises:
        LensError: no such lens or reader.
        BasisError: a lens or reader of another model.

    Example:
        >>> explorer = ls.explore(model, "Jurassic Park", lenses=["logit"], readers=[])
        >>> explorer
        Explorer(SmolLM2-135M-Instruct; .serve() opens it in a browser)
    """
    found, lens_lines = _lenses(model, lenses)
    trained, reader_lines = _readers(model, readers)
    lab = Lab(model, found, trained, list(loading), lens_lines, reader_lines)
    for name in found:
        lab.lens(name)  # which refuses one of another model
    return Explorer(lab, prompt)


def _lenses(
    model: Any, given: Sequence[str | Lens] | None
) -> tuple[dict[str, Lens], dict[str, str]]:
    if given is None:
        given = ["logit", *(["affine"] if fits(model) else []), "token-identity"]
    found: dict[str, Lens] = {}
    lines: dict[str, str] = {}
    for one in checks.several(given, "lenses", '["logit"]', LensError):
        if isinstance(one, Lens):
            name = _free(one.name, found)
            lens, line = one, given_as("lens", name)
        elif isinstance(one, str) and one == "affine":
            name, lens, line = one, affine_lens(model), "affine_lens(model)"
        else:
            lens = lens_of(str(one))
            name = _free(Path(str(one)).stem, found)
            line = _KNOWN.get(name, f"lens_of({str(one)!r})")
        found[name], lines[name] = lens, line
    return found, lines


_KNOWN = {
    "logit": "ls.LogitLens()",
    "token-identity": "ls.Patchscope.token_identity().as_lens()",
}


def _readers(
    model: Any, given: Sequence[str | Patchscope] | None
) -> tuple[dict[str, Patchscope], dict[str, str]]:
    if given is None:
        try:
            return {"tuned": Patchscope.tuned(model)}, {"tuned": "ls.Patchscope.tuned(model)"}
        except BasisError:
            return {}, {}
    none = isinstance(given, list | tuple) and not given
    several = [] if none else checks.several(given, "readers", '["tuned"]', LensError)
    found: dict[str, Patchscope] = {}
    lines: dict[str, str] = {}
    here = backend_of(model).provenance()
    for one in several:
        if isinstance(one, Patchscope):
            name = _free("reader", {RAW: None, **found})
            scope, line = one, given_as("reader", name)
        else:
            scope = reader_of(str(one), model)
            name = _free(Path(str(one)).stem, {RAW: None, **found})
            tuned = str(one) == "tuned"
            line = "ls.Patchscope.tuned(model)" if tuned else f"reader_of({str(one)!r}, model)"
        if scope.trained is not None:
            scope.trained.model.check_basis(here, f"The reader {name!r}")
        found[name], lines[name] = scope, line
    return found, lines


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """A name that is not taken yet, short enough for a page."""
    name, n = name[:60] or "unnamed", 1
    while (own := name if n == 1 else f"{name} {n}") in taken:
        n += 1
    return own
