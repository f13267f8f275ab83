"""Pictures as PNG and PDF are the SVG that a result draws."""

from __future__ import annotations

import re
import struct
import sys

import pytest

import lensscope as ls
from lensscope.cli.terminal import picture
from lensscope.show.figures import pdf, png
from tests import families


def size(image: bytes) -> tuple[int, int]:
    """The width and height of a PNG."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", image[16:24])


def test_every_picture_is_a_png_and_a_pdf_of_its_size(llama, tmp_path):
    reading = ls.LogitLens().read(llama, families.prompt(5), measures="kl")
    report = ls.compare(llama, [families.prompt(5)], ls.LogitLens())
    for result, chosen, named in (
        (reading, (), {"value": "kl"}),
        (report, ("kl", "entropy"), {}),
        (ls.Circuit({ls.mlp_out(0).at("수도 مرحبا"): 0.5}), (), {}),
    ):
        svg = result.to_svg(None, *chosen, **named)
        wide, tall = (float(n) for n in re.search(r"width='(\d+)' height='(\d+)'", svg).groups())
        image = result.to_png(tmp_path / "a.png", 1.5, *chosen, **named)
        assert (tmp_path / "a.png").read_bytes() == image == png(svg, 1.5)
        assert size(image) == pytest.approx((1.5 * wide, 1.5 * tall), abs=1)
        page = result.to_pdf(tmp_path / "a.pdf", *chosen, **named)
        assert (tmp_path / "a.pdf").read_bytes() == page and page.startswith(b"%PDF")
        box = re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", page)
        assert [float(n) for n in box.groups()] == pytest.approx([wide, tall], abs=1)
        assert b"/ToUnicode" in page  # whose texts are texts
    picture(reading, tmp_path / "b.PNG", True, value="kl")  # as the command does for --svg
    assert (tmp_path / "b.PNG").read_bytes() == reading.to_png(value="kl")
    assert reading.to_png(value="kl") != reading.to_png()
    assert size(png(reading.trajectories_svg(), 1)) and pdf(reading.trajectories_svg())
    with pytest.raises(ls.PatchError, match="scale is a number"):
        reading.to_png(scale=0)


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    circuit = ls.Circuit({ls.mlp_out(0): 0.5})
    for form in (circuit.to_png, circuit.to_pdf):
        with pytest.raises(ls.FileError, match=r"draws PNG and PDF[\s\S]*lensscope\[figures\]"):
            form(tmp_path / "none")
    assert not list(tmp_path.iterdir())
