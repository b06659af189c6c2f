"""States of networks that are looked at and not copied: a network as it was
given, and one whose neurons are moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import GroupElement, NeuronGraph
from symnet.nn.features import Source


class StateView(Mapping[str, Tensor]):
    """A network's entries, each read when it is asked for; nothing is copied.

    Entries of memory are refused once they were changed, so that what was said of a network stays
    true of what it shows. Entries of files are read again each time.
    """

    def __init__(self, source: Source) -> None:
        self._state = source.state_dict() if isinstance(source, nn.Module) else source
        in_memory = isinstance(self._state, dict)
        self._versions = {name: _version(t) for name, t in self._state.items()} if in_memory else {}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._state[name]
        if name in self._versions and self._versions[name] != _version(tensor):
            raise ShapeError(
                f"Tensor '{name}' was changed in place since the networks were matched. Match "
                "again, or match copies: {name: tensor.clone() for name, tensor in "
                "model.state_dict().items()}."
            )
        return tensor.detach()

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


class MovedState(Mapping[str, Tensor]):
    """The same network with its neurons moved by an element; a tensor
    is moved when it is asked for.
    """

    def __init__(
        self, state: Mapping[str, Tensor], graph: NeuronGraph, element: GroupElement
    ) -> None:
        self._state, self._graph, self._element = state, graph, element

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._state[name]
        if self._graph.aliases.get(name, name) not in self._graph.weights:
            return tensor
        moved: Tensor = self._graph.act(self._element, {name: tensor})[name]
        return moved

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to; 0 where torch does not count."""
    return 0 if not isinstance(tensor, Tensor) or tensor.is_inference() else tensor._version
