"""normal_form: weights of a graph with scales, signs, rotations or invertible maps as weights of a
graph of permutations.

Every continuous group is taken out by one choice per orbit: norms become 1, a product is written by
its singular values, a stream by its principal axes. What is left are permutations, and signs where
singular vectors have theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph
from symnet.graph.neuron_graph import require_graph
from symnet.graph.notation import Axis, Composite, Concatenation, Symbol
from symnet.graph.strand_arrays import Strand, strands_of
from symnet.groups import (
    Fixed,
    GeneralLinear,
    Group,
    Orthogonal,
    Scaled,
    SignedSymmetric,
    Symmetric,
)
from symnet.matching.folds import Fold, apply_fold, folded_tensors, without_tensors
from symnet.nn.features import Source

Tensors = dict[str, Tensor]
_REMOVABLE = Scaled | SignedSymmetric | GeneralLinear | Orthogonal


def normal_form(
    weights: Source, graph: NeuronGraph, *, folds: Iterable[Fold] = (), batch_dims: int = 0
) -> tuple[Tensors, NeuronGraph]:
    """The same function with weights that only permutations (and signs) can still move, and the
    graph that says so.

    In float64 the function changes by rounding alone. Scaled sets: what comes into a neuron
    (strands ``h``) gets norm 1; then Symmetric. Signed sets: the sum of cubes of what comes in
    becomes positive; then Symmetric. GeneralLinear: the product of the two sides is written as ``U
    sqrt(S) sqrt(S) V``; then SignedSymmetric. Orthogonal: turned to the principal axes of all that
    is written to and read from the set; then SignedSymmetric, or Fixed where the mean is fixed.
    Gradients flow where the
    form is smooth: not through equal singular values or principal axes of equal length. There the
        choice of axes is any, the function the same.

    Args:
        weights: a module, a state dict, or features of several networks; not changed.
        graph: its symmetry, continuous groups included.
        folds: what is taken out before: ``Gain``, ``Unread``, ``Shift``, ``ClassMean``, ``Phase``
            of ``sn.matching``.
        batch_dims: leading dims of every tensor before its axes; further trailing dims are
            channels.

    Returns:
        The tensors of the graph (with aliases, and anything else that was given unchanged) and the
        graph of what is left, whose ``notes`` list what was done.

    Raises:
        GraphError: a set whose normal form is not defined, with the reason.
        ShapeError: weights that do not fit the graph.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 1], bias=False).with_groups({"h1": sn.Scaled(3)})
        >>> graph = sn.parse(str(graph).replace("out h1", "out h1*"))
        >>> first = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]])
        >>> weights = {"0.weight": first, "2.weight": torch.ones(1, 3)}
        >>> normal, rest = normal_form(weights, graph)
        >>> normal["2.weight"], rest.neurons["h1"].group
        (tensor([[5., 1., 2.]]), Symmetric(3))
    """
    require_graph(graph, "normal_form")
    state = _read(weights, graph, batch_dims)
    tensors = {name: state[name] for name in graph.weights}
    notes = []
    for fold in folds:
        tensors, note = apply_fold(fold, tensors, graph, batch_dims)
        notes.append(note)
        emptied = folded_tensors(fold)
        state |= {name: tensors.pop(name) for name in emptied}
        graph = without_tensors(graph, emptied)
    ordered = _in_order(graph, batch_dims)
    for name, strands in ordered:
        tensors, note = _remove(graph.neurons[name].group, name, strands, tensors, graph)
        notes.append(note)
    left = _what_is_left(graph, {name for name, _ in ordered}, notes)
    result = {**state, **tensors}
    return result | {
        alias: result[kept] for alias, kept in graph.aliases.items() if alias in result
    }, left


def _read(weights: Source, graph: NeuronGraph, batch_dims: int) -> Tensors:
    state = dict(weights.state_dict() if isinstance(weights, nn.Module) else weights)
    for name, shape in graph.shapes.items():
        array = state.get(name)
        if (
            not isinstance(array, Tensor)
            or tuple(array.shape[batch_dims : batch_dims + len(shape)]) != shape
        ):
            got = "missing" if array is None else f"{getattr(array, 'shape', type(array).__name__)}"
            raise ShapeError(
                f"Tensor '{name}' has axes '{graph.tensors[name]}' of sizes {shape} after "
                f"{batch_dims} batch dims, but in the "
                f"given weights it is {got}. Pass weights of this architecture."
            )
        if not array.is_floating_point():
            raise ShapeError(
                f"Tensor '{name}' holds {array.dtype}; normal forms are of floating-point weights."
            )
        if not bool(array.isfinite().all()):
            raise ShapeError(
                f"Tensor '{name}' holds values that are not finite, which have no normal form."
            )
    return state


def _side_by_side(strands: tuple[Strand, ...], tensors: Mapping[str, Tensor]) -> Tensor:
    """The entries of several strands in float64, one after another: ``(*batch, *ancestor sizes, n,
    columns)``.
    """
    return torch.cat([strand.read(tensors).double() for strand in strands], dim=-1)


# ---- one set -------------------------------------------------------------------------------------
def _remove(
    group: Group, name: str, strands: tuple[Strand, ...], tensors: Tensors, graph: NeuronGraph
) -> tuple[Tensors, str]:
    """The tensors with one set's group taken out; ``strands`` are those by which the choice is
    made.
    """
    everywhere = strands_of(graph, name, strands[0].batch_dims)
    sources = ", ".join(dict.fromkeys(f"'{strand.tensor}'" for strand in strands))
    match group:
        case Scaled():
            norms = _safe_norm(_side_by_side(strands, tensors))
            sign = strands[0].degree  # a set that is only read from: its dual strands get norm 1
            return _multiplied(
                everywhere, tensors, 1 / norms if sign > 0 else norms
            ), f"{name}: norms of {sources} are 1"
        case SignedSymmetric():
            cubes = _side_by_side(strands, tensors).detach().pow(3).sum(-1)
            signs = torch.where(cubes < 0, -1.0, 1.0).double()
            return _multiplied(
                everywhere, tensors, signs
            ), f"{name}: sums of cubes of {sources} are not negative"
        case GeneralLinear():
            return _by_singular_values(
                everywhere, tensors
            ), f"{name}: singular values of the product of {sources}"
        case Orthogonal(_, fixes_mean):
            return _by_principal_axes(
                everywhere, tensors, fixes_mean
            ), f"{name}: principal axes of {sources}"
        case _:
            raise AssertionError(group)


def _safe_norm(rows: Tensor) -> Tensor:
    """Norms of the last dim; 1 for rows of zeros, with gradient 0 there."""
    squares = rows.square().sum(-1)
    dead = squares == 0
    return torch.where(dead, 1.0, torch.where(dead, 1.0, squares).sqrt())


def _multiplied(strands: Sequence[Strand], tensors: Tensors, factors: Tensor) -> Tensors:
    """Every strand multiplied by factors ``(*batch, *ancestor sizes, n)``, to the power of its
    degree.
    """
    for strand in strands:
        if strand.degree:
            power = factors if strand.degree > 0 else 1 / factors
            tensors = strand.replaced(tensors, strand.read(tensors) * power.unsqueeze(-1))
    return tensors


def _by_singular_values(strands: Sequence[Strand], tensors: Tensors) -> Tensors:
    """Both sides of a product ``D^T P`` written by its singular values, the square root of each on
    either side.

    The product itself is never made: with ``P^T = Q R`` and ``D^T = Q' R'`` its singular values are
        those of ``R' R^T``.
    """
    primal = tuple(strand for strand in strands if strand.degree > 0)
    dual = tuple(strand for strand in strands if strand.degree < 0)
    left, down = torch.linalg.qr(_tall(_side_by_side(dual, tensors)))
    right, up = torch.linalg.qr(_tall(_side_by_side(primal, tensors)))
    u, values, v = torch.linalg.svd(down @ up.mT)
    root = _safe_root(values).unsqueeze(-2)
    for several, basis, turned in ((primal, right, v.mT), (dual, left, u)):
        columns = (basis @ (turned * root)).mT
        start = 0
        for strand in several:
            old = strand.read(tensors)
            tensors = strand.replaced(tensors, columns[..., start : start + old.shape[-1]])
            start += old.shape[-1]
    return tensors


def _tall(side: Tensor) -> Tensor:
    """``(..., columns, n)``, with rows of zeros where there are fewer columns than n."""
    n, columns = side.shape[-2:]
    return torch.nn.functional.pad(side.mT, (0, 0, 0, max(n - columns, 0)))


def _safe_root(values: Tensor) -> Tensor:
    """Square roots, with gradient 0 at 0: adapters begin with one factor at zero."""
    dead = values == 0
    return torch.where(dead, 0.0, torch.where(dead, 1.0, values).sqrt())


def _by_principal_axes(strands: Sequence[Strand], tensors: Tensors, fixes_mean: bool) -> Tensors:
    columns = _side_by_side(tuple(strands), tensors)
    gram = columns @ columns.mT
    size = gram.shape[-1]
    if fixes_mean:
        start = torch.eye(size, dtype=gram.dtype, device=gram.device)
        start[:, 0] = 1
        basis = torch.linalg.qr(start)[0][:, 1:]  # any basis without the mean, always the same one
        axes = torch.linalg.eigh(basis.mT @ gram @ basis)[1].flip(-1)
        axes = axes * _signs(axes.mT @ basis.mT @ columns).unsqueeze(-2)
        turn = basis @ axes.mT @ basis.mT + 1 / size
    else:
        turn = torch.linalg.eigh(gram)[1].flip(-1).mT
    for strand in strands:
        tensors = strand.replaced(tensors, turn.to(strand.read(tensors)) @ strand.read(tensors))
    return tensors


def _signs(rows: Tensor) -> Tensor:
    return torch.where(rows.detach().pow(3).sum(-1) < 0, -1.0, 1.0).to(rows)


# ---- the order in which sets are taken out -------------------------------------------------------
def _in_order(graph: NeuronGraph, batch_dims: int) -> list[tuple[str, tuple[Strand, ...]]]:
    """Sets with the strands by which their form is chosen: no later choice may change what an
    earlier one saw.

    Raises:
        GraphError: sets that feed one another in a circle, or one without a side to choose by.
    """
    waiting = {
        name: strands_of(graph, name, batch_dims)
        for name, one in graph.neurons.items()
        if isinstance(one.group, _REMOVABLE)
    }
    waiting = {
        name: _chosen_by(name, strands, graph) for name, strands in waiting.items() if strands
    }
    ordered: list[tuple[str, tuple[Strand, ...]]] = []
    while waiting:
        ready = {
            name: tuple(s for s in strands if not _unsettled(s, waiting, graph))
            for name, strands in waiting.items()
        }
        whole = next((name for name, strands in ready.items() if strands == waiting[name]), None)
        partly = next(
            (
                n
                for n, s in ready.items()
                if s and isinstance(graph.neurons[n].group, Scaled | SignedSymmetric)
            ),
            None,
        )
        name = whole or partly
        if name is None:
            if all(isinstance(graph.neurons[n].group, SignedSymmetric) for n in waiting):
                # only beside singular vectors or principal axes, whose signs are open: theirs stay
                # open too
                break
            raise GraphError(
                f"The sets {', '.join(waiting)} feed one another in a circle, so no form of one "
                "can be chosen before the others'. "
                "Declare one of them sn.Symmetric or sn.Fixed."
            )
        ordered.append((name, ready[name]))
        del waiting[name]
    return ordered


def _chosen_by(name: str, strands: tuple[Strand, ...], graph: NeuronGraph) -> tuple[Strand, ...]:
    """The strands whose entries decide a set's form."""
    group = graph.neurons[name].group
    repeated = [strand.tensor for strand in strands if name in strand.others]
    if isinstance(group, GeneralLinear):
        if repeated:
            raise GraphError(
                f"'{name}' indexes '{repeated[0]}' ({graph.tensors[repeated[0]]}) twice. The "
                f"normal form of {group!r} is that of a "
                "product of what comes in and what goes out, which does not say how such a matrix "
                "turns. Read it with Product and Gate."
            )
        if len({strand.degree for strand in strands}) < 2:
            raise GraphError(
                f"All strands of '{name}' have the degree {strands[0].degree}: {group!r} has no "
                "product to look at."
            )
        return strands
    if isinstance(group, Orthogonal):
        return strands
    single = tuple(strand for strand in strands if strand.tensor not in repeated and strand.degree)
    chosen = tuple(s for s in single if s.degree > 0) or single
    if not chosen:
        raise GraphError(
            f"No tensor has '{name}' once, with a degree: nothing tells the {group!r} of its "
            "neurons apart."
        )
    return chosen


def _unsettled(strand: Strand, waiting: Mapping[str, object], graph: NeuronGraph) -> bool:
    """Whether another set in the strand's block would still change what is looked at: norms do not
    see rotations and signs.
    """
    mine = graph.neurons[strand.name].group
    for other in strand.others:
        group = graph.neurons[other].group
        if isinstance(mine, SignedSymmetric) and isinstance(group, GeneralLinear | Orthogonal):
            return True  # singular vectors and principal axes have signs of their own
        if other in waiting and other != strand.name:
            if isinstance(group, Scaled | GeneralLinear):
                return True
            if isinstance(mine, SignedSymmetric) and isinstance(group, SignedSymmetric):
                return True
    return False


# ---- the graph of what is left -------------------------------------------------------------------
def _what_is_left(graph: NeuronGraph, changed: set[str], notes: Sequence[str]) -> NeuronGraph:
    neurons = {
        name: replace(one, group=_left(one.group)) if name in changed else one
        for name, one in graph.neurons.items()
    }
    tensors = {
        name: tuple(_unmarked(axis, changed) for axis in tensor.axes)
        for name, tensor in graph.weights.items()
    }
    return NeuronGraph(neurons, tensors, aliases=graph.aliases, notes=(*graph.notes, *notes))


def _left(group: Group) -> Group:
    match group:
        case Scaled(n) | SignedSymmetric(n):
            return Symmetric(n)
        case GeneralLinear(n):
            return SignedSymmetric(n)
        case Orthogonal(n, fixes_mean):
            return Fixed(n) if fixes_mean else SignedSymmetric(n)
        case _:
            return group


def _unmarked(axis: Axis, names: set[str]) -> Axis:
    """The axis without marks of degree on some sets, which mean nothing for the groups that are
    left.
    """
    match axis:
        case Symbol(name):
            return Symbol(name) if name in names else axis
        case Composite(factors):
            return Composite(tuple(_unmarked(factor, names) for factor in factors))
        case Concatenation(parts):
            return Concatenation(tuple(_unmarked(part, names) for part in parts))
        case _:
            return axis
