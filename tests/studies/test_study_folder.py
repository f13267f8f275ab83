"""The folder of a study believes nothing: parts, manifest and shared numbers are looked at."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lensscope as ls
from lensscope.errors import LensscopeError, StudyError
from lensscope.store.json_text import json_text, sealed
from lensscope.studies.folder import Folder
from lensscope.studies.part_file import part_bytes, read_part
from tests import planted
from tests.store.test_damaged_files import damaged

FRAME = pd.DataFrame({"name": ["a", "b"], "layer": [1, 2], "hit": [0.5, np.nan]})
SESSION = {"started": "now", "executor": "local", "versions": {"torch": "2"}, "git": None}


def manifest(**more: object) -> dict[str, object]:
    told = {
        "study": "x",
        "arguments": {"title": "t", "seed": 0},
        "models": {"model": {"model": "m"}},
    }
    return {**told, "parts": 3, "keys": ["cells-0", "cells-1", "control-0"], **more}


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "out")
    with made.locked():
        made.begin(manifest(), SESSION)
        for n, key in enumerate(manifest()["keys"]):  # type: ignore[arg-type, var-annotated]
            made.write(key, FRAME.assign(layer=FRAME["layer"] + n))
    return Folder(made.path)


def test_what_was_written_is_read(folder):
    assert folder.done() == {"cells-0", "cells-1", "control-0"}
    pd.testing.assert_frame_equal(folder.part("cells-0"), FRAME)
    assert [list(f.columns) for f in folder.read("cells-", ["layer"])] == [["layer"]] * 2
    # any reader of parquet reads it
    pd.testing.assert_frame_equal(pd.read_parquet(folder.parts / "cells-0.parquet"), FRAME)
    assert folder.part("cells-0").equals(Folder(folder.path).part("cells-0"))


def _swapped(folder, other):
    first, second = (folder.parts / f"cells-{n}.parquet" for n in (0, 1))
    shutil.copy(second, first)


def _of_another(folder, other):
    shutil.copy(other.parts / "cells-0.parquet", folder.parts / "cells-0.parquet")


def _rewritten(change, keep_description=False):
    def act(folder, other):
        path = folder.parts / "cells-0.parquet"
        table = pq.read_table(path)
        made = pa.Table.from_pandas(change(table.to_pandas()), preserve_index=False)
        if keep_description:
            made = made.replace_schema_metadata(table.schema.metadata)
        pq.write_table(made, path)

    return act


def _emptied(folder, other):
    (folder.parts / "cells-0.parquet").write_bytes(b"")


def _no_parquet(folder, other):
    (folder.parts / "cells-0.parquet").write_text("name,layer\na,1\n")


WRONG = {
    "another place": _swapped,
    "another study": _of_another,
    "no bytes": _emptied,
    "no parquet": _no_parquet,
    "the same again": _rewritten(lambda f: f),
    "no rows": _rewritten(lambda f: f[:0], keep_description=True),
    "fewer rows": _rewritten(lambda f: f[:1], keep_description=True),
    "a column less": _rewritten(lambda f: f.drop(columns="layer"), keep_description=True),
    "another type": _rewritten(lambda f: f.assign(layer=["1", "2"]), keep_description=True),
    "null items": _rewritten(lambda f: f.assign(name=[None, "b"]), keep_description=True),
    "other numbers": _rewritten(lambda f: f.assign(hit=1.0), keep_description=True),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_part_that_is_not_what_its_name_says_is_named(folder, tmp_path, what):
    other = Folder(tmp_path / "other")
    with other.locked():
        other.begin(manifest(arguments={"title": "t", "seed": 1}), SESSION)
        other.write("cells-0", FRAME)
    WRONG[what](folder, other)
    path = folder.parts / "cells-0.parquet"
    assert folder.done() == {"cells-1", "control-0"}
    for act in (lambda: folder.part("cells-0"), lambda: list(folder.read()), folder.check_parts):
        with pytest.raises(StudyError, match="cannot be read") as error:
            act()
        assert f"delete {path}" in str(error.value)
    path.unlink()
    folder.check_parts()
    folder.write("cells-0", FRAME)
    assert len(folder.done()) == 3


def test_files_of_others_are_neither_read_nor_touched(folder):
    mine = [folder.path / "film.mkv.part", folder.parts / "film.mkv.part"]
    mine += [folder.parts / "backup.parquet", folder.path / "notes.txt", folder.path / ".tmpAbC"]
    for path in mine:
        path.write_bytes(b"mine")
    left = folder.parts / ".lensscope-00000000-1-00000000.part"
    left.mkdir()
    with folder.locked():
        folder.begin(manifest(), SESSION)
    folder.check_parts()
    assert len(folder.done()) == 3 and len(list(folder.read())) == 3
    assert all(path.read_bytes() == b"mine" for path in mine)


def test_a_folder_of_foreign_parts_is_not_empty(tmp_path):
    (tmp_path / "film.mkv.part").write_bytes(b"mine")
    study = ls.studies.attribute_extraction(
        planted.model(), planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
    )
    with pytest.raises(StudyError, match="something else"):
        study.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mkv.part"]


def test_a_damaged_part_is_noticed():
    whole, dice = part_bytes(FRAME, "s", "k"), random.Random(17)
    pd.testing.assert_frame_equal(read_part(whole, "s", "k"), FRAME)
    for _ in range(300):
        content = damaged(whole, dice)
        try:
            found = read_part(content, "s", "k")
        except ValueError:
            continue
        assert content == whole and found.equals(FRAME)


def test_a_damaged_manifest_is_noticed(folder):
    path, dice = folder.path / "manifest.json", random.Random(19)
    whole, before = path.read_bytes(), folder.manifest()
    for _ in range(150):
        path.write_bytes(damaged(whole, dice))
        try:
            found = Folder(folder.path).manifest()
        except LensscopeError:
            continue
        assert found == before


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: None} for name in ("format", "study", "arguments", "models", "parts", "sessions")),
        *({"parts": "3"}, {"parts": 2}, {"keys": "abc"}, {"keys": ["../a", "b", "c"]}),
        *({"models": {"model": {}}}, {"models": []}, {"sessions": [{}]}, {"format": "other"}),
        {"sessions": [{**SESSION, "versions": ["torch"]}]},
    ],
)
def test_a_manifest_of_another_shape_is_none(folder, wrong):
    held = {**json.loads((folder.path / "manifest.json").read_text()), **wrong}
    for made in (
        sealed(held),
        {k: v for k, v in sealed(held).items() if wrong.get(k, 0) is not None},
    ):
        (folder.path / "manifest.json").write_text(json_text(made))
        with pytest.raises(StudyError, match="not the folder of a study"):
            Folder(folder.path).manifest()


def test_numbers_of_another_study_are_not_shared(folder, tmp_path):
    import torch

    made = folder.shared(lambda: {"a": torch.ones(2)})
    assert torch.equal(folder.shared(dict)["a"], made["a"])
    other = Folder(tmp_path / "other")
    with other.locked():
        other.begin(manifest(arguments={"seed": 1}), SESSION)
    shutil.copy(folder.path / "shared.safetensors", other.path)
    with pytest.raises(StudyError, match="another study"):
        other.shared(dict)
    (folder.path / "shared.safetensors").write_bytes(b"")
    with pytest.raises(StudyError, match="cannot be read"):
        folder.shared(dict)


@pytest.fixture(scope="module")
def study():
    return ls.studies.attribute_extraction(
        planted.model(), planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
    )


@pytest.fixture(scope="module")
def found(study, tmp_path_factory):
    return study.run(tmp_path_factory.mktemp("study") / "out")


def test_a_resumed_study_refuses_and_then_makes_it_again(study, found, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(found.folder.path, out)
    parts = sorted((out / "parts").glob("cells-*.parquet"))
    first = parts[0].read_bytes()
    parts[0].write_bytes(parts[1].read_bytes())
    with pytest.raises(StudyError, match="put in the place of"):
        ls.studies.load(out)
    with pytest.raises(StudyError, match="put in the place of") as error:
        study.run(out)
    assert f"delete {parts[0]}" in str(error.value)
    parts[0].unlink()
    half = ls.studies.load(out)
    assert not half.finished
    again = study.run(out)
    assert again.finished and parts[0].read_bytes() == first
    pd.testing.assert_frame_equal(again.frame(), found.frame())


def test_a_folder_of_an_earlier_version_is_read_and_not_gone_on_with(study, found, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(found.folder.path, out)
    told = json.loads((out / "manifest.json").read_text())
    for name in ("keys", "checksum"):
        del told[name]
    (out / "manifest.json").write_text(json.dumps(told))
    for path in (out / "parts").iterdir():
        pd.read_parquet(path).to_parquet(path, index=False)
    old = ls.studies.load(out)
    pd.testing.assert_frame_equal(old.headline, found.headline)
    assert old.finished
    with pytest.raises(StudyError, match="cannot be gone on with"):
        study.run(out)
    part = sorted((out / "parts").glob("cells-*"))[0]
    frame = pd.read_parquet(part)
    frame.drop(columns=frame.columns[0]).to_parquet(part, index=False)
    with pytest.raises(StudyError):
        ls.studies.load(out)


def test_a_result_finds_its_folder_after_a_change_of_the_working_folder(
    study, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = study.run("out")
    monkeypatch.chdir("/")
    assert result.finished and len(list(result.cells()))
