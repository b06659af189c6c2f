"""Weights as features: modules or state dicts in, batches of tensors
keyed like a state dict out, and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph, Space
from symnet.graph.neuron_graph import require_graph
from symnet.graph.notation import strands_in
from symnet.groups import GeneralLinear, Orthogonal, Scaled, SignedSymmetric, is_charged, is_signed

Features = dict[str, Tensor]


class SpacedFeatures(Features):
    """Features that know their space: those of layers over groups that do more than permute, so
    that functions can be checked.
    """

    __slots__ = ("space",)

    def __init__(self, tensors: Mapping[str, Tensor], space: Space) -> None:
        super().__init__(tensors)
        self.space = space


# So that vmap and other transforms of torch look inside, as they do for a plain dict.
register_pytree_node(
    SpacedFeatures,
    lambda x: (list(x.values()), (list(x), x.space)),
    lambda values, context: SpacedFeatures(dict(zip(context[0], values, strict=True)), context[1]),
)


def with_space(tensors: Features, space: Space, *, demanding: bool) -> Features:
    """The features with their space, if that is ``demanding``; plain
    ones in what torch compiles.
    """
    return (
        SpacedFeatures(tensors, space)
        if demanding and not torch.compiler.is_compiling()
        else tensors
    )


def space_of(x: object) -> Space | None:
    """The space of features that know it."""
    return x.space if isinstance(x, SpacedFeatures) else None


Source = nn.Module | Mapping[str, Tensor]


def features(sources: Source | Iterable[Source], graph: NeuronGraph) -> Features:
    """The weights of networks as features ``{name: (batch, *axes, 1)}``.

    Args:
        sources: modules or state dicts of the graph's architecture (one, or any number).
        graph: the architecture; entries that are no floating-point numbers (step counters) are
            ignored.

    Raises:
        ShapeError: entries are missing, not in the graph, misshapen, or tied in the graph but not
            equal; all are named in one message.
    """
    require_graph(graph, "features")
    if not isinstance(sources, nn.Module | Mapping | Iterable):
        raise ShapeError(
            f"features got {sources!r:.60}; it takes modules or state dicts, one or any number "
            "of them."
        )
    single = isinstance(sources, nn.Module | Mapping)
    many = [sources] if single else list(sources)  # type: ignore[arg-type]
    states = [_state(source, number) for number, source in enumerate(many)]
    for number, state in enumerate(states):
        check_state(
            state, graph, f"network {number} of {len(states)}" if len(states) > 1 else "the network"
        )
    if not states:
        return {name: torch.zeros(0, *shape, 1) for name, shape in graph.shapes.items()}
    devices = {str(state[name].device): None for state in states for name in graph.shapes}
    if len(devices) > 1:
        raise ShapeError(
            f"The networks lie on different devices, {', '.join(devices)}. Move them to one."
        )
    return {
        name: torch.stack([state[name] for state in states]).unsqueeze(-1) for name in graph.shapes
    }


def state_dicts(batch: Mapping[str, Tensor], graph: NeuronGraph) -> list[Features]:
    """The networks of a batch of features with one channel: a state dict each, aliases included.

    Raises:
        ShapeError: a tensor is missing or misshapen, or there is more than one channel.
    """
    check_features(
        batch, require_graph(graph, "state_dicts").weights, "state_dicts got", channels=1
    )
    size = next(iter(batch.values())).shape[0] if batch else 0
    kept = [{name: batch[name][number, ..., 0] for name in graph.shapes} for number in range(size)]
    return [state | {alias: state[name] for alias, name in graph.aliases.items()} for state in kept]


def _state(source: object, number: int) -> Mapping[str, Tensor]:
    if isinstance(source, nn.Module):
        return source.state_dict()
    if isinstance(source, Mapping):
        return source
    raise ShapeError(
        f"Network {number} is a {type(source).__name__}; features takes modules or state dicts."
    )


def check_state(state: Mapping[str, Tensor], graph: NeuronGraph, which: str) -> None:
    """Raise unless a state dict holds the graph's tensors, ties those
    that are tied, and no other weights.

    Raises:
        ShapeError: all that is missing, misshapen or not in the graph, in one message.
    """
    problems = []
    for name, shape in graph.shapes.items():
        if name not in state:
            problems.append(f"'{name}' {shape} is missing")
        elif not isinstance(state[name], Tensor) or not state[name].is_floating_point():
            problems.append(f"'{name}' is no floating-point tensor but {_kind_of(state[name])}")
        elif tuple(state[name].shape) != shape:
            problems.append(
                f"'{name}' has axes '{graph.tensors[name]}' of sizes {shape}, but is "
                f"{tuple(state[name].shape)}"
            )
    for name, tensor in state.items():
        is_declared = name in graph.shapes or name in graph.aliases
        if not is_declared and isinstance(tensor, Tensor) and tensor.is_floating_point():
            problems.append(f"'{name}' {tuple(tensor.shape)} is not in the graph")
    problems += [
        f"'{alias}' is tied to '{kept}', but holds other values"
        for alias, kept in graph.aliases.items()
        if alias in state and kept in state and not _same(state[alias], state[kept])
    ]
    if problems:
        raise ShapeError(
            f"The state of {which} does not fit the graph: {'; '.join(problems)}. "
            "Pass networks of this architecture, or trace or declare the graph of theirs."
        )


def _same(first: object, second: object) -> bool:
    """Whether two entries of a state dict are one tensor, or hold
    the same values (NaN included).
    """
    if first is second or not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return first is second
    if first.shape != second.shape or first.dtype != second.dtype or first.device != second.device:
        return False
    if first.is_meta or first.data_ptr() == second.data_ptr():
        return True
    return torch.allclose(first, second, rtol=0, atol=0, equal_nan=True)


def _kind_of(value: object) -> str:
    """What was given, in a word: a tensor's dtype, or a type."""
    return str(value.dtype) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def check_mapping(x: object, who: str) -> None:
    """Raise unless features are a mapping.

    Raises:
        ShapeError: with the type they have.
    """
    if not isinstance(x, Mapping):
        raise ShapeError(f"{who} a {type(x).__name__}; expected a dict of tensors by name.")


def check_features(
    batch: Mapping[str, Tensor],
    space: Space,
    who: str,
    channels: int | None = None,
    *,
    alike: bool = False,
    like: Tensor | None = None,
) -> None:
    """Check features ``(batch, *axes, channels)`` against a space.

    Args:
        channels: how many every tensor must have.
        alike: whether all must have the channels, device and dtype of the first.
        like: a parameter, whose device and dtype all must have. Under autocast dtypes may differ.

    Raises:
        ShapeError: with every tensor that is missing, unknown or misshapen.
    """
    check_mapping(batch, who)
    problems = [f"'{name}' is not among them" for name in batch if name not in space]
    size: int | None = None
    for name, tensor in space.items():
        if name not in batch:
            problems.append(f"'{name}' is missing")
            continue
        values = batch[name]
        if not isinstance(values, Tensor):
            problems.append(f"'{name}' is no tensor but a {type(values).__name__}")
            continue
        shape = tuple(values.shape)
        if len(shape) != len(tensor.shape) + 2 or shape[1:-1] != tensor.shape:
            problems.append(
                f"'{name}' must be (batch, {', '.join(map(str, (*tensor.shape, 'channels')))}), "
                f"but is {shape}"
            )
            continue
        if channels is not None and shape[-1] != channels:
            problems.append(f"'{name}' has {shape[-1]} channels instead of {channels}")
        if alike:
            channels, like, alike = shape[-1], values, False
        if like is not None and (
            values.dtype != like.dtype
            or values.device != like.device
            or not values.is_floating_point()
        ):
            problems += _unlike(name, values, like)
        if size is not None and shape[0] != size:
            problems.append(f"'{name}' has a batch of {shape[0]}, others of {size}")
        size = shape[0] if size is None else size
    if problems:
        raise ShapeError(
            f"{who} features that do not fit the space of {len(space)} tensors: "
            f"{'; '.join(problems[:8])}."
        )


def _unlike(name: str, values: Tensor, like: Tensor) -> list[str]:
    """How a tensor's device or dtype differs from what it is used with."""
    if values.device != like.device:
        return [
            f"'{name}' lies on '{values.device}' instead of '{like.device}': move it with "
            f".to('{like.device}')"
        ]
    if not values.is_floating_point():
        return [
            f"'{name}' is {values.dtype}: features are real numbers, so convert it with "
            f".to({like.dtype})"
        ]
    if torch.is_autocast_enabled(values.device.type):
        return []
    return [
        f"'{name}' is {values.dtype} instead of {like.dtype}: convert it with .to({like.dtype}), "
        "or the module"
    ]


def refuse_signs(space: Space, what: str) -> None:
    """Refuse tensors that the group does more with than reorder their entries,
    for modules that do not commute with that.

    Raises:
        GraphError: a tensor has a strand that is multiplied by signs, scales or matrices.
    """
    for tensor in space.values():
        for strand in (strand for axis in tensor.axes for strand in strands_in(axis)):
            group = space.neurons[strand.name].group
            if is_charged(group, strand.degree):
                instead = (
                    "use odd functions alone, for instance Pointwise(torch.nn.RMSNorm(channels))"
                    if is_signed(group)
                    else "use Linear, Gate and Product, which commute with every group"
                )
                raise GraphError(
                    f"{what}, which do not {_CHANGE[type(group)]} the neurons of '{strand.name}' "
                    f"in '{tensor.name}'. Leave such tensors out of inputs=, or {instead}."
                )


_CHANGE: dict[type, str] = {
    SignedSymmetric: "change sign with",
    Scaled: "scale with",
    Orthogonal: "rotate with",
    GeneralLinear: "transform linearly with",
}
