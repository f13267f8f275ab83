"""What lies in the repository is what its source makes, and every unit has what a unit has."""

from __future__ import annotations

import re

import nbformat
import pytest

import lensscope as ls
from lensscope.show.picture import PAGE
from notebooks.making import scenes, syllabus
from notebooks.making.slides import slides
from notebooks.making.unit import HERE, Unit, units
from notebooks.making.versions import instructor, student

each_unit = pytest.mark.parametrize("unit", units(), ids=lambda unit: unit.name)


def test_units_are_numbered_and_each_has_five_judges():
    numbers = [unit.number for unit in units()]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(1, 13))
    assert ls.course.exercises() == [f"{n}.{k}" for n in numbers for k in range(1, 6)]


@each_unit
@pytest.mark.parametrize("version", [student, instructor])
def test_a_notebook_is_made_of_its_source(unit: Unit, version):
    folder = HERE / "solutions" if version is instructor else HERE
    found = nbformat.read(folder / f"{unit.name}.ipynb", as_version=4)
    wanted = version(unit)
    same = [c.source for c in found.cells] == [c.source for c in wanted.cells]
    assert same, f"run: python -m notebooks.making {unit.number}"
    assert [c.id for c in found.cells] == [c.id for c in wanted.cells]
    nbformat.validate(found)


@each_unit
def test_its_outputs_are_kept_and_name_no_path_of_a_machine(unit: Unit):
    for folder in (HERE, HERE / "solutions"):
        text = (folder / f"{unit.name}.ipynb").read_text("utf-8")
        assert not re.search(r'/(work|tmp|home|root)/|"output_type": "error"', text)
    found = nbformat.reads(text, as_version=4)
    outputs = [output for c in found.cells for output in c.get("outputs", ())]
    assert len(outputs) >= 10
    assert not [o for o in outputs if o.get("name") == "stderr"]


@each_unit
def test_its_pictures_are_svg_and_png_and_fit_the_page(unit: Unit):
    found = nbformat.read(HERE / f"{unit.name}.ipynb", as_version=4)
    datas = [o.data for c in found.cells for o in c.get("outputs", ()) if "data" in o]
    pictures = [data for data in datas if {"image/svg+xml", "image/png"} & set(data)]
    assert len(pictures) >= 3
    for data in pictures:
        assert {"image/svg+xml", "image/png", "text/plain"} <= set(data)
        width = float(re.search(r"<svg[^>]*?\bwidth=['\"]([\d.]+)", data["image/svg+xml"])[1])
        assert width <= PAGE, f"{data['text/plain']!r} is {width:.0f} wide"


@each_unit
def test_a_student_finds_no_switches_no_solutions_and_no_notes(unit: Unit):
    notebook = student(unit)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert not re.search(r"quick|environ|LENSSCOPE_", text)
    for cell in unit.cells:
        if cell.tags & {"solution", "notes", "wrong"}:
            assert cell.text.strip() not in text
    assert text.count("ls.course.check(") >= len(unit.exercises)


@each_unit
def test_its_exercises_say_what_they_want(unit: Unit):
    assert unit.exercises == [f"{unit.number}.{n}" for n in range(1, 6)]
    for number in unit.exercises:
        text = unit.of(number, "exercise").text
        for wanted in ("**Goal**", "**Difficulty** ★", "**Minutes** ", "<details>", "`answer`"):
            assert wanted in text, f"{number} lacks {wanted}"
        assert unit.of(number, "solution")
        assert unit.of(number, "wrong")


@each_unit
def test_a_lecturer_finds_what_a_unit_needs(unit: Unit):
    about = unit.about
    assert 3 <= len(about["goals"]) <= 6
    assert len(about["readings"]) >= 2
    assert sum(minutes for minutes, _ in about["class"]) == 90
    assert set(about["scene"]) == {"prompt", "position", "says"}
    assert sum(cell.has("slide") for cell in unit.cells) >= 8
    assert sum(cell.has("notes") for cell in unit.cells) >= 2
    assert sum(cell.has("claim") for cell in unit.cells) >= 3
    assert re.match(r"https://\S+$", about.get("address", "https://x"))


def test_the_syllabus_is_made_of_the_headers():
    assert syllabus.PAGE.read_text("utf-8") == syllabus.syllabus()


@each_unit
def test_its_slides_hold_its_headings_its_pictures_and_no_solutions(unit: Unit):
    found = slides(unit)
    pages = found.split("\n\n---\n\n")
    assert 12 <= len(pages) <= 60
    assert "<img alt=" in found
    visible = re.sub(r"<!--.*?-->", "", found, flags=re.DOTALL)
    for cell in unit.cells:
        if cell.has("slide") and cell.kind == "markdown":
            assert cell.text in found
        if cell.has("notes"):
            assert cell.text.replace("--", "–") in found
        if cell.tags & {"notes", "solution"}:
            assert cell.text not in visible


@each_unit
def test_its_scene_is_the_header_s_and_opens_without_a_model(unit: Unit):
    page = scenes.page(unit)
    assert scenes.recorded_prompt(unit) == unit.about["scene"]["prompt"]
    assert unit.about["scene"]["prompt"].split()[0] in page
    assert not re.search(r"(src|href)=.https?://", page)
