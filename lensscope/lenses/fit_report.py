"""What fitting a lens gave."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from lensscope.errors import LensError
from lensscope.json_text import json_text, records
from lensscope.lenses.linear import LinearLens
from lensscope.showing import Shown
from lensscope.signs import escape

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


_WHEN: Final = ("before", "after")


@dataclass(frozen=True, eq=False)
class FitReport(Shown):
    """How a lens was fitted, and of a tuned lens what it gives on held-out text.

    Attributes:
        lens: the lens.
    """

    lens: LinearLens

    @property
    def title(self) -> str:
        """What was fitted."""
        return f"{self.lens.name[:1].upper()}{self.lens.name[1:]}: the fit"

    @property
    def scores(self) -> pd.DataFrame | None:
        """By site, before and after, where it was measured."""
        if "kl_before" not in self.lens.history:
            return None
        return self.lens.scores()  # type: ignore[attr-defined]

    def table(self) -> Table:
        """Divergence and cross-entropy by site; or how it was fitted."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), box=box.SIMPLE_HEAD)
        scores = self.scores
        if scores is None:
            table.add_column("setting")
            table.add_column("value")
            for name, value in self.lens.settings.items():
                table.add_row(name, Text(str(value)))
            return table
        lower = int((scores["kl_after"] < scores["kl_before"]).sum())
        table.caption = Text(
            "KL of the final distribution from the lens', and cross-entropy of the next token, "
            "nats, on held-out text; before: the logit lens. "
            f"Lower KL at {lower} of {len(scores)} sites."
        )
        for name in scores.columns:
            table.add_column(name.replace("_", " "), justify="right")
        for _, row in scores.iterrows():
            table.add_row(row["site"], *(f"{row[c]:.3f}" for c in scores.columns[1:]))
        return table

    def section(self) -> str:
        """The chart, and the table."""
        scores = self.scores
        settings = escape(json_text(dict(self.lens.settings), indent=None))
        intro = f"<p>{escape(repr(self.lens))}<br>{settings}</p>"
        if scores is None:
            return intro
        head = "".join(f"<th class='n'>{c.replace('_', ' ')}</th>" for c in scores.columns)
        body = "".join(
            f"<tr><td>{row['site']}</td>"
            + "".join(f"<td class='n'>{row[c]:.3f}</td>" for c in scores.columns[1:])
            + "</tr>"
            for _, row in scores.iterrows()
        )
        return f"{intro}{self._svg()}<table><tr>{head}</tr>{body}</table>"

    def _svg(self) -> str:
        from lensscope.charts import Chart, Line, to_svg

        scores = self.scores
        if scores is None:
            raise LensError(
                "There is no picture of this fit.",
                got=f"a {self.lens.name}, of which nothing was measured",
                expected="a tuned lens that was trained here",
                instead="ls.compare(model, prompts, [ls.LogitLens(), lens]).to_svg()",
            )
        sites = list(self.lens.translators)
        kinds = list(dict.fromkeys(site.kind for site in sites))
        charts = []
        for name, title in (("kl", "KL (nats)"), ("ce", "cross-entropy (nats)")):
            lines = []
            for kind in kinds:
                own = [n for n, site in enumerate(sites) if site.kind == kind]
                before, after = ([scores[f"{name}_{w}"][n] for n in own] for w in _WHEN)
                first = _off_the_chart(before)
                if first:
                    title += f"; {sites[own[0]]!r}: {before[0]:.0f}, then {after[0]:.1f}"
                layers = tuple(sites[n].layer or 0 for n in own[first:])
                which = "" if len(kinds) == 1 else f", {kind}"
                lines.append(Line(f"before (logit lens){which}", layers, tuple(before[first:])))
                lines.append(Line(f"after{which}", layers, tuple(after[first:])))
            across = "input of block" if kinds == ["resid_pre"] else "layer"
            charts.append(Chart(title, across, title, tuple(lines)))
        return to_svg(*charts)

    def _json(self) -> str:
        scores = self.scores
        value: dict[str, Any] = {
            "lens": type(self.lens).__name__,
            "settings": dict(self.lens.settings),
            "provenance": asdict(self.lens.origin.provenance),
            "scores": [] if scores is None else records(scores),
        }
        return json_text(value)


def _off_the_chart(values: list[float]) -> int:
    """How many values at the start would flatten all others: an embedding, as the logit lens reads
    it."""
    return int(len(values) > 2 and values[0] > 3 * max(values[1:]))
