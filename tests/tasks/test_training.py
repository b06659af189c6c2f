"""Laws of training: budgets, repeatability, and finished trainings that are kept whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from symnet.learn.threads import one_thread
from symnet.tasks.training import (
    Batch,
    Trained,
    TrainingRecipe,
    load_trained,
    save_trained,
    train,
)

KEY: dict[str, object] = {"reader": "linear", "seed": 1}


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(x["w"].squeeze(-1))


def model(seed: int = 0) -> Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Linear()


def fit(
    trained: nn.Module, steps: int, points: int = 4
) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    generator = torch.Generator().manual_seed(0)

    def draw(size: int) -> Batch:
        w = torch.randn(size, 3, generator=generator)
        return {"w": w}, (w[:, 0] > 0).long()

    return train(
        trained,
        draw,
        lambda _: 0.5,
        TrainingRecipe(batch=32, learning_rate=0.05),
        steps,
        points=points,
    )


def test_training_by_steps_repeats_itself() -> None:
    first, again = model(), model()
    seconds, curve = fit(first, 40)
    _, curve_again = fit(again, 40)
    assert seconds > 0 and len(curve) == len(curve_again) == 4
    assert [point[1:] for point in curve] == [point[1:] for point in curve_again]
    assert torch.equal(first.layer.weight, again.layer.weight)
    assert curve[-1][1] < curve[0][1]  # it learns


def test_a_finished_training_is_read_back(tmp_path: Path) -> None:
    trained, other = model(), model(1)
    row = Trained("linear", 1, 0.5, 0.75, 1.0, 8, 1.5, 40, ((0.5, 1.0, 0.25), (1.5, 0.5, 0.5)))
    save_trained(tmp_path, row, trained, KEY)
    assert load_trained(tmp_path, "linear", 1, other, KEY) == row
    assert torch.equal(other.layer.weight, trained.layer.weight)


def test_what_is_not_that_training_is_not_used(tmp_path: Path) -> None:
    """Another key, a record cut short, parameters cut short, another model: each said in words; and silence if there is none."""
    row = Trained("linear", 1, 0.5, 0.75, 1.0, 8, 1.5, 40, ())
    assert load_trained(tmp_path, "linear", 1, model(), KEY) == ""
    save_trained(tmp_path, row, model(), KEY)
    assert (
        load_trained(tmp_path, "linear", 1, model(), {**KEY, "seed": 2})
        == "linear-seed-1 was trained otherwise"
    )
    assert "cannot be read" in str(load_trained(tmp_path, "linear", 1, nn.Linear(4, 4), KEY))
    for name in ("linear-seed-1.pt", "linear-seed-1.json"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        assert "linear-seed-1 cannot be read" in str(
            load_trained(tmp_path, "linear", 1, model(), KEY)
        )
        (tmp_path / name).write_bytes(content)
    record = json.loads((tmp_path / "linear-seed-1.json").read_text())
    del record["trained"]["accuracy"]
    (tmp_path / "linear-seed-1.json").write_text(json.dumps(record))
    assert "cannot be read" in str(load_trained(tmp_path, "linear", 1, model(), KEY))


def test_the_number_of_threads_comes_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
