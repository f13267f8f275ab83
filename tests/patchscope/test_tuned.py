"""The trained reader that comes along."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest

import lensscope as ls

DATA = files("lensscope.patchscope").joinpath("data")


def test_it_is_what_was_made_and_is_small():
    content = DATA.joinpath("tuned.safetensors").read_bytes()
    told, name = DATA.joinpath("tuned.sha256").read_text("utf-8").split()
    assert name == "tuned.safetensors"
    assert hashlib.sha256(content).hexdigest() == told
    assert len(content) < 3_000_000


def test_it_reads_every_layer_better_than_the_raw_write(demo):
    """On names that it never saw, as its file says of all layers, and as is seen of some."""
    reader = ls.Patchscope.tuned(demo)
    scores = reader.trained.frame()
    assert scores.layer.tolist() == list(range(30))
    assert (scores.kl_after < scores.kl_before).all()  # what it was trained on
    assert (scores.nats_after < scores.nats_before).sum() >= 29
    known = {entity.name for entity in ls.studies.entities()}
    assert not known & set(ls.names())
    said = {}
    for scope in (ls.Patchscope.definition(), reader):
        result = scope.inspect(demo, "I have read about Jurassic Park", layers=[0, 24], stop=".")
        said[scope.trained is None] = result.frame()["text"].tolist()
    assert said[True] != said[False]
    assert "tuned patchscope" in " ".join(result.notes)


def test_it_is_of_its_model_alone(llama):
    with pytest.raises(ls.BasisError, match="other weights"):
        ls.Patchscope.tuned(llama)
    assert ls.Patchscope.tuned().trained.kind == "tuned patchscope"
