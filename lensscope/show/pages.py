"""HTML of text and numbers alone, by the templates beside this file.

It needs no script and nothing from outside. Whatever a template is given is escaped, but pictures
and pieces that are HTML already, which it says are safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lensscope.signs import isolated, visible, without_control

if TYPE_CHECKING:
    from jinja2 import Environment


def page(title: str, sections: Sequence[str], about: Sequence[str] = ()) -> str:
    """A whole page of sections, which are HTML already, below some lines of text."""
    return rendered("page.html", title=title, sections=sections, about=about)


def rendered(template: str, **fields: Any) -> str:
    """A template filled in.

    Args:
        template: the name of its file.
        **fields: what it is given.
    """
    return without_control(_templates().get_template(template).render(fields))


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("lensscope.show"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(isolated=isolated, visible=visible)
    return templates
