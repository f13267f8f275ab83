"""Values in files, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lensscope as ls
from lensscope.store.objects import read_object, write_object


@dataclass(frozen=True)
class Inner:
    name: str
    size: int | None = None


@dataclass(frozen=True, eq=False)
class Outer:
    inner: Inner
    several: tuple[Inner, ...]
    numbers: list[Any]
    named: Mapping[Any, Any]
    tensor: torch.Tensor
    data: xr.Dataset
    frame: pd.DataFrame
    later: int = field(init=False, default=0)


def outer() -> Outer:
    data = xr.Dataset(
        {
            "text": (("layer", "token"), np.array([["a", "b\n"], ["", "한국"]], dtype=object)),
            "p": (("layer", "token"), np.array([[0.5, np.nan], [np.inf, 1.0]], dtype=np.float32)),
            "known": ("layer", np.array([True, False])),
            "one": ((), np.array(3)),
        },
        {"layer": [3, 7], "token": np.array(["x", "ŷ"]), "mixed": ("token", [None, "y"])},
    )
    return Outer(
        Inner("one"),
        (Inner("two", 2), Inner("\ud83c")),
        [1, 2.5, math.nan, -math.inf, True, None, (1, (2,)), np.float32(0.25), np.int64(7)],
        {"a": {1: "x"}, (1, 2): [3]},
        torch.arange(6.0).view(2, 3).T.to(torch.bfloat16),
        data,
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    )


def test_everything_comes_back_as_it_was(tmp_path):
    path, value = tmp_path / "value.safetensors", outer()
    write_object(path, value, "Outer")
    found = read_object(path, "Outer", [Outer, Inner])
    assert found.inner == value.inner and found.several == value.several
    assert found.numbers[:2] == [1, 2.5] and math.isnan(found.numbers[2])
    assert found.numbers[3:7] == [-math.inf, True, None, (1, (2,))]
    assert found.numbers[7:] == [0.25, 7] and found.named == value.named
    assert found.tensor.dtype == torch.bfloat16 and torch.equal(found.tensor, value.tensor)
    xr.testing.assert_identical(found.data, value.data)
    assert {n: v.dtype for n, v in found.data.variables.items()} == {
        n: v.dtype for n, v in value.data.variables.items()
    }
    pd.testing.assert_frame_equal(found.frame, value.frame)


def test_only_classes_that_are_named_are_made(tmp_path):
    path = write_object(tmp_path / "value", outer(), "Outer")
    with pytest.raises(ls.FileError, match="does not hold a Outer") as failed:
        read_object(path, "Outer", [Outer])
    assert "Inner" in str(failed.value)
    with pytest.raises(ls.FileError, match="a Outer"):
        read_object(path, "Other", [Outer, Inner])


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "flipped", "missing"])
def test_damaged_files_are_refused(tmp_path, damage):
    path = write_object(tmp_path / "value", Inner("x" * 400, 3), "Inner")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        changed = {"cut": whole[:-9], "empty": b"", "other": b"{}", "flipped": bytes(flipped)}
        path.write_bytes(changed[damage])
    with pytest.raises(ls.FileError, match="does not hold a Inner"):
        read_object(path, "Inner", [Inner])


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(TypeError, match="function cannot be written"):
        write_object(tmp_path / "value", [len, lambda: 0][1:], "list")
    assert not list(tmp_path.iterdir())
