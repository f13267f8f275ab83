"""The names that come with lensscope, and what is held back for testing."""

from __future__ import annotations

import pytest

import lensscope as ls
from lensscope.errors import LensError
from lensscope.patchscope.names import names


def words(name: str) -> str:
    """The words of a name between spaces, without an article that it begins with."""
    plain = "".join(sign if sign.isalnum() else " " for sign in name.casefold())
    return f" {' '.join(plain.split()).removeprefix('the ')} "


def test_there_are_thousands_of_names_each_once_and_short():
    found = names()
    assert len(found) >= 2000
    assert len({name.casefold() for name in found}) == len(found)
    assert all(name == " ".join(name.split()) for name in found)
    assert all(1 <= len(name.split()) <= 6 for name in found)


def test_what_readers_are_tested_on_is_not_among_the_names():
    held_back = {words(entity.name) for entity in ls.studies.entities()}
    assert " jurassic park " in held_back
    assert not [name for name in names() if any(one in words(name) for one in held_back)]


def test_kinds_part_the_names_in_order():
    with pytest.raises(LensError) as refused:
        names(kinds=["nothing"])
    kinds = str(refused.value).split("expected: ")[1].split("\n")[0].split(", ")
    assert kinds == sorted(kinds)
    parts = [names(kinds=[kind]) for kind in kinds]
    assert all(parts)
    assert sum(parts, ()) == names()
    assert names(kinds=["city", "animal"]) == names(kinds=["animal"]) + names(kinds=["city"])
    assert "Tom Hanks" in names(kinds=["person"])
    assert "Tom Hanks" not in names(kinds=["city"])


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["persons"], "got:      'persons'\n"),
        (["persons"], "instead:  kinds=['person']"),
        (["city", "", 3], "got:      '', 3\n"),
        ("city", "These are not kinds."),
        ([], "at least one"),
    ],
)
def test_a_kind_that_is_not_there_is_refused(kinds, said):
    with pytest.raises(LensError) as refused:
        names(kinds=kinds)
    assert said in str(refused.value)
