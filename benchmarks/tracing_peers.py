"""What Torch-Pruning and rebasin take for the symmetries of a network, as one random rearrangement of its state."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Rearranged:
    """A state moved by a random element, the order of the group it is from, and the seconds to find that group."""

    moved: dict[str, Tensor]
    order: int
    seconds: float


class NoExchangeError(Exception):
    """What a package says cannot be read as an exchange of channels; the message is its cell of the table."""


# ---- Torch-Pruning ----------------------------------------------------------------------------------------------------------------
def _graph(
    model: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], outputs: Any
) -> Any:
    import torch_pruning as tp

    example: Any = (
        {**keywords, **_named(model, inputs)}
        if keywords
        else (inputs[0] if len(inputs) == 1 else list(inputs))
    )
    names = outputs or ["logits", "last_hidden_state"]
    forward = None
    if not keywords and len(inputs) > 1:
        forward = lambda m, x: m(*x)  # noqa: E731

    def first(result: Any) -> Any:
        return (
            next((result[n] for n in names if n in result), result)
            if isinstance(result, dict)
            else result
        )

    return tp.DependencyGraph().build_dependency(
        model, example, forward_fn=forward, output_transform=first
    )


def _named(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(["input_ids", "decoder_input_ids"], inputs, strict=False))


def exchange_pruned_channels(
    model: nn.Module,
    entries: dict[str, Tensor],
    inputs: tuple[Any, ...],
    keywords: dict[str, Any],
    outputs: Any,
) -> Rearranged:
    """Channels of every group exchanged at random: what pruning one removes goes where pruning the other removes.

    Groups whose pruning changes the shape of an output are left out: their channels are the outputs.
    """
    inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    start = time.perf_counter()
    graph = _graph(copy.deepcopy(model), inputs, keywords, outputs)
    groups = [
        (group[0].dep.target.name.split(" ")[0], len(group[0].idxs))
        for group in graph.get_all_groups()
    ]
    seconds = time.perf_counter() - start
    moved = {name: tensor.clone() for name, tensor in entries.items()}
    order = 1
    generator = torch.Generator().manual_seed(0)
    for path, channels in groups:
        removed: list[Any] = [
            _removed(model, path, channel, inputs, keywords, outputs) for channel in range(channels)
        ]
        if any(part is None for part in removed):
            continue
        removed = _different([part for part in removed if part is not None])
        order *= math.factorial(len(removed))
        places = torch.randperm(len(removed), generator=generator).tolist()
        before = {name: tensor.clone() for name, tensor in moved.items()}
        for channel, place in enumerate(places):
            for name, where in removed[channel].items():
                source = removed[place][name]
                moved[name].view(-1)[where] = before[name].reshape(-1)[source]
    return Rearranged(moved, order, seconds)


def _different(removed: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """What is removed, each once (two halves of a gate are removed together, by either).

    Raises:
        NoExchangeError: two channels share only some of what they remove, or remove different amounts.
    """
    keys = {
        frozenset((name, at) for name, where in part.items() for at in where.tolist()): part
        for part in removed
    }
    sizes = {tuple((name, len(where)) for name, where in part.items()) for part in keys.values()}
    if sum(map(len, keys)) != len(frozenset().union(*keys)) or len(sizes) > 1:
        raise NoExchangeError("channels overlap")
    return list(keys.values())


def _removed(
    model: nn.Module,
    path: str,
    channel: int,
    inputs: tuple[Any, ...],
    keywords: dict[str, Any],
    outputs: Any,
) -> dict[str, Tensor] | None:
    """Positions of the entries that pruning a channel removes, by tensor; ``None`` if an output loses entries too."""
    twin = copy.deepcopy(model)
    graph = _graph(twin, inputs, keywords, outputs)
    module = twin.get_submodule(path)
    state = twin.state_dict(keep_vars=True)
    sizes = {name: tensor.numel() for name, tensor in state.items() if tensor.is_floating_point()}
    shapes = _shapes(twin, inputs, keywords)
    with torch.no_grad():
        for name, count in sizes.items():
            state[name].copy_(torch.arange(count, dtype=torch.float64).reshape(state[name].shape))
    pruner = graph.get_pruner_of_module(module)
    graph.get_pruning_group(module, pruner.prune_out_channels, [channel]).prune()
    left = {
        name: tensor.detach().reshape(-1).long()
        for name, tensor in twin.state_dict().items()
        if name in sizes
    }
    try:
        after = _shapes(twin, inputs, keywords)
    except RuntimeError as error:
        raise NoExchangeError("runs no more after pruning") from error
    if after != shapes:
        return None
    found = {}
    for name, count in sizes.items():
        gone = torch.ones(count, dtype=torch.bool)
        gone[left[name]] = False
        if gone.any():
            found[name] = gone.nonzero()[:, 0]
    return found


def _shapes(
    model: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]
) -> list[tuple[int, ...]]:
    from symnet.tracing.recording import tensors_in

    with torch.no_grad():
        return [tuple(t.shape) for _, t in tensors_in(model(*inputs, **keywords)) if t is not None]


# ---- rebasin ----------------------------------------------------------------------------------------------------------------------
def permute_with_rebasin(
    model: nn.Module, entries: dict[str, Tensor], inputs: tuple[Any, ...], keywords: dict[str, Any]
) -> Rearranged:
    """Every permutation that rebasin would optimise, drawn at random."""
    from rebasin import PermutationCoordinateDescent

    inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    given: Any = (
        {**_named(model, inputs), **keywords}
        if keywords
        else (inputs[0] if len(inputs) == 1 else list(inputs))
    )
    twin = copy.deepcopy(model)
    start = time.perf_counter()
    descent = PermutationCoordinateDescent(copy.deepcopy(model), twin, given)
    permutations = [permutation for permutation, _ in descent.pinit.model_graph.permutation_to_info]
    seconds = time.perf_counter() - start
    generator = torch.Generator().manual_seed(0)
    order = 1
    for permutation in permutations:
        permutation.perm_indices = torch.randperm(
            len(permutation.perm_indices), generator=generator
        )
        order *= math.factorial(len(permutation.perm_indices))
    descent.apply_permutations()
    state = twin.state_dict()
    return Rearranged({name: state[name].detach().clone() for name in entries}, order, seconds)
