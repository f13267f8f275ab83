"""What a patchscope said of states, beside what it said of their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pandas as pd

from lensscope.patchscope.result import PatchscopeResult
from lensscope.show.heatmaps import Panel, to_plotly, to_svg
from lensscope.show.pages import rendered
from lensscope.show.showing import Shown
from lensscope.show.terminal import table_of
from lensscope.signs import short, visible
from lensscope.store.json_text import json_text, read_json

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from rich.table import Table

CONTROLS: Final[Mapping[str, str]] = {
    "prior": "nothing written",
    "random": "random vector",
    "mean": "mean state",
    "other": "another state",
}
"""What is written in place of the state."""
_WIDTH: Final = 30
"""Texts are shown in so many characters."""


@dataclass(frozen=True, eq=False)
class Controlled(Shown):
    """What a patchscope said of states, beside what it said of their controls.

    Attributes:
        result: what it said of the states.
        said: what it said of each control (`CONTROLS`), a text for each line of ``result.frame()``.
        other: the prompt that the other state is of, its last token.
        texts: how many texts the mean is over.
        seed: of random vectors.
    """

    result: PatchscopeResult
    said: Mapping[str, Sequence[str]]
    other: str
    texts: int
    seed: int

    def frame(self) -> pd.DataFrame:
        """A line for each cell and condition: ``state``, and the controls."""
        where = ["prompt", "source_layer", "target_layer", "position", "token"]
        own = self.result.frame()
        said = {"state": own["text"], **self.said}
        each = [own[where].assign(condition=name, text=list(text)) for name, text in said.items()]
        return pd.concat(each, ignore_index=True)

    @property
    def title(self) -> str:
        """What was read, and in whose words it is said."""
        return self.result.title

    @property
    def about(self) -> str:
        """What is written in place of the state."""
        return (
            "Controls: the inspection prompt with nothing written into it; a random vector as long "
            f"as the state (seed {self.seed}); the mean state of {self.texts} texts at that layer; "
            f"the last state of {short(self.other, 60)}. What is said of them too is not of the "
            "state."
        )

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """What stands in a table: names of columns, and rows."""
        own = self.result.frame()
        columns = {"source_layer": "layer", "target_layer": "written at", "token": "token"}
        if (own["source_layer"] == own["target_layer"]).all():
            del columns["target_layer"]
        if own["position"].nunique() == 1:
            del columns["token"]
        texts = [own["text"], *(self.said[name] for name in CONTROLS)]
        rows = [
            [*(str(v) for v in where), *map(str, said)]
            for where, said in zip(
                own[list(columns)].itertuples(index=False), zip(*texts, strict=True), strict=True
            )
        ]
        return [*columns.values(), "state", *CONTROLS.values()], rows

    def table(self) -> Table:
        """A table for the terminal."""
        columns, rows = self._cells()
        first = self.result.frame().iloc[0]
        token = "" if "token" in columns else f"  [{short(str(first['token']), 60)}]"
        return table_of(
            visible(str(first["prompt"])) + token,
            columns,
            [[visible(text) for text in row] for row in rows],
            caption=f"inspection prompt: …{self.result.inspection[-60:]!r}",
            notes=(self.about, *self.result.notes),
        )

    def plot(self) -> go.Figure:
        """A plotly figure: layers by what is written; the text in each cell."""
        return to_plotly(self._panels(), "p(first token)")

    def _svg(self) -> str:
        return to_svg(self._panels(), "p(first token)")

    def _panels(self) -> list[Panel]:
        own = self.result.frame()
        own = own.assign(**{f"said {name}": list(self.said[name]) for name in CONTROLS})
        names = ["text", *(f"said {name}" for name in CONTROLS)]
        panels = []
        for _, group in own.groupby("position", sort=False):
            texts = group[names].astype(str).to_numpy().tolist()
            blank = [float("nan")] * len(CONTROLS)
            same = (group["source_layer"] == group["target_layer"]).all()
            pairs = zip(group["source_layer"], group["target_layer"], strict=True)
            token = short(str(group["token"].iloc[0]), 40)
            panels.append(
                Panel(
                    title=f"{short(str(group['prompt'].iloc[0]), 100)} [{token}]",
                    x=("state", *CONTROLS.values()),
                    y=tuple(str(s) if same else f"{s} to {t}" for s, t in pairs),
                    x_title="what is written",
                    y_title="source layer",
                    values=tuple((float(p), *blank) for p in group["first_token_probability"]),
                    texts=tuple(tuple(short(text, _WIDTH) for text in row) for row in texts),
                    hovers=tuple(tuple(visible(text) for text in row) for row in texts),
                    cell_width=_WIDTH,
                )
            )
        return panels

    def section(self) -> str:
        """What it says, as a piece of HTML."""
        columns, rows = self._cells()
        own = {"columns": columns, "rows": rows, "about": self.about, "notes": ()}
        return self.result.section() + rendered("controls.html", **own)

    def _json(self) -> str:
        whole = read_json(self.result.to_json())
        for name in CONTROLS:
            for cell, text in zip(whole["cells"], self.said[name], strict=True):
                cell[name] = text
        return json_text({**whole, "controls": dict(CONTROLS), "about": self.about})

    def __repr__(self) -> str:
        return f"Controlled({self.result!r})"
