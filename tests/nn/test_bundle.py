"""Networks in one file: the same answers after a round trip, no code executed, and clear about what is damaged."""

from __future__ import annotations

import json
import pickle
import sys

import pytest
import torch

import symnet as sn
from tests.cases import GRAPHS, mlp
from tests.tolerances import assert_close

safetensors = pytest.importorskip(
    "safetensors.torch", reason="the file format's library is an extra"
)
GRAPH = mlp(2, 3, 2, io="fixed")
KINDS = {
    "invariant": lambda graph: sn.nn.InvariantNetwork(graph, 4, 3, encode="fixed", value_waves=2),
    "attention": lambda graph: sn.nn.InvariantNetwork(
        graph, 4, 3, mixing="attention", heads=2, dropout=0.5
    ),
    "equivariant": lambda graph: sn.nn.EquivariantNetwork(graph, 4, 2),
    "statistics": lambda graph: sn.nn.StatisticsNetwork(graph, 4, 3),
    "pointwise": lambda graph: sn.nn.PointwiseNetwork(graph, 4, 3),
    "flat": lambda graph: sn.nn.FlatNetwork(graph, 4, 3),
}


def random_features(graph: sn.NeuronGraph, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {n: torch.randn(3, *s, 1).to(dtype) for n, s in graph.shapes.items()}


def answer(net: torch.nn.Module, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    y = net(x)
    return y if isinstance(y, dict) else {"y": y}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_network_gives_the_same_answers(kind, dtype, tmp_path) -> None:
    """Bit for bit, in the dtype it had, in eval mode; graphs with copies and concatenations as well."""
    for number, name in enumerate(["attention", "fused and concatenated"]):
        net = KINDS[kind](GRAPHS[name]).to(dtype).eval()
        path = tmp_path / f"{number}.safetensors"
        state = torch.random.get_rng_state()
        sn.nn.save(net, path)
        again = sn.nn.load(path)
        assert torch.equal(torch.random.get_rng_state(), state), (
            "loading draws nothing from the global generator"
        )
        x = random_features(GRAPHS[name], dtype)
        ours, theirs = answer(again, x), answer(net, x)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
        assert again.graph == net.graph and again.config == net.config and not again.training


@pytest.mark.parametrize("kind", ["invariant", "attention", "equivariant"])
def test_a_loaded_network_exports(kind, tmp_path) -> None:
    """torch.export records it whole, for any batch size."""
    sn.nn.save(KINDS[kind](GRAPH), tmp_path / "net")
    net, x = sn.nn.load(tmp_path / "net"), random_features(GRAPH, torch.float32)
    batch = torch.export.Dim("batch", min=2, max=1024)
    exported = torch.export.export(net, (x,), dynamic_shapes=({name: {0: batch} for name in x},))
    more = {name: torch.cat([tensor, tensor + 1]) for name, tensor in x.items()}
    assert_close(answer(exported.module(), more), answer(net, more), torch.float32)


def test_files_may_be_replaced_and_no_scraps_are_left(tmp_path) -> None:
    path = tmp_path / "net"
    for _ in range(2):
        sn.nn.save(KINDS["flat"](GRAPH), path)
    assert [file.name for file in tmp_path.iterdir()] == ["net"]
    with pytest.raises(sn.SymnetError, match="cannot be written"):
        sn.nn.save(KINDS["flat"](GRAPH), tmp_path / "nowhere" / "net")
    (tmp_path / "folder").mkdir()
    with pytest.raises(sn.SymnetError, match="cannot be written"):
        sn.nn.save(KINDS["flat"](GRAPH), tmp_path / "folder")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "net"]
    with pytest.raises(sn.SymnetError, match="this is a Linear"):
        sn.nn.save(torch.nn.Linear(2, 2), path)


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(sn.MissingExtraError, match=r"pip install 'symnet\[data\]'"):
        sn.nn.save(KINDS["flat"](GRAPH), tmp_path / "net")


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('code from a file was executed')",)


def rewrite(path, change) -> None:
    """The file with its description and tensors changed by a function."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["symnet"])
    state = safetensors.load(content)
    change(described, state)
    path.write_bytes(safetensors.save(state, {"symnet": json.dumps(described)}))


DAMAGE = {
    "later format": (lambda d, s: d.update(format=99), "format 99.*newer"),
    "unknown kind": (lambda d, s: d.update(kind="Linear"), "holds a 'Linear'; known are"),
    "no graph": (lambda d, s: d.pop("graph"), "graph of its description is missing"),
    "broken graph": (lambda d, s: d.update(graph="graph {"), "graph cannot be read"),
    "wrong option": (lambda d, s: d["config"].update(depth=3), "no FlatNetwork can be made.*depth"),
    "wrong value": (lambda d, s: d["config"].update(hidden="x"), "hidden='x'"),
    "tensor missing": (lambda d, s: s.pop("head.0.bias"), r"'head\.0\.bias' is missing"),
    "tensor too many": (lambda d, s: s.update(extra=torch.zeros(1)), "'extra' is not a part of it"),
    "wrong shape": (
        lambda d, s: s.update({"head.0.bias": torch.zeros(7)}),
        r"is \(7,\) instead of \(4,\)",
    ),
    "whole numbers": (
        lambda d, s: s.update({"head.0.bias": torch.zeros(4).int()}),
        "is torch.int32",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_wrong_with_a_file_is_said(kind, tmp_path) -> None:
    path = tmp_path / "net"
    sn.nn.save(KINDS["flat"](GRAPH), path)
    change, message = DAMAGE[kind]
    rewrite(path, change)
    with pytest.raises(sn.SymnetError, match=message) as caught:
        sn.nn.load(path)
    assert str(path) in str(caught.value)


def test_files_of_other_kinds_are_refused_and_never_executed(tmp_path) -> None:
    """Cut anywhere, pickled code, other safetensors files, none at all."""
    path = tmp_path / "net"
    sn.nn.save(KINDS["flat"](GRAPH), path)
    content = path.read_bytes()
    cuts = [content[:length] for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1)]
    for damaged in [*cuts, pickle.dumps(Bomb()), b"\xff" * 100]:
        path.write_bytes(damaged)
        with pytest.raises(sn.SymnetError, match="no safetensors file, or a damaged one"):
            sn.nn.load(path)
    for metadata in (None, {"symnet": "{"}, {"symnet": "[" * 100_000}):
        path.write_bytes(safetensors.save({"a": torch.zeros(1)}, metadata))
        with pytest.raises(sn.SymnetError, match="describes no network"):
            sn.nn.load(path)
    path.write_bytes(safetensors.save({"a": torch.zeros(1)}, {"symnet": "3"}))
    with pytest.raises(sn.SymnetError, match="is 3 instead of a dict"):
        sn.nn.load(path)
    with pytest.raises(sn.SymnetError, match="cannot be read"):
        sn.nn.load(tmp_path / "nothing")
