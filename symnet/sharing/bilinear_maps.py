"""Bilinear maps: diagrams between an output and the product of two inputs.

A bilinear map ``B(x, y)`` from tensors a and b to a tensor s is a linear map from the product
``a (x) b``, whose axes are those of a and those of b. So its diagrams are those of the linear maps
from this product, whatever the group is. A diagram is *connected* if its three tensors, those that
have permuted axes, are joined by the neurons that they are demanded to share. The others are
products of an invariant with a linear map, or constants times an invariant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from symnet.errors import GraphError
from symnet.graph.neuron_graph import NeuronGraph, SpaceLike, require_graph
from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.space import Space, TensorSpace
from symnet.groups import is_trivial
from symnet.sharing.diagrams import Diagram
from symnet.sharing.patterns import Term
from symnet.sharing.sharing_pattern import PlacedDiagram, SharingPattern

Connection = Literal["connected", "all"]
Pairs = Iterable[tuple[str, str]]


def term_is_connected(product: Term, split: int, output_is_permuted: bool) -> bool:
    """Whether a diagram is connected, seen from its input side, a term of a product block.

    Args:
        product: the term; its kept parts reach the output.
        split: number of dims of the left factor.
        output_is_permuted: whether the output has permuted axes.
    """
    sides = [{dim >= split for dim in part.dims} for part in product.pattern.parts]
    reached = set().union(*(sides[k] for k in product.kept))
    factors = set().union(*sides)  # those that have permuted axes
    if len(factors) == 2 and {False, True} not in sides:
        return reached == factors
    return bool(reached) == output_is_permuted


@dataclass(frozen=True, eq=False)
class BilinearMaps:
    """Equivariant bilinear maps from two spaces to a third.

    Args:
        left, right, outputs: spaces over the same neurons.
        pairs: (left, right) names of the tensors that are multiplied.
        diagrams: ``"connected"``, or ``"all"`` of them.

    Example:
        >>> import symnet as sn
        >>> from symnet.sharing import derive_bilinear
        >>> graph = sn.NeuronGraph(
        ...     {"i": sn.Symmetric(3), "h": sn.Symmetric(4)}, {"W1": "h i", "b1": "h"}
        ... )
        >>> maps = derive_bilinear(graph, outputs={"": ""}, pairs=[("W1", "b1")])
        >>> maps.dimension  # sum over h of (sum over i of W1[h, i]) b1[h]
        1
    """

    left: Space
    right: Space
    outputs: Space
    pairs: tuple[tuple[str, str], ...]
    diagrams: Connection = "connected"

    @cached_property
    def products(self) -> Space:
        """What the maps are linear maps from: the products of the pairs."""
        return Space.of_products(self.left, self.right, self.pairs)

    @cached_property
    def factors(self) -> dict[str, tuple[str, str]]:
        """(left, right) by the name of the product."""
        return dict(zip(self.products, self.pairs, strict=True))

    @cached_property
    def dimension(self) -> int:
        """Number of maps: of diagrams, with one for every index of
        Fixed axes that they leave free.
        """
        return sum(placed.count for s, a, b in self.triples() for placed in self.placed(s, a, b))

    @property
    def dimension_of_all(self) -> int:
        """Number of all bilinear maps of the pairs, connected or not: orbits of index triples."""
        return sum(self.between(s, a, b).dimension for s, a, b in self.triples())

    @property
    def dimension_by_burnside(self) -> int:
        """The same number by Burnside's lemma."""
        return sum(self.between(s, a, b).dimension_by_burnside for s, a, b in self.triples())

    def triples(self) -> Iterator[tuple[str, str, str]]:
        """(output, left, right) of everything between which there may be maps."""
        return ((s, a, b) for s in self.outputs for a, b in self.pairs)

    def between(self, output: str, left: str, right: str) -> SharingPattern:
        """The linear maps from one product to one output: all diagrams, connected or not."""
        if (left, right) not in self.pairs or output not in self.outputs:
            raise GraphError(
                f"There are no maps from '{left}' and '{right}' to '{output}': the pairs are "
                f"{_listed(self.pairs)}; the outputs {', '.join(self.outputs)}. Call "
                "between(output, left, right)."
            )
        return SharingPattern(
            self.outputs[output], self.products[f"{left} * {right}"], self.outputs.neurons
        )

    def placed(self, output: str, left: str, right: str) -> tuple[PlacedDiagram, ...]:
        """The diagrams among these maps; offsets are those of ``between``."""
        blocks = self.right[right].blocks
        return tuple(
            placed
            for placed in self.between(output, left, right).diagrams
            if self.diagrams == "all"
            or is_connected(
                placed.diagram,
                len(self.left[left].blocks[placed.input_block // len(blocks)].instances),
            )
        )

    def __repr__(self) -> str:
        return (
            f"BilinearMaps({len(self.pairs)} pairs of tensors -> {len(self.outputs)} tensors: "
            f"{self.dimension} {self.diagrams} maps)"
        )


def is_connected(diagram: Diagram, split: int) -> bool:
    """Whether the tensors with permuted axes are joined; ``split`` is
    the number of dims of the left factor.
    """
    return term_is_connected(diagram.input, split, bool(diagram.output.pattern.parts))


def derive_bilinear(
    graph: NeuronGraph,
    *,
    left: SpaceLike = None,
    right: SpaceLike = None,
    outputs: SpaceLike = None,
    pairs: Pairs | None = None,
    diagrams: Connection = "connected",
) -> BilinearMaps:
    """The equivariant bilinear maps from two spaces to a third.

    Args:
        graph: the architecture.
        left, right: what the two arguments are, as in ``derive``; ``right`` defaults to the same as
            ``left``.
        outputs: what comes out (default: the graph's tensors).
        pairs: (left, right) names of the tensors that are multiplied. Default: those that share a
            neuron set that is not Fixed; where both arguments are the same space, every two tensors
            once.
        diagrams: ``"connected"`` ones, or ``"all"``, which has products with invariants too.

    Raises:
        GraphError: a space is not over the graph's neurons, or a pair names a tensor that there is
            not.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 8, 8, 1])
        >>> derive_bilinear(
        ...     graph, outputs={"path": "out h1"}, pairs=[("4.weight", "2.weight")]
        ... ).dimension
        1
    """
    require_graph(graph, "derive_bilinear")
    if diagrams not in ("connected", "all"):
        raise GraphError(f"diagrams={diagrams!r}: choose 'connected' or 'all'.")
    first = graph.space(left)
    second = first if right is None else graph.space(right)
    chosen = (
        tuple(default_pairs(first, second)) if pairs is None else _checked(pairs, first, second)
    )
    return BilinearMaps(first, second, graph.space(outputs), chosen, diagrams)


def default_pairs(left: Space, right: Space) -> Iterator[tuple[str, str]]:
    """Tensors that share a neuron set which can move."""
    number = {name: k for k, name in enumerate(left)}
    for a, one in left.items():
        for b, other in right.items():
            if left == right and number[b] > number[a]:
                continue
            if _moving(one, left.neurons) & _moving(other, right.neurons):
                yield a, b


def _moving(tensor: TensorSpace, neurons: Mapping[str, NeuronSet]) -> set[str]:
    return {name for name in tensor.symbols if not is_trivial(neurons[name].group)}


def _checked(pairs: Pairs, left: Space, right: Space) -> tuple[tuple[str, str], ...]:
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise GraphError(f"pairs={pairs!r:.60}: give a list of (left, right) names of tensors.")
    chosen = list(pairs)
    for pair in chosen:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise GraphError(
                f"pairs= holds {pair!r:.60}; each is (left, right), two names of tensors."
            )
        for name, space, side in zip(pair, (left, right), ("left", "right"), strict=True):
            if name not in space:
                raise GraphError(
                    f"pairs= names {name!r} on the {side}, where the tensors are "
                    f"{', '.join(space)}."
                )
    return tuple(dict.fromkeys((a, b) for a, b in chosen))


def _listed(pairs: tuple[tuple[str, str], ...], most: int = 8) -> str:
    words = [f"('{a}', '{b}')" for a, b in pairs[:most]]
    return ", ".join([*words, "..."][: most + 1] if len(pairs) > most else words) or "none"
