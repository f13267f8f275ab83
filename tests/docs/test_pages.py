"""The pages of the manual: their code runs, and prints what they say that it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.making import gallery
from docs.making.blocks import blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path != gallery.PAGE)
WITH_CODE = [path for path in PAGES if any(block.runs for block in blocks(path))]


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_the_code_of_a_page_runs(demo_at_hand, as_it_comes, page, tmp_path):
    namespace = {"__name__": "page"}
    for block in blocks(page):
        block.run(namespace, tmp_path)


def test_what_is_not_run_says_so_and_is_python():
    for page in PAGES:
        for block in blocks(page):
            compile(block.code, block.name, "exec")
            assert block.runs or block.prints is None, block.name


def test_every_block_is_found():
    for page in [*PAGES, gallery.PAGE]:
        fenced = len(re.findall(r"^ *```python", page.read_text("utf-8"), re.M))
        assert fenced == len(list(blocks(page))), page


def test_a_block_that_prints_something_else_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n", "utf-8")
    (block,) = blocks(page)
    with pytest.raises(AssertionError, match=r"page.md:1 should print\n2\n"):
        block.run({}, tmp_path)


def test_the_gallery_draws_what_it_shows(demo_at_hand, as_it_comes, tmp_path):
    """The pictures of `make docs` are taken where they are of this gallery and this package."""
    made = gallery.MADE
    if not gallery.is_made():
        made = tmp_path
        gallery.run({"__name__": "gallery"}, made)
    drawn = {path.stem for path in made.glob("*.svg")}
    shown = set(gallery.pictures())
    assert shown - drawn == {"explorer-grid"}
    assert drawn <= shown
    for name in drawn:
        assert (made / f"{name}.svg").read_text("utf-8").startswith("<svg")


def test_pieces_of_the_gallery_are_small_and_pictures_say_what_is_seen():
    for block in blocks(gallery.PAGE):
        assert len([line for line in block.code.splitlines() if line.strip()]) < 10, block.name
    for name, says in gallery.pictures().items():
        assert len(says.split()) >= 10, name


def test_the_glossary():
    text = text_of("glossary.md")
    terms = re.findall(r"^(\S.*?) \{ #([\w-]+) \}\n:   (?:.*\n)+?\n?", text, re.M)
    names, anchors = zip(*terms, strict=True)
    assert len(terms) == text.count("\n:   ") >= 60
    assert list(names) == sorted(names, key=lambda name: re.sub(r"[^a-z0-9]", "", name.lower()))
    assert len(set(anchors)) == len(anchors)
    letters = re.split(r"^## ([A-Z])$", text, flags=re.M)[1:]
    for letter, part in zip(letters[::2], letters[1::2], strict=True):
        assert all(term[0].upper() == letter for term in re.findall(r"^(\S.*?) \{ #", part, re.M))


def test_there_are_questions():
    asked = re.findall(r"^### (.*)$", text_of("faq.md"), re.M)
    assert len(set(asked)) == len(asked) >= 20


def test_every_law_names_tests_that_are_there():
    text = text_of("laws.md")
    laws = re.findall(r"^(\S.*)\n:   ((?:.*\n)+?)(?:\n|$)", text, re.M)
    assert len(laws) == text.count("\n:   ") >= 40
    for law, held in laws:
        path = None
        found = re.findall(r"\((?:\.\./)+(tests/[\w/]+\.py)\)|`(test_\w+)`", held)
        assert any(test for _, test in found), law
        for file, test in found:
            path = ROOT / file if file else path
            assert path is not None, law
            assert not test or f"def {test}(" in path.read_text("utf-8"), (law, test)


def test_pages_name_no_place_of_one_machine():
    files = [*PAGES, gallery.PAGE, ROOT / "mkdocs.yml", *(ROOT / "docs/making").glob("*.py")]
    for path in files:
        assert not re.search(r"/work/|/root/|/home/", path.read_text("utf-8")), path


def test_every_make_target_of_the_pages_exists():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.M))
    for page in PAGES:
        asked = set(re.findall(r"`make ([a-z0-9-]+)`", page.read_text("utf-8")))
        assert asked <= targets, page
