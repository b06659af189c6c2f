"""Laws of the measurement of what mattered: one change at a time, on images that are never tested."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

import symnet as sn
from symnet.data import FitRecipe
from symnet.tasks.study import Part, Settings
from symnet.tasks.what_mattered import MEASURED, Variant, measure, plain_reader, variants

BASE = Settings(images=120, fits=4, steps=4, points=1, fit=FitRecipe(widths=(2, 6, 5, 1), steps=10))


def test_every_variant_changes_one_thing() -> None:
    first, *others = variants(BASE)
    assert first.settings == BASE
    for variant in others:
        names = ("fits", "fit", "training")
        changed = [name for name in names if getattr(variant.settings, name) != getattr(BASE, name)]
        assert len(changed) + (variant.build is not first.build) == 1, variant.name


def test_every_variant_was_measured() -> None:
    """The table in the page has a line for each of them, and for nothing else."""
    assert sorted(line.split("dB  ")[1] for line in MEASURED.splitlines()[1:]) == sorted(
        v.name for v in variants(BASE)
    )


def test_the_page_of_the_task_has_the_same_figures() -> None:
    page = (Path(__file__).parents[2] / "docs/tasks/classification.md").read_text(encoding="utf-8")
    for line in MEASURED.splitlines()[1:]:
        accuracy, rest = line.split(" %  ")
        psnr, name = rest.split(" dB  ")
        assert f"| {accuracy.strip()} | {psnr.strip()} | {name} |" in page


def test_a_variant_is_measured(tmp_path: Path) -> None:
    for build in (next(variants(BASE)).build, plain_reader):
        accuracy, psnr = measure(Variant("any", BASE, build), tmp_path, Console(file=io.StringIO()))
        assert 0 <= accuracy <= 1 and psnr > 5


def test_the_plain_reader_is_invariant_too() -> None:
    graph = sn.catalogue.mlp([2, 6, 5, 1])
    x = {name: tensor.squeeze(-1) for name, tensor in _features(graph).items()}
    reader = plain_reader(graph, Part(x, x["4.bias"].squeeze(-1).long(), 1), channels=3, hidden=4)
    assert sn.verify.equivariance(reader, graph, seed=0).passed


def _features(graph: sn.NeuronGraph) -> dict:  # type: ignore[type-arg]
    from symnet.data import siren

    return sn.features([siren([2, 6, 5, 1], 5.0) for _ in range(6)], graph)
