"""Writing: whole or not at all, in the project's own errors, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lensscope as ls
from lensscope.errors import LensscopeError
from lensscope.store import files as store
from lensscope.store.json_text import check_seal, conform, json_text, read_json, sealed
from tests import families

PROMPT = families.prompt(6, seed=6)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cache(llama):
    return ls.capture(llama, PROMPT, [ls.resid_post, ls.pattern(1)])


@pytest.fixture(scope="module")
def circuit():
    return ls.Circuit({ls.head_out(0, 1): 0.5, ls.mlp_out(1): -0.25})


@pytest.fixture(scope="module")
def doors(llama, cache, circuit):
    """Everything that writes a file, by name."""
    lens = ls.TunedLens.identity(llama)
    reading = ls.LogitLens().read(llama, PROMPT)
    return {
        "cache": cache.save,
        "lens": lens.save,
        "svg": reading.to_svg,
        "html": reading.to_html,
        "json": reading.to_json,
        "circuit": circuit.to_json,
        "graphml": circuit.to_graphml,
    }


NAMES = ("cache", "lens", "svg", "html", "json", "circuit", "graphml")


# ------------------------------------------------------------- refused


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_written_is_one_error_and_loses_nothing(doors, name, tmp_path, monkeypatch):
    save = doors[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises((ls.FileError, ls.LensError), match="folder"):
        save(folder)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ls.FileError):
        save(tmp_path / "file" / "x")
    for wrong in ("", "a\0b", "~no-such-user/x"):
        with pytest.raises(LensscopeError, match="path"):
            save(wrong)
    before = tmp_path / "before"
    before.write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(ls.FileError, match="disk is full") as error:
        save(before)
    assert error.value.errno == 28 and "still there" in str(error.value)
    assert before.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["before", "file", "folder"]


_LIMITED = """
import resource, sys
import lensscope as ls
from tests import families
from tests.store import test_store
llama = families.build(families.Case("llama", "bridge", "raw"))
cache = ls.capture(llama, test_store.PROMPT, [ls.resid_post, ls.pattern(1)])
circuit = ls.Circuit({ls.head_out(0, n): 0.5 for n in range(40)})
reading = ls.LogitLens().read(llama, test_store.PROMPT)
lens = ls.TunedLens.identity(llama)
saves = dict(cache=cache.save, lens=lens.save, svg=reading.to_svg,
    html=reading.to_html, json=reading.to_json, circuit=circuit.to_json,
    graphml=circuit.to_graphml, folder=lambda p: lens.to_tuned_lens(p, llama))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
for name, save in saves.items():
    for wrong in (3, object(), b"x"):
        try:
            save(wrong)
        except ls.LensscopeError as error:
            assert "path" in error.what
    try:
        save(f"{sys.argv[1]}/{name}")
    except ls.FileError as error:
        print(name, error.what)
"""


def test_a_full_disk_is_said_and_the_old_file_stays(tmp_path):
    """A limit on the size of files is refused as a full disk is."""
    names = [*NAMES, "folder"]
    for name in NAMES:
        (tmp_path / name).write_bytes(b"before")
    done = _process(_LIMITED, tmp_path)
    assert sorted(done.stdout.splitlines()) == sorted(f"{n} The disk is full." for n in names), done
    assert all((tmp_path / name).read_bytes() == b"before" for name in NAMES)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(NAMES)


def test_a_deleted_working_folder_is_said(tmp_path):
    script = """
import os, sys
import lensscope as ls
from lensscope.cli.command import main
import torch
from lensscope.values import cache_file
from lensscope import studies
from lensscope.lenses import tuned, files
torch.rand(99, 99) @ torch.rand(99, 99)  # which loads what looks for itself from here
os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])
circuit = ls.Circuit({ls.head_out(0, 1): 0.5})
for act in (lambda: circuit.to_json("x.json"), lambda: ls.Cache.load("x"),
            lambda: ls.TunedLens.load("x"), lambda: ls.studies.load("x")):
    try:
        act()
    except ls.LensscopeError as error:
        print(type(error).__name__)
"""
    gone = tmp_path / "gone"
    gone.mkdir()
    done = _process(script, gone)
    assert done.stdout.split() == ["FileError", "CacheError", "LensError", "FileError"], done


def test_home_is_found_and_links_stay(circuit, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    circuit.to_json("~/circuit.json")
    assert ls.Circuit.from_json(tmp_path / "circuit.json").nodes == circuit.nodes
    real, link = tmp_path / "real.svg", tmp_path / "link.svg"
    real.write_text("old")
    os.chmod(real, 0o640)
    link.symlink_to(real)
    circuit.to_svg(link)
    assert link.is_symlink() and real.read_text().startswith("<svg")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    circuit.to_svg(os.devnull)
    assert not os.path.isfile(os.devnull)


def test_a_new_file_is_as_readable_as_any(cache, tmp_path):
    (tmp_path / "plain").touch()
    path = cache.save(tmp_path / "cache")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


# ------------------------------------------------------------- killed


_KILLED = """
import os, signal, sys
import safetensors.torch
import lensscope as ls
from lensscope.store import files as store
from lensscope.errors import LensscopeError
from tests import families
from pathlib import Path
llama = families.build(families.Case("llama", "bridge", "raw"))
out = Path(sys.argv[1])
saves = [ls.capture(llama, [3, 4], ls.resid_post).save, ls.TunedLens.identity(llama).save,
    ls.Circuit({ls.head_out(0, 1): 0.5}).to_json,
    lambda p: ls.TunedLens.identity(llama).to_tuned_lens(p, llama)]
real = os.replace
for n, save in enumerate(saves):
    for stage in ("before", "after"):
        child = os.fork()
        if not child:
            def die(a, b):
                if stage == "after":
                    real(a, b)
                os.kill(os.getpid(), signal.SIGKILL)
            store.os.replace = die
            save(out / str(n))
            os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        found = sorted(p.name for p in out.iterdir())
        left = [name for name in found if name.startswith(".lensscope-")]
        print(n, stage, (out / str(n)).exists(), len(left))
print("swept", len(list(out.glob(".lensscope-*"))))
saves[2](out / "again")
print("swept", len(list(out.glob(".lensscope-*"))), (out / "film.mkv.part").exists())
for path in out.iterdir():
    print(path.name, path.stat().st_size > 0)
ls.Cache.load(out / "0"), ls.TunedLens.load(out / "1"), ls.Circuit.from_json(out / "2")
ls.TunedLens.load(out / "3", allow_pickle=True)
"""


def test_killed_writes_leave_the_old_or_the_new_and_are_swept(tmp_path):
    (tmp_path / "film.mkv.part").write_bytes(b"mine")
    (tmp_path / ".lensscope-notes.part").mkdir()
    done = _process(_KILLED, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for n in range(4):
        assert lines[2 * n].startswith(f"{n} before False"), lines
        assert lines[2 * n + 1].startswith(f"{n} after True"), lines
    # one's own, which looks like it, stays
    assert "swept 1 True" in lines and (tmp_path / ".lensscope-notes.part").is_dir()


def test_a_tuned_lens_folder_is_readable_whenever_it_is_killed(llama, tmp_path):
    """Sixty kills at random times while the folder is written over and over."""
    script = """
import sys
import lensscope as ls
from tests import families
llama = families.build(families.Case("llama", "bridge", "raw"))
lens = ls.TunedLens.identity(llama)
print("ready", flush=True)
while True:
    lens.to_tuned_lens(sys.argv[1], llama)
"""
    folder = tmp_path / "lens"
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=_environment(),
    )
    assert run.stdout is not None and run.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    for _ in range(60):
        os.kill(run.pid, signal.SIGSTOP)  # as a kill would leave it, at this instant
        if folder.exists():
            ls.TunedLens.load(folder, allow_pickle=True)
        os.kill(run.pid, signal.SIGCONT)
        time.sleep(0.005)
    run.kill()
    run.communicate()
    assert ls.TunedLens.load(folder, allow_pickle=True)
    assert ls.TunedLens.identity(llama).to_tuned_lens(folder, llama) == folder
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "params.pt"]


def test_a_folder_of_another_lens_is_refused(llama, tmp_path):
    lens = ls.TunedLens.identity(llama)
    folder = lens.to_tuned_lens(tmp_path / "lens", llama)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "d_model": 7}))
    before = (folder / "params.pt").read_bytes()
    with pytest.raises(ls.LensError, match="something else"):
        lens.to_tuned_lens(folder, llama)
    assert (folder / "params.pt").read_bytes() == before
    with pytest.raises(ls.LensError, match="something else"):
        lens.to_tuned_lens(tmp_path, llama)


def test_who_is_at_work_is_not_swept(tmp_path):
    with store.aside(tmp_path / "a") as first:
        first.write_text("a")
        store.write(tmp_path / "b", "b")
        assert first.exists()
    child = os.fork()
    if not child:
        begun = store.aside(tmp_path / "c")
        begun.__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    room = next(tmp_path.glob(".lensscope-*"))
    other = room.with_name(room.name.replace(store._here(), "00000000"))
    room.rename(other)  # of another machine, of which nothing is known
    store.write(tmp_path / "b", "b")
    assert other.exists()
    os.utime(other, (0, 0))
    store.write(tmp_path / "b", "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


# ------------------------------------------------------------- JSON


def test_json_is_strict():
    frame = pd.DataFrame({"a": [1.5, np.nan], "b": ["x", None], "c": pd.array([1, pd.NA], "Int64")})
    value = {
        "nan": float("nan"),
        "inf": [np.inf, -np.inf],
        "numpy": (np.float32(0.5), np.int64(3), np.bool_(True), np.array([1.0, np.nan])),
        "torch": torch.tensor([1.0, torch.nan]),
        "frame": frame,
        "half": "\ud800",
        1: np.str_("x"),
    }
    text = json_text(value)

    def never(name: str) -> None:
        raise AssertionError(name)

    found = json.loads(text.encode("utf-8"), parse_constant=never)
    assert found == {
        "nan": None,
        "inf": [None, None],
        "numpy": [0.5, 3, True, [1.0, None]],
        "torch": [1.0, None],
        "frame": [{"a": 1.5, "b": "x", "c": 1}, {"a": None, "b": None, "c": None}],
        "half": "\ud800",
        "1": "x",
    }
    with pytest.raises(TypeError):
        json_text(object())


def test_json_is_read_without_trust():
    with pytest.raises(ValueError, match="deeply"):
        read_json("[" * 100_000 + "]" * 100_000)
    value = sealed({"a": 1.0, "b": [np.int64(2)]})
    check_seal(json.loads(json.dumps(value)))
    with pytest.raises(ValueError, match="checksum"):
        check_seal({**value, "a": 2.0})
    shape = {"a": int, "b?": (str, None), "c": [{str: float}]}
    conform({"a": 1, "c": [{"x": 1.0}]}, shape)
    for wrong in (
        *({}, [], None, {"a": True, "c": []}, {"a": 1, "c": {}}, {"a": 1, "b": 2, "c": []}),
        {"a": 1, "c": [{"x": "y"}]},
    ):
        with pytest.raises(ValueError, match="it"):
            conform(wrong, shape)


def test_results_have_no_nan_in_their_json(llama):
    one = [7, 8, 9]  # of one prompt there are no intervals
    report = ls.compare(llama, [one], [ls.LogitLens()])
    assert report.frame().isna().any(axis=None)
    assert "NaN" not in report.to_json() and json.loads(report.to_json())["layers"]


def _process(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=_environment(),
        timeout=300,
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
