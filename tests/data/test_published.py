"""Loaders of published corpora, on files written here in exactly those layouts; damaged ones are named, and never executed."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import symnet as sn
from symnet.data import (
    read_dws_folders,
    read_folder,
    read_siren_folders,
    read_small_cnn_zoo,
    read_wild_park,
    read_zoo_split,
    zoo_parts,
)

# ---- the Small CNN Zoo ----------------------------------------------------------------------------------------------
LAYOUT = [
    ("sequential/conv2d/bias:0", (16,)),
    ("sequential/conv2d/kernel:0", (3, 3, 1, 16)),
    ("sequential/conv2d_1/bias:0", (16,)),
    ("sequential/conv2d_1/kernel:0", (3, 3, 16, 16)),
    ("sequential/conv2d_2/bias:0", (16,)),
    ("sequential/conv2d_2/kernel:0", (3, 3, 16, 16)),
    ("sequential/dense/bias:0", (10,)),
    ("sequential/dense/kernel:0", (16, 10)),
]


def write_zoo(
    folder: Path, *, layout: list[tuple[str, Any]] | None = None, columns: tuple[str, ...] = ()
) -> np.ndarray:
    """Six checkpoints of three networks, the last step of each being 86."""
    weights = np.random.default_rng(0).normal(size=(6, 4970)).astype(np.float32)
    np.save(folder / "weights.npy", weights)
    with gzip.open(folder / "metrics.csv.gz", "wt", newline="") as file:
        names = columns or (
            "modeldir",
            "step",
            "test_accuracy",
            "train_accuracy",
            "config.activation",
        )
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        for k in range(6):
            row = {
                "modeldir": f"/models/{k // 2}",
                "step": (4, 86)[k % 2],
                "test_accuracy": 0.1 * k,
                "train_accuracy": 0.5,
            }
            writer.writerow(row | {"config.activation": ("relu", "tanh", "relu")[k // 2]})
    start = 0
    with (folder / "layout.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "varname", "shape", "start_idx", "end_idx"])
        for number, (name, shape) in enumerate(layout or LAYOUT):
            size = int(np.prod(shape)) if isinstance(shape, tuple) else 1
            writer.writerow([number, name, str(shape), start, start + size])
            start += size
    return weights


def test_the_zoo_is_read_as_the_networks_it_holds(tmp_path: Path) -> None:
    """Rows at step 86; kernels from (height, width, in, out) to (out, in, height, width); 4,970 weights each."""
    rows = write_zoo(tmp_path)
    found = read_small_cnn_zoo(tmp_path)
    assert len(found) == 3 and found.graph == sn.catalogue.cnn([1, 16, 16, 16], classes=10)
    assert found.graph.weights.size == 4970
    np.testing.assert_allclose(found.columns["accuracy"], [0.1, 0.3, 0.5], rtol=1e-6)
    assert found.columns["row"].tolist() == [1, 3, 5] and found.columns["activation"].tolist() == [
        "relu",
        "tanh",
        "relu",
    ]
    second = rows[1][16 + 144 + 16 :][: 9 * 256].reshape(3, 3, 16, 16)
    np.testing.assert_array_equal(
        found.weights["2.weight"][0].numpy(), second.transpose(3, 2, 0, 1)
    )
    dense = rows[1][-160:].reshape(16, 10)
    np.testing.assert_array_equal(found.weights["8.weight"][0].numpy(), dense.T)
    np.testing.assert_array_equal(found.weights["0.bias"][0].numpy(), rows[1][:16])
    relu = read_small_cnn_zoo(tmp_path, activation="relu", step=None)
    assert len(relu) == 4 and set(relu.columns["activation"]) == {"relu"}
    weights, columns = relu[-1]
    assert weights["0.weight"].shape == (16, 1, 3, 3) and columns["step"] == 86


def test_tensorflow_and_torch_compute_the_same(tmp_path: Path) -> None:
    """A convolution written out over (height, width, in, out) is torch's with the turned kernel."""
    write_zoo(tmp_path)
    network, _ = read_small_cnn_zoo(tmp_path)[0]
    kernel = network["0.weight"].permute(2, 3, 1, 0)  # as the file has it
    image = torch.randn(1, 1, 5, 5)
    by_hand = torch.einsum(
        "yxhwi,hwio->oyx", image[0, 0].unfold(0, 3, 1).unfold(1, 3, 1)[..., None], kernel
    )
    torch.testing.assert_close(nn.functional.conv2d(image, network["0.weight"])[0], by_hand)


@pytest.mark.parametrize("header", ["0", "index"])
def test_a_splits_header_is_read_in_both_ways(tmp_path: Path, header: str) -> None:
    """Left out, or as published code reads it: as the first number."""
    path = tmp_path / "split.csv"
    path.write_text(f"{header}\n3\n1\n2\n")
    assert read_zoo_split(path).tolist() == [3, 1, 2]
    if header == "0":
        assert read_zoo_split(path, header="index").tolist() == [0, 3, 1, 2]
    else:
        with pytest.raises(sn.SymnetError, match="'index' is no number"):
            read_zoo_split(path, header="index")


def test_parts_of_the_zoo_share_no_network(tmp_path: Path) -> None:
    """Half for testing, a fifth of the rest for validation; a number that stands twice, or of another step, is no second network."""
    write_zoo(tmp_path)
    networks = read_small_cnn_zoo(tmp_path, step=None)
    found = zoo_parts(networks, np.array([0, 3, 0, 5, 1, 2, 4]))
    assert sorted(np.concatenate(list(found.parts.values())).tolist()) == [0, 1, 2, 3, 4, 5]
    assert (
        found.part("test").columns["row"].tolist() == [1, 2, 4] and len(found.parts["train"]) == 2
    )
    last = zoo_parts(read_small_cnn_zoo(tmp_path), np.arange(6))
    assert sorted(np.concatenate(list(last.parts.values())).tolist()) == [0, 1, 2]


def test_damaged_zoos_are_named(tmp_path: Path) -> None:
    write_zoo(tmp_path, columns=("step", "test_accuracy"))
    with pytest.raises(sn.SymnetError, match=r"metrics.csv.gz has no column 'config.activation'"):
        read_small_cnn_zoo(tmp_path)
    write_zoo(
        tmp_path, layout=[*LAYOUT[:-1], ("dense", "__import__('os').system('touch exploded')")]
    )
    with pytest.raises(sn.SymnetError, match="variable 'dense' has shape"):
        read_small_cnn_zoo(tmp_path)
    write_zoo(tmp_path, layout=LAYOUT[:-2])
    with pytest.raises(sn.SymnetError, match="rows of 4800"):
        read_small_cnn_zoo(tmp_path)
    rows = write_zoo(tmp_path)
    with pytest.raises(sn.SymnetError, match=r"no network at step 7 .* steps are \[4.0, 86.0\]"):
        read_small_cnn_zoo(tmp_path, step=7)
    rows[3, 7] = np.nan
    np.save(tmp_path / "weights.npy", rows)
    with pytest.raises(sn.SymnetError, match="row 3 has weights that are not finite"):
        read_small_cnn_zoo(tmp_path)
    found = read_small_cnn_zoo(tmp_path, on_error="skip")
    assert found.columns["row"].tolist() == [1, 5] and len(found.skipped) == 1
    (tmp_path / "weights.npy").write_bytes((tmp_path / "weights.npy").read_bytes()[:5000])
    with pytest.raises(sn.SymnetError, match=r"weights.npy cannot be read"):
        read_small_cnn_zoo(tmp_path)
    np.save(tmp_path / "weights.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(sn.SymnetError, match=r"weights.npy cannot be read"):
        read_small_cnn_zoo(tmp_path)
    write_zoo(tmp_path)
    (tmp_path / "metrics.csv.gz").write_bytes((tmp_path / "metrics.csv.gz").read_bytes()[:40])
    with pytest.raises(sn.SymnetError, match="cannot be read as a table"):
        read_small_cnn_zoo(tmp_path)
    assert not Path("exploded").exists()


# ---- implicit neural representations --------------------------------------------------------------------------------
class Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)


def siren_state(
    seed: int, prefix: str, *, wrapped: bool, width: int = 32
) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    make = Layer if wrapped else nn.Linear
    layers = nn.ModuleList([make(2, width), make(width, width), make(width, 1)])
    return {f"{prefix}.{name}": tensor.clone() for name, tensor in layers.state_dict().items()}


def write_sirens(folder: Path) -> list[Path]:
    paths = []
    for label in (3, 7):
        place = folder / "siren_mnist_wts" / f"randinit_smaller_{label}s_extra"
        place.mkdir(parents=True)
        for number in range(2):
            paths.append(place / f"net{10 * label + number}.pth")
            torch.save(siren_state(label + number, "net", wrapped=True), paths[-1])
    return paths


def test_siren_folders_are_read(tmp_path: Path) -> None:
    """Keys as in the catalogue, the label from the folder, the image's number from the file."""
    paths = write_sirens(tmp_path)
    found = read_siren_folders(tmp_path)
    assert found.graph == sn.catalogue.mlp([2, 32, 32, 1]) and "omega 30" in found.forward
    assert found.columns["label"].tolist() == [3, 3, 7, 7] and found.columns["image"].tolist() == [
        30,
        31,
        70,
        71,
    ]
    torch.testing.assert_close(
        found.weights["2.weight"][2], torch.load(paths[2])["net.1.linear.weight"]
    )


def test_further_fits_are_told_apart_and_parts_go_by_image(tmp_path: Path) -> None:
    """Every fit of an image is in the image's part: below 45,000, below 50,000, or from there on."""
    for folder in ("randinit_smaller_3s", "randinit_smaller_aug1_3s"):
        (tmp_path / folder).mkdir()
        for image in (44_999, 45_000, 50_000):
            torch.save(
                siren_state(image, "net", wrapped=True), tmp_path / folder / f"net{image}.pth"
            )
    found = read_siren_folders(tmp_path)
    assert set(
        zip(found.columns["fit"].tolist(), found.columns["label"].tolist(), strict=True)
    ) == {
        ("", 3),
        ("aug1", 3),
    }
    parts = {name: found.part(name).columns["image"].tolist() for name in found.parts}
    assert parts == {"train": [44_999] * 2, "val": [45_000] * 2, "test": [50_000] * 2}


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_damaged_sirens_are_refused_or_left_out(tmp_path: Path) -> None:
    """Truncated, of another width, with NaN, with code: each is named; what is left is whole."""
    good, *bad = write_sirens(tmp_path)
    state = siren_state(0, "net", wrapped=True)
    state["net.2.linear.bias"][0] = torch.nan
    torch.save(state, bad[0])
    bad[1].write_bytes(bad[1].read_bytes()[:300])
    torch.save({"net.0.linear.weight": Bomb(tmp_path / "exploded")}, bad[2])
    other = good.with_name("net99.pth")
    torch.save(siren_state(0, "net", wrapped=True, width=16), other)
    with pytest.raises(
        sn.SymnetError, match=r"net31.pth: tensor '4.bias' has entries that are not finite"
    ):
        read_siren_folders(tmp_path)
    found = read_siren_folders(tmp_path, on_error="skip")
    assert len(found) == 1 and found.columns["image"].tolist() == [30]
    assert [name for path in (*bad, other) for name in found.skipped if path.name in name] and len(
        found.skipped
    ) == 4
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(sn.SymnetError, match="holds no files"):
        read_siren_folders(tmp_path / "nothing")


def write_dws(folder: Path) -> Path:
    entries: dict[str, dict[str, list[Any]]] = {}
    for number, (part, split) in enumerate(
        [("training", "train"), ("training", "val"), ("testing", "test")]
    ):
        place = folder / f"mnist_png_{part}_{number + 4}_{100 + number}" / "checkpoints"
        place.mkdir(parents=True)
        torch.save(siren_state(number, "seq", wrapped=False), place / "inr.pth")
        elsewhere = Path("/data/of/others") / place.relative_to(folder) / "inr.pth"
        entries[split] = {"path": [str(elsewhere)], "label": [str(number + 4)]}
    (folder / "splits.json").write_text(json.dumps(entries))
    return folder / "splits.json"


def test_dws_folders_are_read_with_their_splits(tmp_path: Path) -> None:
    """The same architecture by other keys; parts hold the files that the JSON names, wherever they lay when it was written."""
    splits = write_dws(tmp_path)
    found = read_dws_folders(tmp_path, splits)
    assert found.graph == sn.catalogue.mlp([2, 32, 32, 1]) and "0.5 added" in found.forward
    assert {name: found.part(name).columns["label"].tolist() for name in found.parts} == {
        "train": [4],
        "val": [5],
        "test": [6],
    }
    assert found.part("test").columns["image"].tolist() == [102]
    with pytest.raises(sn.SymnetError, match="no part 'validation'; this set has train, val, test"):
        found.part("validation")


def test_splits_that_contradict_the_folders_are_refused(tmp_path: Path) -> None:
    splits = write_dws(tmp_path)
    content = json.loads(splits.read_text())
    content["val"]["label"] = [9]
    splits.write_text(json.dumps(content))
    with pytest.raises(
        sn.SymnetError, match=r"part 'val' names .* with label 9, while its folder says 5"
    ):
        read_dws_folders(tmp_path, splits)
    content["val"] = {"path": ["a/b/c.pth"], "label": [1]}
    splits.write_text(json.dumps(content))
    with pytest.raises(sn.SymnetError, match="which is not there"):
        read_dws_folders(tmp_path, splits)
    assert len(read_dws_folders(tmp_path, splits, on_error="skip").parts["val"]) == 0
    splits.write_text("[1]")
    with pytest.raises(sn.SymnetError, match="no file of splits"):
        read_dws_folders(tmp_path, splits)


# ---- architectures that differ --------------------------------------------------------------------------------------
def build(config: Mapping[str, Any]) -> tuple[nn.Module, tuple[Any, ...]]:
    layers: list[nn.Module] = []
    for inputs, outputs in zip([1, *config["channels"]], config["channels"], strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(config["channels"][-1], 10)]
    return nn.Sequential(*layers, *head), (torch.randn(2, 1, 6, 6),)


def test_a_wild_park_is_grouped_by_architecture(tmp_path: Path) -> None:
    """Every group's graph is a symmetry of its networks, and all networks are somewhere."""
    for number, channels in enumerate([(4,), (4, 3), (4,)]):
        config = {"channels": list(channels), "lr": 0.1 * number}
        model, _ = build(config)
        torch.save(
            {
                "model": model.state_dict(),
                "config": config,
                "test_acc": number / 10,
                "last": {"acc": 1},
            },
            tmp_path / f"{number}.pt",
        )
    torch.save({"model": {}}, tmp_path / "bad.pt")
    with pytest.raises(
        sn.SymnetError, match=r"bad\.pt is no checkpoint with 'model' and 'config'; it holds model"
    ):
        read_wild_park(tmp_path, build)
    groups = read_wild_park(tmp_path, build, on_error="skip")
    assert [len(group) for group in groups] == [2, 1]
    assert groups[0].columns["path"].tolist() == ["0.pt", "2.pt"]
    np.testing.assert_allclose(groups[0].columns["test_acc"], [0.0, 0.2])
    assert groups[0].columns["last.acc"].tolist() == [1.0, 1.0]
    for group, channels in zip(groups, [[4], [4, 3]], strict=True):
        model, inputs = build({"channels": channels})
        model.load_state_dict(group[0][0])
        sn.verify.network(model, group.graph, *inputs).raise_if_failed()
        sn.nn.Linear(group.graph, 1, 2)(sn.features([group[0][0]], group.graph))


# ---- a folder of one's own ------------------------------------------------------------------------------------------
def test_a_folder_of_ones_own_in_any_format(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="the format's own package is not installed")
    graph = sn.catalogue.mlp([2, 3, 1])
    for number, name in enumerate(["a.pt", "sub/b.pth", "c.safetensors"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        sn.data.write_state_file(
            tmp_path / name, {key: torch.full(s, float(number)) for key, s in graph.shapes.items()}
        )
    found = read_folder(tmp_path, graph)
    assert found.columns["path"].tolist() == ["a.pt", "c.safetensors", "sub/b.pth"]
    assert found.weights["0.bias"][:, 0].tolist() == [0, 2, 1]
    with pytest.raises(
        sn.SymnetError, match=r"a.pt: tensor '0.weight' should be \(5, 2\) and is \(3, 2\)"
    ):
        read_folder(tmp_path, sn.catalogue.mlp([2, 5, 1]))
    with pytest.raises(sn.SymnetError, match="No network could be read; first"):
        read_folder(tmp_path, sn.catalogue.mlp([2, 5, 1]), on_error="skip")


def test_a_set_of_networks_is_a_data_set_for_torch() -> None:
    graph = sn.catalogue.mlp([2, 3, 1])
    weights = {name: torch.randn(5, *shape) for name, shape in graph.shapes.items()}
    networks = sn.data.NetworkSet(graph, weights, {"label": np.arange(5)})
    batch, columns = next(iter(torch.utils.data.DataLoader(networks, batch_size=4)))
    assert torch.equal(batch["0.weight"], weights["0.weight"][:4]) and columns[
        "label"
    ].tolist() == [0, 1, 2, 3]
    assert list(networks.select([4, 1]).columns["label"]) == [4, 1] and len(list(networks)) == 5
    with pytest.raises(sn.SymnetError, match="does not fit its graph"):
        sn.data.NetworkSet(graph, weights, {"label": np.arange(4)})
    with pytest.raises(sn.SymnetError, match="does not fit its graph"):
        sn.data.NetworkSet(sn.catalogue.mlp([2, 4, 1]), weights)
