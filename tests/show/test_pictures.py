"""What pictures and pages must have for all who look at them."""

from __future__ import annotations

import itertools

import pytest

from lensscope.show import colours


def test_the_contrast_is_that_of_wcag():
    assert colours.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert colours.contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert colours.contrast((107, 174, 214), (255, 255, 255)) < 2.6  # what was drawn once


def test_text_can_be_read_on_every_shade():
    for shades in (colours.SHADES, colours.DIVERGING):
        for n in range(1001):
            ground = colours.mixed(n / 1000, shades)
            assert colours.contrast(ground, colours.parsed(colours.ink(ground))) >= 4.5


def test_text_can_be_read_on_every_colour():
    for ground in itertools.product(range(0, 256, 15), repeat=3):
        assert colours.contrast(ground, colours.parsed(colours.ink(ground))) >= 4.5
    for text in (colours.TEXT, colours.PALE_TEXT):
        assert colours.contrast((255, 255, 255), colours.parsed(text)) >= 4.5
