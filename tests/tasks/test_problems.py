"""Laws of the four problems: their measures, their images and masks, and the symmetry of the models that read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

import symnet as sn
from symnet.data import evaluate, initial_weights, pixel_grid, siren
from symnet.learn.permuting import order_neurons, permuter
from symnet.learn.problem import Parts
from symnet.tasks.accuracy import Accuracy
from symnet.tasks.classification import Classification
from symnet.tasks.configuration import Sizes, ZooCorpus
from symnet.tasks.editing import Editing, contrasted, dilated, shown_by
from symnet.tasks.models import build_model
from symnet.tasks.tickets import Images, Tickets
from symnet.tasks.tickets_training import (
    kept_largest,
    predict_classes,
    prune_iteratively,
    start_weights,
    train_masked,
)
from symnet.tasks.zoo import classify, load_zoo
from tests.tolerances import assert_close

SIREN = sn.catalogue.mlp([2, 5, 4, 1])
CNN = sn.catalogue.cnn([1, 4, 3], kernel_size=3, classes=3, io="fixed")
MLP = sn.catalogue.mlp([6, 4, 3])
WREATH = sn.NeuronGraph(
    {
        "head": sn.Symmetric(2),
        "dim": sn.NeuronSet(sn.Symmetric(3), over="head"),
        "m": sn.Symmetric(4),
    },
    {"q": "(head dim) m", "o": "m (head dim)"},
)
PARTS = Parts(torch.arange(4), torch.arange(4, 6), torch.arange(6, 10))


def random_weights(graph: sn.NeuronGraph, count: int = 10, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        n: torch.randn(count, *s, generator=generator, dtype=torch.float64)
        for n, s in graph.shapes.items()
    }


@pytest.mark.parametrize("name", ["equivariant", "attention", "pointwise"])
@pytest.mark.parametrize(
    ("graph", "outputs", "encode"),
    [
        (SIREN, 3, ()),
        (CNN, 1, ()),
        (SIREN, "change", ()),
        (MLP, "score", ("in", "out")),
        (WREATH, 2, ()),
    ],
)
def test_models_that_use_symmetry_keep_it(
    name: str, graph: sn.NeuronGraph, outputs: int | str, encode: tuple[str, ...]
) -> None:
    """Invariant where they give numbers for a network, equivariant where they give numbers for its weights, in float64."""
    torch.manual_seed(0)
    sizes = Sizes(channels=3, layers=2, hidden=8, encode=encode)
    model = build_model(name, graph, outputs, sizes, random_weights(graph)).double().eval()
    sn.verify.equivariance(model, graph).raise_if_failed()


def test_statistics_are_invariant() -> None:
    model = build_model("statistics", CNN, 2, Sizes(hidden=8), random_weights(CNN)).double().eval()
    sn.verify.equivariance(model, CNN).raise_if_failed()


@pytest.mark.parametrize("outputs", [2, "change"])
def test_models_that_ignore_symmetry_do_not_have_it(outputs: int | str) -> None:
    """The flat MLP's answers depend on how neurons are numbered: the comparison is not of like with like."""
    torch.manual_seed(0)
    model = (
        build_model("flat", SIREN, outputs, Sizes(hidden=8), random_weights(SIREN)).double().eval()
    )
    assert not sn.verify.equivariance(model, SIREN).passed


@pytest.mark.parametrize(("name", "outputs"), [("magic", 1), ("statistics", "score")])
def test_a_model_that_there_is_not_is_refused(name: str, outputs: int | str) -> None:
    with pytest.raises(sn.SymnetError, match=name):
        build_model(name, MLP, outputs, Sizes(), random_weights(MLP))


def test_an_unknown_set_to_encode_is_refused() -> None:
    with pytest.raises(
        sn.SymnetError, match=r"encode names \['inn'\], but the neuron sets are in, h1, out"
    ):
        build_model("equivariant", MLP, 1, Sizes(encode=("inn",)), random_weights(MLP))


@pytest.mark.parametrize("graph", [SIREN, CNN, WREATH], ids=["mlp", "cnn", "wreath"])
def test_permuting_moves_every_network_by_an_element_of_the_group(graph: sn.NeuronGraph) -> None:
    """An invariant of the group is left as it was, network by network; the weights are not, and differ in how they moved."""
    weights = random_weights(graph)
    moved = permuter(graph)(weights, torch.Generator().manual_seed(1))
    model = (
        build_model("equivariant", graph, 4, Sizes(channels=3, hidden=8), weights).double().eval()
    )
    before, after = (model({n: t.unsqueeze(-1) for n, t in w.items()}) for w in (weights, moved))
    assert_close({"answer": after}, {"answer": before})
    assert any(not torch.equal(weights[name], moved[name]) for name in weights)
    same = {name: tensor[:1].expand_as(tensor) for name, tensor in weights.items()}
    spread = permuter(graph)(same, torch.Generator().manual_seed(1))
    assert len({tuple(row.flatten().tolist()) for row in next(iter(spread.values()))}) > 3


def test_ordered_networks_do_not_depend_on_their_numbering() -> None:
    weights = random_weights(CNN)
    moved = permuter(CNN)(weights, torch.Generator().manual_seed(2))
    first, second = order_neurons(CNN, weights), order_neurons(CNN, moved)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_dilating_is_the_maximum_of_the_neighbourhood() -> None:
    images = torch.rand(7, 36, generator=torch.Generator().manual_seed(0))
    expected = max_pool2d(images.view(7, 1, 6, 6), 3, stride=1, padding=1).flatten(1)
    assert torch.equal(dilated(images, 6), expected)


def test_contrast_keeps_the_mean_where_nothing_is_cut_off() -> None:
    images = 0.2 * torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
    found = contrasted(images)
    assert torch.allclose(found.mean(1), images.mean(1), atol=1e-6)
    assert torch.allclose(found.std(1), 2 * images.std(1), rtol=1e-5)
    assert contrasted(torch.linspace(-1, 1, 64)[None]).abs().max() == 1


def test_images_through_any_module_are_those_of_the_batched_formula() -> None:
    """`torch.func` and batched matrix products agree, in value and in gradient."""
    weights = initial_weights(
        (2, 6, 5, 1), 3, omega=5.0, generator=torch.Generator().manual_seed(0)
    )
    weights = {name: tensor.double().requires_grad_() for name, tensor in weights.items()}
    grid = pixel_grid(4).double()
    first, second = (
        shown_by(siren([2, 6, 5, 1], 5.0).double(), grid)(weights),
        evaluate(weights, grid, 5.0),
    )
    assert_close({"images": first}, {"images": second})
    gradients = [
        torch.autograd.grad(images.square().sum(), list(weights.values()))
        for images in (first, second)
    ]
    assert_close(*(dict(zip(weights, found, strict=True)) for found in gradients))


class NoChange(nn.Module):
    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: torch.zeros_like(tensor) for name, tensor in x.items()}


def test_a_model_that_changes_nothing_is_the_reference() -> None:
    weights = random_weights(SIREN)
    targets = {
        "edited": torch.rand(
            10, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
        )
    }
    problem = Editing(
        SIREN,
        weights,
        targets,
        PARTS,
        show=shown_by(siren([2, 5, 4, 1], 5.0).double(), pixel_grid(4).double()),
    )
    assert problem.judge(NoChange(), PARTS.test) == pytest.approx(
        problem.references()["no change"], rel=1e-5
    )
    assert problem.loss(NoChange(), problem.take(PARTS.test)).item() == pytest.approx(
        problem.references()["no change"]["mse"]
    )


def test_measures_of_accuracy_by_hand() -> None:
    """Perfect predictions, reversed ones, the mean, and one exchange among four (tau = 1 - 2/6 * 1)."""
    problem = Accuracy(CNN, random_weights(CNN), {"accuracy": torch.arange(10) / 10}, PARTS)
    known = problem.known(PARTS.test)
    truth = known["accuracy"]
    assert problem.measure(truth, known) == {"tau": pytest.approx(1), "r2": 1, "error": 0}
    assert problem.measure(truth.flip(0), known)["tau"] == pytest.approx(-1)
    assert problem.measure(truth.mean().expand(4), known)["tau"] == 0
    assert problem.measure(truth.mean().expand(4), known)["r2"] == pytest.approx(0)
    assert problem.measure(truth[[1, 0, 2, 3]], known)["tau"] == pytest.approx(2 / 3)


def test_the_networks_of_an_image_vote() -> None:
    """Two of three networks of an image may be wrong where the third is sure."""
    logits = torch.full((4, 10), -3.0)
    logits[0, 5], logits[1, 1], logits[2, 1], logits[3, 2] = 0.0, -2.9, -2.9, 0.0
    targets = {"class": torch.tensor([5, 5, 5, 7]), "image": torch.tensor([30, 30, 30, 8])}
    problem = Classification(
        SIREN, random_weights(SIREN, 4), targets, Parts(*torch.arange(3).split(1))
    )
    assert problem.measure(logits, targets) == {"accuracy": 0.25, "vote": 0.5}


def test_masked_weights_stay_zero_while_networks_learn() -> None:
    """What is masked never comes back; every network of the batch learns, and is the module that its state dict says."""
    generator = torch.Generator().manual_seed(0)
    start = start_weights((6, 5, 3), 2, generator)
    images = torch.randn(40, 6, generator=generator)
    classes = images[:, :3].argmax(1)
    masks = kept_largest({n: t.abs() for n, t in start.items() if t.dim() == 3}, 0.5)
    trained = train_masked(
        start, masks, images, classes, steps=150, generator=torch.Generator().manual_seed(1)
    )
    assert all(bool((trained[name][masks[name] == 0] == 0).all()) for name in masks)
    single = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    single.load_state_dict({name: tensor[1] for name, tensor in trained.items()})
    assert torch.allclose(single(images), predict_classes(trained, images)[1], atol=1e-5)
    assert predict_classes(trained, images).argmax(-1).eq(classes).float().mean() > 0.6


def test_pruning_reaches_the_sparsity_round_by_round() -> None:
    """Every network keeps the same count, over all matrices together, and the start is left as it was."""
    generator = torch.Generator().manual_seed(0)
    start = start_weights((6, 10, 3), 3, generator)
    before = {name: tensor.clone() for name, tensor in start.items()}
    images, classes = (
        torch.randn(40, 6, generator=generator),
        torch.randint(3, (40,), generator=generator),
    )
    masks = prune_iteratively(
        start, images, classes, sparsity=0.8, rounds=3, steps=5, generator=generator
    )
    kept = torch.cat([mask.flatten(1) for mask in masks.values()], 1).sum(1)
    assert kept.tolist() == [18, 18, 18] and set(masks) == {"0.weight", "2.weight"}
    assert all(torch.equal(before[name], start[name]) for name in start)


def test_the_masks_themselves_overlap_fully() -> None:
    """Scores that are the masks keep what the masks keep, where every matrix has the same share in all of them."""
    weights = random_weights(MLP)
    matrices = {name: tensor for name, tensor in weights.items() if tensor.dim() == 3}
    mask = torch.cat(
        [kept_largest({"": t.abs()}, 0.5)[""].flatten(1) for t in matrices.values()], 1
    ).float()
    start = torch.cat([t.flatten(1) for t in matrices.values()], 1).float()
    none = torch.zeros(1, 6)
    images = Images(
        none, torch.zeros(1, dtype=torch.int64), none, torch.zeros(1, dtype=torch.int64), steps=1
    )
    problem = Tickets(MLP, weights, {"mask": mask, "start": start}, PARTS, images=images)
    known = problem.known(PARTS.test)
    assert problem.measure(mask[PARTS.test], known) == {"overlap": 1.0}
    assert problem.measure(-mask[PARTS.test], known)["overlap"] == 0.0
    assert torch.equal(problem.keep(known["start"].abs()), known["mask"])


def test_the_zoo_classifies_as_a_convolutional_network() -> None:
    """The batched formula is the module whose graph the zoo carries, and the graph leaves that module's function unchanged."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    state = {name: tensor.unsqueeze(0) for name, tensor in model.state_dict().items()}
    names = [f"{2 * k}.{kind}" for k in range(3) for kind in ("weight", "bias")] + [
        "head.weight",
        "head.bias",
    ]
    images = torch.randn(5, 1, 8, 8, generator=generator)
    with torch.no_grad():
        found = classify(
            dict(zip(names, state.values(), strict=True)), images.unsqueeze(0), torch.relu
        )[0]
        assert torch.allclose(found, model(images), atol=1e-6)
    graph = sn.catalogue.cnn([1, 16, 16, 16], kernel_size=3, classes=10, io="fixed")
    assert list(graph.shapes.values()) == [tuple(tensor.shape[1:]) for tensor in state.values()]
    renamed = dict(zip(graph.shapes, graph.tensors.values(), strict=True))
    own = sn.NeuronGraph(
        dict(graph.neurons), dict(zip(model.state_dict(), renamed.values(), strict=True))
    )
    sn.verify.network(model, own, images).raise_if_failed()


def test_a_zoo_is_made_once_and_does_not_depend_on_its_size(tmp_path: Path) -> None:
    """Made again, or with fewer networks asked for, the networks are the same; a second time nothing is trained."""
    large = load_zoo(ZooCorpus(networks=120, steps=30), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    small = load_zoo(ZooCorpus(networks=50, steps=30), tmp_path)
    assert (
        len(files) == 2
        and {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == files
    )
    assert len(small.accuracy) <= 50 and torch.equal(
        small.accuracy, large.accuracy[: len(small.accuracy)]
    )
    parts = [large.parts(seed) for seed in (0, 1)]
    assert not torch.equal(parts[0].test, parts[1].test)
