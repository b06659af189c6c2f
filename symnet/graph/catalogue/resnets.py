"""Residual networks."""

from __future__ import annotations

from collections.abc import Sequence

from symnet.errors import GraphError
from symnet.graph.catalogue.pieces import (
    Neurons,
    affine,
    batch_norm,
    check_layers,
    io_group,
    whole_sizes,
)
from symnet.graph.neuron_graph import NeuronGraph
from symnet.groups import Symmetric


def resnet(
    channels: Sequence[int] = (3, 64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
    classes: int = 1000,
    *,
    stem: int = 7,
    io: str = "fixed",
) -> NeuronGraph:
    """The graph of a residual network, keyed as torchvision's ``ResNet(BasicBlock, blocks)``.

    The defaults are ``resnet18``. Running means and variances of the batch norms belong to the
    graph: they move with their channels.

    Args:
        channels: of the input, then of every stage; the stem has those of the first stage.
        blocks: residual blocks in every stage; the first of a later stage has a ``downsample``
            (convolution and norm).
        classes: number of outputs.
        stem: kernel size of the first convolution.
        io: "fixed" or "permuted" input and output neurons.

    Returns:
        One residual stream per stage, ``stage1``, ``stage2``, ..., and every block's inner
        channels, ``stage1.0``, ...

    Raises:
        GraphError: not one more channel count than stages, or a stage without blocks.
        TooLargeError: more than 10,000 blocks.

    Example:
        >>> graph = resnet((3, 8, 16), (1, 1), classes=10)
        >>> list(graph.neurons), graph.tensors["layer2.0.downsample.0.weight"]
        (['in', 'stage1', 'stage1.0', 'stage2', 'stage2.0', 'out'], 'stage2 stage1 1 1')
    """
    if len(channels) != len(blocks) + 1 or min(blocks, default=0) < 1:
        raise GraphError(
            f"resnet got {len(channels)} channels {list(channels)} for {len(blocks)} stages "
            f"{list(blocks)}; give the input's channels and one more for every stage, and at "
            "least one block per stage."
        )
    check_layers(sum(whole_sizes("resnet(blocks=...)", blocks)))
    neurons: Neurons = {"in": io_group(io, channels[0])}
    tensors = {"conv1.weight": f"stage1 in {stem} {stem}"} | batch_norm("bn1.", "stage1")
    for stage, count in enumerate(blocks, start=1):
        stream = f"stage{stage}"
        neurons[stream] = Symmetric(channels[stage])
        for block in range(count):
            inner, prefix = f"{stream}.{block}", f"layer{stage}.{block}."
            neurons[inner] = Symmetric(channels[stage])
            first = block == 0 and stage > 1
            source = f"stage{stage - 1}" if first else stream
            tensors[f"{prefix}conv1.weight"] = f"{inner} {source} 3 3"
            tensors |= batch_norm(f"{prefix}bn1.", inner)
            tensors[f"{prefix}conv2.weight"] = f"{stream} {inner} 3 3"
            tensors |= batch_norm(f"{prefix}bn2.", stream)
            if first:
                tensors[f"{prefix}downsample.0.weight"] = f"{stream} {source} 1 1"
                tensors |= batch_norm(f"{prefix}downsample.1.", stream)
    neurons["out"] = io_group(io, classes)
    tensors |= affine("fc.", f"out stage{len(blocks)}", True)
    return NeuronGraph(neurons, tensors)
