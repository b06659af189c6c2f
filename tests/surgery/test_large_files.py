"""Laws of surgery on files: what is written is what memory gives, one tensor at a time, and old files stay whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import symnet as sn
from symnet.surgery import large_files
from tests.cases import GRAPHS
from tests.surgery.choices import divisible, half_of

NAMES = ["net.safetensors", "net.pt", "net.safetensors.index.json"]


def weights_of(graph: sn.NeuronGraph) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in graph.shapes.items()}


@pytest.mark.parametrize("name", NAMES)
def test_files_are_cut_and_widened_as_weights_in_memory(name: str, tmp_path: Path) -> None:
    graph, rng = GRAPHS["fused and concatenated"], np.random.default_rng(0)
    weights = weights_of(graph) | {"steps": torch.tensor(3)}
    source = tmp_path / "in" / name
    source.parent.mkdir()
    sn.files.write_state_file(
        source, weights, **({"shard_bytes": 200} if name.endswith("json") else {})
    )
    out = tmp_path / "out" if name.endswith("json") else tmp_path / f"out{source.suffix}"
    choices = {n: half_of(graph, n, rng) for n in divisible(graph)}
    seen: list[str] = []
    for operation, sets, options in (
        (sn.surgery.keep, choices, {}),
        (sn.surgery.widen, {"c": 5}, {"outgoing": {"c": ["join"]}, "noise": 0.1}),
    ):
        expected = operation(weights, graph, sets, **options)
        done = operation(
            source, graph, sets, **options, out=out, overwrite=True, progress=seen.append
        )
        assert done.weights == out and done.graph == expected.graph
        written = dict(large_files.OneByOne(out))
        assert written.keys() == weights.keys()
        assert all(torch.equal(written[n], expected.weights[n]) for n in weights)
    assert sorted(seen) == sorted([*weights, *weights])
    assert not list(tmp_path.glob(".*"))


def test_one_tensor_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading runs ahead of writing by one shard at most."""
    graph = sn.catalogue.mlp([4, 8, 8, 8, 4])
    sn.files.write_state_file(
        tmp_path / "a.safetensors.index.json", weights_of(graph), shard_bytes=300
    )
    monkeypatch.setattr(large_files, "SHARD_BYTES", 300)
    events: list[str] = []
    real = sn.files.tensor_files.write_tensor_file
    monkeypatch.setattr(
        sn.files.tensor_files,
        "write_tensor_file",
        lambda path, shard, meta: (events.append("shard"), real(path, shard, meta))[1],
    )
    sn.surgery.keep(
        tmp_path / "a.safetensors.index.json",
        graph,
        {"h1": [0, 1]},
        out=tmp_path / "b",
        progress=lambda n: events.append(n),
    )
    longest = max(len(run.split()) for run in " ".join(events).split("shard"))
    assert events.count("shard") >= 3 and longest <= 4 < len(graph.tensors)


@pytest.mark.parametrize("existing", [True, False])
def test_an_interrupted_run_leaves_the_old_files_whole(existing: bool, tmp_path: Path) -> None:
    graph = sn.catalogue.mlp([4, 8, 8, 4])
    weights = weights_of(graph)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    sn.files.write_state_file(source / "model.safetensors.index.json", weights, shard_bytes=300)
    if existing:
        sn.surgery.keep(source, graph, {"h1": [0]}, out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()} if existing else None

    def interrupt(name: str) -> None:
        if name == "4.weight":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sn.surgery.keep(source, graph, {"h1": [1, 2]}, out=out, overwrite=True, progress=interrupt)
    assert out.exists() == existing
    if existing:
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    again = sn.surgery.keep(source, graph, {"h1": [1, 2]}, out=out, overwrite=True)
    assert (
        large_files.OneByOne(again.weights)["0.bias"].tolist() == weights["0.bias"][[1, 2]].tolist()
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize(
    ("out", "overwrite", "message"),
    [
        (None, False, "Say where"),
        ("in.pt", True, "read from"),
        ("there.pt", False, "is there already"),
        ("x.txt", False, "end in"),
    ],
)
def test_places_are_checked_before_anything_is_written(
    out, overwrite: bool, message: str, tmp_path: Path
) -> None:
    graph = sn.catalogue.mlp([2, 4, 1])
    for name in ("in.pt", "there.pt"):
        sn.files.write_state_file(tmp_path / name, weights_of(graph))
    before = (tmp_path / "there.pt").read_bytes(), (tmp_path / "in.pt").read_bytes()
    target = None if out is None else tmp_path / out
    with pytest.raises(sn.SymnetError, match=message):
        sn.surgery.keep(tmp_path / "in.pt", graph, {"h1": [0]}, out=target, overwrite=overwrite)
    assert before == ((tmp_path / "there.pt").read_bytes(), (tmp_path / "in.pt").read_bytes())


def test_files_of_another_network_are_refused_without_a_trace(tmp_path: Path) -> None:
    graph = sn.catalogue.mlp([2, 4, 1])
    sn.files.write_state_file(tmp_path / "in.safetensors", weights_of(sn.catalogue.mlp([2, 5, 1])))
    with pytest.raises(sn.ShapeError, match=r"'0.bias' has shape .5,. in the file"):
        sn.surgery.keep(
            tmp_path / "in.safetensors", graph, {"h1": [0]}, out=tmp_path / "out.safetensors"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_folder_of_transformers_is_cut_and_loaded_again(tmp_path: Path) -> None:
    """Index, configuration and the small files beside the weights; the loaded model is the masked one."""
    transformers = pytest.importorskip(
        "transformers", reason="Hugging Face transformers is not installed"
    )
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=6, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=16, pad_token_id=None, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "in", max_shard_size=2000)
    (tmp_path / "in" / "tokenizer.json").write_text("{}")
    x = torch.randint(11, (2, 5))
    graph = sn.trace(model, x, outputs=["logits"], use_cache=False)
    done = sn.surgery.keep(
        tmp_path / "in",
        graph,
        {"layers.0.kv": [1], "layers.0.mlp": [5, 0, 2]},
        out=tmp_path / "out",
    )
    assert not done.notes
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (
        fields["num_key_value_heads"],
        fields["num_attention_heads"],
        fields["intermediate_size"],
    ) == (1, 2, 3)
    assert (tmp_path / "out" / "tokenizer.json").exists()
    small = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out").eval()
    masked = sn.surgery.masked(dict(model.state_dict()), done.selection)
    model.load_state_dict(masked)
    torch.testing.assert_close(small(x).logits, model(x).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_sizes_that_no_configuration_makes_are_said(tmp_path: Path) -> None:
    transformers = pytest.importorskip(
        "transformers", reason="Hugging Face transformers is not installed"
    )
    config = transformers.BertConfig(
        vocab_size=11,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=6,
        max_position_embeddings=9,
    )
    model = transformers.BertForMaskedLM(config).eval()
    model.save_pretrained(tmp_path / "in")
    x = torch.randint(11, (2, 5))
    graph = sn.trace(model, x, outputs=["logits"])
    head = next(name for name in graph.neurons if name.endswith("head"))
    done = sn.surgery.keep(tmp_path / "in", graph, {head: [0, 1, 3]}, out=tmp_path / "out")
    assert "config.json was not written: no configuration of BertConfig" in done.notes[0]
    assert not (tmp_path / "out" / "config.json").exists()
    assert sn.surgery.resize(model, done, x, outputs=["logits"])(x).logits.shape == (2, 5, 11)
