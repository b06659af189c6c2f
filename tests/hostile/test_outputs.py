"""Many answers: relative paths are kept, and nothing is replaced that was read, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import symnet as sn
from symnet.files import check_outputs, place_outputs, read_state_file
from symnet.tasks import evaluation
from symnet.tasks.bundle import Bundle

GRAPH = sn.catalogue.mlp([2, 3, 1])
NAMES = ("seed-0/net.pt", "seed-1/net.pt", "seed-2/net.pt", "a.pt", "a.pth", "b.safetensors")


class Doubled(nn.Module):
    """An editor that adds the weights to themselves, and counts how often it was asked."""

    asked = 0

    def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        Doubled.asked += 1
        return x


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "networks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sn.data.write_state_file(
            path, {key: torch.full(shape, number + 1.0) for key, shape in GRAPH.shapes.items()}
        )
    monkeypatch.setattr(
        evaluation,
        "load_model",
        lambda path: Bundle(Doubled(), "equivariant", "editing", GRAPH, {}),
    )
    Doubled.asked = 0
    return tmp_path / "networks"


def test_every_network_has_its_own_answer(networks: Path, tmp_path: Path) -> None:
    written = evaluation.predict_folder(tmp_path, networks, tmp_path / "edited")
    assert sorted(written) == sorted(NAMES) and len(set(written.values())) == len(NAMES)
    for number, name in enumerate(NAMES):
        assert float(read_state_file(tmp_path / "edited" / name)["0.bias"][0]) == 2 * (number + 1.0)


@pytest.mark.parametrize("out", ["networks", "networks/edited", "link", "networks/a.pt"])
def test_what_is_read_is_never_replaced(networks: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "link").symlink_to("networks")
    before = {path: path.read_bytes() for path in networks.rglob("*.*") if path.is_file()}
    with pytest.raises(sn.SymnetError, match=r"lies in|is a file|is read"):
        evaluation.predict_folder(tmp_path, networks, tmp_path / out)
    assert Doubled.asked == 0
    assert {path: path.read_bytes() for path in networks.rglob("*.*") if path.is_file()} == before


def test_two_answers_in_one_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link.pt").symlink_to("a.pt")
    with pytest.raises(sn.SymnetError, match="would both be written"):
        check_outputs({"first": tmp_path / "a.pt", "second": tmp_path / "x" / ".." / "a.pt"}, [])
    with pytest.raises(sn.SymnetError, match="is read by this command"):
        check_outputs({"first": tmp_path / "link.pt"}, [tmp_path / "a.pt"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(sn.SymnetError, match="is a file"):
        place_outputs(["a.pt"], tmp_path / "nets", tmp_path / "file")


def test_aligning_does_not_replace_what_it_reads(
    networks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from symnet.cli import main

    first, second = networks / "a.pt", networks / "a.pth"
    with pytest.raises(SystemExit) as stop:
        main(["align", str(first), str(second), "--arch", "mlp:2-3-1", "-o", str(second)])
    assert stop.value.code == 2 and "is read by this command" in capsys.readouterr().err


def test_a_missing_folder_is_named_before_anything_is_computed(tmp_path: Path) -> None:
    """A single file asks for no folder; a folder of answers is made."""
    with pytest.raises(sn.FileError, match=r"there is no folder .*new\. Make it first"):
        check_outputs({"the table": tmp_path / "new" / "table.csv"}, [])
    assert not (tmp_path / "new").exists()
    places = place_outputs(["a.pt"], tmp_path / "nets", tmp_path / "new" / "edited")
    assert places == {"a.pt": tmp_path / "new" / "edited" / "a.pt"}
