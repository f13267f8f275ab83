"""HTML pages made of results alone; no script, no outside resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lensscope.lenses.notes import as_html
from lensscope.signs import escape

if TYPE_CHECKING:
    import pandas as pd

    from lensscope.lenses.comparison import LensComparison
    from lensscope.lenses.reading import LensReading
    from lensscope.patching.result import PatchingResult
    from lensscope.patchscope.result import PatchscopeResult

STYLE: Final = """
.lensscope { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; }
.lensscope h2 { font-size: 1.25em; margin: 1.8em 0 .2em; }
.lensscope p { margin: .2em 0 .8em; color: #50596b; max-width: 60em; }
.lensscope table { border-collapse: collapse; margin: .4em 0 1em; }
.lensscope th { text-align: left; font-weight: 600; color: #50596b; padding: .25em .8em; }
.lensscope td { padding: .2em .8em; border-top: 1px solid #e3e7ee; text-align: left;
  vertical-align: top; }
.lensscope td.n, .lensscope th.n { text-align: right; font-variant-numeric: tabular-nums; }
.lensscope .t { font-family: ui-monospace, monospace; white-space: pre-wrap; }
.lensscope .p { color: #8390a5; font-size: .85em; }
.lensscope table.grid td { font-size: .78em; padding: .1em .3em; }
.lensscope .wide { overflow-x: auto; }
.lensscope .q { font-family: ui-monospace, monospace; background: #f2f4f8; padding: .1em .35em;
  border-radius: .25em; }
""".strip()


def page(title: str, sections: Sequence[str], intro: str = "") -> str:
    """A whole page."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>body{{margin:2em auto;max-width:72em;"
        f"padding:0 1.2em;background:#fff}}\n{STYLE}</style></head><body class='lensscope'>"
        f"<h1>{escape(title)}</h1>{intro}{''.join(sections)}</body></html>\n"
    )


def patchscope_section(result: PatchscopeResult) -> str:
    """A heading, what was asked, and a table for each prompt and token."""
    frame = result._everything()
    parts = []
    by = ["prompt_index", *(["position"] if frame["position"].notna().any() else [])]
    for _, group in frame.groupby(by, sort=False, dropna=False):
        first = group.iloc[0]
        token = f" <span class='t'>[{escape(str(first['token']).strip())}]</span>"
        heading = escape(str(first["prompt"])) + (token if first["token"] else "")
        own_target = group["target_layer"].nunique() > 1 and group["source_layer"].nunique() > 1
        crossed = own_target and len(group) > group["source_layer"].nunique()
        body = _grid(group) if crossed else _rows(group)
        parts.append(f"<h2>{heading}</h2>{body}")
    asked = escape(result.inspection)
    return (
        f"<p>Inspection prompt, written to at <span class='q'>{escape(result.placeholder)}</span>: "
        f"<span class='q'>{asked}</span><br>States of {escape(result.source.model)}, read by "
        f"{escape(result.target.model)}; {escape(result.plan)}. "
        f"Grey: the probability of the (first) token.</p>{as_html(result.notes)}{''.join(parts)}"
    )


def lens_section(reading: LensReading, value: str = "probability") -> str:
    """A lens table for each prompt; the next most probable tokens when pointed at."""
    from lensscope.lenses.pictures import lens_panels

    parts = []
    panels = lens_panels(reading, value)
    high, low = max(p.high for p in panels), min(p.low for p in panels)
    for panel in panels:
        head = f"<th class='n'>{escape(panel.y_title)}</th>" + "".join(
            f"<th class='t'>{escape(x)}</th>" for x in panel.x
        )
        lines = [
            f"<td class='n'>{escape(label)}</td>"
            + "".join(
                f"<td style='background:rgba(46,134,222,{_share(number, low, high):.2f})' "
                f"title='{escape(hover, quote=True)}'>"
                f"<span class='t'>{escape(text)}</span></td>"
                for number, text, hover in zip(values, texts, hovers, strict=True)
            )
            for label, values, texts, hovers in zip(
                panel.y, panel.values, panel.texts, panel.hovers, strict=True
            )
        ]
        parts.append(f"<h2>{escape(panel.title)}</h2>{_table(head, lines, 'grid')}")
    return (
        f"<p>{escape(reading.title)}; {escape(reading.provenance.model)}. Blue: "
        f"{escape(value.replace('_', ' '))}, {low:.3g} to {high:.3g}. "
        f"Point at a cell for the next ones.</p>{as_html(reading.notes)}{''.join(parts)}"
    )


def _share(number: float, low: float, high: float) -> float:
    """How dark a cell is."""
    return 0.0 if number != number else (number - low) / max(high - low, 1e-12)


def comparison_section(comparison: LensComparison) -> str:
    """Charts of precision@1, surprisal and divergence, and the whole table."""
    frame = comparison.frame()
    values = [c for c in frame.columns if f"{c}_low" in frame.columns]
    head = "<th>lens</th><th class='n'>layer</th>" + "".join(
        f"<th class='n'>{escape(v.replace('_', ' '))}</th>" for v in values
    )
    lines = [
        f"<td>{escape(str(row['lens']))}</td><td class='n'>{row['layer']}</td>"
        + "".join(
            f"<td class='n'>{row[v]:.3f}<br>"
            f"<span class='p'>{row[f'{v}_low']:.3f} to {row[f'{v}_high']:.3f}</span></td>"
            for v in values
        )
        for _, row in frame.iterrows()
    ]
    return (
        f"<p>{comparison.settings['prompts']} prompts, {comparison.values.sizes['read']} tokens of "
        f"{escape(comparison.provenance.model)}. Grey, and bands: {comparison.level:.0%} "
        f"intervals over prompts.</p>{as_html(comparison.notes)}"
        f"{comparison.to_svg(None, 'precision_at_1', 'surprisal')}"
        f"{comparison.to_svg(None, 'kl', 'entropy')}{_table(head, lines)}"
    )


def _rows(group: pd.DataFrame) -> str:
    """One line a layer: logit lens beside patchscope."""
    has_lens = "logit_lens" in group
    has_source = group["source_layer"].notna().any()
    same = has_source and (group["source_layer"] == group["target_layer"]).all()
    head = [("n", "layer")] if has_source else []
    head += [] if same else [("n", "written at")]
    head += [("", "logit lens")] if has_lens else []
    head += [("", "patchscope")]
    lines = []
    for _, row in group.iterrows():
        cells = [("n", str(row["source_layer"]))] if has_source else []
        cells += [] if same else [("n", str(row["target_layer"]))]
        if has_lens:
            cells.append(("", _token(row["logit_lens"], row["logit_lens_probability"])))
        said = f"<span class='t'>{escape(str(row['text']))}</span>"
        cells.append(("", f"{said} <span class='p'>{row['first_token_probability']:.2f}</span>"))
        lines.append("".join(f"<td class='{c}'>{v}</td>" for c, v in cells))
    return _table("".join(f"<th class='{c}'>{v}</th>" for c, v in head), lines)


def _grid(group: pd.DataFrame) -> str:
    """Source layers down, target layers across, the first token in each cell."""
    targets = list(dict.fromkeys(group["target_layer"]))
    lines = []
    for source, rows in group.groupby("source_layer", sort=False):
        cells = [f"<td class='n'>{source}</td>"]
        for _, row in rows.iterrows():
            share = float(row["first_token_probability"])
            cells.append(
                f"<td style='background:rgba(46,134,222,{share:.2f})' "
                f"title='{escape(str(row['text']), quote=True)}'>"
                f"<span class='t'>{escape(str(row['first_token']).strip())}</span></td>"
            )
        lines.append("".join(cells))
    head = "<th class='n'>source ↓ target →</th>" + "".join(
        f"<th class='n'>{t}</th>" for t in targets
    )
    return _table(head, lines, "grid")


def _token(token: Any, probability: Any) -> str:
    return (
        f"<span class='t'>{escape(str(token).strip() or repr(token))}</span> "
        f"<span class='p'>{float(probability):.2f}</span>"
    )


def _table(head: str, lines: Sequence[str], kind: str = "") -> str:
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table class='{kind}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def patching_section(result: PatchingResult) -> str:
    """Heat maps of all sites, and the largest effects with their intervals."""
    found = result._named(result.top(20))
    mean = result.mean()
    several = result.data.sizes["pair"] > 1
    head = "".join(f"<th>{escape(name)}</th>" for name in found.columns)
    lines = [
        "".join(f"<td class='t'>{escape(str(v))}</td>" for v in row)
        for row in found.itertuples(index=False)
    ]
    level = ""
    if several:
        spread = float((mean["effect_high"] - mean["effect_low"]).mean())
        level = f" Intervals (95%, over pairs) are {spread:.3f} wide on average."
    first, last = result.baselines
    runs = result.settings["runs"]
    return (
        f"<p>{escape(result.title)}. {escape(str(result.settings['direction']).capitalize())}, "
        f"{result.data.sizes['pair']} pair(s), {escape(result.provenance.model)}: effect 0 is the "
        f"{runs[0]}, {first:.4g}; 1 is the {runs[1]}, {last:.4g}.{level} "
        f"Blue goes towards it, red away from it. Point at a cell for its numbers.</p>"
        f"<div class='wide'>{result.to_svg()}</div><h2>Largest effects</h2>{_table(head, lines)}"
    )
