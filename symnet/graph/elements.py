"""Elements of a graph's group: one matrix per neuron set and per
combination of its ancestors' values.

Most are permutations, perhaps with a multiplier for every neuron, and are kept as images and
multipliers. Those of groups that mix neurons are kept as matrices.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from symnet.errors import GroupError, TooLargeError
from symnet.graph.neuron_sets import NeuronSet, ancestors_of
from symnet.groups import LinearGroup, Scaled, SignedSymmetric, is_linear, is_signed

ELEMENT_LIMIT = 2**28  # images of one element, 8 bytes each


def in_order(neurons: Mapping[str, NeuronSet]) -> tuple[str, ...]:
    """Neuron sets with parents before children."""
    ancestors = ancestors_of(neurons)
    ordered: dict[str, None] = {}
    for name in neurons:
        ordered.update(dict.fromkeys((*ancestors[name], name)))
    return tuple(ordered)


CLOSE = 1e-9  # relative difference up to which products of scales and matrices are the same


class GroupElement:
    """An element of the group of a neuron-permutation graph.

    For every neuron set, int64 images of shape ``(*ancestor sizes, n)``: neuron ``j`` of the copy
    at ancestor values ``a`` (the values *before* the permutation) goes to neuron ``images[a][j]``
    of the copy at the permuted ancestors. For a signed or scaled set also multipliers of the same
    shape, by which neuron j's weights are multiplied; for a set whose group mixes neurons matrices
    ``(*ancestor sizes, n, n)``, by which its copy is multiplied.

    ``g @ h`` is first h, then g; ``g.inverse()`` undoes g; ``g == h`` compares exactly, but scales
    and matrices up to rounding (a relative 1e-9).

    Args:
        neurons: the graph's neuron sets.
        images: for every set; those of sets that mix neurons may be left out.
        multipliers: signs (1 and -1) of signed sets, positive numbers for scaled ones; 1 where none
            are given.
        matrices: of sets that mix neurons; the identity where none are given.

    Raises:
        GroupError: an array has another shape, or is no element of the set's group.
    """

    __slots__ = ("_images", "_matrices", "_moving", "_multipliers", "neurons")

    def __init__(
        self,
        neurons: Mapping[str, NeuronSet],
        images: Mapping[str, np.ndarray],
        multipliers: Mapping[str, np.ndarray] | None = None,
        matrices: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.neurons = dict(neurons)
        self._multipliers = _checked_multipliers(neurons, multipliers or {})
        self._matrices = _checked_matrices(neurons, matrices or {})
        kept = {}
        for name, shape in image_shapes(neurons).items():
            still = np.broadcast_to(np.arange(shape[-1]), shape)
            mixes = is_linear(neurons[name].group)
            image = np.asarray(images.get(name, still) if mixes else images[name], dtype=np.int64)
            if image.shape != shape or not np.array_equal(
                image if mixes else np.sort(image, -1), still
            ):
                raise GroupError(
                    f"The element's images of '{name}' have shape {image.shape}; expected "
                    f"permutations of shape {shape} (ancestor sizes, then one image per "
                    f"neuron){', none of which moves: give matrices' if mixes else ''}."
                )
            kept[name] = image.copy()
            kept[name].flags.writeable = False
        self._images = kept
        self._moving: dict[str, bool] = {}  # filled as it is asked for: acting asks many times

    def __getitem__(self, name: str) -> np.ndarray:
        """Images of a neuron set: int64 ``(*ancestor sizes, n)``, read-only."""
        return self._images[name]

    def signs(self, name: str) -> np.ndarray | None:
        """Signs of a signed neuron set: int64 of 1 and -1, read-only; None for other sets."""
        return self._multipliers[name] if is_signed(self.neurons[name].group) else None

    def multipliers(self, name: str) -> np.ndarray | None:
        """Signs of a signed neuron set, positive float64 scales of a scaled
        one, read-only; None for other sets.
        """
        return self._multipliers.get(name)

    def matrices(self, name: str, degree: int = 1) -> np.ndarray | None:
        """Matrices of a set whose group mixes neurons, float64
        ``(*ancestor sizes, n, n)``; None for other sets.

        Those by which strands of a degree are multiplied: of the dual, the inverse, transposed.
        """
        if (matrices := self._matrices.get(name)) is None or degree == 1:
            return matrices
        return np.swapaxes(np.linalg.inv(matrices), -1, -2)

    def inverse(self) -> GroupElement:
        """The element that undoes this one."""
        images, multipliers, matrices = {}, {}, {}
        for name, copies, image in self._moved():
            inverted = np.empty_like(image)
            np.put_along_axis(
                inverted, image, np.broadcast_to(np.arange(image.shape[-1]), image.shape), -1
            )
            # The copy at ancestors a has moved to g(a): its inverse is stored there.
            images[name] = _placed(copies, inverted)
            if (factors := self.multipliers(name)) is not None:
                undone = factors if factors.dtype == np.int64 else 1 / factors
                multipliers[name] = _placed(copies, np.take_along_axis(undone, inverted, axis=-1))
            if (matrix := self.matrices(name)) is not None:
                matrices[name] = _placed(copies, np.linalg.inv(matrix))
        return GroupElement(self.neurons, images, multipliers, matrices)

    def __matmul__(self, first: GroupElement) -> GroupElement:
        if not isinstance(first, GroupElement) or first.neurons != self.neurons:
            raise GroupError("Only elements of the same graph's group can be composed.")
        images, multipliers, matrices = {}, {}, {}
        for name, copies, moved in first._moved():
            images[name] = np.take_along_axis(self[name][copies], moved, axis=-1)
            second, factors = self.multipliers(name), first.multipliers(name)
            if second is not None and factors is not None:
                multipliers[name] = factors * np.take_along_axis(second[copies], moved, axis=-1)
            left, right = self.matrices(name), first.matrices(name)
            if left is not None and right is not None:
                matrices[name] = left[copies] @ right
        return GroupElement(self.neurons, images, multipliers, matrices)

    def _moved(self) -> Iterator[tuple[str, tuple[np.ndarray, ...], np.ndarray]]:
        """For every neuron set, the images of its ancestors' values
        (index arrays) and its own images.
        """
        ancestors = ancestors_of(self.neurons)
        for name in in_order(self.neurons):
            sizes = [self.neurons[ancestor].size for ancestor in ancestors[name]]
            values = dict(zip(ancestors[name], np.indices(sizes), strict=True))
            yield name, tuple(self.image(a, values) for a in ancestors[name]), self[name]

    def image(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Images of ``values[name]``, the ancestors' values being given
        beside it (arrays that broadcast).
        """
        at = tuple(values[ancestor] for ancestor in ancestors_of(self.neurons)[name])
        return self[name][(*at, values[name])]

    def multiplier(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray | int:
        """Multipliers at ``values[name]``, the ancestors' values being given
        beside it; 1 for sets without any.
        """
        if (multipliers := self.multipliers(name)) is None:
            return 1
        at = tuple(values[ancestor] for ancestor in ancestors_of(self.neurons)[name])
        return multipliers[(*at, values[name])]

    def moves(self, name: str) -> bool:
        """Whether some neuron of this set goes elsewhere, is multiplied, or mixed with others."""
        if name not in self._moving:
            self._moving[name] = self._is_moving(name)
        return self._moving[name]

    def _is_moving(self, name: str) -> bool:
        if (multipliers := self.multipliers(name)) is not None and (multipliers != 1).any():
            return True
        if (matrices := self.matrices(name)) is not None and (
            matrices != np.eye(matrices.shape[-1])
        ).any():
            return True
        return not np.array_equal(
            self[name], np.broadcast_to(np.arange(self[name].shape[-1]), self[name].shape)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GroupElement):
            return NotImplemented
        return (
            self.neurons == other.neurons
            and all(np.array_equal(self[n], other[n]) for n in self.neurons)
            and all(_close(self._multipliers[n], other._multipliers[n]) for n in self._multipliers)
            and all(_close(self._matrices[n], other._matrices[n]) for n in self._matrices)
        )

    def __hash__(self) -> int:
        images = tuple((name, self[name].tobytes()) for name in sorted(self.neurons))
        # Scales and matrices are compared up to rounding: elements that differ in them alone share
        # a hash.
        signs = (
            (n, m.tobytes()) for n, m in sorted(self._multipliers.items()) if m.dtype == np.int64
        )
        return hash((images, tuple(signs)))

    def __repr__(self) -> str:
        moved = [name for name in self.neurons if self.moves(name)]
        return f"GroupElement(moves {', '.join(moved) if moved else 'nothing'})"


def _placed(copies: tuple[np.ndarray, ...], values: np.ndarray) -> np.ndarray:
    """The values of every copy where that copy has moved to."""
    placed = np.empty_like(values)
    placed[copies] = values
    return placed


def _close(first: np.ndarray, second: np.ndarray) -> bool:
    if first.dtype == np.int64:
        return np.array_equal(first, second)
    return bool(np.abs(first - second).max(initial=0) <= CLOSE * np.abs(first).max(initial=0))


def _checked_multipliers(
    neurons: Mapping[str, NeuronSet], multipliers: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Signs of every signed set and scales of every scaled one, 1 where none are given."""
    shapes = image_shapes(neurons)
    checked = {}
    for name, neuron_set in neurons.items():
        signed = is_signed(neuron_set.group)
        what = "signs" if signed else "scales"
        if not signed and not isinstance(neuron_set.group, Scaled):
            if name in multipliers:
                raise GroupError(
                    f"The element has signs for '{name}', whose group {neuron_set.group!r:.60} "
                    "has none."
                )
            continue
        values = np.array(
            multipliers.get(name, np.ones(shapes[name])), dtype=np.int64 if signed else np.float64
        )
        valid = np.isin(values, (1, -1)) if signed else np.isfinite(values) & (values > 0)
        if values.shape != shapes[name] or not valid.all():
            raise GroupError(
                f"The element's {what} of '{name}' have shape {values.shape}; expected "
                f"{'1 and -1' if signed else 'positive numbers'} of shape {shapes[name]}."
            )
        values.flags.writeable = False
        checked[name] = values
    return checked


def _checked_matrices(
    neurons: Mapping[str, NeuronSet], matrices: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Matrices of every set whose group mixes neurons, the identity where none are given."""
    shapes = image_shapes(neurons)
    checked = {}
    for name, neuron_set in neurons.items():
        group = neuron_set.group
        if not isinstance(group, LinearGroup):
            if name in matrices:
                raise GroupError(
                    f"The element has matrices for '{name}', whose group {group!r:.60} permutes "
                    "neurons."
                )
            continue
        shape = (*shapes[name], group.degree)
        values = np.array(
            matrices.get(name, np.broadcast_to(np.eye(group.degree), shape)), dtype=np.float64
        )
        if values.shape != shape or not np.isfinite(values).all() or not group.holds(values):
            raise GroupError(
                f"The element's matrices of '{name}' have shape {values.shape}; expected "
                f"elements of {group!r} of shape {shape} (ancestor sizes, then a matrix)."
            )
        values.flags.writeable = False
        checked[name] = values
    return checked


def image_shapes(neurons: Mapping[str, NeuronSet]) -> dict[str, tuple[int, ...]]:
    """Shape of every neuron set's images: ancestor sizes, then the set's own."""
    ancestors = ancestors_of(neurons)
    return {
        name: (*(neurons[a].size for a in ancestors[name]), neurons[name].size)
        for name in in_order(neurons)
    }


def element_sizes(neurons: Mapping[str, NeuronSet]) -> dict[str, int]:
    """How many numbers an element keeps of every neuron set."""
    shapes = image_shapes(neurons)
    return {
        n: math.prod(s) * (s[-1] if is_linear(neurons[n].group) else 1) for n, s in shapes.items()
    }


def check_size(neurons: Mapping[str, NeuronSet]) -> None:
    """Raise unless an element fits.

    Raises:
        TooLargeError: with the largest set and the size it would take.
    """
    sizes = element_sizes(neurons)
    entries = sum(sizes.values())
    if entries > ELEMENT_LIMIT:
        name = max(sizes, key=lambda name: sizes[name])
        raise TooLargeError(
            f"An element of this group is {entries} numbers, {8 * entries / 2**30:.3g} GiB; the "
            f"limit is {8 * ELEMENT_LIMIT / 2**30:.3g} GiB. Most belong to the neuron set "
            f"'{name}' of {sizes[name]}; look at the same architecture with narrower sets."
        )


def identity_element(neurons: Mapping[str, NeuronSet]) -> GroupElement:
    """The element that moves nothing."""
    check_size(neurons)
    return GroupElement(neurons, _still(neurons))


def _still(neurons: Mapping[str, NeuronSet]) -> dict[str, np.ndarray]:
    return {name: np.broadcast_to(np.arange(s[-1]), s) for name, s in image_shapes(neurons).items()}


def random_element(
    neurons: Mapping[str, NeuronSet], rng: np.random.Generator, only: Collection[str] | None = None
) -> GroupElement:
    """A random element of the group, uniform where that means something; with
    ``only``, one that moves these sets alone.

    Scales are drawn between 1/e and e, invertible matrices with singular values between these.
    """
    check_size(neurons)
    images, multipliers, matrices = _still(neurons), {}, {}
    for name, still in images.items():
        if only is not None and name not in only:
            continue
        group, copies = neurons[name].group, math.prod(still.shape[:-1])
        if isinstance(group, LinearGroup):
            matrices[name] = group.random_matrices(rng, copies).reshape(*still.shape, group.degree)
            continue
        images[name] = group.random(rng, copies).reshape(still.shape)
        if isinstance(group, SignedSymmetric):
            multipliers[name] = group.random_signs(rng, copies).reshape(still.shape)
        if isinstance(group, Scaled):
            multipliers[name] = group.random_scales(rng, copies).reshape(still.shape)
    return GroupElement(neurons, images, multipliers, matrices)


def generating_elements(neurons: Mapping[str, NeuronSet]) -> Iterator[tuple[str, GroupElement]]:
    """Generators of the whole group, each with its name: every
    generator of every copy of every set.

    There are as many as copies times generators; for wide graphs draw ``random_element`` instead.

    Raises:
        GroupError: the group is continuous, and has no finite set of generators.
    """
    for name, neuron_set in neurons.items():
        if isinstance(neuron_set.group, Scaled | LinearGroup):
            raise GroupError(
                f"The group of '{name}', {neuron_set.group!r}, has no finite set of generators. "
                "Draw elements of it: graph.random_element()."
            )
    identity = _still(neurons)
    for name, still in identity.items():
        group = neurons[name].group
        assert not isinstance(group, LinearGroup)
        copies = list(np.ndindex(*still.shape[:-1]))
        for number, generator in enumerate(group.generators):
            for copy in copies:
                images = still.copy()
                images[copy] = generator
                label = f"{name}{list(copy) if copy else ''}, generator {number}"
                yield label, GroupElement(neurons, identity | {name: images})
        for copy in copies if is_signed(group) else ():
            signs = np.ones(still.shape, dtype=np.int64)
            signs[(*copy, 0)] = -1
            label = f"{name}{list(copy) if copy else ''}, sign of the first neuron"
            yield label, GroupElement(neurons, identity, {name: signs})
