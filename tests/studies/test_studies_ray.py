"""Studies on Ray: the same table as in one process, also when a worker dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

import lensscope as ls
from lensscope.errors import StudyError
from tests import families, planted

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny model in a folder, as a worker on another machine would find it."""
    folder = tmp_path_factory.mktemp("model")
    families.hf_model("llama").save_pretrained(folder)
    families.own_tokenizer().save_pretrained(folder)
    return ls.load_model(folder)


@pytest.fixture(scope="module")
def study(saved):
    return ls.studies.entity_resolution(
        saved,
        planted.entities(),
        inspection=planted.INSPECTION,
        target_layers="all",
        max_new_tokens=3,
    )


@pytest.fixture(scope="module")
def alone(study, tmp_path_factory):
    return study.run(tmp_path_factory.mktemp("alone") / "out")


@pytest.fixture(scope="module")
def cluster():
    """Two workers' worth of Ray on this machine; they know the package, not the tests."""
    here = str(Path(__file__).parents[2])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": here, "HF_HUB_OFFLINE": "1"}},
    )
    yield
    ray.shutdown()


def same(one: ls.studies.StudyResult, other: ls.studies.StudyResult) -> None:
    """All that was generated, and what it comes to, to the last bit."""
    assert one.folder.done() == other.folder.done()
    for key in sorted(one.folder.done()):
        pd.testing.assert_frame_equal(one.folder.part(key), other.folder.part(key))
    pd.testing.assert_frame_equal(one.frame(), other.frame())
    pd.testing.assert_frame_equal(one.headline, other.headline)


def test_two_workers_give_the_same_table(study, alone, cluster, tmp_path):
    result = study.run(tmp_path / "out", executor="ray", num_workers=2)
    same(result, alone)
    assert result.manifest["sessions"][0]["executor"] == "ray"


def test_readers_go_to_workers(saved, cluster, tmp_path):
    scope = ls.Patchscope(
        planted.INSPECTION, ls.resid_pre(1), transform=ls.scaled_to(3.0), max_new_tokens=2
    )
    names = [entity.name for entity in planted.entities()]
    study = ls.studies.reading_quality(
        saved, {"raw": scope}, names, template="w61 {}", n_candidates=3
    )
    alone = study.run(tmp_path / "alone")
    same(study.run(tmp_path / "out", executor="ray", num_workers=1), alone)


def test_a_worker_that_is_killed_is_made_up_for(study, alone, cluster, tmp_path):
    out, killed = tmp_path / "out", []

    def kill() -> None:
        """As soon as some parts are there, and only once."""
        while len(list(out.glob("parts/*.parquet"))) < 2:
            time.sleep(0.02)
        workers = [p for p in psutil.process_iter(["name"]) if "ray::Worker" in p.info["name"]]
        if workers:
            os.kill(workers[0].pid, signal.SIGKILL)
            killed.append(workers[0].pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    result = study.run(out, executor="ray", num_workers=2)
    killer.join(10)
    assert killed
    same(result, alone)


def test_what_one_process_began_ray_finishes(study, alone, cluster, tmp_path):
    import shutil

    out = tmp_path / "out"
    shutil.copytree(alone.folder.path, out)
    for key in ("cells-000000-000", "control-000-001"):
        (out / "parts" / f"{key}.parquet").unlink()
    same(study.run(out, executor="ray", num_workers=1), alone)


def test_a_model_that_others_cannot_load_is_refused(llama, cluster, tmp_path):
    study = ls.studies.entity_resolution(
        llama, planted.entities(), inspection=planted.INSPECTION, max_new_tokens=1
    )
    with pytest.raises(StudyError, match="cannot load this model"):
        study.run(tmp_path / "out", executor="ray")


def test_more_than_the_cluster_has_is_refused(study, cluster, tmp_path):
    with pytest.raises(StudyError, match="so many GPUs"):
        study.run(tmp_path / "a", executor="ray", num_gpus=64)
    with pytest.raises(StudyError, match="so many workers"):
        study.run(tmp_path / "b", executor="ray", num_workers=99)


def test_an_address_beside_a_cluster_is_refused(study, cluster, tmp_path):
    with pytest.raises(StudyError, match="connected already"):
        study.run(tmp_path / "out", executor="ray", address="auto")


def test_an_address_where_nobody_answers_is_refused_within_seconds(study, tmp_path):
    if ray.is_initialized():
        ray.shutdown()
    before = time.monotonic()
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(StudyError, match="No Ray cluster answers"):
            study.run(tmp_path / "out", executor="ray", address=address)
    assert time.monotonic() - before < 60
    assert not list((tmp_path / "out").glob("parts/*"))
