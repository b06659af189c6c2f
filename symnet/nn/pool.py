"""Invariant pooling: every linear invariant of the features, as a vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import GraphError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.nn.arguments import check_spaces
from symnet.nn.compiled_plan import CompiledPlan
from symnet.nn.constants import Constants
from symnet.nn.features import Features, check_features, refuse_signs
from symnet.nn.gathering import entries_of, gather_rows, take_statistics
from symnet.nn.linear import compile_plan

MOMENTS = ("mean", "spread", "least", "largest", "quartiles")


class Pool(nn.Module):
    """All linear invariants of features: means over everything that the group
    permutes, kept apart by what it does not.

    The invariants are complete: every invariant linear function of the features is a linear
    function of these. A mean forgets how the entries are spread; ``moments`` names what else is
    taken over the same entries, and ``outputs`` asks for features of neuron sets instead.

    Args:
        graph: the architecture.
        inputs: the features' space (default: the graph's tensors).
        moments: of ``"mean"``, ``"spread"`` (the standard deviation), ``"least"``, ``"largest"``
            and ``"quartiles"`` (three numbers).
        outputs: neuron sets to pool to, in axis notation by name (``{"of h1": "h1"}``): for each
            neuron the moments over everything else of every tensor that it indexes.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to
        ``(batch, dimension * numbers of moments * channels)``, invariant by invariant; with
        ``outputs`` to ``{name: (batch, *axes, rows * numbers of moments * channels)}``.

    Raises:
        GraphError: moments other than means of entries that the group does more with than reorder
            them, or an output that has other axes than neurons.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.NeuronGraph(
        ...     {"in": sn.Fixed(2), "h": sn.Symmetric(8)}, {"0.weight": "h in", "0.bias": "h"}
        ... )
        >>> x = {"0.weight": torch.ones(5, 8, 2, 4), "0.bias": torch.ones(5, 8, 4)}
        >>> sn.nn.Pool(graph)(x).shape
        torch.Size([5, 12])
        >>> sn.nn.Pool(graph, moments=("mean", "spread"), outputs={"of h": "h"})(x)["of h"].shape
        torch.Size([5, 8, 24])
    """

    def __init__(
        self,
        graph: NeuronGraph,
        *,
        inputs: SpaceLike = None,
        moments: Sequence[str] = ("mean",),
        outputs: SpaceLike = None,
    ) -> None:
        super().__init__()
        self.inputs, _ = check_spaces(
            "Pool", require_graph(graph, "Pool").space(inputs), graph.weights
        )
        if isinstance(moments, str) or not set(moments) <= set(MOMENTS) or not moments:
            raise GraphError(f"moments={moments!r}: choose some of {', '.join(MOMENTS)}.")
        self.moments = tuple(dict.fromkeys(moments))
        self.outputs = None if outputs is None else graph.space(outputs)
        if self.moments != ("mean",):
            refuse_signs(self.inputs, "Pool takes moments")
        self._prepare()
        self.dimension = self._compiled[0].plan.dimension if self.outputs is None else 0

    def _prepare(self) -> None:
        # Looked up once: torch.compile cannot look into a cache of functions.
        spaces = [Space(self.inputs.neurons, {"invariant": ""})]
        if self.outputs is not None:
            spaces = [
                Space(self.inputs.neurons, {name: t.axes}) for name, t in self.outputs.items()
            ]
        self._compiled = [compile_plan(self.inputs, space) for space in spaces]
        self._numbers = [
            _table_of(compiled, space)
            for compiled, space in zip(self._compiled, spaces, strict=True)
        ]
        self._constants = Constants()
        # Entries tied by a group other than Sym: their mean is the invariant.
        tables = self._compiled[0].plan.tables
        index = tables[0].index if tables and self.outputs is None else None
        self._averaging = None if index is None else _averaging(index[:, 0], tables[0].parameters)
        if self._averaging is not None and self.moments != ("mean",):
            raise GraphError(
                "Moments are taken of entries that all permutations, or none, exchange; leave "
                "moments= out here."
            )

    def forward(self, x: Mapping[str, Tensor]) -> Tensor | Features:
        check_features(x, self.inputs, "Pool got", alike=True)
        tensors = [x[name] for name in self.inputs]
        if self.outputs is not None:
            pooled = [
                self._pooled(*which, tensors)
                for which in zip(self._compiled, self._numbers, strict=True)
            ]
            batch = tensors[0].shape[0]
            return {
                name: values.reshape(batch, *tensor.shape, values.shape[1] * values.shape[2])
                for (name, tensor), values in zip(self.outputs.items(), pooled, strict=True)
            }
        if not self.dimension:
            return tensors[0].new_zeros(tensors[0].shape[0], 0)
        return self._pooled(self._compiled[0], 0, tensors).flatten(1)

    def _pooled(self, compiled: CompiledPlan, number: int, tensors: list[Tensor]) -> Tensor:
        """``(batch * positions, rows * numbers of moments, channels)`` of one table."""
        table, channels = compiled.plan.tables[number], tensors[0].shape[-1]
        if self.moments == ("mean",):
            ((_, rows),) = gather_rows(
                compiled, take_statistics(compiled, tensors), number, tensors[0]
            )
            values = rows.view(rows.shape[0], table.height, channels)
            if self._averaging is not None:
                weights = self._constants.get(
                    "averaging", self._averaging, values.device, values.dtype
                )
                values = torch.einsum("kh,bhc->bkc", weights, values)
            return values
        pooled = []
        for row in compiled.tables[number].rows:
            # (batch, *kept, averaged, features)
            entries = entries_of(compiled, row.statistic, tensors)
            for values in _moments(entries, self.moments):
                values = values if row.permutation is None else values.permute(row.permutation)
                pooled.append(
                    values.reshape(-1, values.shape[-1] // channels, channels)
                    if values.numel()
                    else values.new_zeros(0, values.shape[-1] // channels, channels)
                )
        return torch.cat(pooled, dim=1)

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        # made again from the spaces
        for name in ("_compiled", "_numbers", "_constants", "_averaging"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self._prepare()

    @property
    def numbers(self) -> int:
        """Numbers that the moments are: one each, three for quartiles."""
        return len(self.moments) + 2 * ("quartiles" in self.moments)

    def extra_repr(self) -> str:
        to = (
            f"{self.dimension} invariants per channel"
            if self.outputs is None
            else ", ".join(self.outputs)
        )
        return f"{len(self.inputs)} tensors -> {to}; {', '.join(self.moments)}"


def _table_of(compiled: CompiledPlan, space: Space) -> int:
    """The table that fills an output entry by entry.

    Raises:
        GraphError: the output has Fixed axes, or several blocks.
    """
    (tensor,) = space.values()
    if not tensor.axes:
        return 0
    for number, table in enumerate(compiled.plan.tables):
        slot = table.slots[0]
        plain = len(tensor.blocks) == 1 and table.index is None and len(table.slots) == 1
        if plain and slot.is_whole and slot.dims.folded_size == 1:
            return number
    raise GraphError(
        f"Pool cannot pool to '{tensor.name}': outputs are sets of neurons that all permutations "
        "exchange, such as 'h' or 'h k'."
    )


def _moments(entries: Tensor, moments: Sequence[str]) -> Iterator[Tensor]:
    """Moments over the last dim but one; quartiles lie between neighbours in order."""
    for moment in moments:
        if moment == "mean":
            yield entries.mean(-2)
        elif moment == "spread":
            # the root of zero has no derivative
            variance = (entries - entries.mean(-2, keepdim=True)).square().mean(-2)
            yield (variance + torch.finfo(variance.dtype).tiny).sqrt()
        elif moment == "least":
            yield entries.amin(-2)
        elif moment == "largest":
            yield entries.amax(-2)
        else:
            ordered, last = entries.sort(-2).values, entries.shape[-2] - 1
            for share in (0.25, 0.5, 0.75):
                below = int(share * last)
                above = min(below + 1, last)
                yield torch.lerp(
                    ordered[..., below, :], ordered[..., above, :], share * last - below
                )


def _averaging(label: np.ndarray, count: int) -> np.ndarray:
    """The matrix ``(count, rows)`` that averages rows of one label."""
    one_hot = (label[None, :] == np.arange(count)[:, None]).astype(np.float64)
    return one_hot / one_hot.sum(1, keepdims=True)
