"""What is right in unit 1."""

from __future__ import annotations

from typing import Final

from lensscope.course.judges import Judge, Numbers

JUDGES: Final[dict[str, Judge]] = {
    "1.1": Numbers("4iJYoAABgw=="),
}
