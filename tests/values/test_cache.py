"""The cache: labels, slices, files, provenance."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest
import torch

import lensscope as ls
from tests import families, oracle

PROMPTS = [families.prompt(5, seed=5), families.prompt(8, seed=8)]


@pytest.fixture(scope="module")
def cache(llama):
    sites = [ls.resid_post, ls.pattern(1), ls.head_out(2), ls.k(0), ls.embed, ls.mlp_hidden(1)]
    return ls.capture(llama, PROMPTS, sites)


def test_a_site_without_a_layer_is_every_layer(cache):
    assert [s for s in cache if s.kind == "resid_post"] == [ls.resid_post(n) for n in range(3)]
    assert len(cache) == 8


def test_shapes_follow_the_axes_of_the_kind(cache):
    assert cache[ls.resid_post(0)].shape == (2, 8, 32)
    assert cache[ls.pattern(1)].shape == (2, 8, 4, 8)
    assert cache[ls.head_out(2)].shape == (2, 8, 4, 8)
    assert cache[ls.k(0)].shape == (2, 8, 2, 8)
    assert cache[ls.mlp_hidden(1)].shape == (2, 8, 48)
    assert cache[ls.pattern(1, 3)].shape == (2, 8, 8)
    assert cache[ls.head_out(2, 1).at(-1)].shape == (2, 1, 8)


def test_slices_by_label(cache):
    last = cache[ls.resid_post(1).at(-1)]
    whole = cache[ls.resid_post(1)]
    torch.testing.assert_close(last[0, 0], whole[0, 4])
    torch.testing.assert_close(last[1, 0], whole[1, 7])
    small = cache.sel(kind="resid_post", layer=[-1, 0], prompt=1)
    assert list(small) == [ls.resid_post(0), ls.resid_post(2)]
    assert small.lengths == (8,)
    torch.testing.assert_close(small[ls.resid_post(2)][0], cache[ls.resid_post(2)][1])
    first = cache.sel(layer=1, kind="resid_post", position=0)
    torch.testing.assert_close(first[ls.resid_post(1).at(0)], whole[:, :1])
    with pytest.raises(ls.CacheError, match="Nothing in the cache matches"):
        cache.sel(layer=1, kind="q")


def test_beyond_the_end_of_a_prompt_is_nan(cache):
    assert cache.lengths == (5, 8)
    assert cache[ls.resid_post(0)][0, 5:].isnan().all()
    assert not cache[ls.resid_post(0)][0, :5].isnan().any()
    assert cache.value(ls.resid_post(0), 0).shape == (5, 32)


def test_what_was_not_kept_is_refused(cache):
    for site in (ls.resid_pre(0), ls.resid_post(9), ls.q(1), ls.head_out(1)):
        assert site not in cache
        with pytest.raises(ls.CacheError, match="does not hold"):
            cache[site]
    with pytest.raises(ls.CacheError, match="every layer"):
        cache[ls.resid_post]
    assert "resid_post" not in cache


def test_it_keeps_only_what_was_asked_for(llama):
    cache = ls.capture(llama, PROMPTS, [ls.resid_post(1).at(-1), ls.head_out(0, 2)])
    assert list(cache) == [ls.resid_post(1).at(-1), ls.head_out(0, 2)]
    assert cache[ls.resid_post(1)].shape == (2, 1, 32)
    assert cache[ls.head_out(0, 2)].shape == (2, 8, 8)
    with pytest.raises(ls.CacheError):
        cache[ls.resid_post(1).at(0)]
    with pytest.raises(ls.CacheError):
        cache[ls.head_out(0, 1)]


def test_a_cache_cannot_be_written(cache):
    with pytest.raises(TypeError):
        cache[ls.resid_post(0)] = torch.zeros(1)


def test_the_wrong_axes_are_refused(cache):
    from lensscope.values.cache import Cache
    from lensscope.values.entries import hold

    entry = hold(torch.zeros(2, 8), [(0,), (0,)])
    wrong = Cache({ls.resid_post(0): entry}, cache.prompts, cache.provenance)
    with pytest.raises(ls.CacheError, match="wrong axes"):
        wrong[ls.resid_post(0)]


def test_it_moves_between_dtypes_and_devices(cache):
    half = cache.to(dtype=torch.bfloat16)
    assert half[ls.resid_post(0)].dtype == torch.bfloat16
    assert cache[ls.resid_post(0)].dtype == torch.float32
    assert cache.to("meta")[ls.resid_post(0)].device.type == "meta"


def test_labelled_axes(llama, cache):
    array = cache.labelled(ls.pattern(1))
    assert array.dims == ("prompt", "position", "head", "key")
    one = ls.capture(llama, PROMPTS[0], ls.resid_post(1)).labelled(ls.resid_post(1))
    assert one.sel(position=3).shape == (1, 32)
    assert list(one.token.values) == [f"w{i}" for i in PROMPTS[0]]


def test_saved_and_loaded_is_the_same(cache, tmp_path):
    path = cache.save(tmp_path / "cache.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["cache.safetensors"]
    loaded = ls.Cache.load(path)
    assert list(loaded) == list(cache)
    assert loaded.provenance == cache.provenance
    assert loaded.prompts == cache.prompts
    for site in cache:
        torch.testing.assert_close(loaded[site], cache[site], equal_nan=True)
    torch.testing.assert_close(loaded[ls.head_out(2, 1).at(-1)], cache[ls.head_out(2, 1).at(-1)])
    assert loaded.to(dtype=torch.float16)[ls.k(0)].dtype == torch.float16


def test_positions_of_every_form_survive_a_file(llama, tmp_path):
    sites = [
        ls.resid_post(0).at(-1),
        ls.resid_post(0).at(slice(1, 3)),
        ls.resid_post(0).at(ls.ALL),
        ls.resid_post(0).at(f"w{PROMPTS[0][1]}", occurrence=0),
        ls.resid_post(0).at(ls.span(f"w{PROMPTS[0][1]} w{PROMPTS[0][2]}")),
    ]
    cache = ls.capture(llama, PROMPTS[0], sites)
    loaded = ls.Cache.load(cache.save(tmp_path / "c.safetensors"))
    assert list(loaded) == sites
    for site in sites:
        torch.testing.assert_close(loaded[site], cache[site])


def test_reading_one_site_of_a_file_touches_only_that_site(cache, tmp_path):
    """In a process of its own: what becomes resident is of the order of one site, not of all."""
    from lensscope.values.cache import Cache
    from lensscope.values.entries import hold

    big = {
        ls.resid_post(n): hold(torch.rand(2, 8, 500_000), [tuple(range(8))] * 2) for n in range(6)
    }
    path = Cache(big, cache.prompts, cache.provenance).save(tmp_path / "big.safetensors")
    assert path.stat().st_size > 190e6
    script = f"""
import lensscope as ls, psutil, torch, safetensors
read = psutil.Process().memory_info
cache = ls.Cache.load({str(path)!r})
before = read().rss
assert len(cache) == 6
opened = read().rss - before
x = cache[ls.resid_post(4)]
print(opened, read().rss - before, x.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    opened, grown, one = map(int, done.stdout.split())
    assert opened < 0.1 * one
    assert grown < 2.5 * one


@pytest.mark.parametrize(
    "content", [b"", b"not a cache", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "]
)
def test_a_file_that_is_no_cache_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ls.CacheError, match="is not a lensscope cache"):
        ls.Cache.load(path)
    with pytest.raises(ls.CacheError, match="is not a lensscope cache"):
        ls.Cache.load(tmp_path / "missing")


def test_an_interrupted_save_leaves_nothing(cache, tmp_path, monkeypatch):
    import safetensors.torch

    def broken(tensors, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", broken)
    with pytest.raises(KeyboardInterrupt):
        cache.save(tmp_path / "c.safetensors")
    assert os.listdir(tmp_path) == []


def test_provenance_tells_models_and_bases_apart(llama, cache):
    same = ls.capture(llama, PROMPTS, ls.resid_post(0)).provenance
    assert same.fingerprint == cache.provenance.fingerprint
    assert same.tokens == tuple(map(tuple, PROMPTS))
    assert set(same.versions) == {"lensscope", "transformer-lens", "transformers", "torch"}
    folded = families.build(families.Case("llama", "bridge", "folded"))
    raw = copy.deepcopy(families.hf_model("llama", seed=3))
    other = families.wrap(raw)
    move = ls.resid_post(0).at(-1) >> ls.resid_post(1).at(-1)
    with pytest.raises(ls.BasisError, match="another basis"):
        ls.run(folded, PROMPTS[0], [move], source=cache.sel(prompt=0))
    with pytest.raises(ls.BasisError, match="another model"):
        ls.run(other, PROMPTS[0], [move], source=cache.sel(prompt=0))
    assert torch.isfinite(
        ls.run(llama, PROMPTS[0], [move], source=cache.sel(prompt=0)).logits
    ).all()


def test_a_move_reads_transforms_and_writes(llama):
    move = ls.resid_post(0).at(1) >> torch.tanh >> ls.scaled_to(3.0) >> ls.resid_pre(2).at(4)
    assert repr(move) == "resid_post(0).at(1) >> tanh >> scaled_to(3) >> resid_pre(2).at(4)"
    state = torch.tanh(oracle.activations(llama, PROMPTS[1], "resid_post", 0)[1])
    state = 3 * state / state.norm()
    edit = oracle.Edit("resid_pre", 2, 4, lambda x: state)
    run = ls.run(llama, PROMPTS[0], [move], source=PROMPTS[1])
    oracle.close(run.logits[0], oracle.logits(llama, PROMPTS[0], [edit]))
    within = ls.run(llama, PROMPTS, [move])
    for n, prompt in enumerate(PROMPTS):
        own = torch.tanh(oracle.activations(llama, prompt, "resid_post", 0)[1])
        own = 3 * own / own.norm()
        edit = oracle.Edit("resid_pre", 2, 4, lambda x, own=own: own)
        oracle.close(within.logits[n, : len(prompt)], oracle.logits(llama, prompt, [edit]))
    with pytest.raises(ls.PatchError, match="without an end"):
        ls.run(llama, PROMPTS[0], [ls.resid_post(0).at(1) >> torch.tanh])


def test_the_forward_ends_at_the_last_site_that_is_kept(llama):
    """No block above it runs, and no logits are computed."""
    ran = []
    points = [llama.hook_dict[f"blocks.{n}.hook_resid_pre"] for n in range(3)]
    points.append(llama.hook_dict["ln_final.hook_in"])
    for n, point in enumerate(points):
        point.add_hook(lambda tensor, hook, n=n: ran.append(n))
    try:
        ls.capture(llama, PROMPTS[0], [ls.resid_post(1), ls.resid_post(0)])
        assert ran == [0, 1]
        ran.clear()
        ls.capture(llama, PROMPTS[0], ls.embed)
        assert ran == []
    finally:
        for point in points:
            point.fwd_hooks.pop().hook.remove()
