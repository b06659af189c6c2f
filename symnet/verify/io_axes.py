"""Which dims of a network's inputs and outputs are neurons: axis notation with ``_`` and ``...``.

``"... in"``: the last dim holds the neurons of ``in``; ``"_ in _ _"`` or ``"_ in ..."``: the second
does, as in the images of a convolution. ``_`` is one dim that stays as it is, ``...`` any number of
them. Without ``...`` the last dims are meant, so ``"in"`` is short for ``"... in"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from symnet.errors import NotationError, ShapeError
from symnet.graph import GroupElement, NeuronGraph
from symnet.graph.notation import parse_axes, print_axis
from symnet.groups import is_trivial

# One text, one a tensor in order, or by path ("0", "logits", "[1][0]" or "1.0"); None leaves a
# tensor out of the check.
AxesLike = str | Sequence[str | None] | Mapping[str, str | None] | None


def read_axes(declared: AxesLike, paths: Sequence[str], what: str) -> dict[str, str | None]:
    """Axis text by path; paths that are not mentioned have neurons on none of their dims.

    Raises:
        NotationError: there are more texts than tensors, or a path is not among them.
    """
    if declared is None:
        return dict.fromkeys(paths, "")
    if isinstance(declared, str):
        if len(paths) != 1:
            raise NotationError(
                f"{what}_axes={declared!r} is one text for {len(paths)} {what}s "
                f"({', '.join(paths)}); give a list of texts in this order, or a dict by these "
                "names. Use '' where nothing is permuted."
            )
        return {paths[0]: declared}
    if not isinstance(declared, Mapping | Sequence):
        raise NotationError(
            f"{what}_axes={declared!r:.60}: give a text, a list of texts, or a dict by name."
        )
    if not isinstance(declared, Mapping):
        texts = list(declared)
        if len(texts) > len(paths):
            raise NotationError(
                f"{what}_axes holds {len(texts)} texts for {len(paths)} {what}s "
                f"({', '.join(paths)})."
            )
        return dict.fromkeys(paths, "") | dict(zip(paths, texts, strict=False))
    dotted = {_dotted(path): path for path in paths}
    if unknown := [path for path in declared if _dotted(path) not in dotted]:
        raise NotationError(
            f"{what}_axes names {', '.join(map(repr, unknown))}; the {what}s are "
            f"{', '.join(map(repr, paths))}."
        )
    return dict.fromkeys(paths, "") | {
        dotted[_dotted(path)]: text for path, text in declared.items()
    }


def _dotted(path: str) -> str:
    """A path with dots alone: ``"[0].x"`` and ``"0.x"`` name the same."""
    return path.replace("[", ".").replace("]", "").lstrip(".")


def act_on(
    graph: NeuronGraph, element: GroupElement, text: str, tensor: Tensor, what: str
) -> Tensor:
    """``g.x`` for an input or output with these axes.

    Raises:
        NotationError, ShapeError: the axes cannot be read, or do not fit the tensor.
    """
    axes, start = expand(text, tensor.ndim, what)
    if not axes:
        return tensor
    sizes = tensor.shape[start:]
    words = [str(size) if axis == "_" else axis for axis, size in zip(axes, sizes, strict=False)]
    if 0 in sizes:
        return tensor
    name = what.replace(":", " ")
    try:
        return graph.act(element, {name: tensor}, batch_dims=start, space={name: " ".join(words)})[
            name
        ]
    except ShapeError as error:
        raise ShapeError(f"{what} was said to have axes {text!r}. {error}") from None


def expand(text: str, ndim: int, what: str) -> tuple[list[str], int]:
    """The axes of the dims from some dim on (``_`` for one that
    stays), and the number of that dim.
    """
    if text.count("...") > 1:
        raise NotationError(f"{what}: {text!r} holds '...' more than once.")
    before, dots, after = text.partition("...")
    left, right = _words(before), _words(after)
    if not dots:
        left, right = [], left
    if len(left) + len(right) > ndim:
        raise NotationError(
            f"{what}: {text!r} names {len(left) + len(right)} dims, but the tensor has {ndim}."
        )
    if not left:
        return right, ndim - len(right)
    return [*left, *["_"] * (ndim - len(left) - len(right)), *right], 0


def sets_in(texts: Sequence[str | None], graph: NeuronGraph) -> set[str]:
    """Neuron sets that can move and occur in any of these axes."""
    words = {word for text in texts for word in re.findall(r"[^\s()+]+", text or "")}
    return {
        name for name in words & set(graph.neurons) if not is_trivial(graph.neurons[name].group)
    }


def _words(text: str) -> list[str]:
    return list(map(print_axis, parse_axes(text)))
