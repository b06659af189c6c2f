"""choose: the neurons with the largest scores, as many as a budget
allows, in every set or in all together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

import numpy as np

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.graph.elements import image_shapes
from symnet.graph.neuron_graph import require_graph
from symnet.surgery.selection import is_divisible, refuse_indivisible

# A share of the neurons (0 to 1), or a number of them.
Budget = float | int


def kind_of(name: str) -> str:
    """The kind of a set: the last word of its name, without the number
    that tells several of one name apart.

    Example:
        >>> kind_of("layers.0.mlp"), kind_of("stream.2"), kind_of("h1")
        ('mlp', 'stream', 'h1')
    """
    return re.sub(r"(\.\d+)+$", "", name).rpartition(".")[2] or name


def choose(
    scores: Mapping[str, np.ndarray],
    graph: NeuronGraph,
    keep: Budget | Mapping[str, Budget],
    *,
    together: bool = False,
    multiple_of: int = 1,
) -> dict[str, np.ndarray]:
    """The neurons with the largest scores, for ``sn.surgery.keep``; their order stays.

    Args:
        scores: numbers by set, ``(*ancestor sizes, size)``, as ``importance`` makes them.
        keep: a share (``0.5``) or a number (``16``) for every set that has scores; or by set, by
            kind (the last word of the names, ``{"mlp": 0.5, "kv": 2}``), or by pattern
            (``"layers.*.mlp"``): then the other sets stay as they are.
        together: the sets of one entry of ``keep`` share its budget, which must be a share: a set
            with larger scores, relative to its mean, keeps more. Without it each set keeps that
            share.
        multiple_of: numbers are rounded up to a multiple of this, for fast kernels.

    Returns:
        By set the neurons that stay, ``(*ancestor sizes, count)``: as many in each copy, chosen for
        each copy.

    Raises:
        GraphError: a budget that is none, or that names no set; scores of another shape.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> choose({"h1": np.array([3.0, 1.0, 4.0, 1.5])}, graph, 0.5)
        {'h1': array([0, 2])}
    """
    require_graph(graph, "choose")
    if not isinstance(scores, Mapping):
        raise GraphError(
            f"choose got {scores!r:.60} as scores; pass what sn.surgery.importance returned."
        )
    if isinstance(multiple_of, bool) or not isinstance(multiple_of, int) or multiple_of < 1:
        raise GraphError(f"multiple_of={multiple_of!r}: give a whole number of at least 1.")
    shapes = image_shapes(graph.neurons)
    for name, values in scores.items():
        refuse_indivisible(graph, name, "keep")
        if tuple(np.shape(values)) != shapes[name] or not np.isfinite(values).all():
            raise GraphError(
                f"The scores of '{name}' have shape {np.shape(values)}; expected {shapes[name]} "
                "finite numbers."
            )
    chosen: dict[str, np.ndarray] = {}
    for pattern, (budget, names) in _budgets(scores, graph, keep).items():
        counts = (
            _shared(scores, names, budget, pattern)
            if together
            else {n: _count(graph, n, budget) for n in names}
        )
        for name, count in counts.items():
            size = graph.neurons[name].size
            rounded = min(size, -(-max(count, 1) // multiple_of) * multiple_of)
            if rounded < size:
                best = np.argsort(-np.asarray(scores[name]), axis=-1, kind="stable")[..., :rounded]
                chosen[name] = np.sort(best, axis=-1)
    return chosen


def _budgets(
    scores: Mapping[str, np.ndarray], graph: NeuronGraph, keep: Budget | Mapping[str, Budget]
) -> dict[str, tuple[Budget, list[str]]]:
    """Budgets with the sets that they are for; a set's own name goes before
    its kind, and that before a pattern.

    Raises:
        GraphError: a budget for no set.
    """
    if not isinstance(keep, Mapping):
        return {"*": (_checked(keep), list(scores))}
    budgets: dict[str, tuple[Budget, list[str]]] = {
        key: (_checked(budget), []) for key, budget in keep.items()
    }
    for name in graph.neurons:
        if not is_divisible(graph.neurons[name]) and name not in budgets:
            continue
        keys = [k for k in budgets if k == name] or [k for k in budgets if k == kind_of(name)]
        keys = keys or [k for k in budgets if fnmatchcase(name, k)]
        if keys:
            if name not in scores:
                refuse_indivisible(graph, name, "keep")
                raise GraphError(
                    f"keep= asks for '{name}', which has no scores; they are of "
                    f"{', '.join(scores) or 'nothing'}."
                )
            budgets[keys[0]][1].append(name)
    if empty := [key for key, (_, names) in budgets.items() if not names]:
        kinds = sorted({kind_of(name) for name in scores})
        raise GraphError(
            f"keep= names {empty[0]!r}, which is no neuron set that can be cut; kinds are "
            f"{', '.join(kinds)}."
        )
    return budgets


def _checked(budget: Budget) -> Budget:
    whole = isinstance(budget, int | np.integer) and not isinstance(budget, bool) and budget >= 1
    share = isinstance(budget, float) and 0 < budget <= 1
    if not (whole or share):
        raise GraphError(
            f"keep={budget!r}: give a share such as 0.5 (up to 1.0), or a whole number of "
            "neurons of at least 1."
        )
    return budget


def _count(graph: NeuronGraph, name: str, budget: Budget) -> int:
    size = graph.neurons[name].size
    if isinstance(budget, float):
        return max(1, round(budget * size))
    if budget > size:
        raise GraphError(
            f"keep= asks for {budget} neurons of '{name}', which has {size}. To add neurons "
            "there is widen."
        )
    return int(budget)


def _shared(
    scores: Mapping[str, np.ndarray], names: list[str], budget: Budget, pattern: str
) -> dict[str, int]:
    """How many neurons of each set stay if the sets share a budget:
    their k-th best scores compete.
    """
    if not isinstance(budget, float):
        raise GraphError(
            f"together=True shares a budget among the sets of {pattern!r}: give a share such as "
            f"0.5, not {budget}."
        )
    profiles = {}
    for name in names:
        values = np.sort(
            np.asarray(scores[name], dtype=float).reshape(-1, np.shape(scores[name])[-1]), axis=-1
        )[:, ::-1]
        mean = values.mean() or 1.0
        profiles[name] = values.mean(axis=0) / mean  # copies keep as many as one another
    ranked = sorted(
        ((value, name) for name, values in profiles.items() for value in values[1:]), reverse=True
    )
    # every set keeps one
    left = max(0, round(budget * sum(map(len, profiles.values()))) - len(names))
    counts = dict.fromkeys(names, 1)
    for _, name in ranked[:left]:
        counts[name] += 1
    return counts
