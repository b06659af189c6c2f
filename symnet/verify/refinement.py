"""Gradient colour refinement: cells of state entries that no symmetry of the network can leave.

``F(theta) = sum_k c_k f_k(x; theta)`` is invariant under every symmetry of the network, so where
theta is constant on the symmetries' orbits, its gradient is too. Colouring entries by their
gradients therefore never separates two entries of one orbit: autograd is a colour-refinement
operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from symnet.graph import GroupElement, NeuronGraph
from symnet.groups import is_trivial
from symnet.tracing.batch_norms import StatisticsWithGradients
from symnet.tracing.examples import differentiable, float_state, is_chosen
from symnet.tracing.execution import double_precision
from symnet.tracing.fresh_inputs import FreshInputs, Inputs
from symnet.tracing.recording import tensors_in

# Gradients of one cell that differ by more than this, relative to their tensor's largest, belong to
# different orbits.
_RESOLUTION = 1e-8
# The same for tensors whose own gradients vanish (behind a layer norm of equal entries): relative
# to the largest of all.
_NOISE = 1e-11
# Entries whose gradients stay below this, relative to the largest gradient of all, have no
# influence.
_DEAD = 1e-12


def _smooth_rectifier(x: Tensor, *_args: Any, **_keywords: Any) -> Tensor:
    return F.softplus(x)


def _soft_max(x: Tensor, *args: Any, **keywords: Any) -> Any:
    """Largest entries, smoothly: at equal entries a maximum's gradient goes to one of them only."""
    dim = keywords.get("dim", args[0] if args else None)
    if isinstance(dim, Tensor):
        return torch.logaddexp(x, dim)
    if dim is None:
        return torch.logsumexp(x.reshape(-1), 0)
    values = torch.logsumexp(
        x, dim, keepdim=keywords.get("keepdim", args[1] if len(args) > 1 else False)
    )
    return values


def _max_with_positions(x: Tensor, *args: Any, **keywords: Any) -> Any:
    values = _soft_max(x, *args, **keywords)
    dim = keywords.get("dim", args[0] if args else None)
    if not isinstance(dim, int):
        return values
    return torch.return_types.max((values, torch.zeros_like(values, dtype=torch.int64)))


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    slope = weight.reshape((1, -1, *[1] * (x.dim() - 2))) if weight.numel() > 1 else weight
    return F.softplus(x) - slope * F.softplus(-x)


_RECTIFIERS = (
    "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "hardswish",
    "threshold", "threshold_", "rrelu", "elu", "elu_", "celu", "selu",
)  # fmt: skip
_SMOOTH: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_RECTIFIERS, _smooth_rectifier),
    "prelu": _prelu,
    "amax": _soft_max,
    "max": _max_with_positions,
    "maximum": torch.logaddexp,
}  # fmt: skip


# How many positional arguments come before epsilon.
_NORM_ARGUMENTS = {"layer_norm": 4, "group_norm": 4, "instance_norm": 7}


class _Smooth(TorchFunctionMode):
    """Replaces what is not smooth: rectifiers and maxima; batch norms let
    their statistics have gradients beside it.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name in _NORM_ARGUMENTS and function in (F.layer_norm, F.group_norm, F.instance_norm):
            # Equal entries are divided by the root of epsilon alone; a large one keeps rounding
            # from being amplified.
            args, kwargs = args[: _NORM_ARGUMENTS[name]], kwargs | {"eps": 0.5}
        if name in _SMOOTH and args:
            kwargs.pop("inplace", None)
            return _SMOOTH[name](*args, **kwargs)
        return function(*args, **kwargs)


class Refiner:
    """Colours of all state entries (one vector, tensors one after another), refined by gradients.

    Args:
        model: a private copy in eval mode; its state is overwritten.
        inputs: example inputs; fresh ones are drawn for every gradient.
        outputs: which outputs count, by name.
        seed: of all random numbers.
    """

    def __init__(
        self, model: nn.Module, inputs: Inputs, outputs: Sequence[str] | None, seed: int
    ) -> None:
        with torch.no_grad():  # scripted modules make new parameters
            self.model = model.double()
        self.inputs = inputs
        self.outputs = outputs
        self.state, _ = float_state(self.model)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.sizes = [tensor.numel() for tensor in self.state.values()]
        self.tensor_of = np.repeat(np.arange(len(self.sizes)), self.sizes)
        self.dead = self.find_dead()

    def find_dead(self) -> np.ndarray:
        """Entries without influence at several random states: bool, one per entry."""
        largest = np.zeros(len(self.tensor_of))
        for _ in range(3):
            gradient = np.abs(self.gradient(np.arange(len(self.tensor_of))))
            largest = np.maximum(largest, gradient / max(gradient.max(initial=0.0), 1e-300))
        return np.asarray(largest < _DEAD)

    def gradient(self, colours: np.ndarray) -> np.ndarray:
        """The gradient of a random combination of outputs where entries of one colour are equal."""
        with torch.no_grad():
            for tensor, values in zip(
                self.state.values(), self.random_values(colours), strict=True
            ):
                tensor.copy_(torch.from_numpy(values).reshape(tensor.shape))
        # Before maxima are made smooth: the largest word of a vocabulary must stay what it is.
        args, keywords = FreshInputs(self.inputs).draw(self.generator)
        with (
            differentiable(self.state) as leaves,
            torch.enable_grad(),
            double_precision(),
            StatisticsWithGradients(),
            _Smooth(),
        ):
            result = self.model(*args, **keywords)
            tensors = [
                t for p, t in tensors_in(result) if t is not None and is_chosen(p, self.outputs)
            ]
            total = sum(
                (torch.randn(t.shape, generator=self.generator, dtype=torch.float64) * t).sum()
                for t in tensors
                if t.dtype.is_floating_point and t.requires_grad
            )
            if not isinstance(total, Tensor):  # no output has a gradient
                return np.zeros(len(self.tensor_of))
            gradients = torch.autograd.grad(total, leaves, allow_unused=True)
        return np.concatenate(
            [
                np.zeros(n) if g is None else g.detach().double().reshape(-1).numpy()
                for g, n in zip(gradients, self.sizes, strict=True)
            ]
        )

    def random_values(self, colours: np.ndarray) -> Iterator[np.ndarray]:
        """Moderate random entries by tensor, equal where the colours are."""
        draws = self.rng.standard_normal(int(colours.max(initial=0)) + 1)[colours]
        position = 0
        for tensor, size in zip(self.state.values(), self.sizes, strict=True):
            values = draws[position : position + size]
            position += size
            if tensor.dim() < 2 or size == max(tensor.shape):
                yield 1.0 + np.tanh(values) / 2
            else:
                yield values / np.sqrt(max(size // tensor.shape[0], 1))

    def refine(self, colours: np.ndarray) -> np.ndarray:
        """The coarsest colouring that gradients respect and that is as fine as the given one."""
        count = int(colours.max(initial=-1)) + 1
        while True:
            colours = self.split(colours, self.gradient(colours))
            if (new_count := int(colours.max(initial=-1)) + 1) == count:
                return colours
            count = new_count

    def split(self, colours: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Colours split where gradients differ by more than rounding."""
        scale = np.zeros(len(self.sizes))
        np.maximum.at(scale, self.tensor_of, np.abs(gradient))
        allowed = _RESOLUTION * scale[self.tensor_of] + _NOISE * scale.max(initial=0.0)
        order = np.lexsort((gradient, colours))
        new = (np.diff(colours[order]) != 0) | (np.diff(gradient[order]) > allowed[order[1:]])
        result = np.empty_like(colours)
        result[order] = np.concatenate([[0], np.cumsum(new)])
        return result

    def entries_of(self, tensor: str) -> np.ndarray:
        """The places in the colour vector of a tensor's entries."""
        return np.flatnonzero(self.tensor_of == list(self.state).index(tensor))

    def place(self, entry: int) -> tuple[str, tuple[int, ...]]:
        """Tensor and index of an entry of the colour vector."""
        number = int(self.tensor_of[entry])
        tensor = list(self.state.values())[number]
        inside = entry - sum(self.sizes[:number])
        return list(self.state)[number], tuple(
            int(i) for i in np.unravel_index(inside, tensor.shape)
        )


def claimed_orbits(
    graph: NeuronGraph,
    entries: Mapping[str, np.ndarray],
    fixed: Sequence[tuple[str, tuple[int, ...]]],
) -> dict[str, np.ndarray]:
    """Orbits of a claimed group's subgroup that fixes some entries: for every
    tensor the smallest entry number of each orbit.

    Args:
        graph: a ``NeuronGraph`` whose sets are Symmetric or Fixed.
        entries: a number for every entry of every tensor, 0, 1, 2, ... throughout.
        fixed: tensor and index of the entries that stay.
    """
    total = sum(array.size for array in entries.values())
    parent = np.arange(total)

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for element in _transpositions(graph):
        moved = graph.act(element, dict(entries))
        if all(moved[name][index] == entries[name][index] for name, index in fixed):
            for name, array in entries.items():
                for a, b in np.stack([array.reshape(-1), moved[name].reshape(-1)], 1)[
                    (array != moved[name]).reshape(-1)
                ]:
                    parent[find(int(a))] = find(int(b))
    roots = np.array([find(i) for i in range(total)])
    return {name: roots[array] for name, array in entries.items()}


def _transpositions(graph: NeuronGraph) -> Iterator[GroupElement]:
    """Every exchange of two neurons of one copy of one set."""
    for name, neuron_set in graph.neurons.items():
        if not is_trivial(neuron_set.group):
            for copy in np.ndindex(*graph.identity()[name].shape[:-1]):
                for i in range(neuron_set.size):
                    for j in range(i):
                        yield _exchange(graph, name, copy, i, j)


def _exchange(graph: NeuronGraph, name: str, copy: tuple[int, ...], i: int, j: int) -> GroupElement:
    identity = graph.identity()
    images = {other: identity[other] for other in graph.neurons}
    changed = images[name].copy()
    changed[copy][[i, j]] = changed[copy][[j, i]]
    return GroupElement(dict(graph.neurons), images | {name: changed})


@dataclass(frozen=True, slots=True)
class BaseSet:
    """For one neuron set, tensors through which its neurons can be held fixed:
    entries, one after another, by tensor.
    """

    neurons: str
    choices: tuple[tuple[int, ...], ...]


def base_of(graph: NeuronGraph, refiner: Refiner, choices: int) -> list[BaseSet]:
    """Entries that, held fixed, leave the claimed group nothing to move.

    Neuron sets that index most tensors come first (a residual stream: while all its neurons are
    equal, a layer norm hides everything behind it), and parents before children.
    """
    names = [t for t in refiner.state if t in graph.weights]
    held = {name: [t for t in names if name in graph.weights[t].symbols] for name in graph.neurons}
    moved = [n for n, s in graph.neurons.items() if not is_trivial(s.group) and held[n]]
    ordered = sorted(moved, key=lambda n: (len(graph.ancestors(n)), -len(held[n])))
    base_sets = []
    for name in ordered:
        live = [t for t in held[name] if not refiner.dead[refiner.entries_of(t)].all()]
        # Few other symbols: fixing such an entry says little beside this set. Also one tensor of
        # every rank.
        best = sorted(live, key=lambda t: (len(graph.weights[t].symbols), len(graph.shapes[t])))
        spread = [
            next(t for t in best if len(graph.shapes[t]) == r)
            for r in sorted({len(graph.shapes[t]) for t in best})
        ]
        chosen = best[:1] if choices == 1 else list(dict.fromkeys([*spread, *best]))[:choices]
        base_sets.append(
            BaseSet(name, tuple(_fixing_entries(graph, refiner, name, tensor) for tensor in chosen))
        )
    return base_sets


def _fixing_entries(
    graph: NeuronGraph, refiner: Refiner, name: str, tensor: str
) -> tuple[int, ...]:
    """For every neuron of a set but the last of each copy, an entry
    of the tensor that it indexes.
    """
    numbers = refiner.entries_of(tensor).reshape(graph.shapes[tensor])
    entries = []
    for copy in np.ndindex(*graph.identity()[name].shape[:-1]):
        for i in range(graph.neurons[name].size - 1):
            moved = graph.act(_exchange(graph, name, copy, i, i + 1), {tensor: numbers})[tensor]
            entries += [int(e) for e in numbers[moved != numbers] if not refiner.dead[e]][:1]
    return tuple(entries)
