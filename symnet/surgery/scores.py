"""importance: one number for every neuron, to choose by which of them stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.elements import image_shapes
from symnet.graph.neuron_graph import require_graph
from symnet.surgery.large_files import OneByOne
from symnet.surgery.outlets import OutgoingLike, Place, places_of, read_outlets
from symnet.surgery.selection import Array, check_shape, is_divisible, is_floating

LARGE = 2**25  # entries of a tensor from which single precision has to do
ScoreName = Literal["l1", "l2", "first-order", "random", "activations"]
Scores = dict[str, np.ndarray]


def importance(
    weights: Mapping[str, Array] | str | Path,
    graph: NeuronGraph,
    score: ScoreName = "l2",
    *,
    loss: Callable[[dict[str, Tensor]], Tensor] | None = None,
    gradients: Mapping[str, Array] | None = None,
    model: nn.Module | None = None,
    batches: Iterable[Any] | None = None,
    outgoing: OutgoingLike | None = None,
    seed: int = 0,
) -> Scores:
    """One number for every neuron of every set that can be cut; copies by
    themselves. Larger is more important.

    - ``"l1"``, ``"l2"``: the norm of all weights that belong to the neuron (Li et al. 2017, arXiv
      1608.08710).
    - ``"first-order"``: what the loss would change by without it,
      ``|sum of weight times gradient|`` over those weights (Molchanov et al. 2019, arXiv
      1906.10771); from a loss of the weights, or from gradients by name.
    - ``"activations"``: the weights that read the neuron times the root mean square of what they
      read on your batches (Wanda, Sun et al. 2024, arXiv 2306.11695); needs linear layers and
      convolutions where it is read.
    - ``"random"``: uniform numbers, to compare with.

    Args:
        weights, graph: as for ``keep``; of a file one tensor is in memory at a time.
        loss: a function of the weights (torch tensors by name) that returns one number.
        gradients: in place of ``loss``.
        model, batches: the network, and inputs for it, one after another: a tensor, a tuple, or a
            dict of keywords.
        outgoing: what reads the sets, as for ``widen`` (for activations).

    Returns:
        Float64 arrays by neuron set, ``(*ancestor sizes, size)``.

    Raises:
        GraphError: no such score, or it lacks what it needs.
        ShapeError: weights that are not the graph's.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
        >>> importance(weights, graph, "l1")["h1"]
        array([4., 4., 4.])
    """
    require_graph(graph, "importance")
    if isinstance(weights, str | Path):
        weights = OneByOne(weights)
    if not isinstance(weights, Mapping):
        raise ShapeError(
            f"importance got {weights!r:.60}; give a dict of arrays by name, or the path of a file."
        )
    match score:
        case "l1":
            return _summed(graph, weights, lambda _, w: w.abs_())
        case "l2":
            return {
                n: np.sqrt(s) for n, s in _summed(graph, weights, lambda _, w: w.square_()).items()
            }
        case "random":
            rng = np.random.default_rng(seed)
            return {name: rng.random(shape) for name, shape in _shapes(graph).items()}
        case "first-order":
            slopes = dict(gradients) if gradients is not None else gradients_of(loss, weights)
            products = _summed(graph, weights, lambda name, w: w.mul_(_double(slopes[name])))
            return {name: np.abs(total) for name, total in products.items()}
        case "activations":
            return _by_activations(graph, weights, model, batches, outgoing)
        case _:
            raise GraphError(
                f"importance got {score!r}; there are 'l1', 'l2', 'first-order', 'activations' "
                "and 'random'."
            )


def gradients_of(
    loss: Callable[[dict[str, Tensor]], Tensor] | None, weights: Mapping[str, Array]
) -> dict[str, Tensor]:
    """The gradients of a loss at the weights; zero for running statistics,
    by which torch does not differentiate.

    Raises:
        GraphError: there is no loss, or it returns no number that depends on the weights.
    """
    if not callable(loss):
        raise GraphError(
            "The first-order score needs loss=, a function of the weights that returns one "
            "number, or gradients= by name."
        )
    leaves = {name: _tensor(array).detach().clone() for name, array in weights.items()}
    for name, tensor in leaves.items():
        if tensor.is_floating_point() and not name.rpartition(".")[2].startswith("running_"):
            tensor.requires_grad_(True)
    with torch.enable_grad():
        value = loss(leaves)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise GraphError(
            f"loss returned {value!r:.60}; it has to return one number that is computed from the "
            "weights."
        )
    learned = {name: tensor for name, tensor in leaves.items() if tensor.requires_grad}
    slopes = torch.autograd.grad(value, list(learned.values()), allow_unused=True)
    slope_of = dict(zip(learned, slopes, strict=True))
    return {
        name: torch.zeros_like(t) if slope_of.get(name) is None else slope_of[name]
        for name, t in leaves.items()
    }


def _shapes(graph: NeuronGraph) -> dict[str, tuple[int, ...]]:
    """Shapes of scores by set, for those that can be cut."""
    shapes = image_shapes(graph.neurons)
    return {
        name: shapes[name] for name, neuron_set in graph.neurons.items() if is_divisible(neuron_set)
    }


def _summed(
    graph: NeuronGraph, weights: Mapping[str, Array], entries: Callable[[str, Tensor], Tensor]
) -> Scores:
    """Numbers of all of a neuron's weights added up, of each tensor once."""
    totals = {name: np.zeros(shape) for name, shape in _shapes(graph).items()}
    places: dict[str, list[tuple[str, Place]]] = {}
    for name in totals:
        for place in places_of(graph, name):
            places.setdefault(place.tensor, []).append((name, place))
    seen = set()
    for name in weights:
        key = graph.aliases.get(name, name)
        if key in seen or key not in places:
            continue
        seen.add(key)
        array = weights[name]
        check_shape(graph, key, array, name)
        values = entries(name, _double(array))
        for which, place in places[key]:
            totals[which] += sum_at(graph, place, values)
    if missing := [tensor for tensor in places if tensor not in seen]:
        raise ShapeError(f"The weights lack {', '.join(map(repr, missing[:5]))} of the graph.")
    return totals


def sum_at(graph: NeuronGraph, place: Place, values: Tensor) -> np.ndarray:
    """A tensor summed over everything but one occurrence of a set and what it reads its
    ancestors from: ``(*ancestor sizes, size)``.
    """
    block = graph.weights[place.tensor].blocks[place.block]
    view = apply_views(values, block.views)
    parents = dict(block.instances[place.dim].parents)
    name = block.instances[place.dim].symbol
    assert name is not None
    dims = [*(parents[ancestor] for ancestor in graph.ancestors(name)), place.dim]
    rest = [dim for dim in range(view.dim()) if dim not in dims]
    total = view.sum(rest) if rest else view
    order = np.argsort(np.argsort(dims))
    return total.permute(*order.tolist()).double().numpy()


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array)) if isinstance(array, np.ndarray) else array


def _double(array: Array) -> Tensor:
    """A copy in float64; of very large tensors in float32."""
    if not is_floating(array):
        raise ShapeError(
            f"A tensor of whole numbers ({array.dtype}) has no importance; give floating-point "
            "weights."
        )
    tensor = _tensor(array).detach()
    return tensor.to("cpu", torch.float32 if tensor.numel() > LARGE else torch.float64, copy=True)


# ---- activations ---------------------------------------------------------------------------------
def _by_activations(
    graph: NeuronGraph,
    weights: Mapping[str, Array],
    model: nn.Module | None,
    batches: Iterable[Any] | None,
    outgoing: OutgoingLike | None,
) -> Scores:
    if not isinstance(model, nn.Module) or batches is None:
        raise GraphError(
            "The score of activations needs model= and batches=: inputs for it, one after another."
        )
    outlets = {name: read_outlets(graph, name, outgoing) for name in _shapes(graph)}
    tensors = list(
        dict.fromkeys(
            place.tensor for set_outlets in outlets.values() for place in set_outlets.places
        )
    )
    layers = {tensor: _reader(model, tensor) for tensor in tensors}
    sizes = input_sizes(model, layers, batches)
    totals = {name: np.zeros(shape) for name, shape in _shapes(graph).items()}
    for name, set_outlets in outlets.items():
        for place in set_outlets.places:
            values = _double(weights[place.tensor]).abs() * _along_inputs(
                layers[place.tensor], sizes[place.tensor]
            )
            totals[name] += sum_at(graph, place, values)
    return totals


def _reader(model: nn.Module, tensor: str) -> nn.Module:
    """The layer that a tensor is the weight of.

    Raises:
        GraphError: it is another module, whose inputs are not its weight's columns.
    """
    path, _, last = tensor.rpartition(".")
    layer = model.get_submodule(path)
    is_supported = (
        isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) or type(layer).__name__ == "Conv1D"
    )
    if last != "weight" or not is_supported:
        raise GraphError(
            f"'{tensor}' belongs to a {type(layer).__name__}, whose inputs are not looked at: "
            "activations are read of linear layers and convolutions. Choose another score, or "
            "name what reads the set: outgoing={...}."
        )
    return layer


def input_sizes(
    model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Any]
) -> dict[str, Tensor]:
    """Root mean squares of every input of some layers over batches, float64 by name.

    Raises:
        GraphError: no batches.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def note(name: str, layer: nn.Module, x: Tensor) -> None:
        axis = (
            1
            if isinstance(layer, nn.modules.conv._ConvNd) and x.dim() == layer.weight.dim()
            else -1
        )
        if isinstance(layer, nn.modules.conv._ConvNd) and x.dim() < layer.weight.dim():
            axis = 0
        rows = x.detach().double().cpu().movedim(axis, -1).flatten(0, -2)
        sums[name] = sums.get(name, torch.zeros(())) + rows.square().sum(0)
        counts[name] = counts.get(name, 0) + len(rows)

    hooks = [
        layer.register_forward_pre_hook(lambda layer, args, name=name: note(name, layer, args[0]))
        for name, layer in layers.items()
    ]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                if isinstance(batch, Mapping):
                    model(**batch)
                else:
                    model(*(batch if isinstance(batch, tuple | list) else (batch,)))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if missing := [name for name in layers if name not in sums]:
        raise GraphError(
            f"On the batches nothing ran through {', '.join(missing[:4])}. Give at least one, of "
            "all kinds."
        )
    return {name: (total / counts[name]).sqrt() for name, total in sums.items()}


def _along_inputs(layer: nn.Module, sizes: Tensor) -> Tensor:
    """Numbers of a layer's inputs, shaped so that they multiply its
    weight's entries that read them.
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, nn.modules.conv._ConvTransposeNd) or type(layer).__name__ == "Conv1D":
        return sizes.view(-1, *[1] * (weight.dim() - 1))
    if isinstance(layer, nn.modules.conv._ConvNd):
        rows = sizes.view(layer.groups, -1).repeat_interleave(weight.shape[0] // layer.groups, 0)
        return rows.view(*rows.shape, *[1] * (weight.dim() - 2))
    return sizes
