"""The reference: a page for each public name, made of what the package says of itself."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, Final

from docs.making.names import GROUPS, Public, met, names, package
from docs.making.of_names import TEXTS

PICTURES: Final = {
    "ls.Patchscope": "patchscope-layers",
    "ls.PatchscopeResult": "patchscope-grid",
    "ls.LensReading": "lens-grid",
    "ls.LogitLens": "lens-trajectories",
    "ls.LensComparison": "lens-comparison",
    "ls.compare": "lens-comparison",
    "ls.PatchingResult": "activation-patching",
    "ls.activation_patching": "activation-patching",
    "ls.attribution_patching": "heads",
    "ls.causal_trace": "causal-trace",
    "ls.attention_knockout": "knockout",
    "ls.path_patching": "path-patching",
    "ls.Circuit": "circuit",
    "ls.FaithfulnessCurve": "faithfulness-curve",
    "ls.explore": "explorer-grid",
    "ls.studies.StudyResult": "study",
    "ls.studies.attribute_extraction": "study",
    "ls.studies.reading_quality": "reading-quality",
    "ls.course.heatmap": "course-heatmap",
    "ls.course.lines": "course-lines",
    "ls.course.picture": "course-lines",
}
"""What draws a picture, and where in the gallery one of its kind stands."""

TYPES: Final = {
    "PromptsLike": "a text, a list of texts, token ids, a chat, or a list of these",
    "SitesLike": "a site, several, or TransformerLens' names of hook points; without a layer, "
    "every layer",
    "PositionLike": "a number, a slice, a substring, `ls.span(…)`, `ls.ALL`, a place in a chat",
    "PositionsLike": "one of these, a list, or a list of lists with one for each prompt",
    "GroupLike": "a position that is meant in both prompts, a pair of them, or a list with one for "
    "each pair",
    "LayersLike": "a layer, a list, a range or a slice of them",
    "TargetLayers": '`"own"`, `"same"`, `"all"`, a layer or several',
    "VectorsLike": "`[d_model]`, `[vector, d_model]`, or a dict of vectors by name",
    "PatchLike": "a patch, or a move, whose value is read from a run",
    "Texts": "any iterable of texts or token ids, or the path of a text file",
    "Answers": "a token as text or id, a tuple of tokens, or a list with one for each pair",
    "ReceiversLike": 'sites, `"logits"`, a list of these, or a mapping of names to them',
    "Metric": "a function of logits `[row, position, d_vocab]` that gives `[row, …]`",
    "Map": "a function of a state, such as `ls.affine(A, b)`",
}
"""Types that signatures name, in words."""

_SITE_METHODS: Final = "set add scale lerp zero map project_out write"


def pages() -> Iterator[tuple[str, str]]:
    """The path and text of each page."""
    yield "reference/index.md", _index()
    for public in (*names(), *met()):
        yield public.page, _page(public)


def nav() -> list[Any]:
    """The pages as a part of the navigation."""
    found: list[Any] = ["reference/index.md"]
    for group in GROUPS:
        found.append({group: [{each.name: each.page} for each in names() if each.group == group]})
    return [*found, {"Also met": [{each.name: each.page} for each in met()]}]


def _index() -> str:
    lines = ["# Reference", ""]
    lines += [
        "Every public name has a page: how it is called, what it gives, what it refuses, and an "
        "example that runs. `ls` is `import lensscope as ls`; in the examples, `model` is "
        "`ls.load_model()`, the demo model.",
        "",
    ]
    for group, (about, _) in GROUPS.items():
        lines += [f"## {group}", "", about, ""]
        for each in names():
            if each.group == group:
                lines.append(
                    f"- [`{each.name}`]({each.page.removeprefix('reference/')}): {_says(each)}"
                )
        lines.append("")
    lines += ["## Also met", "", "What these give or take, and is imported from where it lies.", ""]
    for each in met():
        lines.append(f"- [`{each.name}`]({each.page.removeprefix('reference/')}): {_says(each)}")
    lines += ["", "## Types in signatures", ""]
    lines += [f"- `{name}`: {words}" for name, words in TYPES.items()]
    return "\n".join([*lines, ""])


def _says(public: Public) -> str:
    if public.name in TEXTS:
        return TEXTS[public.name][0].partition(". ")[0].rstrip(".") + "."
    return public.says


def _page(public: Public) -> str:
    if public.name in TEXTS:
        text = _of_value(public)
    elif public.member.is_module:
        text = _of_module(public)
    else:
        text = _of_object(public)
    if public.name in PICTURES:
        picture = PICTURES[public.name]
        text += f"\n## A picture {'{ #a-picture }'}\n\n<!-- picture: {picture} -->\n"
    return text


def _of_value(public: Public) -> str:
    about, example = TEXTS[public.name]
    lines = [f"# {public.name} {{ #{public.target} }}", "", about, ""]
    kind = public.own
    if public.target.startswith("lensscope.values.sites."):
        known = _kinds()[kind]
        heads = ", head" if any("head" in axis for axis in known["axes"]) else ""
        of = "A kind of [`ls.Site`][lensscope.values.sites.Site]"
        one = f"`ls.{kind}(layer{heads})` is one place"
        many = f"{of}: {one}, and without a layer it means every layer."
        lines += [
            f"{of}." if kind == "embed" else many,
            "",
            f"- axes of what is kept: `[{', '.join(known['axes'])}]`",
            f"- TransformerLens' hook point: `{known['hook']}`",
            "- what can be done there: "
            + ", ".join(
                f"[`{verb}`][lensscope.values.sites.Site.{verb}]" for verb in _SITE_METHODS.split()
            ),
            "",
        ]
    return "\n".join([*lines, "**Examples:**", "", "```pycon", example.strip(), "```", ""])


def _kinds() -> dict[str, dict[str, Any]]:
    """The hook point and axes of each kind of site, as the source has them."""
    residual = ("prompt", "position", "d_model")
    found: dict[str, dict[str, Any]] = {}
    module = package()["values.site_kinds"]
    axes = {"_RESID": residual, "_HEADS": ("prompt", "position", "head", "d_head")}
    axes["_KV_HEADS"] = ("prompt", "position", "kv_head", "d_head")
    table = module["KINDS"].value
    for key, call in zip(table.keys, table.values, strict=True):
        hook, shape = (str(each) for each in call.arguments)
        kind, hook = str(key).strip("'\""), hook.strip("'\"")
        named = (
            axes[shape] if shape in axes else tuple(shape.strip("()").replace("'", "").split(", "))
        )
        place = hook if kind == "embed" else f"blocks.N.{hook}"
        found[kind] = {"hook": place, "axes": named}
    return found


def _of_module(public: Public) -> str:
    inside = [each for each in names() if each.name.startswith(f"{public.name}.")]
    lines = [f"::: {public.target}", "    options:", f"      heading: {public.name}"]
    lines += [f"      toc_label: {public.name}", "      members: []", "", "## Its names", ""]
    lines += [
        f"- [`{each.name}`]({each.page.removeprefix('reference/')}): {_says(each)}"
        for each in inside
    ]
    return "\n".join([*lines, ""])


def _of_object(public: Public) -> str:
    lines = [f"::: {public.target}", "    options:", f"      heading: {public.name}"]
    lines += [f"      toc_label: {public.name}"]
    if public.is_error:
        lines += ["      inherited_members: false", "      separate_signature: false"]
        if public.own != "LensscopeError":
            lines += ["      members: []"]
    bases = [str(base) for base in getattr(public.member, "bases", ())]
    tail = ["", f"A kind of {' and of '.join(_kind(base) for base in bases)}."] if bases else []
    return "\n".join([*lines, *(tail if public.is_error else []), ""])


def _kind(base: str) -> str:
    known = next((each for each in names() if each.own == base and each.is_error), None)
    return f"[`ls.{base}`]({posixpath.basename(known.page)})" if known else f"`{base}`"
