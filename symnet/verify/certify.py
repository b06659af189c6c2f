"""certify: is a linear layer equivariant, complete and minimal, and if
not, which maps are missing or doubled?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from symnet.display import Displayed
from symnet.errors import VerificationError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.nn.product import Product
from symnet.verify.bilinear import BilinearCertificate, certify_bilinear
from symnet.verify.comparison import check_tolerance, check_whole, make_seed
from symnet.verify.equivariance import Features, copy_function, equivariance, name_of
from symnet.verify.linear_family import MapFamily, express, without_parameters
from symnet.verify.linear_layer import LinearLayer
from symnet.verify.map_coordinates import Coordinates
from symnet.verify.map_words import describe_map
from symnet.verify.ranks import complement, dependencies, rank_of
from symnet.verify.report import Report, entry

_TIED = 1e-9  # largest difference within an orbit, relative to the largest entry


@dataclass(frozen=True)
class Certificate(Displayed):
    """What a linear layer is, with the evidence; true if it is equivariant, complete and minimal.

    Numbers are per pair of channels where a layer has several. ``dimension`` counts the equivariant
    maps (orbits of index pairs; ``dimension_by_burnside`` counts them another way), ``parameters``
    the layer's own (those of biases apart), ``rank`` how many independent maps these express.
    ``missing`` names maps that complete the layer, ``redundant`` the parameters that repeat others,
    both in words; ``tied`` says of every pair of tensors how many of its maps or biases there are.
    ``margin`` is the smallest singular value counted for the rank over the largest not counted. For
    a layer that returns a tensor, each of its features counts as a parameter.
    """

    subject: str
    report: Report
    dimension: int
    dimension_by_burnside: int
    parameters: int | float
    rank: int | float
    missing: tuple[str, ...]
    redundant: tuple[str, ...]
    margin: float
    untied: tuple[str, ...]
    bias_dimension: int
    bias_parameters: int | float
    bias_rank: int | float
    tied: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def equivariant(self) -> bool:
        return self.report.passed and not self.untied

    @property
    def complete(self) -> bool:
        """Whether the layer can express every equivariant linear map."""
        return self.rank == self.dimension

    @property
    def minimal(self) -> bool:
        """Whether no parameter repeats others, of the maps or of the biases."""
        return self.rank >= self.parameters and self.bias_rank >= self.bias_parameters

    @property
    def seed(self) -> int:
        return self.report.seed

    def raise_if_failed(self) -> Certificate:
        """This certificate, if the layer is equivariant, complete and minimal.

        Raises:
            VerificationError: the certificate in words.
        """
        if not self:
            raise VerificationError(str(self))
        return self

    def __bool__(self) -> bool:
        return self.equivariant and self.complete and self.minimal

    def __str__(self) -> str:
        def verdict(holds: bool, word: str) -> str:
            return word if holds else f"NOT {word}"

        verdicts = [
            verdict(self.equivariant, "equivariant"),
            verdict(self.complete, "complete"),
            verdict(self.minimal, "minimal"),
        ]
        lines = [f"{self.subject}: {', '.join(verdicts)}"]
        counts = (
            f"{self.dimension:,} equivariant maps (Burnside's lemma: "
            f"{self.dimension_by_burnside:,}), "
        )
        counts += f"{self.parameters:,} parameters of rank {self.rank:,}{_margin(self.margin)}"
        lines += entry("maps", [counts])
        bias = (
            f"{self.bias_parameters:,} parameters of rank {self.bias_rank:,}"
            if self.bias_parameters
            else "none"
        )
        lines += entry("biases", [f"{bias}; {self.bias_dimension:,} are equivariant"])
        lines += entry("untied", self.untied)
        if not self.report.passed:
            lines += entry(
                "failures",
                [str(failure) for failure in self.report.failures] or self.report.problems,
            )
        lines += entry("tied", self.tied)
        lines += entry("missing", self.missing)
        lines += entry("redundant", self.redundant)
        lines += entry("note", self.notes)
        lines += entry("largest", [f"error of equivariance {self.report.max_error:.2g}"])
        return "\n".join([*lines, f"  {'seed':<9} {self.seed}"])

    __repr__ = __str__


@overload
def certify(
    fn: Product,
    graph: NeuronGraph,
    in_channels: int = 1,
    *,
    seed: int | None = None,
    tolerance: float = 1e-9,
) -> BilinearCertificate: ...


@overload
def certify(
    fn: Callable[[Features], Any],
    graph: NeuronGraph,
    in_channels: int = 1,
    *,
    inputs: SpaceLike = None,
    outputs: SpaceLike = None,
    seed: int | None = None,
    tolerance: float = 1e-9,
) -> Certificate: ...


def certify(
    fn: Any,
    graph: NeuronGraph,
    in_channels: int = 1,
    *,
    inputs: SpaceLike = None,
    outputs: SpaceLike = None,
    seed: int | None = None,
    tolerance: float = 1e-9,
) -> Certificate | BilinearCertificate:
    """A certificate of any linear layer on features: equivariant, complete,
    minimal, or what it misses and repeats.

    A ``sn.nn.Product`` gets the certificate of a bilinear layer (see ``certify_bilinear``).

    The layer is run on every unit vector with every parameter set to one alone (a copy of it, in
    float64), which gives the family of maps that it can express; its rank is compared with the
    number of orbits of index pairs.

    Args:
        fn: from features ``{name: (batch, *axes, in_channels)}`` to features or to a tensor
            ``(batch, features)`` of invariants. A module's trainable parameters are its family; a
            function without any is a single map. For layers on lists or flat vectors see
            ``on_lists`` and ``on_vectors``.
        inputs, outputs: as in ``derive``.

    Raises:
        VerificationError: ``fn`` is not linear in the features, or its rank cannot be decided.
        TooLargeError: the matrices would not fit; certify a narrower instance.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 2])
        >>> certificate = certify(sn.nn.Linear(graph, 1, 1), graph)
        >>> certificate.dimension, certificate.parameters, certificate.rank, bool(certificate)
        (74, 74, 74, True)
    """
    if isinstance(fn, Product):
        return certify_bilinear(fn, graph, seed=seed, tolerance=tolerance)
    check_whole(in_channels=in_channels)
    check_tolerance(tolerance)
    seed = make_seed(seed)
    space = require_graph(graph, "certify").space(inputs)
    copied, module = copy_function(fn)
    layer = LinearLayer(copied, module, space, in_channels, seed)
    names = list(layer.run(layer.draw(1)))
    target = graph.space({"": ""}) if layer.is_invariant else graph.space(outputs)
    layer.check_size(target)
    layer.check_linear()
    report = equivariance(
        fn,
        graph,
        in_channels,
        inputs=inputs,
        outputs=outputs,
        seed=seed,
        tolerance=tolerance,
        may_vanish=True,
    )
    target = Space(target.neurons, {name: target[name].axes for name in names})
    coordinates, constants = (
        Coordinates(space, target),
        Coordinates(Space(target.neurons, {"": ""}), target),
    )
    family = express(layer, coordinates, constants)
    if not family.names or (layer.is_invariant and not _changes(family.maps).any()):
        family = without_parameters(family, coordinates.dimension, layer.is_invariant)
    return _judge(name_of(fn), report, coordinates, constants, family)


def _judge(
    name: str, report: Report, coordinates: Coordinates, constants: Coordinates, family: MapFamily
) -> Certificate:
    moving = _changes(family.maps) if family.names else np.ones(1, bool)
    shifting = _changes(family.biases)
    kept = np.flatnonzero(moving)
    basis = np.kron(coordinates.diagrams(), np.eye(family.pairs))
    rank, bias_rank = rank_of(family.maps[kept]), rank_of(family.biases[shifting])
    words = _words(coordinates, *family.channels)
    idle = (
        [n for n, a, b in zip(family.names, moving, shifting, strict=True) if not a and not b]
        if family.names
        else []
    )
    repeats = dependencies(family.maps[kept], rank.rank)
    coefficients: Any = (
        np.linalg.solve(basis.T, family.maps[kept[[row for row, _ in repeats]]].T).T
        if repeats
        else []
    )
    redundant = [
        _repeat(family.names, kept, *repeat, shares, words)
        for repeat, shares in zip(repeats, coefficients, strict=True)
    ]
    apart = np.flatnonzero(shifting & ~moving) if family.names else np.zeros(0, int)
    alone = rank_of(family.biases[apart])
    redundant += [
        _repeated_bias(family.names, apart, *repeat)
        for repeat in dependencies(family.biases[apart], alone.rank)
    ]
    return Certificate(
        subject=name,
        report=report,
        dimension=coordinates.dimension,
        dimension_by_burnside=coordinates.dimension_by_burnside,
        parameters=_per_pair(len(kept) + len(idle) if family.names else 0, family.pairs),
        rank=_per_pair(rank.rank, family.pairs),
        missing=tuple(words[k] for k in complement(family.maps[kept], basis, rank.rank)),
        redundant=(*redundant, *(f"{parameter} has no effect" for parameter in idle)),
        margin=rank.margin,
        untied=tuple(_untied(family)),
        bias_dimension=constants.dimension,
        bias_parameters=_per_pair(
            int((shifting & ~moving).sum()) if family.names else 0, family.channels[1]
        ),
        bias_rank=_per_pair(bias_rank.rank, family.channels[1]),
        tied=tuple(_tied(coordinates, constants, family)),
        notes=family.notes,
    )


def _tied(coordinates: Coordinates, constants: Coordinates, family: MapFamily) -> Iterator[str]:
    """Maps between two tensors, and biases of one, that the layer ties
    together more than the group does.
    """
    for (s, t), pattern in coordinates.patterns.items():
        start = coordinates.offsets[s, t] * family.pairs
        rows = family.maps[:, start : start + pattern.dimension * family.pairs]
        rank = _per_pair(rank_of(rows[_changes(rows)]).rank, family.pairs)
        if rank < pattern.dimension:
            yield f"from '{t}' to '{s}': {rank} of {pattern.dimension} maps are independent"
    if not family.names or not _changes(family.biases).any():
        return
    for (s, t), pattern in constants.patterns.items():
        start = constants.offsets[s, t] * family.channels[1]
        rows = family.biases[:, start : start + pattern.dimension * family.channels[1]]
        rank = _per_pair(rank_of(rows[_changes(rows)]).rank, family.channels[1])
        if rank < pattern.dimension:
            yield f"biases of '{s}': {rank} of {pattern.dimension} are independent"


def _repeated_bias(
    names: Sequence[str], numbers: np.ndarray, row: int, weights: dict[int, float]
) -> str:
    """A parameter of the bias that repeats others."""
    others = [
        names[numbers[k]] if abs(weight - 1) < 1e-9 else f"{weight:.4g} {names[numbers[k]]}"
        for k, weight in weights.items()
    ]
    shown = " + ".join(others[:4]) + (" + ..." if len(others) > 4 else "")
    return f"{names[numbers[row]]} repeats {shown} (a bias)"


def _changes(rows: np.ndarray) -> np.ndarray:
    """Which rows are not zero."""
    return np.abs(rows).max(1, initial=0) > 1e-12 * np.abs(rows).max(initial=0)


def _untied(family: MapFamily) -> list[str]:
    """Pairs of tensors between which entries of one orbit differ."""
    scale = max(np.abs(family.maps).max(initial=0), np.abs(family.biases).max(initial=0), 1e-300)
    differences = []
    for (s, t), error in family.deviations.items():
        if error > _TIED * scale:
            what = f"the map from '{t}' to '{s}'" if t else f"the bias of '{s}'"
            differences.append(f"{what} has different entries in one orbit (by {error:.2g})")
    return differences


def _words(coordinates: Coordinates, c_in: int, c_out: int) -> list[str]:
    """The diagram basis in words, once for every pair of channels."""
    words = []
    for pattern in coordinates.patterns.values():
        for placed in pattern.diagrams:
            words += [describe_map(pattern, placed, k) for k in range(placed.count)]
    if c_in * c_out == 1:
        return words
    return [
        f"{word}, channel {i} to {o}" for word in words for i in range(c_in) for o in range(c_out)
    ]


def _repeat(
    names: Sequence[str],
    kept: np.ndarray,
    row: int,
    weights: dict[int, float],
    shares: np.ndarray,
    words: list[str],
) -> str:
    """A parameter that repeats others, and the map that it is: its shares of the diagrams."""
    others = " + ".join(
        names[kept[k]] if abs(weight - 1) < 1e-9 else f"{weight:.4g} {names[kept[k]]}"
        for k, weight in weights.items()
    )
    present = np.flatnonzero(np.abs(shares) > 1e-9 * np.abs(shares).max())
    what = (
        words[present[0]]
        if len(present) == 1
        else f"a sum of {len(present)} maps, such as {words[present[0]]}"
    )
    return f"{names[kept[row]]} repeats {others} ({what})"


def _per_pair(count: int, pairs: int) -> int | float:
    return count // pairs if count % pairs == 0 else count / pairs


def _margin(margin: float) -> str:
    return (
        ""
        if np.isinf(margin)
        else f" (the smallest singular value counted is {margin:.0e} times the next)"
    )
