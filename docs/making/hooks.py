"""The hooks of mkdocs: generated pages, texts of the repository, links to names and files."""

from __future__ import annotations

import html
import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.making import gallery, reference
from docs.making.names import ROOT, by_word

_log = get_plugin_logger("manual")
_ADDRESS: Final = re.search(
    r'^Repository = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M
)[1]
_SET: Final = "OWNER" not in _ADDRESS
"""Whether a maintainer has said where the repository is."""

_COURSE: Final = {
    "index.md": "The course",
    "rubric.md": "Rubric",
    "projects.md": "Projects",
    "teaching.md": "For teachers",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The address of the repository, and the navigation of what is generated."""
    config.site_url = os.environ.get("SITE_URL", "")
    if _SET:
        config.repo_url = _ADDRESS
        config.repo_name = "lensscope"
    for part in config.nav or []:
        if "Reference" in part:
            part["Reference"] = reference.nav()
        if "Course" in part:
            part["Course"] = _course()
    return config


def _course() -> list[Any]:
    found = sorted(path.name for path in (ROOT / "docs/course").glob("*.md"))
    first = [name for name in _COURSE if name in found or name == "index.md"]
    others = [name for name in found if name not in _COURSE]
    named = [{_COURSE[name]: f"course/{name}"} for name in first if name != "index.md"]
    return ["course/index.md", *named, *(f"course/{name}" for name in others)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of the reference and the pictures of the gallery."""
    for path, text in reference.pages():
        files.append(File.generated(config, path, content=text))
    if files.get_file_from_path("course/index.md") is None:
        stub = "# The course\n\nTwelve units, in the folder `notebooks` of the repository.\n"
        files.append(File.generated(config, "course/index.md", content=stub))
    if not gallery.is_made():
        _log.warning("the pictures of the gallery are not those of its code: make docs")
    for picture in sorted(gallery.MADE.glob("*.svg")):
        files.append(File.generated(config, f"gallery/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Texts of the repository where a page asks for them, pictures, links out of docs/."""
    markdown = re.sub(
        r"^<!-- (include|all of): (\S+) -->$",
        lambda found: _included(found[2], 1 if found[1] == "include" else 0),
        markdown,
        flags=re.M,
    )
    markdown = re.sub(
        r"<!-- picture: (\S+) -->", lambda m: gallery.shown(m[1], _up(page)), markdown
    )
    return re.sub(
        r"(?<!!)\[([^\]\n]+)\]\(((?:\.\./)+[^)#\s]+|(?:docs|benchmarks|notebooks|tests)/[^)#\s]+)"
        r"(#[^)\s]*)?\)",
        lambda found: _outward(found, page),
        markdown,
    )


def _up(page: Page) -> str:
    return "../" * page.file.src_uri.count("/")


def _included(name: str, lower: int) -> str:
    """A Markdown file of the repository, its headings so many levels lower."""
    text = (ROOT / name).read_text("utf-8")
    fenced = False
    lines = []
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        lines.append("#" * lower + line if line.startswith("#") and not fenced else line)
    return "\n".join(lines)


def _outward(found: re.Match[str], page: Page) -> str:
    """A link to a file of the repository: into the site if it is a page, else to where it lies."""
    text, path, anchor = found[1], found[2], found[3] or ""
    inside = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), path))
    if not path.startswith("../"):
        inside = path  # of a text that was included, which stands at the top
    if inside.startswith("docs/") and inside.endswith(".md"):
        to = os.path.relpath(inside, posixpath.dirname(f"docs/{page.file.src_uri}"))
        return f"[{text}]({to}{anchor})"
    if not (ROOT / inside).exists():
        _log.warning(f"{page.file.src_uri} links to {inside}, which is not in the repository")
    if _SET:
        kind = "tree" if (ROOT / inside).is_dir() else "blob"
        return f"[{text}]({_ADDRESS}/{kind}/main/{inside}{anchor})"
    return f"{text}" if text.strip("`") == inside else f"{text} (`{inside}`)"


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Names of the package in running text are links to their pages."""
    here = page.file.src_uri
    parts = re.split(r"(<pre.*?</pre>|<h\d.*?</h\d>|<a .*?</a>|<svg.*?</svg>)", content, flags=re.S)
    seen: set[str] = set()

    def link(found: re.Match[str]) -> str:
        word = html.unescape(found[1])
        name = re.match(r"(ls\.[A-Za-z_]+(?:\.[A-Za-z_]+)?)", word)
        public = (
            (by_word().get(name[1]) or by_word().get(name[1].rpartition(".")[0])) if name else None
        )
        if public is None or public.page == here or public.name in seen:
            return found[0]
        seen.add(public.name)
        to = os.path.relpath(public.page.replace(".md", ".html"), posixpath.dirname(here) or ".")
        return f'<a href="{to}">{found[0]}</a>'

    for n in range(0, len(parts), 2):
        parts[n] = re.sub(r"<code>([^<]*)</code>", link, parts[n])
    return "".join(parts)


def on_post_build(config: MkDocsConfig) -> None:
    """What the site was made from, so that tests know whether it is this one; what only a server
    needs is left out where none is known."""
    if not config.site_url:
        for name in ("404.html", "sitemap.xml", "sitemap.xml.gz"):
            Path(config.site_dir, name).unlink(missing_ok=True)
    made = {"of": gallery.site_fingerprint()}
    Path(config.site_dir, "made.json").write_text(json.dumps(made), "utf-8")
