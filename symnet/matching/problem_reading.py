"""Two networks read as a matching problem: block by block, when a block is needed, in the
precision that their size allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from symnet.graph import NeuronGraph, NeuronSet
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block, Instance, Range
from symnet.groups import Fixed
from symnet.matching.alignment_problem import AgreementTerm, AlignmentProblem, Pair, block_space

State = Mapping[str, Any]  # tensors or arrays by name
PART = 2**24  # entries of a block that are read at once, where it can be cut
SMALL = 2**22  # weights up to which everything is computed in float64


def precision(graph: NeuronGraph, state: State) -> type[np.floating[Any]]:
    """What blocks are read as: float64 for small networks and those
    that are stored so, else float32.
    """
    double = (
        all(_is_double(state[name]) for name in graph.weights)
        if graph.weights.size > SMALL
        else True
    )
    return np.float64 if double else np.float32


def read_problem(
    graph: NeuronGraph,
    a: State,
    b: State,
    factors: Mapping[str, float],
    dtype: type[np.floating[Any]] = np.float64,
) -> AlignmentProblem:
    """The matching problem of two networks.

    Args:
        factors: by tensor, what its inner product counts; 1 where none is given. Tensors of factor
            0 are left out.
        dtype: of the blocks that are read.
    """
    terms = []
    for name, tensor in graph.weights.items():
        if factor := factors.get(name, 1.0):
            for block in tensor.blocks:
                for part in _parts(block, graph.neurons):
                    read = partial(_read_pair, a, b, name, part, dtype)
                    terms.append(AgreementTerm(block_space(name, part.instances), read, factor))
    return AlignmentProblem(dict(graph.neurons), tuple(terms))


def _read_pair(a: State, b: State, name: str, block: Block, dtype: type[np.floating[Any]]) -> Pair:
    first, second = (as_array(apply_views(state[name], block.views), dtype) for state in (a, b))
    return first, second


def as_array(values: Any, dtype: type[np.floating[Any]]) -> np.ndarray:
    """A tensor or array as an array on the CPU; it shares the memory where it can."""
    if isinstance(values, Tensor):
        torch_dtype = torch.float64 if dtype is np.float64 else torch.float32
        array: np.ndarray = values.detach().to("cpu", torch_dtype).numpy()
        return array
    return np.asarray(values, dtype=dtype)


def _is_double(values: Any) -> bool:
    return bool(values.dtype in (torch.float64, np.float64))


def _parts(block: Block, neurons: Mapping[str, NeuronSet]) -> Iterator[Block]:
    """The block in pieces that fit, cut along a dim whose positions
    never move; whole if there is none.
    """
    size = math.prod(block.shape)
    parents = {place for instance in block.instances for _, place in instance.parents}
    still = [
        d for d, i in enumerate(block.instances) if d not in parents and _holds_still(i, neurons)
    ]
    if size <= PART or not still:
        yield block
        return
    d = max(still, key=lambda d: block.instances[d].size)
    step = max(1, PART * block.instances[d].size // size)
    for start in range(0, block.instances[d].size, step):
        length = min(step, block.instances[d].size - start)
        instances = list(block.instances)
        instances[d] = Instance(None, length)
        yield replace(
            block, views=(*block.views, Range(d, start, length)), instances=tuple(instances)
        )


def _holds_still(instance: Instance, neurons: Mapping[str, NeuronSet]) -> bool:
    return instance.symbol is None or isinstance(neurons[instance.symbol].group, Fixed)
