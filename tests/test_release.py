"""What a release is made of, and what its script refuses."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import lensscope as ls
import release

HERE = Path(__file__).resolve().parents[1]


def test_wheel_and_sources_hold_what_they_should(tmp_path):
    built = release.build(tmp_path)
    assert [path.suffix for path in built] == [".whl", ".gz"]
    assert [each for path in built for each in release.look_into(path)] == []


def test_what_is_wrong_about_a_wheel_is_said(tmp_path):
    import zipfile

    path = tmp_path / "lensscope-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("lensscope/__pycache__/x.pyc", "")
        wheel.writestr("tests/x.py", "")
    wrong = "\n".join(release.look_into(path))
    assert "lacks lensscope/py.typed" in wrong
    assert "has lensscope/__pycache__/x.pyc" in wrong
    assert "has tests/x.py, which is not the package's" in wrong


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A repository of its own with what a release changes."""
    for name in ("lensscope/__init__.py", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(HERE / name, tmp_path / name)
    subprocess.run("git init -q . && git add -A", shell=True, cwd=tmp_path, check=True)
    monkeypatch.setattr(release, "HERE", tmp_path)
    for name in ("VERSION", "CHANGELOG", "CITATION"):
        monkeypatch.setattr(release, name, tmp_path / getattr(release, name).relative_to(HERE))
    return tmp_path


def test_a_version_is_set_wherever_it_stands(copy):
    release.set_version("9.0.1")
    assert release.version() == "9.0.1"
    assert re.search(
        r"## Unreleased\n\n## 9\.0\.1 \(\d{4}-\d\d-\d\d\)\n", (copy / "CHANGELOG.md").read_text()
    )
    cited = yaml.safe_load((copy / "CITATION.cff").read_text())
    assert cited["version"] == "9.0.1"
    assert str(cited["date-released"]) in (copy / "CHANGELOG.md").read_text()
    with pytest.raises(SystemExit, match="changelog says nothing"):
        release.set_version("9.0.2")


@pytest.mark.parametrize("version", ["0.0.9", "0.1.0", "1.0", "v1.0.0", "1.0.0rc1", ""])
def test_a_version_that_is_none_is_refused(copy, version):
    with pytest.raises(SystemExit, match="no version after"):
        release.set_version(version)


def test_an_address_is_set_wherever_it_stands(copy):
    new = "https://example.org/team/lensscope"
    assert {path.name for path in release.set_address(new)} >= {"pyproject.toml"}
    assert release.address() == new
    assert release.PLACEHOLDER not in (copy / "pyproject.toml").read_text()
    with pytest.raises(SystemExit, match="no address"):
        release.set_address("lensscope")


def test_nothing_is_released_of_what_is_not_committed(copy):
    with pytest.raises(SystemExit, match="not committed"):
        release.release("9.0.0")


def test_one_version_and_one_address_everywhere():
    assert yaml.safe_load((HERE / "CITATION.cff").read_text())["version"] == ls.__version__
    addresses = set()
    for path in [*HERE.glob("*.md"), *HERE.glob("docs/**/*.md"), HERE / "pyproject.toml"]:
        addresses |= set(
            re.findall(r"https://github\.com/[\w-]+/lensscope\b", path.read_text("utf-8"))
        )
    assert addresses == {release.address()}


def test_forms_and_workflows_are_yaml():
    found = sorted(HERE.glob(".github/**/*.yml"))
    assert len(found) >= 7
    for path in found:
        assert yaml.safe_load(path.read_text("utf-8")), path


def test_no_registry_has_its_address_in_a_file():
    known = subprocess.run(["git", "ls-files", "-z"], cwd=HERE, capture_output=True, check=True)
    for name in known.stdout.decode().split("\0"):
        path = HERE / name
        if (
            name
            and path.suffix in {".toml", ".txt", ".json", ".yml", ".md", ".py", ""}
            and path.is_file()
        ):
            text = path.read_text("utf-8", errors="replace")
            assert not re.search(
                r"(pypi|registry\.npmjs|download\.pytorch)\.org/(simple|whl)|registry\.npmjs\.org/",
                text,
            ) or path == Path(__file__), name
