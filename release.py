"""Make a release of lensscope: ``python release.py 0.2.0``, or one of its steps.

A release is: the version set where it stands, a heading in the changelog, a source archive and a
wheel, both looked into, a commit and a tag. Nothing is sent anywhere: what is left to do is said.

``--check`` only builds, and looks into what was built. ``--address https://…`` sets where the
repository is, wherever that stands; it is a placeholder until a maintainer has done so once.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from datetime import date
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PLACEHOLDER: Final = "https://github.com/OWNER/lensscope"
VERSION: Final = HERE / "lensscope/__init__.py"
CHANGELOG: Final = HERE / "CHANGELOG.md"
CITATION: Final = HERE / "CITATION.cff"
IN_THE_WHEEL: Final = (
    "lensscope/py.typed",
    "lensscope/explorer/static/explorer.js",
    "lensscope/explorer/static/explorer.css",
    "lensscope/patchscope/data/names.txt",
    "lensscope/patchscope/data/tuned.safetensors",
    "lensscope/show/templates/page.html",
    "lensscope/studies/data/entities.csv",
    "lensscope/studies/data/relations/capital.json",
    "lensscope/course/units/unit_01.py",
)
IN_THE_SOURCES: Final = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Makefile",
    "constraints.txt",
    "conftest.py",
    "mkdocs.yml",
    "tests/oracle.py",
    "notebooks/source/01_inside_a_tiny_transformer.py",
    "notebooks/making/slides.py",
    "docs/index.md",
    "explorer/src/protocol.ts",
    "benchmarks/sweeps.py",
)
NEVER: Final = r"node_modules|\.venv|__pycache__|\.pyc$|\.ipynb_checkpoints"
LARGEST: Final = {".whl": 6_000_000, ".gz": 24_000_000}


class Refused(SystemExit):
    """A step that cannot be done."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what}\n  instead:  {instead}")


def version() -> str:
    """The version as it is."""
    found = re.search(r'^__version__ = "(.+)"$', VERSION.read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def address() -> str:
    """Where the repository is."""
    text = (HERE / "pyproject.toml").read_text("utf-8")
    found = re.search(r'^Repository = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def set_address(new: str) -> list[Path]:
    """Put an address in the place of the one that is there, in every file that git knows.

    Raises:
        Refused: it is no address of a repository.
    """
    if not re.fullmatch(r"https://[\w.-]+(/[\w.~-]+)+", new):
        raise Refused(f"{new!r} is no address of a repository.", "https://github.com/you/lensscope")
    old, changed = address(), []
    for name in _git("ls-files", "-z").split("\0"):
        path = HERE / name
        if name and name != Path(__file__).name and path.is_file():
            held = path.read_bytes()
            if old.encode() in held:
                path.write_bytes(held.replace(old.encode(), new.encode()))
                changed.append(path)
    return changed


def set_version(new: str) -> None:
    """Set the version and today's date where they stand.

    Raises:
        Refused: it is none, or not a later one, or nothing is said of it in the changelog.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", new) or _numbers(new) <= _numbers(version()):
        raise Refused(f"{new!r} is no version after {version()}.", "three numbers, such as 0.2.0")
    log = CHANGELOG.read_text("utf-8")
    said = re.search(r"## Unreleased\n(.*?)(?=\n## |\Z)", log, re.DOTALL)
    if said is None or not said[1].strip():
        raise Refused("The changelog says nothing of it.", "lines under '## Unreleased'")
    today = date.today().isoformat()
    heading = f"## Unreleased\n\n## {new} ({today})\n"
    CHANGELOG.write_text(log.replace("## Unreleased\n", heading, 1), "utf-8")
    text = VERSION.read_text("utf-8")
    VERSION.write_text(text.replace(f'"{version()}"', f'"{new}"', 1), "utf-8")
    cited = re.sub(r"^version: .+$", f"version: {new}", CITATION.read_text("utf-8"), flags=re.M)
    cited = re.sub(r"^date-released: .+\n", "", cited, flags=re.M)
    cited = cited.replace(f"version: {new}\n", f"version: {new}\ndate-released: {today}\n", 1)
    CITATION.write_text(cited, "utf-8")


def build(folder: Path) -> list[Path]:
    """A source archive and a wheel.

    Args:
        folder: where to; what lies there of an earlier build goes.
    """
    for old in [*folder.glob("lensscope-*.tar.gz"), *folder.glob("lensscope-*.whl")]:
        old.unlink()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=HERE, check=True
    )
    return sorted([*folder.glob("lensscope-*.tar.gz"), *folder.glob("lensscope-*.whl")])


def look_into(built: Path) -> list[str]:
    """What is wrong about a source archive or a wheel."""
    if built.suffix == ".whl":
        with zipfile.ZipFile(built) as wheel:
            names, wanted = wheel.namelist(), IN_THE_WHEEL
            own = [n for n in names if not re.match(r"lensscope(-[\d.]+\.dist-info)?/", n)]
    else:
        with tarfile.open(built) as sources:
            names = [name.partition("/")[2] for name in sources.getnames()]
            wanted, own = IN_THE_SOURCES, []
    wrong = [f"{built.name} lacks {name}" for name in wanted if name not in names]
    wrong += [f"{built.name} has {name}" for name in names if re.search(NEVER, name)]
    wrong += [f"{built.name} has {name}, which is not the package's" for name in own]
    if built.stat().st_size > LARGEST[built.suffix]:
        wrong.append(f"{built.name} is {built.stat().st_size:,} bytes large")
    return wrong


def checked() -> list[Path]:
    """Build, and look into both.

    Raises:
        Refused: something is wrong about them.
    """
    built = build(HERE / "dist")
    if wrong := [each for path in built for each in look_into(path)]:
        raise Refused("\n".join(wrong[:20]), "mend [tool.hatch.build] in pyproject.toml")
    subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, built)], check=True
    )
    return built


def release(new: str) -> None:
    """All of it.

    Raises:
        Refused: there are changes that are not committed, or no address of the repository.
    """
    if _git("status", "--porcelain"):
        raise Refused("There are changes that are not committed.", "git commit, or git stash")
    if address() == PLACEHOLDER:
        raise Refused("The repository has no address yet.", "python release.py --address https://…")
    set_version(new)
    built = checked()
    _git("commit", "-qam", f"Release {new}")
    _git("tag", "-a", f"v{new}", "-m", f"lensscope {new}")
    print("\nLeft to do:\n  git push --follow-tags")
    print("  twine upload " + " ".join(str(path.relative_to(HERE)) for path in built))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=HERE, check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--check"]:
            print(*checked(), sep="\n")
        case ["--address", new]:
            print(*(path.relative_to(HERE) for path in set_address(new)), sep="\n")
        case [new]:
            release(new)
        case _:
            raise Refused("What shall be done?", "python release.py 0.2.0, --check, or --address …")
