"""nn.Linear: the complete equivariant linear layer between two spaces over a graph's neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor, nn

from symnet.display import Displayed
from symnet.errors import TooLargeError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.nn.arguments import check_interactions, check_layer, check_spaces
from symnet.nn.commuting import demands
from symnet.nn.compiled_plan import CompiledPlan
from symnet.nn.constants import Constants
from symnet.nn.executor import apply_plan
from symnet.nn.features import Features, check_features, with_space
from symnet.nn.gathering import StatisticsAhead
from symnet.nn.initialization import draw_matrices
from symnet.nn.kernels.backend import route
from symnet.nn.restriction import restricted
from symnet.nn.table_matrices import stored_shape, table_matrices, table_names
from symnet.plan import LayerPlan, describe, lower
from symnet.sharing import EquivariantMaps, Interactions

PARAMETER_LIMIT = 2**28  # parameters of one layer; 1 GiB in float32


@lru_cache(maxsize=64)
def compile_plan(
    inputs: Space, outputs: Space, interactions: Interactions = "full"
) -> CompiledPlan:
    """The compiled plan between two spaces; layers between the same spaces share it."""
    return CompiledPlan(lower(EquivariantMaps(inputs, outputs, interactions)))


class Linear(Displayed, nn.Module):
    """The equivariant linear maps from one space of weights to another, one
    coefficient per orbit and pair of channels.

    Args:
        graph: the architecture whose weights are read.
        in_channels, out_channels: features of every weight, last dim.
        inputs, outputs: axis notation by name, or names of the graph's tensors; default all its
            tensors.
        interactions: ``"full"``: all equivariant maps; ``"adjacent"``: those between tensors that
            share a neuron set, for networks of many tensors, where the others are most of the
            parameters.
        bias: whether an equivariant bias is added.
        gain: standard deviation of the outputs for inputs of standard deviation 1, at
            initialisation.

    Shapes:
        input ``{name: (batch, *axes, in_channels)}``, output
        ``{name: (batch, *axes, out_channels)}``.

    Raises:
        ShapeError: features that do not fit.
        TooLargeError: more parameters than fit; names the tensors they come from.

    Example:
        >>> import symnet as sn
        >>> graph = sn.NeuronGraph(
        ...     {"in": sn.Fixed(2), "h": sn.Symmetric(8)}, {"0.weight": "h in", "0.bias": "h"}
        ... )
        >>> layer = sn.nn.Linear(graph, in_channels=1, out_channels=4)
        >>> layer.dimension, sum(p.numel() for p in layer.parameters())
        (18, 84)

    Source: Zhou et al. 2023 (arXiv 2302.14040), for any architecture by orbits (Ravanbakhsh et al.
    2017).
    """

    def __init__(
        self,
        graph: NeuronGraph,
        in_channels: int,
        out_channels: int,
        *,
        inputs: SpaceLike = None,
        outputs: SpaceLike = None,
        interactions: Interactions = "full",
        bias: bool = True,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_layer(graph, in_channels, out_channels, gain, dtype)
        check_interactions(interactions)
        self.graph = graph
        self.in_channels, self.out_channels, self.gain = in_channels, out_channels, gain
        self._spaces = check_spaces("Linear", graph.space(inputs), graph.space(outputs))
        self._demanding = bool(demands(self.outputs))
        self.interactions = interactions
        self._compiled = compile_plan(*self._spaces, interactions)
        self._names = table_names(self.plan.tables)
        self._check_size()
        self.tables = nn.ParameterDict()
        for table, name in zip(self.plan.tables, self._names, strict=True):
            if table.parameters:
                self.tables[name] = nn.Parameter(
                    torch.empty(
                        stored_shape(table, in_channels, out_channels), device=device, dtype=dtype
                    )
                )
        count = self.plan.bias_dimension
        self.bias = (
            nn.Parameter(torch.empty(count, out_channels, device=device, dtype=dtype))
            if bias
            else None
        )
        self.reset_parameters()
        self._make_constants()

    # ---- what it is ------------------------------------------------------------------------------
    @property
    def plan(self) -> LayerPlan:
        """What runs: statistics, tables, outputs, and their cost."""
        return self._compiled.plan

    @property
    def compiled(self) -> CompiledPlan:
        """The plan with everything worked out that an executor needs."""
        return self._compiled

    @property
    def maps(self) -> EquivariantMaps:
        """The derivation that the parameters are coefficients of."""
        return EquivariantMaps(self.inputs, self.outputs, self.interactions)

    @property
    def inputs(self) -> Space:
        return self._spaces[0]

    @property
    def outputs(self) -> Space:
        return self._spaces[1]

    @property
    def dimension(self) -> int:
        """Number of equivariant maps: parameters per pair of channels."""
        return self.plan.dimension

    def reset_parameters(self) -> None:
        """Draw new parameters: outputs of variance ``gain**2`` for
        inputs of variance 1; biases zero.
        """
        if self._like().is_meta:
            return
        with torch.no_grad():
            drawn = draw_matrices(self.plan, self.in_channels, self.out_channels, self.gain)
            for name, values in zip(self._names, drawn, strict=True):
                if name in self.tables:
                    self.tables[name].copy_(values.reshape(self.tables[name].shape))
            if self.bias is not None:
                self.bias.zero_()

    # ---- running it ------------------------------------------------------------------------------
    def matrices(self) -> list[Tensor]:
        """For every table of the plan its matrix,
        ``(height * in_channels, width * out_channels)``.
        """
        stored = [self.tables.get(name) for name in self._names]
        return table_matrices(
            self.plan.tables,
            stored,
            self._constants,
            self._like(),
            self.in_channels,
            self.out_channels,
        )

    def bias_vector(self) -> Tensor | None:
        """Bias of every column of the tables without axes, ``(columns * out_channels,)``."""
        if self.bias is None:
            return None
        parts, start = [], 0
        for number, table in enumerate(self.plan.tables):
            if table.sizes:
                continue
            entries = self.bias.narrow(0, start, table.bias_parameters)
            start += table.bias_parameters
            if table.bias_index is not None:
                padded = torch.cat([entries, entries.new_zeros(1, self.out_channels)])
                entries = padded[
                    self._constants.get(f"bias {number}", table.bias_index, entries.device)
                ]
            parts.append(entries)
        return torch.cat(parts).reshape(-1) if parts else None

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        """The outputs, ``(batch, *axes, out_channels)`` by name."""
        return run_linear(self, x)

    # ---- for a smaller group ---------------------------------------------------------------------
    def restricted_to(self, graph: NeuronGraph) -> Linear:
        """The layer for a smaller group on the same tensors: the same
        function, with more free parameters.

        What the larger group tied may now differ, so that training can go on where the symmetry was
        too strong.

        Args:
            graph: the same tensors, and a group that is contained in this layer's: sets held
                (``with_groups``), split, or cyclic.

        Raises:
            GraphError: the graph's group is not contained in this layer's, or either mixes or
                scales neurons.

        Example:
            >>> import symnet as sn
            >>> graph = sn.catalogue.mlp([2, 8, 1])
            >>> layer = sn.nn.Linear(graph, 1, 1)
            >>> smaller = layer.restricted_to(graph.with_groups({"h1": sn.Cyclic(8)}))
            >>> layer.dimension, smaller.dimension
            (41, 137)
        """
        return restricted(self, graph)

    def stored_tables(self) -> list[nn.Parameter | None]:
        """The parameters of every table of the plan; None where it has none."""
        return [self.tables.get(name) for name in self._names]

    def bias_columns(self) -> Tensor:
        """For every column of the tables without axes the row of ``bias`` that it reads; the
        number of rows where it reads none.
        """
        parts, start = [torch.zeros(0, dtype=torch.int64)], 0
        for table in self.plan.tables:
            if table.sizes:
                continue
            count = table.bias_parameters
            index = (
                torch.arange(count) if table.bias_index is None else torch.tensor(table.bias_index)
            )
            parts.append(torch.where(index >= 0, index + start, self.plan.bias_dimension))
            start += count
        return torch.cat(parts)

    # ---- details ---------------------------------------------------------------------------------
    def _like(self) -> Tensor:
        return next(self.parameters(), torch.empty(0))

    def _make_constants(self) -> None:
        """Indices on the parameters' device, before anything is run or
        recorded; never part of the state dict.
        """
        self._constants = Constants()
        for number, table in enumerate(self.plan.tables):
            if table.index is not None:
                self._constants.get(f"index {number}", table.index, self._like().device)
            if self.bias is not None and not table.sizes and table.bias_index is not None:
                self._constants.get(f"bias {number}", table.bias_index, self.bias.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._make_constants()
        return self

    def _check_size(self) -> None:
        count = self.plan.cost(self.in_channels, self.out_channels).parameters
        if count <= PARAMETER_LIMIT:
            return
        table = max(self.plan.tables, key=lambda table: table.height * table.width)
        target = max(table.slots, key=lambda slot: slot.dims.folded_size)
        row = max(table.rows, key=lambda row: self.plan.statistics[row.statistic].folded_size)
        source = self.plan.statistics[row.statistic]
        raise TooLargeError(
            f"This layer would have {count:,} parameters ({self.plan.dimension:,} maps with "
            f"{self.in_channels} to {self.out_channels} channels); the limit is "
            f"{PARAMETER_LIMIT:,}. Most belong to the table [{table.name}], from input "
            f"'{source.tensor}' ({source.folded_size} fixed positions per neuron) to output "
            f"'{target.tensor}' ({target.dims.folded_size}). Permute that set (with_groups), use "
            "fewer channels, or leave the tensor out of inputs= or outputs=."
        )

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        state.pop("_compiled")  # shared, and made again from the spaces
        state.pop("_constants")
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self._compiled = compile_plan(*self._spaces, self.interactions)
        self._make_constants()

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels} -> {self.out_channels} channels, {len(self.inputs)} -> "
            f"{len(self.outputs)} tensors, {self.dimension} maps, {self.interactions} "
            f"interactions, bias={self.bias is not None}, backend: {route(self._like().device)}"
        )

    def describe(self) -> str:
        """The plan with this layer's channels."""
        return (
            f"{describe(self.plan, self.in_channels, self.out_channels)}\nbackend: "
            f"{route(self._like().device)}"
        )


def run_linear(
    layer: Linear,
    x: Mapping[str, Tensor],
    *,
    relu: bool = False,
    taken: Mapping[int, Tensor] | None = None,
    ahead: StatisticsAhead | None = None,
) -> Features:
    """A layer's outputs; what :class:`Network` asks of it beside them is asked here.

    Args:
        layer: the layer.
        x: its inputs, ``(batch, *axes, in_channels)`` by name.
        relu: set the outputs' negative entries to zero, in the same memory.
        taken: statistics of ``x`` by their number in the plan, taken when it was written. Nothing
            checks that they are those of ``x``: that would cost what taking them ahead saves.
        ahead: where to put the statistics of the outputs that the layer after this one takes.
    """
    some = next(layer.parameters(), None)
    check_features(x, layer.inputs, "Linear got", layer.in_channels, like=some)
    tensors = [x[name] for name in layer.inputs]
    if some is None or not layer.plan.tables:  # nothing is equivariant but zero
        shapes = {
            name: (*tensor.shape, layer.out_channels) for name, tensor in layer.outputs.items()
        }
        return {
            name: tensors[0].new_zeros(tensors[0].shape[0], *shape)
            for name, shape in shapes.items()
        }
    matrices, bias = layer.matrices(), layer.bias_vector()
    outputs = apply_plan(
        layer.compiled, tensors, matrices, bias, relu=relu, taken=taken, ahead=ahead
    )
    named = dict(zip(layer.outputs, outputs, strict=True))
    return with_space(named, layer.outputs, demanding=layer._demanding)
