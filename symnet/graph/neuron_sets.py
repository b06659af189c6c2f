"""Neuron sets and their partial order: which sets have independent copies over which others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from symnet.errors import GraphError
from symnet.graph.notation import NAME, is_number
from symnet.groups import Group, is_linear

DEPTH_LIMIT = 100  # sets over sets over sets ...


@dataclass(frozen=True, slots=True)
class NeuronSet:
    """Neurons that one group moves together.

    Args:
        group: how the neurons may be permuted, scaled or mixed.
        over: the neuron sets for each of whose elements there is an independent copy of the group
            (the ``dim`` of attention is over the ``head``).

    Example:
        >>> from symnet.groups import Symmetric
        >>> NeuronSet(Symmetric(16), over="head")
        NeuronSet(Symmetric(16), over='head')
    """

    group: Group
    over: tuple[str, ...] = ()

    def __init__(self, group: Group, over: str | Iterable[str] = ()) -> None:
        if not isinstance(group, Group):
            raise GraphError(
                f"NeuronSet got {group!r} as its group; pass a permutation group such as "
                "sn.Symmetric(32), sn.Fixed(2), sn.Cyclic(8) or sn.Generated(3, [[1, 2, 0]]), "
                "or one of more than permutations: sn.SignedSymmetric(32), sn.Scaled(32), "
                "sn.Orthogonal(64), sn.GeneralLinear(8)."
            )
        if not isinstance(over, Iterable) or not all(isinstance(parent, str) for parent in over):
            raise GraphError(
                f"NeuronSet(..., over={over!r:.60}): give the name of a neuron set, or a list of "
                "names."
            )
        parents = (over,) if isinstance(over, str) else tuple(over)
        if len(set(parents)) != len(parents):
            raise GraphError(f"NeuronSet(..., over={parents}) names a parent twice.")
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "over", parents)

    @property
    def size(self) -> int:
        """Number of neurons (in one copy)."""
        return self.group.degree

    def __repr__(self) -> str:
        if not self.over:
            return f"NeuronSet({self.group!r})"
        over = repr(self.over[0]) if len(self.over) == 1 else repr(self.over)
        return f"NeuronSet({self.group!r}, over={over})"


def check_neurons(neurons: Mapping[str, NeuronSet | Group]) -> dict[str, NeuronSet]:
    """Neuron sets by name, plain groups wrapped, names and parents checked."""
    checked: dict[str, NeuronSet] = {}
    for name, value in neurons.items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or is_number(name):
            raise GraphError(
                f"{name!r} cannot name a neuron set: use a word without spaces, quotes or any of "
                "()+:#, that is no number."
            )
        if name[-1] in "*.":
            raise GraphError(
                f"{name!r} cannot name a neuron set: a '*' or '.' at the end of a name marks the "
                "degree of a strand, as in 'h*'."
            )
        checked[name] = value if isinstance(value, NeuronSet) else NeuronSet(value)
    for name, neuron_set in checked.items():
        for parent in neuron_set.over:
            if parent not in checked:
                raise GraphError(
                    f"Neuron set '{name}' is over '{parent}', which is not declared; the neuron "
                    f"sets are {', '.join(checked)}."
                )
            if is_linear(checked[parent].group):
                raise GraphError(
                    f"Neuron set '{name}' is over '{parent}', but {checked[parent].group!r} "
                    f"mixes the neurons of '{parent}', so that none keeps a copy of its own. "
                    f"Declare '{name}' without over='{parent}'."
                )
    ancestors_of(checked)
    return checked


def ancestors_of(neurons: Mapping[str, NeuronSet]) -> dict[str, tuple[str, ...]]:
    """All sets that each set has copies over, parents before children.

    Raises:
        GraphError: a set is, through others, over itself, or over too long a chain.
    """
    done: dict[str, tuple[str, ...]] = {}

    def visit(name: str, path: tuple[str, ...]) -> tuple[str, ...]:
        if name in path:
            raise GraphError(
                f"Neuron sets are over one another in a circle: {' over '.join((*path, name))}."
            )
        if len(path) > DEPTH_LIMIT:
            raise GraphError(
                f"Neuron set '{path[0]}' is over others that are over others, more than "
                f"{DEPTH_LIMIT} deep; that many are not read."
            )
        if name not in done:
            ancestors: dict[str, None] = {}
            for parent in neurons[name].over:
                ancestors.update(dict.fromkeys((*visit(parent, (*path, name)), parent)))
            done[name] = tuple(ancestors)
        return done[name]

    for name in neurons:
        visit(name, ())
    return done
