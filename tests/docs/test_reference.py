"""The reference: every public name has a page, and an example that runs."""

from __future__ import annotations

import doctest
import inspect

import pytest
import torch

import lensscope as ls
from docs.making import names as public_names
from docs.making.of_names import TEXTS
from tests.explorer.browser import absent

MODULES = [("ls", ls)] + [(f"ls.{name}", getattr(ls, name)) for name in public_names.MODULES]
NAMES = {
    f"{prefix}.{name}": getattr(module, name)
    for prefix, module in MODULES
    for name in module.__all__
}


@pytest.fixture(scope="module", autouse=True)
def _griffe():
    try:
        import griffe  # noqa: F401
    except ImportError:
        absent("the manual is made with the extra docs, which make docs installs")


def test_every_public_name_has_a_page_of_its_own():
    every = public_names.names()
    assert sorted(each.name for each in every) == sorted(NAMES)
    paths = [each.page.lower() for each in (*every, *public_names.met())]
    assert len(set(paths)) == len(paths), "a disk that does not tell capitals apart would lose one"


def test_every_name_leads_to_what_it_is():
    for each in public_names.names():
        value = NAMES[each.name]
        if inspect.isclass(value) or inspect.isfunction(value):
            home = f"{value.__module__}.{value.__qualname__}"
            assert each.target == home, each.name


def test_every_public_name_has_an_example():
    lacking = [
        each.name
        for each in public_names.names()
        if ">>>" not in (TEXTS[each.name][1] if each.name in TEXTS else each.docstring)
    ]
    assert lacking == []


def test_what_is_said_by_hand_is_of_what_has_no_docstring():
    for name in TEXTS:
        value = NAMES[name]
        assert not inspect.isclass(value), name
        assert not inspect.isfunction(value), name


@pytest.mark.parametrize("name", TEXTS)
def test_an_example_by_hand_runs(demo, name):
    about, example = TEXTS[name]
    assert about.endswith((".", ")"))
    globs = {"ls": ls, "torch": torch, "model": demo}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(example, globs, name, None, 0)
    said: list[str] = []
    done = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    assert done.attempted and not done.failed, "".join(said)


def test_pictures_are_those_of_the_gallery():
    from docs.making import gallery, reference

    assert set(reference.PICTURES) <= set(NAMES)
    assert set(reference.PICTURES.values()) <= set(gallery.pictures())
    drawing = {name for name, value in NAMES.items() if hasattr(value, "to_svg")}
    assert drawing <= set(reference.PICTURES)


def test_every_page_says_something():
    from docs.making import reference

    for path, text in reference.pages():
        assert text.startswith(("# ", "::: ")), path
    for each in (*public_names.names(), *public_names.met()):
        assert each.name in TEXTS or len(each.says) > 10, each.name
