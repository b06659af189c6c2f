"""Laws of folders of one's own: every layout gives the same networks, and what cannot be used is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from symnet.data import MixedNetworks, NetworkSet, read_folder, read_labels
from symnet.data.weight_storage import GrowingWeights

GRAPH = sn.catalogue.mlp([2, 3, 1])
COUNT = 4
State = dict[str, Tensor]


def state(number: int) -> State:
    return {name: torch.full(shape, float(number + 1)) for name, shape in GRAPH.shapes.items()}


def prefixed(prefix: str, tensors: State) -> State:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def plain(folder: Path) -> None:
    for number in range(COUNT):
        torch.save(state(number), folder / f"{number}.pt")


def wrapped(folder: Path) -> None:
    """Checkpoints of a script that wraps, compiles and distributes its network."""
    for number in range(COUNT):
        content = {"epoch": 3, "model_state_dict": prefixed("module._orig_mod.", state(number))}
        torch.save(content, folder / f"{number}.pth")


def lightning(folder: Path) -> None:
    for number in range(COUNT):
        content = {
            "pytorch-lightning_version": "2.5.0",
            "state_dict": {**prefixed("model.", state(number)), "metric.total": torch.zeros(1)},
            "optimizer_states": [{"state": {}, "param_groups": []}],
        }
        torch.save(content, folder / f"{number}.ckpt")


def trainer(folder: Path) -> None:
    """A folder for each run, with what a trainer keeps beside the weights."""
    for number in range(COUNT):
        place = folder / str(number) / "checkpoint-10"
        place.mkdir(parents=True)
        sn.files.write_state_file(place / "model.safetensors", state(number))
        optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
        torch.save(optimizer, place / "optimizer.pt")
        torch.save(optimizer, place / "adam.pt")
        torch.save({"last_epoch": 3}, place / "scheduler.pt")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    f.__name__: f for f in (plain, wrapped, lightning, trainer)
}


@pytest.mark.parametrize("known", [True, False], ids=["graph given", "shapes alone"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_networks(tmp_path: Path, layout: str, known: bool) -> None:
    LAYOUTS[layout](tmp_path)
    if layout == "lightning" and not known:
        for path in tmp_path.glob(
            "*.ckpt"
        ):  # without a graph nobody knows that the metric is none of the weights
            content = torch.load(path)
            del content["state_dict"]["metric.total"]
            torch.save(content, path)
    networks = read_folder(tmp_path, GRAPH if known else None)
    assert isinstance(networks, NetworkSet) and len(networks) == COUNT
    assert networks.graph.shapes == GRAPH.shapes and networks.graph.order == (
        GRAPH.order if known else 1
    )
    for name, tensor in networks.weights.items():
        assert torch.equal(tensor, torch.stack([state(number)[name] for number in range(COUNT)]))
    said = " ".join(networks.notes)
    assert ("prefix 'module._orig_mod.'" in said) == (layout == "wrapped")
    assert ("prefix 'model.'" in said) == (layout == "lightning")
    assert ("optimizer.pt" in said and "adam.pt" in said) == (layout == "trainer")
    assert ("no architecture was given" in said) == (not known)


def test_one_file_is_a_folder_of_one(tmp_path: Path) -> None:
    plain(tmp_path)
    networks = read_folder(tmp_path / "2.pt", GRAPH)
    assert networks.columns["path"].tolist() == ["2.pt"] and float(networks[0][0]["0.bias"][0]) == 3


def test_a_model_in_shards_is_one_network(tmp_path: Path) -> None:
    sn.files.write_state_file(tmp_path / "a.safetensors.index.json", state(0), shard_bytes=16)
    sn.files.write_state_file(tmp_path / "b.safetensors", state(1))
    networks = read_folder(tmp_path, GRAPH)
    assert networks.columns["path"].tolist() == ["a.safetensors.index.json", "b.safetensors"]


# ---- names ----------------------------------------------------------------------------------------------------------
def test_names_can_be_changed(tmp_path: Path) -> None:
    torch.save(
        {"fc." + name: tensor for name, tensor in state(0).items()} | {"ema": torch.ones(1)},
        tmp_path / "a.pt",
    )
    networks = read_folder(
        tmp_path, rename=lambda name: name[3:] if name.startswith("fc.") else None
    )
    assert set(networks.weights) == set(GRAPH.shapes)
    with pytest.raises(sn.SymnetError, match="gives two tensors the name 'x'"):
        read_folder(tmp_path, rename=lambda name: "x")


def test_a_network_that_stands_twice_in_a_file_is_not_chosen_by_chance(tmp_path: Path) -> None:
    torch.save(prefixed("model.", state(0)) | prefixed("ema.", state(1)), tmp_path / "a.pt")
    with pytest.raises(
        sn.SymnetError, match=r"holds this network 2 times, under model\., ema\.; say which"
    ):
        read_folder(tmp_path, GRAPH)
    networks = read_folder(
        tmp_path, GRAPH, rename=lambda name: name if name.startswith("ema.") else None
    )
    assert float(networks[0][0]["0.bias"][0]) == 2


# ---- labels ---------------------------------------------------------------------------------------------------------
ROWS = [
    {"file": f"{number}.pt", "accuracy": number / 10, "image": f"i{number // 2}"}
    for number in range(COUNT)
]


def write_csv(path: Path, rows: list[Mapping[str, Any]] = ROWS) -> None:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet needs the extra 'parquet'")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


def write_json(path: Path) -> None:
    path.write_text(json.dumps(ROWS))


def write_json_by_name(path: Path) -> None:
    path.write_text(
        json.dumps(
            {row["file"]: {"accuracy": row["accuracy"], "image": row["image"]} for row in ROWS}
        )
    )


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("l.csv", write_csv),
        ("l.json", write_json),
        ("l.json", write_json_by_name),
        ("l.parquet", write_parquet),
    ],
)
def test_labels_of_every_format_join(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    """Also where the table lies in the folder."""
    plain(tmp_path)
    write(tmp_path / name)
    networks = read_folder(tmp_path, GRAPH, labels=name)
    assert networks.columns["accuracy"].tolist() == [0.0, 0.1, 0.2, 0.3]
    assert networks.columns["image"].tolist() == ["i0", "i0", "i1", "i1"]


@pytest.mark.parametrize(
    "names",
    [
        ["0/checkpoint-10/model.safetensors", "1", "2/checkpoint-10/model", "3/checkpoint-10"],
        [
            "0\\checkpoint-10\\model.safetensors",
            "./1/checkpoint-10",
            "2/checkpoint-10/",
            "3/checkpoint-10/model",
        ],
    ],
)
def test_a_row_may_name_a_path_a_file_or_a_folder(tmp_path: Path, names: list[str]) -> None:
    trainer(tmp_path)
    (tmp_path / "1" / "checkpoint-10").rename(tmp_path / "1x")
    (tmp_path / "1").rmdir()
    (tmp_path / "1x").rename(tmp_path / "1")
    names = [name.replace("1/checkpoint-10", "1") for name in names]
    networks = read_folder(
        tmp_path, GRAPH, labels={name: number for number, name in enumerate(names)}
    )
    for weights, columns in networks:
        assert float(weights["0.bias"][0]) == columns["label"] + 1


def test_what_the_table_lacks_or_has_twice_is_named(tmp_path: Path) -> None:
    """A row too few, a name in two rows, a name of two files, a row too many."""
    plain(tmp_path)
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        torch.save(state(0), tmp_path / place / "same.pt")
    write_csv(tmp_path / "l.csv", [*ROWS[:3], {**ROWS[2], "accuracy": 1}, {**ROWS[0], "file": "same.pt"},
                                   {**ROWS[0], "file": "gone.pt"}])  # fmt: skip
    with pytest.raises(sn.SymnetError, match="4 files cannot be used"):
        read_folder(tmp_path, GRAPH, labels="l.csv")
    networks = read_folder(tmp_path, GRAPH, labels="l.csv", on_error="skip")
    assert networks.columns["path"].tolist() == ["0.pt", "1.pt"]
    said = "\n".join(networks.skipped)
    assert "2.pt: '2.pt' stands in several rows" in said and "3.pt: there is no row of it" in said
    assert "a/same.pt: 'same.pt' in" in said and "may also be b/same.pt" in said
    assert any("gone.pt" in note and "fit no file" in note for note in networks.notes)


def test_columns_are_numbers_where_all_are_numbers() -> None:
    table = read_labels(
        {
            "a": {"x": 1, "y": None, "z": "t", "w": True},
            "b": {"x": 2, "y": 0.5, "z": None, "w": False},
        }
    )
    from symnet.data.label_tables import as_columns

    columns = as_columns(table.rows.values(), table.columns)
    assert columns["x"].dtype == np.int64 and np.isnan(columns["y"][0]) and columns["y"][1] == 0.5
    assert columns["z"].tolist() == ["t", ""] and columns["w"].dtype == bool


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,a\n1,2\n", "a name of its own"),
        ("a,b\n1\n", "row 2 has 1 values and the first line names 2"),
        ("path,x\n\0,1\n", "4 files cannot be used"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    plain(tmp_path)
    with pytest.raises(sn.SymnetError, match=said):
        read_folder(tmp_path, GRAPH, labels="l.csv")
    (tmp_path / "l.parquet").write_bytes(b"PAR1")
    with pytest.raises(sn.SymnetError, match="parquet"):
        read_folder(tmp_path, GRAPH, labels="l.parquet")
    with pytest.raises(sn.SymnetError, match="There is no file"):
        read_folder(tmp_path, GRAPH, labels="missing.csv")


# ---- what cannot be used --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("known", [True, False])
def test_damaged_files_and_other_architectures_are_named(tmp_path: Path, known: bool) -> None:
    plain(tmp_path)
    (tmp_path / "damaged.pt").write_bytes((tmp_path / "0.pt").read_bytes()[:200])
    torch.save(
        {name: torch.zeros(s) for name, s in sn.catalogue.mlp([2, 5, 1]).shapes.items()},
        tmp_path / "wide.pt",
    )
    torch.save(state(0) | {"0.bias": torch.full((3,), torch.nan)}, tmp_path / "nan.pt")
    graph = GRAPH if known else None
    with pytest.raises(
        sn.SymnetError, match=r"3 files cannot be used.*damaged\.pt.*nan\.pt.*wide\.pt"
    ):
        read_folder(tmp_path, graph)
    networks = read_folder(tmp_path, graph, on_error="skip")
    assert len(networks) == COUNT and len(networks.skipped) == 3
    assert all(len(text) < 500 and "\n" not in text for text in networks.skipped)
    assert "another architecture" in networks.skipped[2]


def test_a_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sn.SymnetError, match="holds no checkpoints"):
        read_folder(tmp_path)
    with pytest.raises(sn.SymnetError, match="There is no folder"):
        read_folder(tmp_path / "gone")
    plain(tmp_path)
    with pytest.raises(sn.SymnetError, match="holds no checkpoints"):
        read_folder(tmp_path, pattern="*.ckpt")


# ---- several architectures ------------------------------------------------------------------------------------------
def build(config: Mapping[str, Any]) -> tuple[nn.Module, tuple[Any, ...]]:
    width = config["width"]
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1)), (torch.randn(3, 2),)


def write_mixed(folder: Path) -> None:
    for number, width in enumerate([3, 5, 3, 5, 4, 3]):
        place = folder / f"run{number}"
        place.mkdir()
        (place / "config.json").write_text(json.dumps({"width": width}))
        torch.save(build({"width": width})[0].state_dict(), place / "model.pt")


def test_architectures_are_traced_from_their_configurations(tmp_path: Path) -> None:
    write_mixed(tmp_path)
    networks = read_folder(tmp_path, build=build, labels={f"run{k}": k for k in range(6)})
    assert isinstance(networks, MixedNetworks) and [len(each) for each in networks.sets] == [
        3,
        2,
        1,
    ]
    assert networks.columns["label"].tolist() == [
        0,
        2,
        5,
        1,
        3,
        4,
    ] and networks.architecture.tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
    ]
    for each, width in zip(networks.sets, (3, 5, 4), strict=True):
        model, inputs = build({"width": width})
        sn.verify.network(model, each.graph, *inputs).raise_if_failed()
        assert each.graph.order == sn.catalogue.mlp([2, width, 1]).order
    assert networks[4][1]["label"] == 3 and networks.select([5, 0]).columns["label"].tolist() == [
        0,
        4,
    ]
    seen = []
    for graph, weights, columns in networks.batches(2, seed=1):
        assert {name: tuple(t.shape[1:]) for name, t in weights.items()} == dict(graph.shapes)
        seen += columns["label"].tolist()
    assert sorted(seen) == list(range(6))
    (tmp_path / "run0" / "config.json").write_text("{")
    (tmp_path / "run1" / "config.json").write_text('{"height": 3}')
    some = read_folder(tmp_path, build=build, on_error="skip")
    assert (
        len(some) == 4
        and "holds no JSON" in some.skipped[0]
        and "build= made no module" in some.skipped[1]
    )


def test_a_configuration_of_transformers_says_the_graph(tmp_path: Path) -> None:
    """Made on the device meta, and traced: the graph is that of the model itself."""
    transformers = pytest.importorskip(
        "transformers", reason="Hugging Face transformers is not installed"
    )
    sizes = {"vocab_size": 11, "n_positions": 9, "n_layer": 1, "n_head": 2}
    for number, width in enumerate([8, 8, 12]):
        torch.manual_seed(number)
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, n_embd=width)).eval()
        model.save_pretrained(tmp_path / str(number))
    networks = read_folder(tmp_path)
    assert isinstance(networks, MixedNetworks) and [len(each) for each in networks.sets] == [2, 1]
    tokens = torch.randint(11, (2, 5), generator=torch.Generator().manual_seed(0))
    assert networks.graphs[1] == sn.trace(model, tokens, outputs=["logits"])


# ---- sets -----------------------------------------------------------------------------------------------------------
def test_weights_on_the_disk_are_those_in_memory(tmp_path: Path) -> None:
    plain(tmp_path)
    memory, disk = read_folder(tmp_path, GRAPH), read_folder(tmp_path, GRAPH, most_memory=0)
    for name, tensor in memory.weights.items():
        assert torch.equal(tensor, disk.weights[name])
    assert (
        GrowingWeights(GRAPH.shapes, 5, 0).on_disk
        and not GrowingWeights(GRAPH.shapes, 5, 10**6).on_disk
    )
    assert torch.equal(disk.select([2]).weights["0.bias"], memory.weights["0.bias"][2:3])


def test_siblings_stay_in_one_part() -> None:
    rng = np.random.default_rng(0)
    weights = {name: torch.zeros(60, *shape) for name, shape in GRAPH.shapes.items()}
    networks = NetworkSet(GRAPH, weights, {"image": rng.integers(0, 20, 60)})
    parts = networks.split(validation=0.2, test=0.3, by="image", seed=1).parts
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(60))
    images = [set(networks.columns["image"][rows].tolist()) for rows in parts.values()]
    assert not images[0] & images[1] and not images[0] & images[2] and not images[1] & images[2]
    for shares, said in (
        ({}, "name the parts"),
        ({"a": 0.5, "b": 0.5}, "leave no networks"),
        ({"a": 0.001}, "empty"),
    ):
        with pytest.raises(sn.SymnetError, match=said):
            networks.split(**shares)
    with pytest.raises(sn.SymnetError, match="no column 'x'"):
        networks.split(test=0.5, by="x")


def test_torchs_loader_gives_every_network_once(tmp_path: Path) -> None:
    plain(tmp_path)
    networks = read_folder(tmp_path, GRAPH, labels={str(k): k for k in range(COUNT)})
    batches = list(networks.loader(3, seed=1))
    assert [len(columns["path"]) for _, columns in batches] == [3, 1]
    for weights, columns in batches:
        assert torch.equal(weights["0.bias"][:, 0], columns["label"] + 1.0)
    assert sorted(path for _, columns in batches for path in columns["path"]) == [
        "0.pt",
        "1.pt",
        "2.pt",
        "3.pt",
    ]
    again = [columns["path"] for _, columns in networks.loader(3, seed=1)]
    assert again == [columns["path"] for _, columns in batches]
