"""Every reader answers every file with weights or with one short line: no other error, no code, no hang, no huge memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import symnet as sn
from symnet.data import read_folder
from symnet.files import (
    open_state_file,
    read_arrays,
    read_content,
    read_json,
    read_state_file,
    read_text,
)
from symnet.tasks.bundle import load_model
from symnet.tasks.configuration import read as read_configuration
from symnet.tasks.outcome import read_found
from tests.hostile import damaged

LONGEST = 900  # characters of a message
SECONDS = 30.0  # that one file may take: loaded machines are slow, and what hangs takes for ever
GRAPH = sn.NeuronGraph(
    {"h": sn.Symmetric(4), "in": sn.Fixed(3)}, {"0.weight": "h in", "0.bias": "h"}
)


def all_of(path: Path) -> dict[str, torch.Tensor]:
    return dict(open_state_file(path))


READERS: Mapping[str, Callable[[Path], Any]] = {
    "read_state_file": read_state_file,
    "open_state_file": all_of,
    "read_content": read_content,
    "load_model": load_model,
    "sn.nn.load": sn.nn.load,
    "sn.load": sn.load,
    "read_arrays": read_arrays,
    "read_json": read_json,
    "read_found": read_found,
    "read_configuration": read_configuration,
}


def answer(read: Callable[[Path], Any], path: Path) -> str | None:
    """What the reader said about a file it refused; None if it read it."""
    started = time.perf_counter()
    try:
        read(path)
        said = None
    except sn.SymnetError as error:
        said = str(error)
    assert time.perf_counter() - started < SECONDS, (
        f"{path.name} takes {time.perf_counter() - started:.1f} s"
    )
    if said is not None:
        assert len(said) <= LONGEST and said.replace("\n", "").isprintable(), (
            f"{path.name!r}: {said!r:.300}"
        )
    return said


@pytest.fixture(scope="module")
def hostile_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("hostile")
    files = damaged.archives(folder) | damaged.tensor_files() | damaged.indices()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


@pytest.mark.parametrize("reader", ["read_state_file", "open_state_file"])
def test_files_of_weights_are_refused_in_one_line(
    hostile_files: list[Path], reader: str, record_property
) -> None:
    refused = [path for path in hostile_files if answer(READERS[reader], path)]
    assert {path.name for path in hostile_files} == {path.name for path in refused}
    assert not list(hostile_files[0].parent.glob("exploded"))
    record_property("hostile files", len(hostile_files))


@pytest.mark.parametrize("reader", READERS)
def test_paths_that_are_no_files_are_refused_in_one_line(
    tmp_path: Path, reader: str, record_property
) -> None:
    places = damaged.places(tmp_path / "places")
    if reader in ("sn.load", "read_json", "read_found", "read_configuration"):
        places.pop("pipe.pt")  # a text may come from a pipe; then it is waited for
    said = {name: answer(READERS[reader], path) for name, path in places.items()}
    assert all(said.values()), said
    record_property("hostile files", len(places))


@pytest.mark.parametrize(
    "reader", ["load_model", "sn.nn.load", "sn.load", "read_arrays", "read_json", "read_content"]
)
def test_readers_of_other_files_refuse_them_in_one_line(
    hostile_files, reader: str, record_property
) -> None:
    for path in hostile_files:
        answer(READERS[reader], path)
    assert not list(hostile_files[0].parent.glob("exploded"))
    record_property("hostile files", len(hostile_files))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_archives_with_changed_bytes_never_end_in_another_error(
    tmp_path: Path, record_property
) -> None:
    path, count = tmp_path / "damaged.pt", 300
    for _, content in damaged.damaged_archives(seed=0, count=count):
        path.write_bytes(content)
        answer(read_state_file, path)
        answer(all_of, path)
        answer(load_model, path)
    record_property("hostile files", 3 * count)


def test_a_complex_weight_is_kept_or_refused_and_never_halved(tmp_path: Path) -> None:
    state = {"0.weight": torch.ones(4, 3), "0.bias": torch.full((4,), 1 + 2j)}
    torch.save(state, tmp_path / "a.pt")
    assert torch.equal(read_state_file(tmp_path / "a.pt")["0.bias"], state["0.bias"])
    with pytest.raises(sn.SymnetError, match=r"'0\.bias' is complex"):
        read_folder(tmp_path, GRAPH)


def test_a_checkpoint_that_holds_other_tensors_beside_its_weights_is_unwrapped(
    tmp_path: Path,
) -> None:
    torch.save({"loss": torch.tensor(0.3), "model_state_dict": damaged.STATE}, tmp_path / "a.pt")
    assert read_state_file(tmp_path / "a.pt").keys() == damaged.STATE.keys()


MODELS = {
    "no fields": lambda d: d.clear(),
    "no name": lambda d: d.pop("name"),
    "unknown format": lambda d: d.update(format=99),
    "a text for a format": lambda d: d.update(format="1"),
    "unknown model": lambda d: d.update(name="\x1b[31m"),
    "broken graph": lambda d: d.update(graph="neurons"),
    "no outputs": lambda d: d.update(outputs=-1),
    "no sizes": lambda d: d.update(sizes={"channels": "x"}),
    "wrong task": lambda d: d.update(task=3),
}


@pytest.mark.parametrize("kind", [*MODELS, "not finite"])
def test_a_saved_model_with_wrong_fields_is_refused(
    tmp_path: Path, kind: str, saved_model: Path
) -> None:
    import json

    content = torch.load(saved_model, weights_only=True)
    described = json.loads(content["described"])
    load_model(saved_model)
    if kind == "not finite":
        next(iter(content["state"].values())).view(-1)[0] = torch.nan
    else:
        MODELS[kind](described)
    torch.save(
        {"described": json.dumps(described), "state": content["state"]}, tmp_path / "model.pt"
    )
    assert answer(load_model, tmp_path / "model.pt")


def test_layouts_that_overlap_or_leave_gaps_are_refused(tmp_path: Path) -> None:
    rows = ["varname,shape,start_idx,end_idx", 'a,"(2, 2)",0,4', 'b,"(2,)",{},{}']
    for start in (3, 5, 10**17):
        (tmp_path / "layout.csv").write_text("\n".join(rows).format(start, start + 2))
        np.save(tmp_path / "weights.npy", np.zeros((1, 6), np.float32))
        with pytest.raises(sn.SymnetError, match="without gaps and overlaps"):
            sn.data.read_small_cnn_zoo(tmp_path)
    for digits in ("²", "٣", "9" * 5000):
        (tmp_path / "layout.csv").write_text("\n".join(rows).format(digits, digits))
        assert answer(sn.data.read_small_cnn_zoo, tmp_path)


def test_texts_of_random_signs_are_refused_in_one_line(tmp_path: Path, record_property) -> None:
    rng, count = random.Random(1), 300
    signs = [
        "neurons",
        "tensors",
        "aliases",
        ":",
        "#",
        "(",
        ")",
        "+",
        "*",
        ".",
        "h",
        "in",
        "Fixed",
        "Symmetric",
        "Generated",
        "over",
        "[",
        "]",
        ",",
        "3",
        "10",
        "²",
        "٣",
        "\x1b",
        "\u202e",
        "\n",
        "\n",
        "",
        "",
        "",
    ]
    for _ in range(count):
        text = "neurons\n  h: Symmetric(3)\n" + " ".join(
            rng.choice(signs) for _ in range(rng.randint(1, 40))
        )
        (tmp_path / "a.symnet").write_text(text, encoding="utf-8")
        said = answer(sn.load, tmp_path / "a.symnet")
        if said is None:
            graph = sn.parse(text)
            assert sn.parse(str(graph)) == graph
    assert read_text(tmp_path / "a.symnet") == text
    record_property("hostile files", count)
