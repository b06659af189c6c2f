"""The neuron-permutation graph: an architecture's neuron sets, and
the tensors whose axes they index.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from symnet.display import Displayed
from symnet.errors import FileError, GraphError, NotationError, TooLargeError
from symnet.files import read_text, shown, write_file
from symnet.graph.action import act_on_tensor
from symnet.graph.arguments import (
    check_action,
    check_aliases,
    check_declaration,
    check_new_groups,
    check_new_names,
    check_same_neurons,
    check_same_size,
    check_set,
    check_tensor_names,
    chosen_sets,
    fitting_tensor,
    make_generator,
    tensor_names,
)
from symnet.graph.elements import (
    GroupElement,
    generating_elements,
    identity_element,
    random_element,
)
from symnet.graph.networkx_form import networkx_form
from symnet.graph.neuron_sets import NeuronSet, check_neurons
from symnet.graph.notation import Axes, print_axes, rename_symbols
from symnet.graph.space import Space
from symnet.graph.text_form import UNMARKED, print_file, print_graph, read_graph, shows_its_end
from symnet.groups import Group, lie_dimension

if TYPE_CHECKING:
    import networkx

# What `inputs=` and `outputs=` take: axis notation by name, names of the graph's tensors, or all of
# them.
SpaceLike = Mapping[str, str] | Iterable[str] | Space | None


def require_graph(value: object, who: str) -> NeuronGraph:
    """The value, if it is a graph.

    Raises:
        GraphError: it is something else.
    """
    if not isinstance(value, NeuronGraph):
        raise GraphError(
            f"{who} got {value!r:.60} where a graph is expected. Declare sn.NeuronGraph(...), "
            "take one of sn.catalogue, or trace a module: sn.trace(model, inputs)."
        )
    return value


class NeuronGraph(Displayed):
    """The symmetry of an architecture (immutable).

    Args:
        neurons: neuron sets by name: a group, or a ``NeuronSet`` with parents.
        tensors: axis notation by tensor name, keyed like the network's ``state_dict``.
        aliases: further names of tied tensors: ``{"decoder.weight": "encoder.weight"}``.
        notes: why pinned axes are pinned (written by ``trace``; not part of the graph's identity).

    Raises:
        GraphError: the parts do not fit together.
        NotationError: an axis cannot be read.

    Example:
        >>> from symnet.groups import Fixed, Symmetric
        >>> graph = NeuronGraph(
        ...     neurons={"in": Fixed(2), "h": Symmetric(3)},
        ...     tensors={"0.weight": "h in", "0.bias": "h"},
        ... )
        >>> graph.shapes["0.weight"], graph.order
        ((3, 2), 6)
    """

    def __init__(
        self,
        neurons: Mapping[str, Group | NeuronSet],
        tensors: Mapping[str, str | Axes],
        *,
        aliases: Mapping[str, str] | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        aliases = aliases or {}
        check_declaration(neurons, tensors, aliases, notes)
        self.neurons: Mapping[str, NeuronSet] = MappingProxyType(check_neurons(neurons))
        check_tensor_names((*tensors, *aliases))
        self.weights = Space(self.neurons, tensors)
        self.aliases: Mapping[str, str] = MappingProxyType(dict(aliases))
        check_aliases(self.aliases, self.weights)
        self.notes: tuple[str, ...] = tuple(notes)

    # ---- what it holds ---------------------------------------------------------------------------
    @property
    def tensors(self) -> Mapping[str, str]:
        """Axis notation by tensor name."""
        return MappingProxyType(
            {name: print_axes(tensor.axes) for name, tensor in self.weights.items()}
        )

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape by tensor name."""
        return MappingProxyType({name: tensor.shape for name, tensor in self.weights.items()})

    def ancestors(self, name: str) -> tuple[str, ...]:
        """All sets over which this one has independent copies, parents before children."""
        check_set(name, self.neurons)
        return self.weights.ancestors[name]

    @cached_property
    def order(self) -> int | float:
        """Exact order of the group: ``prod_v |G_v| ** (product of the sizes of v's ancestors)``;
        ``math.inf`` if continuous.
        """
        if self.dimension:  # asked first: the orders of finite sets may be too long to multiply out
            return math.inf
        orders = [
            neuron_set.group.order ** self._copies(name)
            for name, neuron_set in self.neurons.items()
        ]
        return math.prod(orders)

    @cached_property
    def dimension(self) -> int:
        """Lie dimension of the group, the number of its continuous
        parameters: 0 for finite groups.
        """
        return sum(
            lie_dimension(one.group) * self._copies(name) for name, one in self.neurons.items()
        )

    def _copies(self, name: str) -> int:
        return math.prod(self.neurons[a].size for a in self.ancestors(name))

    def space(self, tensors: SpaceLike = None) -> Space:
        """A space over this graph's neurons.

        Args:
            tensors: axis notation by name; or names of the graph's tensors; ``None`` for all of
                them.
        """
        if tensors is None:
            return self.weights
        if isinstance(tensors, Space):
            check_same_neurons(tensors, self.neurons)
            return tensors
        if isinstance(tensors, Mapping):
            return Space(self.neurons, cast(Mapping[str, str], tensors))
        names = tensor_names(tensors, self.weights)
        return Space(self.neurons, {name: self.weights[name].axes for name in names})

    # ---- the group -------------------------------------------------------------------------------
    def identity(self) -> GroupElement:
        """The element that moves nothing."""
        return identity_element(self.neurons)

    def random_element(
        self, seed: int | np.random.Generator | None = None, *, only: Collection[str] | None = None
    ) -> GroupElement:
        """A uniform element; with ``only``, of the subgroup that moves these neuron sets alone.

        Of groups that have no uniform elements well conditioned ones: scales between 1/e and e,
        invertible matrices with singular values between these.
        """
        return random_element(self.neurons, make_generator(seed), chosen_sets(only, self.neurons))

    def generators(self) -> Iterator[tuple[str, GroupElement]]:
        """Generators of the whole group with their names: every
        generator of every copy of every set.
        """
        return generating_elements(self.neurons)

    def act(
        self,
        element: GroupElement,
        tensors: Mapping[str, Any],
        batch_dims: int = 0,
        *,
        space: SpaceLike = None,
    ) -> dict[str, Any]:
        """``g.x``: every tensor with its axes permuted, ``(g.x)[g(i)] = x[i]``,
        and scaled or mixed by their degrees.

        Args:
            element: an element of this graph's group.
            tensors: arrays or torch tensors ``(*batch, *axes, *channels)``, any subset of the
                space's names.
            batch_dims: how many leading dims each tensor has before its axes.
            space: what the tensors are, if not the graph's own (as in ``graph.space``).

        Raises:
            ShapeError: an unknown name, or a shape that does not fit.
        """
        check_action(element, tensors, batch_dims, self.neurons)
        where = self.space(space)
        moved = {}
        for name, array in tensors.items():
            key = self.aliases.get(name, name)
            tensor = fitting_tensor(name, key, array, where, batch_dims)
            moved[name] = act_on_tensor(element, tensor, array, batch_dims)
        return moved

    # ---- new graphs, text, files -----------------------------------------------------------------
    def with_groups(self, groups: Mapping[str, Group | NeuronSet]) -> NeuronGraph:
        """The same network under other assumptions: a new graph with some sets' groups replaced."""
        check_new_groups(groups, self.neurons)
        changed: dict[str, Group | NeuronSet] = dict(self.neurons)
        for name, group in groups.items():
            old = self.neurons[name]
            new = group if isinstance(group, NeuronSet) else NeuronSet(group, old.over)
            check_same_size(name, old, new)
            changed[name] = new
        axes = {name: tensor.axes for name, tensor in self.weights.items()}
        return NeuronGraph(changed, axes, aliases=self.aliases, notes=self.notes)

    def rename(self, names: Mapping[str, str]) -> NeuronGraph:
        """The same graph with some neuron sets under other names.

        Args:
            names: new names by old ones; sets that are not named keep theirs.

        Raises:
            GraphError: an unknown set, a name that cannot stand in notation, or one that two sets
                would have.

        Example:
            >>> from symnet.groups import Symmetric
            >>> graph = NeuronGraph({"h": Symmetric(3)}, {"bias": "h"})
            >>> graph.rename({"h": "hidden"}).tensors["bias"]
            'hidden'
        """
        check_new_names(names, self.neurons)
        renamed: dict[str, Group | NeuronSet] = {
            names.get(name, name): NeuronSet(old.group, tuple(names.get(p, p) for p in old.over))
            for name, old in self.neurons.items()
        }
        axes = {
            name: tuple(rename_symbols(axis, names) for axis in tensor.axes)
            for name, tensor in self.weights.items()
        }
        return NeuronGraph(renamed, axes, aliases=self.aliases, notes=self.notes)

    def save(self, path: str | Path) -> None:
        """Write the text form to a file (``symnet.load`` reads it)."""
        write_file(path, print_file(str(self)))

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Neuron sets and tensors as nodes (attribute ``kind``); edges from tensor to set
        (attribute ``axis``) and from a child set to its parents (attribute ``over=True``).
        """
        return networkx_form(self.neurons, self.weights)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NeuronGraph):
            return NotImplemented
        return self.weights == other.weights and dict(self.aliases) == dict(other.aliases)

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.neurons)), tuple(sorted(self.weights))))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (str(self), self.notes)

    def __repr__(self) -> str:
        return print_graph(
            self.neurons, {name: t.axes for name, t in self.weights.items()}, self.aliases
        )


def parse(text: str) -> NeuronGraph:
    """The graph that a text form declares; ``parse(str(graph)) == graph``.

    Raises:
        NotationError: malformed text; names the line and column.
        GraphError: well-formed text that declares no graph.
    """
    if not isinstance(text, str):
        raise NotationError(
            f"parse got a {type(text).__name__}; it reads the text of a graph. Files are read by "
            "sn.load."
        )
    return _rebuild(text, ())


def load(path: str | Path) -> NeuronGraph:
    """The graph in a file written by ``graph.save`` or by hand.

    Raises:
        FileError: the file cannot be read.
        NotationError: it is no UTF-8 text, has been cut off, or is malformed; names the file, the
            line and the column.
        GraphError: a well-formed text that declares no graph; names the file.
    """
    try:
        text = read_text(path)
    except FileError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise NotationError(
                f"{shown(path)} is no UTF-8 text, so no graph that graph.save wrote."
            ) from error
        raise
    try:
        return _rebuild(text, () if shows_its_end(text) else (f"{path}: {UNMARKED}",))
    except (NotationError, GraphError, TooLargeError) as error:
        raise type(error)(f"{shown(path)}, {error}") from None


def _rebuild(text: str, notes: tuple[str, ...]) -> NeuronGraph:
    neurons, tensors, aliases = read_graph(text)
    return NeuronGraph(neurons, tensors, aliases=aliases, notes=notes)
