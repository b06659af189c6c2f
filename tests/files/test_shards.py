"""Safetensors in shards: written one shard at a time, read one tensor at a time, replaced whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from symnet.errors import FileError
from symnet.files import StateFile, open_state_file, read_state_file, write_state_file

STATE = {f"layers.{k}.weight": torch.full((k + 1, 4), float(k)) for k in range(6)}


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors", "net.safetensors.index.json"])
def test_names_and_shapes_come_first_and_tensors_one_by_one(tmp_path: Path, name: str) -> None:
    write_state_file(tmp_path / name, STATE, shard_bytes=100)
    state = open_state_file(tmp_path / name)
    assert isinstance(state, StateFile)
    assert dict(state.shapes) == {key: tuple(tensor.shape) for key, tensor in STATE.items()}
    assert state.keys() == STATE.keys() and "layers.9.weight" not in state
    assert all(torch.equal(state[key], tensor) for key, tensor in STATE.items())
    with pytest.raises(KeyError):
        state["layers.9.weight"]


def test_one_shard_is_held_at_a_time(tmp_path: Path) -> None:
    """Pairs are asked for one by one: when a shard is full it is on the disk before the next tensor is made."""
    path = tmp_path / "net.safetensors.index.json"
    files = []

    def pairs():
        for name, tensor in STATE.items():
            files.append(len(os.listdir(tmp_path)))
            yield name, tensor

    write_state_file(path, pairs(), shard_bytes=100)
    # 16 + 32 + 48 bytes fill the first shard, which the fourth tensor, 64 bytes, closes: each is made, then placed.
    assert files == [0, 0, 0, 0, 1, 2]
    assert len(os.listdir(tmp_path)) == 5 and read_state_file(path).keys() == STATE.keys()


def test_a_model_in_shards_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors.index.json"
    write_state_file(path, STATE, shard_bytes=100)
    before = sorted(os.listdir(tmp_path))

    def broken():
        yield from ((name, tensor + 1) for name, tensor in list(STATE.items())[:5])
        raise RuntimeError("no sixth tensor")

    with pytest.raises(RuntimeError, match="sixth"):
        write_state_file(path, broken(), shard_bytes=100)
    assert sorted(os.listdir(tmp_path)) == before
    assert all(torch.equal(open_state_file(path)[name], tensor) for name, tensor in STATE.items())
    write_state_file(path, {"a": torch.ones(1)})
    assert len(os.listdir(tmp_path)) == 2 and read_state_file(path)["a"] == 1


def test_metadata_travels(tmp_path: Path) -> None:
    for name in ("net.safetensors", "net.safetensors.index.json"):
        write_state_file(tmp_path / name, STATE, metadata={"graph": "text"})
        assert open_state_file(tmp_path / name).metadata["graph"] == "text"
    with pytest.raises(FileError, match="only safetensors files carry metadata"):
        write_state_file(tmp_path / "net.pt", STATE, metadata={"graph": "text"})


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    for name in ("net.pt", "net.safetensors", "net.safetensors.index.json"):
        with pytest.raises(FileError, match="two tensors of the name 'a'"):
            write_state_file(
                tmp_path / name, [("a", torch.ones(2)), ("a", torch.zeros(2))], shard_bytes=4
            )
    assert os.listdir(tmp_path) == []


DAMAGE = {
    "a list": ([1], "is no index of shards"),
    "no map": ({"metadata": {}}, "is no index of shards"),
    "a path upwards": (
        {"weight_map": {"a": "../a.safetensors"}},
        "a shard is a file beside the index",
    ),
    "an absolute path": (
        {"weight_map": {"a": "/etc/passwd"}},
        "a shard is a file beside the index",
    ),
    "a number": ({"weight_map": {"a": 3}}, "a shard is a file beside the index"),
    "a missing shard": ({"weight_map": {"a": "other.safetensors"}}, "There is no file"),
    "a name too many": (
        {"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}},
        "'b' is not in",
    ),
    "a name too few": ({"weight_map": {"b": "two.safetensors"}}, "does not name 'c'"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_an_index_that_does_not_fit_is_refused(tmp_path: Path, kind: str) -> None:
    content, message = DAMAGE[kind]
    write_state_file(tmp_path / "one.safetensors", {"a": torch.ones(1)})
    write_state_file(tmp_path / "two.safetensors", {"b": torch.ones(1), "c": torch.ones(1)})
    path = tmp_path / "net.safetensors.index.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FileError, match=message):
        open_state_file(path)
