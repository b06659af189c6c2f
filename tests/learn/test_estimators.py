"""Laws of the estimators: no network is judged by who has seen it, answers do not depend on numbering, a saved reader is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils import estimator_checks
from torch import nn

import symnet as sn
from symnet.learn import Classifier, Editor, Regressor
from symnet.learn.kinds import kind_statistics
from tests.learn import small_networks
from tests.learn.small_networks import GRAPH, make_mixed, make_networks, moved

QUICK: dict[str, Any] = {"steps": 60, "folds": 3, "verbose": False}
NETWORKS = make_networks()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fitted() -> Regressor:
    return Regressor(reader="statistics", **QUICK).fit(NETWORKS, "size")


# ---- what is learned ------------------------------------------------------------------------------------------------
def test_what_statistics_tell_is_learned(fitted: Regressor) -> None:
    """On networks of another draw as well as the comparison says."""
    fresh = make_networks(80, seed=9)
    said = fitted.comparison_.tried[0].measures["r2"]
    assert said > 0.7 and fitted.score(fresh, "size") > 0.5
    assert fitted.predict(fresh).shape == (80,) and fitted.predict(fresh).dtype == np.float64


def test_noise_is_not_learned() -> None:
    """A score from networks that were learned from would be high: there are as many parameters as one likes."""
    noise = np.random.default_rng(0).normal(size=60)
    model = Regressor(reader="statistics", steps=300, folds=3, verbose=False).fit(NETWORKS, noise)
    assert model.comparison_.tried[0].measures["r2"] < 0.1
    assert model.score(NETWORKS, noise) > 0.3  # seen by two members of three


def test_siblings_are_in_one_fold() -> None:
    """Of families whose members are told by their weights and by nothing else, nothing can be said of a family not seen."""
    families = np.random.default_rng(0).normal(size=15)
    values = families[NETWORKS.columns["family"]]
    weights = {
        name: tensor[NETWORKS.columns["family"] * 4] for name, tensor in NETWORKS.weights.items()
    }
    siblings = sn.data.NetworkSet(GRAPH, weights, NETWORKS.columns)
    options: dict[str, Any] = {"reader": "statistics", "steps": 300, "folds": 3, "verbose": False}
    apart = (
        Regressor(**options).fit(siblings, values, by="family").comparison_.tried[0].measures["r2"]
    )
    mixed = Regressor(**options).fit(siblings, values).comparison_.tried[0].measures["r2"]
    assert apart < 0.2 and mixed > 0.5


def test_classes_keep_their_names() -> None:
    model = Classifier(reader="statistics", **QUICK).fit(NETWORKS, "large")
    fresh = make_networks(80, seed=9)
    assert model.classes_.tolist() == ["large", "small"] and set(model.predict(fresh)) <= {
        "large",
        "small",
    }
    assert model.score(fresh, "large") > 0.75 and model.comparison_.reference == 0.5
    np.testing.assert_allclose(model.predict_proba(fresh).sum(1), 1.0, atol=1e-6)
    with pytest.raises(sn.SymnetError, match="classes huge were not among"):
        model.score(fresh, np.where(fresh.columns["size"] > 1, "huge", "small"))


@pytest.mark.slow  # five readers, three of each
def test_the_networks_function_is_learned_from_probes() -> None:
    """`fit` compares what can be had, and keeps the reader that sees what is asked for."""
    module = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    networks = make_networks(100)
    images = torch.randn(30, 2, generator=torch.Generator().manual_seed(1))
    call = torch.func.functional_call
    with torch.no_grad():
        logits = torch.stack([call(module, networks[k][0], (images,)) for k in range(100)])
    share = (logits[..., 0] > logits[..., 1]).double().mean(1).numpy()
    model = Regressor(
        module=module, example=torch.randn(4, 2), steps=150, folds=3, verbose=False
    ).fit(networks, share)
    scores = {row.reader: row.measures["r2"] for row in model.comparison_.tried}
    assert set(scores) == {"statistics", "product", "probes", "layers", "all"}
    assert max(scores, key=lambda name: scores[name]) == model.reader_ == model.comparison_.kept
    assert scores["probes"] > scores["statistics"] + 0.2
    assert f"* {model.reader_}" in str(model.comparison_)


def test_several_architectures_are_read_by_one_reader() -> None:
    mixed = make_mixed()
    model = Regressor(**{**QUICK, "steps": 150}).fit(mixed, "size")
    assert model.graph_ is None and model.comparison_.tried[0].measures["r2"] > 0.7
    unseen = make_networks(40, 7, sn.catalogue.mlp([2, 6, 6, 2]))
    assert model.score(unseen, "size") > 0.5


def test_kinds_do_not_see_the_order_of_layers() -> None:
    weights = dict(make_networks(4, 0, sn.catalogue.mlp([3, 3, 3, 3])).weights)
    swapped = {**weights, "0.weight": weights["2.weight"], "2.weight": weights["0.weight"]}
    numbers, others = (
        kind_statistics(some, ["weight 2", "bias 1", "other 4"]) for some in (weights, swapped)
    )
    torch.testing.assert_close(numbers, others)
    assert numbers.shape == (4, 48) and not numbers[:, 32:].any()


# ---- symmetry -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("reader", ["statistics", "product", "layers"])
def test_answers_do_not_depend_on_the_numbering_of_neurons(reader: str) -> None:
    model = Regressor(reader=reader, steps=20, folds=2, verbose=False).fit(NETWORKS, "size")
    np.testing.assert_allclose(model.predict(moved(NETWORKS)), model.predict(NETWORKS), atol=1e-5)
    assert not np.allclose(model.predict(NETWORKS), model.predict(NETWORKS)[0])


def test_an_editor_learns_a_change_and_is_equivariant() -> None:
    twice = sn.data.NetworkSet(
        GRAPH, {name: 2 * tensor for name, tensor in NETWORKS.weights.items()}
    )
    editor = Editor(steps=200, verbose=False).fit(NETWORKS, twice)
    assert editor.comparison_.tried[0].measures["r2"] > 0.9 and editor.score(NETWORKS, twice) > 0.9
    edited, of_moved = editor.predict(NETWORKS), editor.predict(moved(NETWORKS))
    for name, tensor in moved(edited).weights.items():
        torch.testing.assert_close(of_moved.weights[name], tensor, atol=1e-4, rtol=1e-4)


def test_an_editor_learns_what_networks_shall_show() -> None:
    grid = torch.linspace(-1, 1, 6).view(-1, 1).expand(6, 2)
    module = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2))

    def show(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.vmap(lambda one: torch.func.functional_call(module, one, (grid,)))(
            weights
        )

    wanted = -show(dict(NETWORKS.weights)).detach()
    editor = Editor(steps=150, verbose=False).fit(NETWORKS, wanted, show=show)
    assert editor.score(NETWORKS, wanted, show=show) > 0.8


# ---- files ----------------------------------------------------------------------------------------------------------
def test_a_saved_reader_is_the_same_in_a_new_process(tmp_path: Path, fitted: Regressor) -> None:
    """To the last bit."""
    models: dict[str, Any] = {
        "regressor": fitted,
        "classifier": Classifier(reader="layers", steps=5, folds=2, verbose=False).fit(
            NETWORKS, "large"
        ),
        "editor": Editor(steps=5, verbose=False).fit(NETWORKS, make_networks(seed=2)),
        "mixed": Regressor(**{**QUICK, "steps": 5}).fit(make_mixed(), "size"),
    }
    for kind, model in models.items():
        model.save(tmp_path / kind)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, small_networks.__file__, str(tmp_path)]
    output = json.loads(
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    )
    assert output == {kind: small_networks.said(model, kind) for kind, model in models.items()}
    again = sn.learn.load(tmp_path / "regressor")
    assert str(again.comparison_) == str(fitted.comparison_) and again.graph_ == GRAPH
    assert again.get_params()["steps"] == fitted.steps


def test_damaged_readers_are_refused(tmp_path: Path, fitted: Regressor) -> None:
    path = tmp_path / "reader.symnet"
    fitted.save(path)
    content = path.read_bytes()
    for number, damaged in enumerate(
        (b"", content[:500], content[:-4], content.replace(b'"format', b'"farmot', 1))
    ):
        (tmp_path / f"{number}").write_bytes(damaged)
        with pytest.raises(sn.SymnetError, match=str(number)):
            sn.learn.load(tmp_path / f"{number}")
    sn.nn.save(sn.nn.InvariantNetwork(GRAPH, 2), tmp_path / "net")
    with pytest.raises(sn.SymnetError, match=r"is no reader that symnet\.learn has saved"):
        sn.learn.load(tmp_path / "net")
    with pytest.raises(sn.SymnetError, match="There is no file"):
        sn.learn.load(tmp_path / "gone")


def test_files_modules_and_state_dicts_are_read(tmp_path: Path, fitted: Regressor) -> None:
    modules = [nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2)) for _ in range(3)]
    for number, module in enumerate(modules):
        torch.save(module.state_dict(), tmp_path / f"{number}.pt")
    expected = fitted.predict(modules)
    assert (fitted.predict(str(tmp_path)) == expected).all()
    assert (fitted.predict([module.state_dict() for module in modules]) == expected).all()
    np.testing.assert_allclose(fitted.predict(tmp_path / "1.pt"), expected[1:2], rtol=1e-6)


def test_a_fit_in_a_folder_goes_on_there(tmp_path: Path) -> None:
    """A second run trains nothing, and another fit is not taken for this one."""
    first = Regressor(reader="statistics", folder=tmp_path, **QUICK).fit(NETWORKS, "size")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.pt")}
    again = Regressor(reader="statistics", folder=tmp_path, **QUICK).fit(NETWORKS, "size")
    assert len(before) == 3 and before == {path: path.stat().st_mtime_ns for path in before}
    assert (again.predict(NETWORKS) == first.predict(NETWORKS)).all()
    with pytest.raises(sn.SymnetError, match="is of another training"):
        Regressor(reader="statistics", folder=tmp_path, **QUICK).fit(make_networks(seed=1), "size")


# ---- mistakes -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "target", "said"),
    [
        ({}, "speed", "no column 'speed'; there are path, size"),
        ({}, "large", "use a Classifier"),
        ({}, np.zeros(60), "nothing to learn"),
        ({}, np.ones(3), "one for each network"),
        ({}, np.where(np.arange(60) < 5, np.nan, np.arange(60)), "5 of 60 networks have no value"),
        ({"reader": "magic"}, "size", "choose 'best'"),
        ({"reader": "probes"}, "size", "probes= needs module="),
        ({"folds": 1}, "size", "two folds"),
        ({"graph": sn.catalogue.mlp([2, 6, 2])}, "size", "expected those of the graph"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], target: Any, said: str) -> None:
    with pytest.raises(sn.SymnetError, match=said):
        Regressor(**{**QUICK, **options}).fit(NETWORKS, target)


def test_too_few_networks_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(sn.SymnetError, match="9 networks are too few"):
        Regressor(**QUICK).fit(make_networks(9), "size")
    Regressor(**{**QUICK, "steps": 5, "verbose": True, "reader": "statistics"}).fit(
        make_networks(20), "size"
    )
    assert "20 networks are few" in capsys.readouterr().out
    with pytest.raises(sn.SymnetError, match="call fit"):
        Regressor().predict(NETWORKS)
    with pytest.raises(sn.SymnetError, match="call fit"):
        Editor().predict(NETWORKS)


def test_networks_without_a_value_can_be_left_out() -> None:
    size = np.where(np.arange(60) < 5, np.nan, NETWORKS.columns["size"])
    networks = sn.data.NetworkSet(GRAPH, NETWORKS.weights, {**NETWORKS.columns, "size": size})
    known = networks.known("size")
    assert len(known) == 55 and known.skipped[0] == "0.pt: 'size' is not known"
    with pytest.raises(sn.SymnetError, match="no column 'x'"):
        networks.known("x")


def test_unknown_architectures_are_read_by_statistics_alone(tmp_path: Path) -> None:
    for number in range(12):
        torch.save(NETWORKS[number][0], tmp_path / f"{number}.pt")
    networks = sn.data.read_folder(tmp_path, labels={str(k): float(k) for k in range(12)})
    model = Regressor(**{**QUICK, "steps": 5}).fit(networks, "label")
    assert [row.reader for row in model.comparison_.tried] == ["statistics"]
    assert "no neuron of the graph may be permuted" in str(model.comparison_)


# ---- scikit-learn ---------------------------------------------------------------------------------------------------
CHECKS = [
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", [Regressor, Classifier, Editor])
def test_scikit_learns_rules_hold(kind: Any, check: str) -> None:
    """Those that are about parameters; those that fit on arrays do not apply."""
    getattr(estimator_checks, check)(kind.__name__, kind())


def test_a_clone_is_a_new_estimator_with_the_same_parameters(fitted: Regressor) -> None:
    copy = clone(fitted)
    assert copy.get_params().keys() == fitted.get_params().keys() and copy.steps == fitted.steps
    assert not hasattr(copy, "members_")
    assert (copy.fit(NETWORKS, "size").predict(NETWORKS) == fitted.predict(NETWORKS)).all()
