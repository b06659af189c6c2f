"""Low-rank adapters (LoRA): the graph of pairs of matrices whose product is all that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symnet.errors import GraphError, ShapeError
from symnet.graph.neuron_graph import NeuronGraph
from symnet.groups import Fixed, GeneralLinear, Group

Sizes = Sequence[int]


def lora(adapted: Mapping[str, Sizes]) -> NeuronGraph:
    """The graph of LoRA adapters: the change of each adapted matrix is ``lora_B @ lora_A``.

    Any invertible map between the factors leaves the product: ``lora_A`` is multiplied by it,
    ``lora_B`` by its inverse (Hu et al. 2021, arXiv 2106.09685; as a weight space Putterman et al.
    2024, arXiv 2410.04207).

    Args:
        adapted: by name of the adapted matrix its sizes ``(out, rank, in)``.

    Returns:
        Neuron sets ``NAME.in``, ``NAME.r``, ``NAME.out``; tensors ``NAME.lora_A`` and
        ``NAME.lora_B``.

    Raises:
        GraphError: nothing is adapted, or sizes are not three whole numbers of at least 1.

    Example:
        >>> lora({"q": (64, 8, 32)})
        neurons
          q.in: Fixed(32)
          q.r: GeneralLinear(8)
          q.out: Fixed(64)
        tensors
          q.lora_A: q.r q.in
          q.lora_B: q.out q.r*
    """
    if not isinstance(adapted, Mapping) or not adapted:
        raise GraphError(
            f"lora got {adapted!r:.60}; give a dict of (out, rank, in) by name: "
            "{'q': (64, 8, 64)}."
        )
    neurons: dict[str, Group] = {}
    tensors: dict[str, str] = {}
    for name, sizes in adapted.items():
        if isinstance(sizes, str) or len(tuple(sizes)) != 3:
            raise GraphError(
                f"lora: the sizes of {name!r} are {sizes!r:.60}; give (out, rank, in)."
            )
        out, rank, width = sizes
        neurons |= {
            f"{name}.in": Fixed(width),
            f"{name}.r": GeneralLinear(rank),
            f"{name}.out": Fixed(out),
        }
        tensors |= {
            f"{name}.lora_A": f"{name}.r {name}.in",
            f"{name}.lora_B": f"{name}.out {name}.r*",
        }
    return NeuronGraph(neurons, tensors)


def pad_rank(
    weights: Mapping[str, Any], rank: int | Mapping[str, int], batch_dims: int = 0
) -> tuple[dict[str, Any], NeuronGraph]:
    """Adapters brought to a common rank by zeros, which changes no product, and their graph.

    Args:
        weights: arrays or tensors ``NAME.lora_A`` ``(*batch, rank, in)`` and ``NAME.lora_B``
            ``(*batch, out, rank)``.
        rank: for all, or by name of the adapted matrix.

    Raises:
        ShapeError: factors that do not fit one another, or a rank above the one asked for.

    Example:
        >>> import numpy as np
        >>> padded, graph = pad_rank({"q.lora_A": np.ones((2, 5)), "q.lora_B": np.ones((6, 2))}, 4)
        >>> padded["q.lora_A"].shape, padded["q.lora_B"].shape, graph.neurons["q.r"].group
        ((4, 5), (6, 4), GeneralLinear(4))
    """
    names = [name.removesuffix(".lora_A") for name in weights if name.endswith(".lora_A")]
    padded, sizes = dict(weights), {}
    for name in names:
        down, up = weights[f"{name}.lora_A"], weights.get(f"{name}.lora_B")
        wanted = rank if isinstance(rank, int) else rank[name]
        if up is None or up.shape[-1] != down.shape[batch_dims] or up.ndim != down.ndim:
            raise ShapeError(
                f"'{name}.lora_A' {tuple(down.shape)} and '{name}.lora_B' are no factors of one "
                "product."
            )
        if down.shape[batch_dims] > wanted:
            raise ShapeError(
                f"'{name}' has rank {down.shape[batch_dims]}, more than {wanted}. Pad to the "
                "largest rank; less would lose a part."
            )
        padded[f"{name}.lora_A"] = _with_zeros(down, batch_dims, wanted)
        padded[f"{name}.lora_B"] = _with_zeros(up, batch_dims + 1, wanted)
        sizes[name] = (up.shape[batch_dims], wanted, down.shape[batch_dims + 1])
    return padded, lora(sizes)


def _with_zeros(array: Any, axis: int, size: int) -> Any:
    """The array with zeros appended along an axis: numpy's or torch's, whatever it is."""
    shape = list(array.shape)
    shape[axis] = size
    result = (
        np.zeros(shape, array.dtype) if isinstance(array, np.ndarray) else array.new_zeros(shape)
    )
    result[(slice(None),) * axis + (slice(0, array.shape[axis]),)] = array
    return result
