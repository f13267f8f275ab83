"""``python -m docs.making.gallery``: run the code of the gallery, which draws its pictures.

They lie in build/gallery, and are drawn again where the gallery or the package has changed.
"""

from __future__ import annotations

import hashlib
import re
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from docs.making.blocks import blocks

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/gallery.md"
MADE: Final = ROOT / "build/gallery"
_STAMP: Final = "made.txt"
_PICTURE: Final = re.compile(r"!\[([^\]]+)\]\((?:gallery|pictures)/([\w-]+)\.(svg|png)\)")


@cache
def fingerprint() -> str:
    """Of the gallery and of the package that draws it."""
    return hashed([PAGE, *sorted((ROOT / "lensscope").rglob("*.py"))])


@cache
def site_fingerprint() -> str:
    """Of all that the site is made of."""
    kinds = (".md", ".py", ".js", ".css", ".png")
    pages = [path for path in (ROOT / "docs").rglob("*") if path.suffix in kinds]
    others = [ROOT / "mkdocs.yml", ROOT / "CHANGELOG.md", *(ROOT / "benchmarks").glob("*.md")]
    return hashed([*sorted(pages), *sorted(others), *sorted((ROOT / "lensscope").rglob("*.py"))])


def hashed(paths: Iterable[Path]) -> str:
    """A hash of files, as far as it tells them apart."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def is_made() -> bool:
    """Whether the pictures are those of this gallery and this package."""
    stamp = MADE / _STAMP
    return stamp.is_file() and stamp.read_text("utf-8") == fingerprint()


def run(namespace: dict[str, Any], into: Path) -> list[tuple[float, str]]:
    """Run the pieces of code in a folder; how long each took."""
    took = []
    for block in blocks(PAGE):
        began = time.perf_counter()
        block.run(namespace, into)
        took.append((time.perf_counter() - began, block.code.splitlines()[0]))
    return took


def pictures() -> dict[str, str]:
    """The pictures by name, each with what is seen on it."""
    return {found[2]: found[1] for found in _PICTURE.finditer(PAGE.read_text("utf-8"))}


def shown(name: str, up: str) -> str:
    """A picture of the gallery on another page, with a link to the code that drew it."""
    found = next(f for f in _PICTURE.finditer(PAGE.read_text("utf-8")) if f[2] == name)
    folder = "pictures" if found[3] == "png" else "gallery"
    image = f"![{found[1]}]({up}{folder}/{name}.{found[3]})"
    return f"{image}\n\n[The code that draws it, in the gallery]({up}gallery.md#{name})"


def main() -> None:
    if is_made():
        print("gallery: as it was")
        return
    import lensscope as ls

    MADE.mkdir(parents=True, exist_ok=True)
    for old in MADE.iterdir():
        old.unlink()
    began = time.perf_counter()
    took = run({"ls": ls, "__name__": "gallery"}, MADE)
    for seconds, line in took:
        print(f"{seconds:5.1f} s  {line}")
    lacking = [name for name in pictures() if not list(ROOT.glob(f"*/*/{name}.*"))]
    if lacking:
        sys.exit(f"gallery: no code draws {', '.join(lacking)}")
    (MADE / _STAMP).write_text(fingerprint(), "utf-8")
    print(f"gallery: {len(took)} pieces of code in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
