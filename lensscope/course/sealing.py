"""Right answers that nobody reads by accident.

An answer lies in the package sealed: whoever wants to know it finds it in the solutions, and nobody
finds it while looking for how a check works. It is no secret and no cryptography.

``python -m lensscope.course.sealing 3.2 '["Paris", 12]'`` prints a value, given as JSON, sealed for
an exercise.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from itertools import count
from typing import Any


def seal(number: str, value: Any) -> str:
    """A value of JSON, sealed for an exercise.

    Args:
        number: of the exercise.
        value: what JSON can hold.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mixed(number, text)).decode()


def unseal(number: str, sealed: str) -> Any:
    """The value that was sealed."""
    return json.loads(_mixed(number, base64.urlsafe_b64decode(sealed)))


def _mixed(number: str, text: bytes) -> bytes:
    stream = b""
    for n in count():
        if len(stream) >= len(text):
            break
        stream += hashlib.sha256(f"{number}/{n}".encode()).digest()
    return bytes(a ^ b for a, b in zip(text, stream, strict=False))


if __name__ == "__main__":
    print(seal(sys.argv[1], json.loads(sys.argv[2])))
