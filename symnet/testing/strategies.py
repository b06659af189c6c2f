"""Strategies that draw declarations and what acts on them, simplest first, so that a failing example shrinks to a readable one."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from symnet.errors import GraphError, NotationError
from symnet.graph import GroupElement, NeuronGraph, NeuronSet, SpaceLike
from symnet.graph.space import Space
from symnet.groups import (
    Cyclic,
    Dihedral,
    Fixed,
    GeneralLinear,
    Generated,
    Group,
    Orthogonal,
    Scaled,
    SignedSymmetric,
    Symmetric,
    is_charged,
    is_linear,
)

# In the order in which Hypothesis prefers them: what fails for a plain set of neurons is shown for a plain set.
GROUPS = ("Symmetric", "Fixed", "Cyclic", "Dihedral", "Generated", "SignedSymmetric")
CONTINUOUS = ("Scaled", "Orthogonal", "GeneralLinear")
EVERY_GROUP = (*GROUPS, *CONTINUOUS)
_SIMPLE: dict[str, Callable[[int], Group]] = {
    "Symmetric": Symmetric,
    "Fixed": Fixed,
    "Cyclic": Cyclic,
    "Dihedral": Dihedral,
    "SignedSymmetric": SignedSymmetric,
    "Scaled": Scaled,
    "GeneralLinear": GeneralLinear,
}


@st.composite
def groups(draw: st.DrawFn, max_size: int = 5, kinds: Sequence[str] = GROUPS) -> Group:
    """A group on 1 to ``max_size`` points: of permutations, or with ``kinds=EVERY_GROUP`` a continuous one too.

    Args:
        kinds: names of the classes to draw from, the simplest first. ``Generated`` draws up to two generators, also
            intransitive ones; ``Orthogonal`` also those that fix the mean.

    Shrinks to the first kind on one point.

    Example:
        >>> from hypothesis import find
        >>> find(groups(), lambda group: group.order > 2)
        Symmetric(3)
    """
    if unknown := [kind for kind in kinds if kind not in EVERY_GROUP]:
        raise GraphError(
            f"groups(kinds=...) names {unknown}; choose among {', '.join(EVERY_GROUP)}."
        )
    size = draw(st.integers(1, max_size))
    kind = draw(st.sampled_from(list(kinds)))
    if kind == "Generated":
        return Generated(size, draw(st.lists(st.permutations(range(size)), max_size=2)))
    if kind == "Orthogonal":
        return Orthogonal(size, draw(st.booleans()))
    return _SIMPLE[kind](size)


@st.composite
def graphs(
    draw: st.DrawFn,
    max_sets: int = 4,
    max_size: int = 5,
    max_tensors: int = 3,
    max_entries: int = 64,
    kinds: Sequence[str] = GROUPS,
) -> NeuronGraph:
    """A neuron-permutation graph: sets with and without parents, tensors with repeated, composite and joined axes.

    Args:
        max_sets, max_size: neuron sets, and neurons of each.
        max_tensors, max_entries: tensors, and entries of each: what a dense oracle can bear.
        kinds: the groups to draw from, as in ``groups``. With continuous ones among them, the strands of sets on which they show
            have marks (``h``, ``h*``, ``h.``).

    Shrinks to one set of one neuron and one tensor without axes.

    Example:
        >>> from hypothesis import find
        >>> print(find(graphs(), lambda graph: any(" + " in axes for axes in graph.tensors.values())))
        neurons
          a: Symmetric(1)
        tensors
          t0: (a + a)
    """
    neurons: dict[str, NeuronSet] = {}
    # Asking "one more?" each time, not "how many?" at first, lets Hypothesis drop a set and keep what follows.
    while not neurons or (len(neurons) < max_sets and draw(st.booleans())):
        monomial = [name for name, one in neurons.items() if not is_linear(one.group)]
        parents = (
            draw(st.lists(st.sampled_from(monomial), unique=True, max_size=2)) if monomial else []
        )
        name = string.ascii_lowercase[len(neurons)] if len(neurons) < 26 else f"n{len(neurons)}"
        neurons[name] = NeuronSet(draw(groups(max_size, kinds)), over=tuple(parents))
    tensors: dict[str, str] = {}
    while not tensors or (len(tensors) < max_tensors and draw(st.booleans())):
        axes = draw(_axes(neurons, max_entries))
        tensors[f"t{len(tensors)}"] = (
            draw(_marked(neurons, axes)) if set(kinds) & set(CONTINUOUS) else axes
        )
    return NeuronGraph(neurons, tensors)


@st.composite
def spaces(
    draw: st.DrawFn, graph: NeuronGraph, max_tensors: int = 2, max_entries: int = 64
) -> dict[str, str]:
    """Axis notation by name for ``inputs=`` or ``outputs=`` over a graph's neurons; at least one tensor.

    Example:
        >>> import symnet as sn
        >>> from hypothesis import find
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> find(spaces(graph), lambda space: "h1" in space["s0"])
        {'s0': 'h1'}
    """
    count = draw(st.integers(1, max_tensors))
    axes = {f"s{k}": draw(_axes(graph.neurons, max_entries)) for k in range(count)}
    if any(type(one.group).__name__ in CONTINUOUS for one in graph.neurons.values()):
        axes = {name: draw(_marked(graph.neurons, notation)) for name, notation in axes.items()}
    return axes


@st.composite
def group_elements(draw: st.DrawFn, graph: NeuronGraph) -> GroupElement:
    """An element of a graph's group: uniform on the neuron sets that it moves.

    Shrinks to the identity, by moving fewer sets.

    Example:
        >>> import symnet as sn
        >>> from hypothesis import find
        >>> find(group_elements(sn.catalogue.mlp([2, 3, 3, 1])), lambda g: g.moves("h2"))
        GroupElement(moves h2)
    """
    element = graph.identity()
    for (
        name
    ) in graph.neurons:  # each with a seed of its own, so that the others stay when one is dropped
        if draw(st.booleans()):
            element = graph.random_element(draw(st.integers(0, 2**16)), only=[name]) @ element
    return element


@st.composite
def features(
    draw: st.DrawFn,
    graph: NeuronGraph,
    channels: int | st.SearchStrategy[int] = 1,
    batch: int | st.SearchStrategy[int] = 2,
    dtype: torch.dtype = torch.float64,
    inputs: SpaceLike = None,
) -> dict[str, Tensor]:
    """Features ``{name: (batch, *axes, channels)}``: zeros, all entries different, or normal.

    Args:
        channels, batch: whole numbers, or strategies for them.
        inputs: the features' space (default: the graph's tensors).

    Shrinks to zeros.

    Example:
        >>> import symnet as sn
        >>> from hypothesis import find
        >>> x = find(features(sn.catalogue.mlp([2, 3, 1]), channels=4), lambda x: bool(x["0.bias"].any()))
        >>> x["0.weight"].shape, float(x["0.weight"][0, 0, 0, 0])
        (torch.Size([2, 3, 2, 4]), 1.0)
    """
    widths = [draw(n) if isinstance(n, st.SearchStrategy) else n for n in (batch, channels)]
    kind = draw(st.sampled_from(["zeros", "all different", "normal"]))
    generator = torch.Generator().manual_seed(
        draw(st.integers(0, 2**16)) if kind == "normal" else 0
    )
    found, start = {}, 1
    for name, tensor in graph.space(inputs).items():
        shape = (widths[0], *tensor.shape, widths[1])
        if kind == "normal":
            found[name] = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        else:
            values = (
                torch.zeros(shape)
                if kind == "zeros"
                else torch.arange(start, start + math.prod(shape)).view(shape)
            )
            found[name] = values.to(dtype)
            start += math.prod(shape)
    return found


# ---- axes -----------------------------------------------------------------------------------------------------------
@st.composite
def _axes(draw: st.DrawFn, neurons: Mapping[str, NeuronSet], max_entries: int) -> str:
    """Up to three axes; one that cannot be read beside the others, or is too large, is left out."""
    kept: list[str] = []
    for _ in range(draw(st.integers(0, 3))):
        axis = draw(_axis(neurons))
        if _fits(neurons, [*kept, axis], max_entries):
            kept.append(axis)
    return " ".join(kept)


@st.composite
def _marked(draw: st.DrawFn, neurons: Mapping[str, NeuronSet], axes: str) -> str:
    """The axes with a degree for every strand of a set whose group shows it."""

    def mark(match: re.Match[str]) -> str:
        group = neurons[match.group()].group
        if not is_charged(group):
            return match.group()
        return match.group() + draw(
            st.sampled_from(["", "*"] if is_linear(group) else ["", "*", "."])
        )

    return re.sub(r"[a-z]\w*", mark, axes)


def _fits(neurons: Mapping[str, NeuronSet], axes: Sequence[str], max_entries: int) -> bool:
    try:
        return Space(neurons, {"t": " ".join(axes)})["t"].size <= max_entries
    except (GraphError, NotationError):  # a child whose parents cannot be told
        return False


@st.composite
def _axis(draw: st.DrawFn, neurons: Mapping[str, NeuronSet]) -> str:
    kind = draw(
        st.sampled_from(["set", "spread", "number", "joined", "interleaved", "part by part"])
    )
    if kind == "number":
        return str(draw(st.integers(1, 3)))
    if kind == "spread":  # parents as axes of their own
        return " ".join(_with_ancestors(neurons, draw(st.sampled_from(list(neurons)))))
    if kind == "joined":
        return f"({draw(_word(neurons))} + {draw(_word(neurons))})"
    if kind == "interleaved":
        return f"({draw(_word(neurons))} & {draw(_word(neurons))})"
    if kind == "part by part":
        return f"({draw(_word(neurons))} | {draw(_word(neurons))})"
    return draw(_word(neurons))


@st.composite
def _word(draw: st.DrawFn, neurons: Mapping[str, NeuronSet]) -> str:
    """A set, with its parents beside it in one axis or (to be read from other axes) without them, in any order."""
    name = draw(st.sampled_from(list(neurons)))
    names = _with_ancestors(neurons, name)
    if len(names) == 1 or draw(st.sampled_from([False, False, False, True])):
        return name
    return f"({' '.join(draw(st.permutations(names)))})"


def _with_ancestors(neurons: Mapping[str, NeuronSet], name: str) -> list[str]:
    found: dict[str, None] = {}
    for parent in neurons[name].over:
        found.update(dict.fromkeys(_with_ancestors(neurons, parent)))
    return [*found, name]
