"""join: several neurons become one, the inverse of split."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views, clusters
from symnet.graph.elements import image_shapes
from symnet.graph.neuron_graph import require_graph
from symnet.surgery.cutting import Surgery
from symnet.surgery.outlets import OutgoingLike, Outlets, Place, read_outlets
from symnet.surgery.requests import check_mapping, read_neurons, whole_numbers
from symnet.surgery.selection import (
    Array,
    Selection,
    check_weights,
    each_tensor,
    make_selection,
    take_positions,
)


def join(
    weights: Mapping[str, Array],
    graph: NeuronGraph,
    sets: Mapping[str, Iterable[Sequence[int]]],
    *,
    outgoing: OutgoingLike | None = None,
) -> Surgery:
    """A network in which groups of neurons are one: what reads them is
    added up, everything else averaged.

    Exact for neurons that are equal but for what reads them, as ``widen`` and ``split`` make them;
    else the mean neuron stands for the group. The joined neuron takes the place of the group's
    first.

    Args:
        weights, graph, outgoing: as for ``widen``.
        sets: by neuron set the groups, in all copies alike: ``{"h1": [[0, 3], [1, 4, 5]]}``.

    Raises:
        GraphError: a set that cannot be cut, a neuron in two groups, or what reads the set is not
            clear.
        ShapeError: weights that are not the graph's.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
        >>> joined, smaller = join(weights, graph, {"h1": [[0, 2]]})
        >>> joined["2.weight"], smaller.neurons["h1"]
        (array([[2., 1.]]), NeuronSet(Symmetric(2)))
    """
    require_graph(graph, "surgery.join")
    groups = {
        name: _read_groups(graph, name, groups_of_set)
        for name, groups_of_set in check_mapping(sets, "surgery.join", "{'h1': [[0, 3]]}").items()
    }
    outlets = {name: read_outlets(graph, name, outgoing) for name in groups}
    check_weights(graph, weights)
    result = dict(weights)
    current = graph
    for name, members in groups.items():
        step = _Joining(current, name, members, outlets[name])
        result = {
            n: a if key is None else step.apply(key, a)
            for n, key, a in each_tensor(current, result)
        }
        current = step.selections[0].new
    return Surgery(result, current, graph, None, outlets)


def _read_groups(graph: NeuronGraph, name: str, groups: Iterable[Sequence[int]]) -> list[list[int]]:
    """All neurons of a set in groups, in the order of their first: those
    given, and each other neuron by itself.
    """
    if isinstance(groups, str) or not isinstance(groups, Iterable):
        raise GraphError(
            f"join '{name}' got {groups!r:.60}; list the groups, for instance [[0, 3], [1, 4]]."
        )
    listed_groups = [whole_numbers(name, group, "join").tolist() for group in groups]
    listed = [n for group in listed_groups for n in group]
    read_neurons(graph, name, listed, "join")  # checks that they are there, and none twice
    if any(not group for group in listed_groups):
        raise GraphError(f"join '{name}' got an empty group; list at least two neurons of each.")
    single = [[n] for n in range(graph.neurons[name].size) if n not in set(listed)]
    return sorted([*listed_groups, *single], key=lambda group: group[0])


class _Joining:
    """The matrices that make one set's groups into neurons, on every axis of the set."""

    def __init__(
        self, graph: NeuronGraph, name: str, groups: list[list[int]], outlets: Outlets
    ) -> None:
        self.graph, self.name, self.outlets = graph, name, set(outlets.places)
        shape = image_shapes(graph.neurons)[name]
        most = max(map(len, groups))
        members = [
            [group[k] if k < len(group) else group[0] for group in groups] for k in range(most)
        ]
        self.selections: list[Selection] = [
            make_selection(graph, {name: np.broadcast_to(row, (*shape[:-1], len(groups)))})
            for row in members
        ]
        self.present = np.array([[k < len(group) for group in groups] for k in range(most)])
        self.sizes = np.array([len(group) for group in groups])

    def apply(self, key: str, array: Array) -> Array:
        """One tensor of the joined network."""
        old, new = self.graph.weights[key], self.selections[0].new.weights[key]
        if self.name not in old.symbols:
            return array
        empty = (
            np.empty(new.shape, array.dtype)
            if isinstance(array, np.ndarray)
            else array.new_empty(new.shape)
        )
        for number, (source, target) in enumerate(zip(old.blocks, new.blocks, strict=True)):
            part = apply_views(array, source.views)
            for cluster in clusters(target):
                dims = [dim for dim in cluster if target.instances[dim].symbol == self.name]
                if dims:
                    part = self._join(key, number, cluster, dims, part)
            apply_views(empty, target.views)[...] = part
        return empty

    def _join(
        self, key: str, number: int, cluster: list[int], dims: list[int], part: Array
    ) -> Array:
        """Some dims of a block, every occurrence of the set among them
        summed over the members of each group.
        """
        old, new = (
            self.graph.weights[key].blocks[number],
            self.selections[0].new.weights[key].blocks[number],
        )
        shape = [new.instances[dim].size for dim in cluster]
        total: Array = 0
        for chosen in itertools.product(range(len(self.selections)), repeat=len(dims)):
            by_dim = {dim: self.selections[k] for dim, k in zip(dims, chosen, strict=True)}
            positions = self.selections[0].positions(old, new, cluster, by_dim)
            taken = take_positions(part, cluster, positions, shape)
            for dim, k in zip(dims, chosen, strict=True):
                shares = self.present[k] / (
                    1 if Place(key, number, dim) in self.outlets else self.sizes
                )
                taken = taken * _along(shares, dim, taken)
            total = total + taken
        return total


def _along(factors: np.ndarray, dim: int, array: Array) -> Array:
    """Factors as an array that broadcasts along one dim of another."""
    shaped = factors.reshape([-1 if k == dim else 1 for k in range(array.ndim)])
    if isinstance(array, np.ndarray):
        return shaped.astype(array.dtype)
    import torch  # whoever passes a torch tensor has it loaded

    return torch.from_numpy(shaped).to(device=array.device, dtype=array.dtype)
