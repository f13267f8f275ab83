"""Where the parts of a study are run: here, or by Ray's actors."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import Tensor

from lensscope import checks
from lensscope.errors import LensscopeError, StudyError
from lensscope.progress import one_bar
from lensscope.studies.parts import Part

if TYPE_CHECKING:
    import pandas as pd

Measure: TypeAlias = Callable[[Part, Mapping[str, Tensor]], "pd.DataFrame"]
"""Runs one part, given what all parts share."""

_REACH_S: Final = 5.0
_TRIES: Final = 3


def local(
    measure: Measure, parts: Sequence[Part], shared: Mapping[str, Tensor]
) -> Iterator[tuple[Part, pd.DataFrame]]:
    """Parts one after another in this process."""
    for part in parts:
        with one_bar(), torch.no_grad():
            found = measure(part, shared)
        yield part, found


class Worker:
    """What an actor does: begin once, then run parts.

    Args:
        begin: loads the models, and gives what runs a part.
    """

    def __init__(self, begin: Callable[[], Measure]) -> None:
        from lensscope.progress import be_quiet

        be_quiet()
        self._measure = begin()

    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> tuple[Part, pd.DataFrame]:
        """One part."""
        with torch.no_grad():
            return part, self._measure(part, shared)


@dataclass(frozen=True)
class Workers:
    """What is asked of Ray.

    Attributes:
        number: how many actors; ``None`` for as many as the cluster serves.
        gpus: GPUs for each of them.
        address: of a cluster that runs; ``None`` for the one that is connected, or this machine.
    """

    number: int | None
    gpus: float
    address: str | None


def on_ray(
    begin: Callable[[], Measure],
    parts: Sequence[Part],
    shared: Mapping[str, Tensor],
    asked: Workers,
) -> Iterator[tuple[Part, pd.DataFrame]]:
    """Parts by Ray's actors, in the order in which they finish.

    Ray starts an actor that died again, and what it was at.

    Raises:
        StudyError: Ray is not installed or not to be reached, or a worker cannot start.
    """
    if not parts:
        return
    ray = _ray()
    with _cluster(ray, asked.address):
        have = ray.cluster_resources()
        gpus, cpus = have.get("GPU", 0), int(have.get("CPU", 1))
        if asked.gpus > gpus:
            raise StudyError(
                "The cluster has not so many GPUs.",
                got=f"num_gpus={asked.gpus} for each worker",
                expected=f"at most {gpus:g}",
                instead="num_gpus=0 for workers on CPUs",
            )
        most = int(gpus // asked.gpus) if asked.gpus else cpus
        workers = min(most if asked.number is None else asked.number, len(parts))
        if workers < 1 or workers > most:
            raise StudyError(
                "The cluster does not serve so many workers.",
                got=f"num_workers={asked.number}",
                expected=f"1 to {most}",
                instead=f"num_workers={most}",
            )
        from ray.util import ActorPool

        held = ray.put(dict(shared))
        # a part that kills each worker that is given it must end the study, not go on for ever
        actor = ray.remote(Worker).options(
            num_cpus=1, num_gpus=asked.gpus, max_restarts=-1, max_task_retries=_TRIES
        )
        actors = [actor.remote(begin) for _ in range(workers)]
        try:
            yield from ActorPool(actors).map_unordered(
                lambda a, part: a.measure.remote(part, held), parts
            )
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, LensscopeError):
                raise cause from error
            raise StudyError(
                "A part of the study failed on a worker.",
                got=f"{type(cause).__name__}: {str(cause)[:500]}",
                expected="a part that runs",
                instead='executor="local", to see where it fails; then the same call again',
            ) from error
        except ray.exceptions.RayError as error:
            raise StudyError(
                "Ray's workers cannot do the study.",
                got=f"{type(error).__name__}: {str(error)[:800]}",
                expected="workers that start, and stay",
                instead="the same call again does what is missing; lensscope must be installed, "
                "and the model be found, on all machines",
            ) from error
        finally:
            for one in actors:
                ray.kill(one, no_restart=True)


def _ray() -> Any:
    what, otherwise = "Ray is not installed.", 'executor="local"'
    with checks.needing("ray", what, "the extra ray", StudyError, otherwise):
        import ray
    return ray


@contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """The user's own cluster, or the one at an address, or this machine for as long as it takes."""
    if ray.is_initialized():
        if address is not None:
            raise StudyError(
                "Ray is connected already.",
                got=f"address={address!r} after ray.init()",
                expected="one of the two",
                instead="leave address= out",
            )
        yield
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {"include_dashboard": False}
    else:
        _reach(address)
        options |= {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _unreachable(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Refuse an address where nobody answers, which Ray itself finds out after minutes.

    Raises:
        StudyError: with the address.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address in ("auto", "local") or not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: BaseException) -> StudyError:
    return StudyError(
        "No Ray cluster answers.",
        got=f"address={address!r}: {type(error).__name__}: {str(error)[:300]}",
        expected="a cluster that runs: `ray start --head` on one machine, `ray start "
        "--address=HOST:6379` on the others",
        instead='its address, "auto" on a machine of the cluster, or no address for this machine '
        "alone",
    )
