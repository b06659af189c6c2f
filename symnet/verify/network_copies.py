"""Private copies of a network that may be moved, in float64 where they run in it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError, TraceError, VerificationError
from symnet.graph import NeuronGraph
from symnet.tracing.examples import copy_model, run, run_plainly
from symnet.tracing.fresh_inputs import Inputs
from symnet.verify.random_networks import (
    RandomState,
    check_state,
    to_double,
)
from symnet.verify.running import LoadedNetwork
from symnet.verify.streamed import StreamedNetwork

# Entries of the state above which the weights are made while the network runs.
_STREAMED = 30_000_000


def made_ready(
    model: nn.Module,
    graph: NeuronGraph,
    inputs: Inputs,
    seed: int,
    positive: Collection[str],
    outputs: Sequence[str] | None,
    streamed: bool | None,
) -> LoadedNetwork | StreamedNetwork:
    """The network on random states: loaded into a copy, or on weights made while it runs."""
    if not isinstance(model, nn.Module):
        raise ShapeError(
            f"verify.network got a {type(model).__name__}; pass a torch.nn.Module. For a "
            "function of weights there is verify.equivariance."
        )
    on_meta = any(tensor.is_meta for tensor in model.parameters())
    if streamed is None:
        streamed = on_meta or graph.weights.size > _STREAMED
    if streamed:
        check_state(model, graph)
        return StreamedNetwork(
            model, graph, RandomState(model.state_dict(), graph, seed, positive), outputs
        )
    if on_meta:
        raise VerificationError(
            f"{type(model).__name__} has parameters on the device 'meta', which hold no values. "
            "Leave out streamed=False."
        )
    private = _private_copy(model, inputs)
    check_state(private, graph)
    state: Mapping[str, Tensor] = model.state_dict()
    # the copy has run and made them; it is overwritten soon
    if any(map(nn.parameter.is_lazy, state.values())):
        state = copy.deepcopy(private.state_dict())
    return LoadedNetwork(private, graph, RandomState(state, graph, seed, positive), outputs)


def _private_copy(model: nn.Module, inputs: Inputs) -> nn.Module:
    """A copy that has run once, as it was.

    Raises:
        VerificationError: it does not run.
    """
    try:
        private = copy_model(model)
        run_plainly(private, inputs)
    except TraceError as error:
        # inputs and weights may be of different precisions
        if not _runs_in_double(copy_model(model), inputs):
            raise VerificationError(str(error)) from error
    with torch.no_grad():  # scripted modules make new parameters
        private = private.double()
    for parameter in private.parameters():
        if parameter.is_leaf:  # those of scripted modules are not, once they are converted
            parameter.requires_grad_(False)
    return private


def _runs_in_double(private: nn.Module, inputs: Inputs) -> bool:
    try:
        with torch.no_grad():
            run(private.double(), to_double(inputs))
    except Exception:  # of any class: it is the model's own
        return False
    return True
