"""Elements of a graph's group: one permutation per neuron set and per combination of its ancestors' values."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from symnet.errors import GroupError, TooLargeError
from symnet.graph.neuron_sets import NeuronSet, ancestors_of
from symnet.groups import SignedSymmetric, is_signed

ELEMENT_LIMIT = 2**28  # images of one element, 8 bytes each


def in_order(neurons: Mapping[str, NeuronSet]) -> tuple[str, ...]:
    """Neuron sets with parents before children."""
    ancestors = ancestors_of(neurons)
    found: dict[str, None] = {}
    for name in neurons:
        found.update(dict.fromkeys((*ancestors[name], name)))
    return tuple(found)


class GroupElement:
    """An element of the group of a neuron-permutation graph.

    For every neuron set, int64 images of shape ``(*ancestor sizes, n)``: neuron ``j`` of the copy at
    ancestor values ``a`` (the values *before* the permutation) goes to neuron ``images[a][j]`` of the copy
    at the permuted ancestors. For a signed set also signs of the same shape, by which neuron j's weights are multiplied.

    ``g @ h`` is first h, then g; ``g.inverse()`` undoes g; ``g == h`` compares exactly.
    """

    __slots__ = ("_images", "_signs", "neurons")

    def __init__(
        self,
        neurons: Mapping[str, NeuronSet],
        images: Mapping[str, np.ndarray],
        signs: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.neurons = dict(neurons)
        self._signs = _checked_signs(neurons, signs or {})
        kept = {}
        for name, shape in image_shapes(neurons).items():
            given = np.asarray(images[name], dtype=np.int64)
            if given.shape != shape or not np.array_equal(
                np.sort(given, -1), np.broadcast_to(np.arange(shape[-1]), shape)
            ):
                raise GroupError(
                    f"The element's images of '{name}' have shape {given.shape}; expected permutations of shape {shape} "
                    "(ancestor sizes, then one image per neuron)."
                )
            kept[name] = given.copy()
            kept[name].flags.writeable = False
        self._images = kept

    def __getitem__(self, name: str) -> np.ndarray:
        """Images of a neuron set: int64 ``(*ancestor sizes, n)``, read-only."""
        return self._images[name]

    def signs(self, name: str) -> np.ndarray | None:
        """Signs of a signed neuron set: int64 of 1 and -1, read-only; None for other sets."""
        return self._signs.get(name)

    def inverse(self) -> GroupElement:
        """The element that undoes this one."""
        result, signs = {}, {}
        for name, copies, images in self._moved():
            inverted = np.empty_like(images)
            np.put_along_axis(inverted, images, np.broadcast_to(np.arange(images.shape[-1]), images.shape), -1)
            # The copy at ancestors a has moved to g(a): its inverse is stored there.
            placed = np.empty_like(images)
            placed[copies] = inverted
            result[name] = placed
            if (own := self.signs(name)) is not None:
                moved = np.empty_like(own)
                moved[copies] = np.take_along_axis(own, inverted, axis=-1)
                signs[name] = moved
        return GroupElement(self.neurons, result, signs)

    def __matmul__(self, first: GroupElement) -> GroupElement:
        if not isinstance(first, GroupElement) or first.neurons != self.neurons:
            raise GroupError("Only elements of the same graph's group can be composed.")
        result, signs = {}, {}
        for name, copies, images in first._moved():
            result[name] = np.take_along_axis(self[name][copies], images, axis=-1)
            ours, theirs = self.signs(name), first.signs(name)
            if ours is not None and theirs is not None:
                signs[name] = theirs * np.take_along_axis(ours[copies], images, axis=-1)
        return GroupElement(self.neurons, result, signs)

    def _moved(self) -> Iterator[tuple[str, tuple[np.ndarray, ...], np.ndarray]]:
        """For every neuron set, the images of its ancestors' values (index arrays) and its own images."""
        ancestors = ancestors_of(self.neurons)
        for name in in_order(self.neurons):
            sizes = [self.neurons[ancestor].size for ancestor in ancestors[name]]
            values = dict(zip(ancestors[name], np.indices(sizes), strict=True))
            yield name, tuple(self.image(a, values) for a in ancestors[name]), self[name]

    def image(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Images of ``values[name]``, the ancestors' values being given beside it (arrays that broadcast)."""
        at = tuple(values[ancestor] for ancestor in ancestors_of(self.neurons)[name])
        return self[name][(*at, values[name])]

    def sign(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray | int:
        """Signs at ``values[name]``, the ancestors' values being given beside it; 1 for sets without signs."""
        if (signs := self.signs(name)) is None:
            return 1
        at = tuple(values[ancestor] for ancestor in ancestors_of(self.neurons)[name])
        return signs[(*at, values[name])]

    def moves(self, name: str) -> bool:
        """Whether some neuron of this set goes elsewhere or changes its sign."""
        if (signs := self.signs(name)) is not None and (signs < 0).any():
            return True
        return not np.array_equal(self[name], np.broadcast_to(np.arange(self[name].shape[-1]), self[name].shape))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GroupElement):
            return NotImplemented
        return (
            self.neurons == other.neurons
            and all(np.array_equal(self[n], other[n]) for n in self.neurons)
            and all(np.array_equal(self._signs[n], other._signs[n]) for n in self._signs)
        )

    def __hash__(self) -> int:
        images = tuple((name, self[name].tobytes()) for name in sorted(self.neurons))
        return hash((images, tuple((name, self._signs[name].tobytes()) for name in sorted(self._signs))))

    def __repr__(self) -> str:
        moved = [name for name in self.neurons if self.moves(name)]
        return f"GroupElement(moves {', '.join(moved) if moved else 'nothing'})"


def _checked_signs(neurons: Mapping[str, NeuronSet], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Signs of every signed set, 1 where none are given."""
    shapes = image_shapes(neurons)
    found = {}
    for name, neuron_set in neurons.items():
        if not is_signed(neuron_set.group):
            if name in given:
                raise GroupError(f"The element has signs for '{name}', whose group {neuron_set.group!r:.60} has none.")
            continue
        signs = np.array(given.get(name, np.ones(shapes[name])), dtype=np.int64)
        if signs.shape != shapes[name] or not np.isin(signs, (1, -1)).all():
            raise GroupError(
                f"The element's signs of '{name}' have shape {signs.shape}; expected 1 and -1 of shape {shapes[name]}."
            )
        signs.flags.writeable = False
        found[name] = signs
    return found


def image_shapes(neurons: Mapping[str, NeuronSet]) -> dict[str, tuple[int, ...]]:
    """Shape of every neuron set's images: ancestor sizes, then the set's own."""
    ancestors = ancestors_of(neurons)
    return {name: (*(neurons[a].size for a in ancestors[name]), neurons[name].size) for name in in_order(neurons)}


def check_size(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless an element fits.

    Raises:
        TooLargeError: with the largest set and the size it would take.
    """
    entries = sum(math.prod(shape) for shape in shapes.values())
    if entries > ELEMENT_LIMIT:
        name = max(shapes, key=lambda name: math.prod(shapes[name]))
        raise TooLargeError(
            f"An element of this group is {entries} numbers, {8 * entries / 2**30:.3g} GiB; the limit is "
            f"{8 * ELEMENT_LIMIT / 2**30:.3g} GiB. Most belong to the neuron set '{name}' of {math.prod(shapes[name])}; look at "
            "the same architecture with narrower sets."
        )


def identity_element(neurons: Mapping[str, NeuronSet]) -> GroupElement:
    """The element that moves nothing."""
    shapes = image_shapes(neurons)
    check_size(shapes)
    return GroupElement(neurons, {name: np.broadcast_to(np.arange(s[-1]), s) for name, s in shapes.items()})


def random_element(
    neurons: Mapping[str, NeuronSet], rng: np.random.Generator, only: Collection[str] | None = None
) -> GroupElement:
    """A uniform element of the group; with ``only``, of the subgroup that moves these sets alone."""
    images, signs = {}, {}
    shapes = image_shapes(neurons)
    check_size(shapes)
    for name, shape in shapes.items():
        group, copies = neurons[name].group, math.prod(shape[:-1])
        if only is not None and name not in only:
            images[name] = np.broadcast_to(np.arange(shape[-1]), shape)
            continue
        images[name] = group.random(rng, copies).reshape(shape)
        if isinstance(group, SignedSymmetric):
            signs[name] = group.random_signs(rng, copies).reshape(shape)
    return GroupElement(neurons, images, signs)


def generating_elements(neurons: Mapping[str, NeuronSet]) -> Iterator[tuple[str, GroupElement]]:
    """Generators of the whole group, each with its name: every generator of every copy of every set.

    There are as many as copies times generators; for wide graphs draw ``random_element`` instead.
    """
    shapes = image_shapes(neurons)
    identity = {name: np.broadcast_to(np.arange(s[-1]), s) for name, s in shapes.items()}
    for name, shape in shapes.items():
        for number, generator in enumerate(neurons[name].group.generators):
            for copy in np.ndindex(*shape[:-1]):
                images = identity[name].copy()
                images[copy] = generator
                label = f"{name}{list(copy) if copy else ''}, generator {number}"
                yield label, GroupElement(neurons, identity | {name: images})
        if is_signed(neurons[name].group):
            for copy in np.ndindex(*shape[:-1]):
                signs = np.ones(shape, dtype=np.int64)
                signs[(*copy, 0)] = -1
                yield (
                    f"{name}{list(copy) if copy else ''}, sign of the first neuron",
                    GroupElement(neurons, identity, {name: signs}),
                )
