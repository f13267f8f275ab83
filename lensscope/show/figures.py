"""Pictures as PNG and PDF, of the SVG that a result draws."""

from __future__ import annotations

from typing import Any

from lensscope.errors import FileError
