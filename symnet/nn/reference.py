"""The slow twins of ``Linear`` and ``Product``: dense matrices from
orbit labels. They never see a plan.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import Space
from symnet.nn.coefficients import bias_coefficients, coefficients, product_coefficients
from symnet.nn.features import Features, check_features
from symnet.nn.linear import Linear
from symnet.nn.product import Product
from symnet.sharing import BilinearMaps, EquivariantMaps, SharingPattern


class DenseLinear(nn.Module):
    """An equivariant linear layer as dense matrices: exact, slow, and
    written from the theory alone.

    Every orbit of index pairs has the weight
    ``sum over diagrams that contain it, coefficient * scale``, a diagram's scale being one over the
    number of entries it averages; the matrix is the orbits' weights looked up by the orbit labels.
    Where a group mixes neurons, and there are no orbits, it is the sum of the diagrams as matrices.
    Parameters are those of the layer it is made from.

    Args:
        maps: the derivation.
        coefficients: for every coupled pair (output, input) the diagrams' coefficients
            ``(dimension, c_in, c_out)``.
        biases: for every output the bias diagrams' coefficients ``(bias dimension, 1, c_out)``, or
            None.
    """

    def __init__(
        self,
        maps: EquivariantMaps,
        coefficients: Mapping[tuple[str, str], Tensor],
        biases: Mapping[str, Tensor] | None,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = maps.inputs, maps.outputs
        self.pairs = list(maps.pairs())
        self._number = {pair: number for number, pair in enumerate(self.pairs)}
        self.weights = nn.ParameterList(
            [nn.Parameter(coefficients[pair].detach().clone()) for pair in self.pairs]
        )
        self.biases = None
        if biases is not None:
            self.biases = nn.ParameterList(
                [nn.Parameter(biases[s].detach().clone()) for s in self.outputs]
            )
        constant = EquivariantMaps(Space(self.outputs.neurons, {"constant": ""}), self.outputs)
        every = [*self.weights, *(self.biases or ())]
        self._channels = (
            (self.weights[0].shape[1] if self.pairs else None),
            (every[0].shape[2] if every else 1),
        )
        self._lookup = [_lookups(maps.between(s, t)) for s, t in self.pairs]
        self._bias_lookup = [_lookups(constant.between(s, "constant")) for s in self.outputs]

    @classmethod
    def from_layer(cls, layer: Linear) -> DenseLinear:
        """The twin of a layer, with a copy of its parameters.

        Raises:
            ShapeError: this is no ``Linear``.
            TooLargeError: the matrices would not fit.
        """
        if not isinstance(layer, Linear):
            raise ShapeError(
                f"DenseLinear.from_layer got a {type(layer).__name__}; it takes a sn.nn.Linear."
            )
        return cls(layer.maps, coefficients(layer), bias_coefficients(layer))

    def matrix(self, output: str, input: str) -> Tensor:
        """The dense map ``(output size, input size, c_in, c_out)``."""
        number = self._number[output, input]
        return _dense(self.weights[number], self._lookup[number])

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_features(
            x, self.inputs, "DenseLinear got", self._channels[0], like=next(self.parameters(), None)
        )
        batch = next(iter(x.values())).shape[0]
        result: Features = {}
        for number, (s, tensor) in enumerate(self.outputs.items()):
            some = next(iter(x.values()))
            total = some.new_zeros(batch, tensor.size, self._channels[1])
            for t in self.inputs:
                if (s, t) not in self._number:
                    continue
                flat = x[t].reshape(batch, self.inputs[t].size, x[t].shape[-1])
                total = total + torch.einsum("bjc,ijcd->bid", flat, self.matrix(s, t))
            if self.biases is not None:
                total = total + _dense(self.biases[number], self._bias_lookup[number])[:, 0, 0, :]
            result[s] = total.reshape(batch, *tensor.shape, total.shape[-1])
        return result


class DenseProduct(nn.Module):
    """A product layer as dense arrays ``(output, left, right)``: exact,
    slow, and written from the theory alone.

    It multiplies every entry of one tensor with every entry of the other, and applies a
    :class:`DenseLinear`'s matrix, with the coefficients of the layer's diagrams and zero for the
    others.

    Args:
        maps: the derivation.
        coefficients: for every pair (output, product) the diagrams' coefficients
            ``(maps, products of channels, c_out)``.
        paired: whether channel k is multiplied with channel k alone.
    """

    def __init__(
        self, maps: BilinearMaps, coefficients: Mapping[tuple[str, str], Tensor], *, paired: bool
    ) -> None:
        super().__init__()
        self.maps, self.paired = maps, paired
        self._number = {pair: number for number, pair in enumerate(coefficients)}
        self.weights = nn.ParameterList(
            [nn.Parameter(values.detach().clone()) for values in coefficients.values()]
        )
        self._lookup = []
        for s, a, b in maps.triples():
            numbers = [k for p in maps.placed(s, a, b) for k in range(p.offset, p.offset + p.count)]
            lookups = _lookups(maps.between(s, a, b))
            self._lookup.append([(labels, change[numbers]) for labels, change in lookups])

    @classmethod
    def from_layer(cls, layer: Product) -> DenseProduct:
        """The twin of a layer, with a copy of its parameters.

        Raises:
            ShapeError: this is no ``Product``.
            TooLargeError: the arrays would not fit.
        """
        if not isinstance(layer, Product):
            raise ShapeError(
                f"DenseProduct.from_layer got a {type(layer).__name__}; it takes a sn.nn.Product."
            )
        return cls(layer.maps, product_coefficients(layer), paired=layer.channels == "same")

    def array(self, output: str, left: str, right: str) -> Tensor:
        """The dense map ``(output size, left size, right size, products of channels, c_out)``."""
        number = self._number[output, f"{left} * {right}"]
        matrix = _dense(self.weights[number], self._lookup[number])
        sizes = self.maps.left[left].size, self.maps.right[right].size
        return matrix.reshape(len(matrix), *sizes, *matrix.shape[2:])

    def forward(self, x: Mapping[str, Tensor], y: Mapping[str, Tensor] | None = None) -> Features:
        y = x if y is None else y
        batch = next(iter(x.values())).shape[0]
        result: Features = {}
        for s, a, b in self.maps.triples():
            left, right = (z[n].reshape(batch, -1, z[n].shape[-1]) for z, n in ((x, a), (y, b)))
            equation = "bic,bjc->bijc" if self.paired else "bic,bjd->bijcd"
            products = torch.einsum(equation, left, right).flatten(3)
            term = torch.einsum("bijc,oijcd->bod", products, self.array(s, a, b).to(products))
            term = term.reshape(batch, *self.maps.outputs[s].shape, term.shape[-1])
            result[s] = result[s] + term if s in result else term
        return {s: result[s] for s in self.maps.outputs}


# Labels of all entries (-1 for none), and the change of basis from the parameters to the labels.
Lookup = tuple[Tensor, Tensor]


def _dense(weights: Tensor, lookups: list[Lookup]) -> Tensor:
    total = weights.new_zeros(())
    for labels, change in lookups:
        by_label = torch.einsum("po,pcd->ocd", change.to(weights), weights)
        # The label -1 of entries that must vanish reads the zero at the end.
        padded = torch.cat([by_label, by_label.new_zeros(1, *by_label.shape[1:])])
        total = total + padded[labels.to(weights.device)]
    return total


def _lookups(pattern: SharingPattern) -> list[Lookup]:
    """Orbit labels and the change from diagrams to orbits; without orbits, the
    labels of every diagram and its scale.
    """
    if pattern.has_orbits:
        return [_labels_and_change(pattern)]
    none = torch.full((pattern.output.size, pattern.input.size), -1)
    # the shape, where no diagram is left
    lookups = [(none, torch.zeros(pattern.dimension, 0, dtype=torch.float64))]
    for placed in pattern.diagrams:
        entries = pattern.entries(placed)
        change = torch.zeros(pattern.dimension, placed.count, dtype=torch.float64)
        change[placed.offset : placed.offset + placed.count] = (
            torch.eye(placed.count, dtype=torch.float64) / placed.diagram.input.dropped_size
        )
        lookups.append(
            (torch.from_numpy(np.where(entries >= 0, entries - placed.offset, -1)), change)
        )
    return lookups


def _labels_and_change(pattern: SharingPattern) -> tuple[Tensor, Tensor]:
    """Orbit labels, and the change of basis ``(dimension, dimension)``
    from diagrams to orbit indicators.

    Every diagram is evaluated at one index pair of every orbit: being equivariant, it is constant
    on orbits.
    """
    labels = pattern.labels()
    orbits_found, first = np.unique(labels, return_index=True)
    first = first[orbits_found >= 0]
    rows, columns = np.divmod(first, max(labels.shape[1], 1))
    change = np.zeros((pattern.dimension, pattern.dimension))
    for placed in pattern.diagrams:
        parameter = pattern.evaluate(placed, rows, columns)
        orbits = np.flatnonzero(parameter >= 0)
        change[parameter[orbits], orbits] += 1 / placed.diagram.input.dropped_size
    return torch.from_numpy(labels), torch.from_numpy(change)
