"""Files of weights: what is written is read again, and nothing in a file is ever run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from symnet.data import StateFileError, read_state_file, write_state_file


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.safetensors"])
def test_what_is_written_is_read_again(
    tmp_path: Path, state: dict[str, torch.Tensor], name: str
) -> None:
    """Bit for bit, whole numbers and tied tensors included; nothing else stays in the folder."""
    state["tied"] = state["0.weight"]
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors", reason="the format's own package is not installed")
    write_state_file(tmp_path / name, state)
    found = read_state_file(tmp_path / name)
    assert found.keys() == state.keys()
    assert all(
        torch.equal(found[key], tensor) and found[key].dtype == tensor.dtype
        for key, tensor in state.items()
    )
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "weights"])
def test_a_checkpoint_is_unwrapped(
    tmp_path: Path, state: dict[str, torch.Tensor], wrapper: str
) -> None:
    torch.save({"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}}, tmp_path / "run.ckpt")
    assert read_state_file(tmp_path / "run.ckpt").keys() == state.keys()


class Bomb:
    """Would run a command when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"0.weight": Bomb(tmp_path / "exploded")}, tmp_path / "bad.pt")
    with pytest.raises(StateFileError, match=r"bad.pt cannot be read .* it needs code"):
        read_state_file(tmp_path / "bad.pt")
    assert not (tmp_path / "exploded").exists()


def test_files_that_hold_no_state_dict_are_named(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    write_state_file(tmp_path / "whole.pt", state)
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:200])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "half.safetensors").write_bytes(b"\xff" * 20)
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "no_tensors.pt")
    (tmp_path / "folder.pt").mkdir()
    for name in (
        "half.pt",
        "empty.pth",
        "text.pt",
        "half.safetensors",
        "list.pt",
        "no_tensors.pt",
        "folder.pt",
        "none.pt",
    ):
        with pytest.raises(StateFileError, match=name):
            read_state_file(tmp_path / name)
    with pytest.raises(StateFileError, match=r"not '\.csv'"):
        read_state_file(tmp_path / "table.csv")


def test_what_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    write_state_file(tmp_path / "net.pt", state)
    before = (tmp_path / "net.pt").read_bytes()
    with pytest.raises(StateFileError, match="cannot be written"):
        write_state_file(tmp_path / "missing" / "net.pt", state)
    with pytest.raises(StateFileError, match=r"not '\.txt'"):
        write_state_file(tmp_path / "net.txt", state)
    assert (tmp_path / "net.pt").read_bytes() == before and os.listdir(tmp_path) == ["net.pt"]
