"""Files of ours that were damaged: what is loaded is what was saved, or an error of the project."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lensscope as ls
from lensscope.errors import LensscopeError
from tests import families

PROMPTS = [families.prompt(4, seed=4), families.prompt(6, seed=6)]
TEXTS = [families.prompt(20, seed=n) for n in range(8)]
HOSTILE = 60
"""Damages of each kind of file."""


def damaged(content: bytes, dice: random.Random) -> bytes:
    """A file as a bad disk, a broken download or another program leaves it."""
    at, other = dice.randrange(len(content)), dice.randrange(len(content))
    kind = dice.randrange(7)
    if kind <= 2:
        return content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :]
    if kind == 3:
        return content[:at]
    if kind == 4:
        return content[:at] + b"\0" * dice.randrange(1, 40) + content[at + 20 :]
    if kind == 5:
        return content[:at] + dice.randbytes(dice.randrange(1, 20)) + content[at:]
    low, high = sorted((at, other))
    return content[high:] + content[low:high] + content[:low]


def attack(path: Path, load: Callable[[], Any], same: Callable[[Any, Any], bool]) -> int:
    """Damage a file again and again; how often it was noticed."""
    whole, dice, noticed = path.read_bytes(), random.Random(13), 0
    before = load()
    for _ in range(HOSTILE):
        content = damaged(whole, dice)
        path.write_bytes(content)
        try:
            found = load()
        except LensscopeError:
            noticed += 1
        else:
            assert same(before, found), content
    path.write_bytes(whole)
    assert same(before, load())
    return noticed


# ------------------------------------------------------------- caches


@pytest.fixture(scope="module")
def cache(llama):
    sites = [ls.resid_post(0).at(0), ls.resid_post(1), ls.head_out(2).at(slice(1, 3)), ls.k(0)]
    return ls.capture(llama, PROMPTS, sites)


def _held(path: Path) -> Any:
    cache = ls.Cache.load(path)
    return list(cache), [cache[s] for s in cache], cache.prompts, cache.provenance


def _same_cache(one: Any, other: Any) -> bool:
    equal = all(
        torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(one[1], other[1], strict=True)
    )
    return equal and one[0] == other[0] and one[2:] == other[2:]


def test_a_damaged_cache_is_noticed(cache, tmp_path):
    path = cache.save(tmp_path / "c")
    assert attack(path, lambda: _held(path), _same_cache) > HOSTILE * 0.9


def test_position_0_survives_a_file(cache, tmp_path):
    loaded = ls.Cache.load(cache.save(tmp_path / "c"))
    site = ls.resid_post(0).at(0)
    assert loaded.positions(site) == ((0,), (0,))
    torch.testing.assert_close(loaded[site], cache[site])


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each field of an object is."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, held in items:
        if isinstance(value, dict) and "versions" not in path:
            yield (*path, name)
        if isinstance(held, dict | list):
            yield from fields(held, (*path, name))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy without a field, or with another value in it."""
    value = json.loads(json.dumps(value))
    held = value
    for name in path[:-1]:
        held = held[name]
    if new is fields:
        del held[path[-1]]
    else:
        held[path[-1]] = new
    return value


@pytest.mark.parametrize("new", [fields, None, 1.5, "x", [], [[]], {"x": 1}, True])
def test_each_field_of_a_header_is_needed(cache, llama, tmp_path, new):
    """Also without checksums, as whoever changes a header on purpose leaves them out."""
    files: list[tuple[Path, Callable[[Path], Any]]] = [
        (cache.save(tmp_path / "c"), _held),
        (ls.TunedLens.identity(llama).save(tmp_path / "l"), ls.TunedLens.load),
    ]
    seen = 0
    for path, load in files:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["lensscope"])
        for where in fields(header):
            if "settings" in where or (where[-1] == "tokens" and new in ([], [[]])):
                continue
            if (where[-1], new) in (
                *(("layer", None), ("head", None), ("occurrence", None), ("model", "x")),
                *((name, "x") for name in ("backend", "fingerprint", "dtype", "text", "head")),
                *((name, "x") for name in ("processing", "name", "unembed_hash", "position")),
            ):
                continue  # may well be so
            made = changed(header, where, new)
            if made == header:
                continue
            save_file(tensors, path, metadata={"lensscope": json.dumps(made)})
            try:
                load(path)
            except LensscopeError:
                seen += 1
            else:
                pytest.fail(f"{where} as {new!r} in {path.name}")
        save_file(tensors, path, metadata={"lensscope": json.dumps(header)})
        load(path)  # a file from before there were checksums
    assert seen > 40


def test_a_loaded_cache_is_of_the_file_that_was_loaded(cache, llama, tmp_path, monkeypatch):
    path, other = tmp_path / "c", ls.capture(llama, PROMPTS[::-1], list(cache))
    site = ls.resid_post(1)
    cache.save(path)
    monkeypatch.chdir(tmp_path)
    loaded = ls.Cache.load("c")
    monkeypatch.chdir("/")
    torch.testing.assert_close(loaded[site], cache[site], equal_nan=True)
    again, small = ls.Cache.load(path), loaded.sel(prompt=0)
    other.save(path)
    for old in (loaded, again):
        with pytest.raises(ls.CacheError, match="written anew"):
            old[site]
    with pytest.raises(ls.CacheError, match="written anew"):
        small[site]
    torch.testing.assert_close(ls.Cache.load(path)[site], other[site], equal_nan=True)
    cache.save(path)  # the same numbers again are the same file
    torch.testing.assert_close(loaded[site], cache[site], equal_nan=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + b"\0" * 40)  # in place
    last = list(loaded)[-1]
    with pytest.raises(ls.CacheError):
        [loaded[s] for s in loaded]
    path.unlink()
    with pytest.raises(ls.CacheError, match="not the cache any more"):
        loaded[last]


def test_what_was_read_does_not_change_with_the_file(cache, tmp_path):
    path = cache.save(tmp_path / "c")
    held = ls.Cache.load(path)[ls.resid_post(1)]
    before = held.clone()
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(held.nan_to_num(7), before.nan_to_num(7))


def test_a_file_without_checksums_is_followed_by_its_state(cache, tmp_path):
    path = cache.save(tmp_path / "c")
    with safe_open(path, framework="pt") as file:
        metadata = {"lensscope": file.metadata()["lensscope"]}
    save_file(load_file(path), path, metadata=metadata)
    loaded = ls.Cache.load(path)
    loaded[ls.resid_post(1)]
    save_file({n: t + 1 for n, t in load_file(path).items()}, path, metadata=metadata)
    with pytest.raises(ls.CacheError, match="written anew"):
        loaded[ls.resid_post(1)]


# ------------------------------------------------------------- lenses and checkpoints


def _same_lens(one: Any, other: Any) -> bool:
    return (one.signature, one.origin, one.settings) == (
        other.signature,
        other.origin,
        other.settings,
    )


@pytest.mark.parametrize("name", ["TunedLens", "AffineLens", "JacobianLens"])
def test_a_damaged_lens_is_noticed(llama, tmp_path, name):
    kind = getattr(ls, name)
    options = {"length": 20, "max_pieces": 2} if name == "JacobianLens" else {"length": 20}
    lens = kind.identity(llama) if name == "TunedLens" else kind.fit(llama, TEXTS, **options)
    path = lens.save(tmp_path / "lens")
    assert attack(path, lambda: kind.load(path), _same_lens) > HOSTILE * 0.9


def test_a_header_that_begins_as_pickle_does_is_none(llama, tmp_path):
    """The length of the header is what a safetensors file begins with."""
    lens, begun = ls.TunedLens.identity(llama), set()
    for n in range(0, 256, 8):
        path = lens.renamed("x" * n).save(tmp_path / "lens")
        begun.add(path.read_bytes()[0])
        assert ls.TunedLens.load(path).name == "x" * n
    assert 0x80 in begun


def test_a_damaged_tuned_lens_folder_is_noticed(llama, tmp_path):
    folder = ls.TunedLens.identity(llama).to_tuned_lens(tmp_path / "lens", llama)

    def load() -> Any:
        return ls.TunedLens.load(folder, allow_pickle=True)

    attack(folder / "params.pt", load, _same_lens)
    # what another library names and we do not seal is at least never a raw error
    attack(folder / "config.json", load, lambda a, b: a.signature == b.signature)
    (folder / "params.pt").write_bytes(b"")
    with pytest.raises(ls.LensError, match="cannot be read"):
        load()


def test_an_empty_or_odd_pt_file_is_no_lens(tmp_path):
    path = tmp_path / "lens.pt"
    path.write_bytes(b"")
    for allowed in (False, True):
        with pytest.raises(ls.LensError, match="cannot be read"):
            ls.JacobianLens.load(path, allow_pickle=allowed)
    good = {"J": {0: torch.eye(4)}, "n_prompts": 3, "metadata": {"model_name": "x"}}
    for wrong in (
        *({"n_prompts": "many"}, {"metadata": [3]}, {"J": {-1: torch.eye(4)}}, {"J": {}}),
        *({"J": {0: torch.full((4, 4), torch.nan)}}, {"J": [torch.eye(4)]}),
        {"J": {0: torch.eye(4), 1: torch.eye(5)}},
    ):
        torch.save({**good, **wrong}, path)
        with pytest.raises(ls.LensError):
            ls.JacobianLens.load(path, allow_pickle=True)
    torch.save(good, path)
    assert ls.JacobianLens.load(path, allow_pickle=True)


def test_a_checkpoint_that_lacks_something_is_no_checkpoint(llama, tmp_path):
    clean, corrupted = families.prompt(5, seed=1), families.prompt(5, seed=2)
    metric = ls.logit_difference(5, 6)

    def fits(path: Path) -> list[Callable[[], Any]]:
        return [
            lambda: ls.TunedLens.fit(
                llama, TEXTS, steps=4, batch_size=2, length=6, n_held_out=2, checkpoint=path
            ),
            lambda: ls.JacobianLens.fit(llama, TEXTS, length=20, max_pieces=3, checkpoint=path),
            lambda: ls.compare(llama, PROMPTS, [ls.LogitLens()], checkpoint=path),
            lambda: ls.activation_patching(
                llama, clean, corrupted, ls.attn_out, metric, checkpoint=path
            ),
        ]

    for n in range(4):
        path = tmp_path / str(n)
        make = fits(path)[n]
        make()
        tensors, whole = load_file(path), path.read_bytes()
        with safe_open(path, framework="pt") as file:
            metadata = {"lensscope": file.metadata()["lensscope"]}
        for name, tensor in tensors.items():
            rest = {k: t for k, t in tensors.items() if k != name}
            for made in (rest, {**rest, name: tensor.double()[..., None]}):
                if not made:
                    continue
                save_file(made, path, metadata=metadata)
                with pytest.raises(ls.LensError, match="not a whole checkpoint"):
                    make()
        header = json.loads(metadata["lensscope"])
        for lacking in header.keys() - {"format"}:
            made_header = {k: v for k, v in header.items() if k != lacking}
            save_file(tensors, path, metadata={"lensscope": json.dumps(made_header)})
            with pytest.raises(ls.LensError):
                make()
        path.write_bytes(whole)
        make()
        path.write_bytes(whole[:-9])
        with pytest.raises(ls.LensError, match="not whole"):
            make()


# ------------------------------------------------------------- circuits


@pytest.fixture(scope="module")
def circuit(llama):
    clean, corrupted = families.prompt(5, seed=1), families.prompt(5, seed=2)
    effect = ls.attribution_patching(
        llama, clean, corrupted, [ls.head_out, ls.mlp_out], ls.logit_difference(5, 6)
    )
    return effect.circuit(top=6)


def _told(circuit: Any) -> Any:
    return circuit.nodes, circuit.edges, circuit.words, circuit.kinds, circuit.provenance


def test_a_damaged_circuit_is_noticed(circuit, tmp_path):
    path = tmp_path / "circuit.json"
    circuit.to_json(path)
    load = lambda: ls.Circuit.from_json(path)
    assert attack(path, load, lambda a, b: _told(a) == _told(b)) > HOSTILE * 0.7


def test_a_circuit_that_nobody_wrote(circuit):
    held = json.loads(circuit.to_json())
    del held["checksum"]
    assert _told(ls.Circuit.from_json(json.dumps(held)))[0] == circuit.nodes
    for where in [w for w in fields(held) if "settings" not in w]:
        for new in (fields, 7, [None], {"x": []}):
            if (where[-1], new) in (("effect", 7), ("provenance", fields), ("words", fields)):
                continue
            if isinstance(new, int) and where[-1] in held.get("provenance", {}):
                continue  # another number of layers is not seen here
            with pytest.raises(ls.PatchError):
                ls.Circuit.from_json(json.dumps(changed(held, where, new)))
    node = held["nodes"][0]
    for name in (
        *("9" * 20_000, "head_out(" + "9" * 20_000 + ")", "mlp_out(0).at(" + "(" * 20_000 + ")"),
        *("mlp_out(0).at(" + "-" * 20_000 + "1)", "mlp_out(0).at(" + "[" * 20_000 + ")"),
        "x" * 20_000,
    ):
        with pytest.raises(ls.PatchError) as error:
            ls.Circuit.from_json(json.dumps({**held, "nodes": [{**node, "node": name}]}))
        assert len(str(error.value)) < 1000
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(ls.PatchError, match="deeply"):
        ls.Circuit.from_json(deep)


def test_deep_json_is_no_file_of_a_user_either(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000 + "]" * 100_000)
    for load, error in (
        *((ls.studies.relation, ls.StudyError), (ls.studies.entities, ls.StudyError)),
        *((ls.studies.questions, ls.StudyError), (ls.pairs.from_jsonl, ls.PromptError)),
    ):
        with pytest.raises(error, match="deeply"):
            load(path)
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(path, folder / "manifest.json")
    with pytest.raises(ls.StudyError, match="deeply"):
        ls.studies.load(folder)
    lens = tmp_path / "lens"
    lens.mkdir()
    shutil.copy(path, lens / "config.json")
    with pytest.raises(ls.LensError, match="deeply"):
        ls.TunedLens.load(lens)
    assert os.listdir(lens) == ["config.json"]
