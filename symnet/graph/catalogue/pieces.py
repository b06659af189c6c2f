"""What the families share: sizes checked once, and the axes of layers with biases and norms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral

from symnet.errors import GraphError, TooLargeError
from symnet.graph.neuron_sets import NeuronSet
from symnet.groups import Fixed, PermutationGroup, Symmetric

Neurons = dict[str, PermutationGroup | NeuronSet]
LAYERS_LIMIT = 10_000


def io_group(io: str, size: int) -> PermutationGroup:
    """The group of input or output neurons."""
    if io not in ("fixed", "permuted"):
        raise GraphError(
            f"io={io!r}; write 'fixed' for input and output neurons that may be told apart, "
            "or 'permuted'."
        )
    return Fixed(size) if io == "fixed" else Symmetric(size)


def affine(prefix: str, axes: str, bias: bool) -> dict[str, str]:
    """Weight, and the bias on the weight's first axis (one word, or one pair of parentheses)."""
    first = axes[: axes.index(")") + 1] if axes.startswith("(") else axes.split()[0]
    return {f"{prefix}weight": axes} | ({f"{prefix}bias": first} if bias else {})


def batch_norm(prefix: str, channels: str) -> dict[str, str]:
    """Scale, shift and running statistics, all on the channels."""
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}{name}": channels for name in names}


def successive(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Every layer's inputs and outputs."""
    return zip(names[:-1], names[1:], strict=True)


def quotient(what: str, name: str, total: int, parts_name: str, parts: int) -> int:
    """``total / parts``, which has to be whole."""
    if parts < 1 or total % parts:
        raise GraphError(
            f"{what} got {name}={total} and {parts_name}={parts}; "
            f"{name} must be a multiple of {parts_name}."
        )
    return total // parts


def check_layers(layers: int) -> None:
    if layers > LAYERS_LIMIT:
        digits = f"{layers:,}" if layers < 10**18 else "more than 10^18"
        raise TooLargeError(
            f"A network of {digits} layers: the catalogue makes at most {LAYERS_LIMIT:,}."
        )


def whole_sizes(what: str, sizes: object) -> list[int]:
    """The sizes as Python's numbers (numpy's overflow when multiplied), all at least 1."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise GraphError(f"{what} got {sizes!r:.60}; give a list of whole numbers.")
    kept = list(sizes)
    if any(isinstance(size, bool) or not isinstance(size, Integral) or size < 1 for size in kept):
        raise GraphError(f"{what} got {kept!r:.60}; give whole numbers of at least 1.")
    return [int(size) for size in kept]
