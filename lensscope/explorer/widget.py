"""The explorer in a notebook: the same front end, over the notebook's own messages.

Questions are answered on the kernel's own loop, a step at a time, never beside a cell that runs:
both would use one model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lensscope import checks
from lensscope.errors import FileError, LensscopeError
from lensscope.explorer.desk import Desk, Job, Told, failure
from lensscope.explorer.page import bundle, recorded_page
from lensscope.explorer.record import checked


def widget_of(desk: Desk, about: Mapping[str, Any]) -> Any:
    """A widget for notebooks.

    Raises:
        FileError: anywidget is not installed: the extra ``notebook``.
    """
    with checks.needing(
        "notebook", "The explorer is a widget in a notebook.", "anywidget", FileError
    ):
        import anywidget
        import traitlets

    class ExplorerWidget(anywidget.AnyWidget):  # type: ignore[misc]
        """The explorer."""

        _esm = bundle("explorer.js")
        _css = bundle("explorer.css")
        about = traitlets.Dict().tag(sync=True)

    widget = ExplorerWidget(about=dict(about))
    Talk(desk, widget)
    return widget


class Talk:
    """What a widget asks, and what it is told.

    Args:
        desk: answers.
        widget: has ``on_msg`` and ``send``.
    """

    def __init__(self, desk: Desk, widget: Any) -> None:
        self.desk, self.widget = desk, widget
        self._jobs: dict[int, Job] = {}
        self._task: asyncio.Task[None] | None = None
        widget.on_msg(self._heard)

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        if not isinstance(content, Mapping) or type(content.get("id")) is not int:
            return  # nobody that it could be told
        number: int = content["id"]
        if content.get("type") == "ask":
            self._ask(number, content)
        elif content.get("type") == "cancel" and number in self._jobs:
            self.desk.cancel(self._jobs[number])
        elif content.get("type") == "export":
            self._export(number, content.get("recorded"))

    def _ask(self, number: int, content: Mapping[str, Any]) -> None:
        def tell(told: Told) -> None:
            if "done" in told or "error" in told:
                self._jobs.pop(number, None)
            self.widget.send({"id": number, **told})

        session, lane = (str(content.get(name, ""))[:80] for name in ("session", "lane"))
        job = self.desk.ask(content.get("question"), session, lane, tell)
        if job is None:
            return
        if not job.ended:
            self._jobs[number] = job
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop: at once
            asyncio.run(self._answer())
            return
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._answer())

    async def _answer(self) -> None:
        while (job := self.desk.next(wait=False)) is not None:
            for _ in self.desk.steps(job):
                await asyncio.sleep(0)  # what came meanwhile may end it
            await asyncio.sleep(0)

    def _export(self, number: int, recorded: Any) -> None:
        try:
            self.widget.send({"id": number, "html": recorded_page(checked(recorded))})
        except LensscopeError as error:
            self.widget.send({"id": number, "error": failure(error)})
