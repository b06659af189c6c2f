"""Laws of adapters: folders as PEFT writes them give the change of every matrix, and padding
changes no product.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import symnet as sn
from symnet.data import read_peft_folder, write_state_file

PREFIX = "base_model.model.layers.0."


def write(folder: Path, config: dict[str, Any], **extra: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {
        **{
            f"{PREFIX}q.lora_A.weight": torch.randn(2, 5),
            f"{PREFIX}q.lora_B.weight": torch.randn(6, 2),
        },
        **{
            f"{PREFIX}v.lora_A.weight": torch.randn(4, 5),
            f"{PREFIX}v.lora_B.weight": torch.randn(3, 4),
        },
        **extra,
    }
    folder.mkdir(exist_ok=True)
    write_state_file(folder / "adapter_model.safetensors", state)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
    return state


CONFIG: dict[str, Any] = {
    "r": 2,
    "lora_alpha": 16,
    "rank_pattern": {"v": 4},
    "alpha_pattern": {"layers.0.v": 8},
}


def test_factors_ranks_and_alphas_are_read(tmp_path: Path) -> None:
    state = write(tmp_path / "a", CONFIG, **{"base_model.model.head.bias": torch.ones(3)})
    adapter = read_peft_folder(tmp_path / "a")
    assert adapter.graph == sn.catalogue.lora({"layers.0.q": (6, 2, 5), "layers.0.v": (3, 4, 5)})
    assert adapter.scalings == {"layers.0.q": 8.0, "layers.0.v": 2.0} and adapter.others == (
        "base_model.model.head.bias",
    )
    change = adapter.weights["layers.0.q.lora_B"] @ adapter.weights["layers.0.q.lora_A"]
    expected = 8 * state[f"{PREFIX}q.lora_B.weight"] @ state[f"{PREFIX}q.lora_A.weight"]
    torch.testing.assert_close(change, expected)
    write(tmp_path / "b", CONFIG | {"use_rslora": True})
    assert read_peft_folder(tmp_path / "b").scalings["layers.0.v"] == 4.0


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (CONFIG | {"peft_type": "LOHA"}, "no LoRA"),
        (CONFIG | {"use_dora": True}, "DoRA"),
        (CONFIG | {"rank_pattern": {}}, "declares rank 2 for 'layers.0.v'"),
        (CONFIG | {"lora_alpha": "much", "alpha_pattern": {}}, "expected a number"),
    ],
)
def test_what_is_no_such_adapter_is_refused(
    tmp_path: Path, config: dict[str, Any], match: str
) -> None:
    write(tmp_path / "a", config)
    with pytest.raises(sn.SymnetError, match=match):
        read_peft_folder(tmp_path / "a")


def test_missing_and_misshapen_factors_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", CONFIG, **{f"{PREFIX}k.lora_A.weight": torch.ones(2, 5)})
    with pytest.raises(sn.SymnetError, match="both factors"):
        read_peft_folder(tmp_path / "a")
    extra = {
        f"{PREFIX}k.lora_A.weight": torch.ones(2, 5, 3, 3),
        f"{PREFIX}k.lora_B.weight": torch.ones(6, 2, 1, 1),
    }
    write(tmp_path / "b", CONFIG, **extra)
    with pytest.raises(sn.SymnetError, match="convolutions"):
        read_peft_folder(tmp_path / "b")
    with pytest.raises(sn.SymnetError, match=r"adapter_config\.json"):
        read_peft_folder(tmp_path)


def test_padding_changes_no_product_and_normal_forms_agree(tmp_path: Path) -> None:
    """Adapters of different ranks in one batch: the normal form of the padded one is the padded
    normal form.
    """
    write(tmp_path / "a", CONFIG)
    adapter = read_peft_folder(tmp_path / "a")
    weights = {name: tensor.double() for name, tensor in adapter.weights.items()}
    padded, graph = sn.catalogue.pad_rank(weights, 4)
    assert {name: one.size for name, one in graph.neurons.items() if name.endswith(".r")} == {
        "layers.0.q.r": 4,
        "layers.0.v.r": 4,
    }
    for name in ("layers.0.q", "layers.0.v"):
        torch.testing.assert_close(
            padded[f"{name}.lora_B"] @ padded[f"{name}.lora_A"],
            weights[f"{name}.lora_B"] @ weights[f"{name}.lora_A"],
        )
    (first, _), (second, left) = (
        sn.normal_form(weights, adapter.graph),
        sn.normal_form(padded, graph),
    )
    again, _ = sn.catalogue.pad_rank(first, 4)
    assert sn.align(again, second, left).distance_after < 1e-9
    with pytest.raises(sn.ShapeError, match="more than 3"):
        sn.catalogue.pad_rank(weights, 3)


def test_bad_declarations_are_refused() -> None:
    for wrong in ({}, {"q": (2, 3)}, {"q": "abc"}, [1, 2, 3]):
        with pytest.raises(sn.SymnetError):
            sn.catalogue.lora(wrong)
