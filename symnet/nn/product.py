"""nn.Product: equivariant bilinear maps between spaces over a graph's neurons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError, TooLargeError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.nn.arguments import check_count, check_layer, check_spaces
from symnet.nn.compiled_plan import CompiledPlan
from symnet.nn.constants import Constants
from symnet.nn.features import Features, check_features
from symnet.nn.gathering import mean_over, put_side_by_side, take_statistics
from symnet.nn.linear import PARAMETER_LIMIT
from symnet.nn.product_initialization import draw_product_matrices
from symnet.nn.scattering import scatter
from symnet.nn.table_matrices import stored_shape, table_matrices, table_names
from symnet.plan.product_plan import Contraction, ProductPlan, lower_products
from symnet.plan.steps import Statistic
from symnet.sharing import BilinearMaps, derive_bilinear
from symnet.sharing.bilinear_maps import Connection, Pairs


class CompiledProduct:
    """A ``ProductPlan`` with everything looked up that running it needs."""

    def __init__(self, maps: BilinearMaps) -> None:
        self.plan: ProductPlan = lower_products(maps)
        self.left = CompiledPlan(self.plan.left)
        self.right = (
            self.left if self.plan.left is self.plan.right else CompiledPlan(self.plan.right)
        )
        self.layer = CompiledPlan(self.plan.layer)


@lru_cache(maxsize=32)
def compile_products(
    left: Space,
    right: Space,
    outputs: Space,
    pairs: tuple[tuple[str, str], ...],
    diagrams: Connection,
) -> CompiledProduct:
    """The compiled plan of bilinear maps; layers of the same maps share it."""
    return CompiledProduct(BilinearMaps(left, right, outputs, pairs, diagrams))


class Product(nn.Module):
    """Equivariant bilinear maps: every product of two tensors that the
    symmetry allows, one coefficient a diagram.

    A linear layer never multiplies two weights, yet what a network computes is made of products of
    its weights. This layer has contractions such as ``sum_i W2[o, i] W1[i, j]``, Gram matrices
    ``sum_i W[o, i] W[p, i]``, products of what comes into a neuron with what goes out of it. Called
    with one argument it multiplies the features with themselves.

    Args:
        graph: the architecture whose weights are read.
        in_channels, out_channels: features of every weight, last dim.
        right_channels: features of the right argument (default: as many as of the left).
        inputs: the left argument's space, as in ``Linear`` (default: the graph's tensors).
        right: the right argument's space (default: the same).
        outputs: what comes out (default: the graph's tensors).
        pairs: (left, right) names of the tensors that are multiplied. Default: those that share a
            neuron set that is not Fixed; where both spaces are the same, every two tensors once.
        diagrams: ``"connected"``, or ``"all"``: also products of an invariant of one tensor with a
            linear map of the other.
        channels: ``"all"``: every channel is multiplied with every channel; ``"same"``: channel k
            with channel k, for many channels.
        gain: standard deviation of the outputs at initialisation, for independent inputs of
            standard deviation 1.

    Shapes:
        inputs ``{name: (batch, *axes, in_channels)}``, output
        ``{name: (batch, *axes, out_channels)}``.

    Raises:
        GraphError: pairs or spaces that there are not, or nothing to multiply.
        ShapeError: features that do not fit.
        TooLargeError: more parameters than fit. The Fixed axes of both factors and of the output
            each have an index of their own in every map: ``with_groups`` or a ``Linear`` to spaces
            without them is the way out.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 4, 1])
        >>> layer = sn.nn.Product(
        ...     graph, 1, 1, outputs={"path": "h2"}, pairs=[("2.weight", "0.weight")]
        ... )
        >>> layer.dimension  # W2 W1, for each of the two inputs
        2
        >>> x = {name: torch.randn(5, *shape, 1) for name, shape in graph.shapes.items()}
        >>> layer(x)["path"].shape
        torch.Size([5, 4, 1])

    Source: the diagrams of Maron et al. 2019 (arXiv 1812.09902) and Pearce-Crump (arXiv 2212.08648)
    between an output and a product of two inputs; bilinear layers over weights: Tran et al. 2024
    (arXiv 2410.04213).
    """

    def __init__(
        self,
        graph: NeuronGraph,
        in_channels: int,
        out_channels: int,
        *,
        right_channels: int | None = None,
        inputs: SpaceLike = None,
        right: SpaceLike = None,
        outputs: SpaceLike = None,
        pairs: Pairs | None = None,
        diagrams: Connection = "connected",
        channels: str = "all",
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_layer(graph, in_channels, out_channels, gain, dtype, "Product")
        self.in_channels, self.out_channels, self.gain = in_channels, out_channels, gain
        self.right_channels = in_channels if right_channels is None else right_channels
        check_count("right_channels", self.right_channels)
        if channels not in ("all", "same") or (
            channels == "same" and self.right_channels != in_channels
        ):
            raise ShapeError(
                f"channels={channels!r} with {in_channels} and {self.right_channels} channels: "
                "choose 'all', or 'same' where both arguments have equally many."
            )
        self.channels = channels
        self._maps = derive_bilinear(
            graph, left=inputs, right=right, outputs=outputs, pairs=pairs, diagrams=diagrams
        )
        check_spaces("Product", self._maps.left, self._maps.right)
        self._prepare()
        self._names = table_names(self.plan.tables)
        self._check_size()
        self.tables = nn.ParameterDict()
        for table, name in zip(self.plan.tables, self._names, strict=True):
            shape = stored_shape(table, self._products_of_channels, out_channels)
            self.tables[name] = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()
        self._make_constants()

    # ---- what it is ------------------------------------------------------------------------------
    @property
    def maps(self) -> BilinearMaps:
        """The derivation that the parameters are coefficients of."""
        return self._maps

    @property
    def plan(self) -> ProductPlan:
        """What runs: contractions, tables, outputs, and their cost."""
        return self._compiled.plan

    @property
    def dimension(self) -> int:
        """Number of maps: parameters for every pair of input channels and output channel."""
        return self.plan.dimension

    @property
    def _products_of_channels(self) -> int:
        return self.in_channels * (1 if self.channels == "same" else self.right_channels)

    def reset_parameters(self) -> None:
        """Draw new parameters: outputs of variance ``gain**2`` for
        independent inputs of variance 1.
        """
        if any(parameter.is_meta for parameter in self.parameters()):
            return
        drawn = draw_product_matrices(
            self.plan, self.in_channels, self.right_channels, self.out_channels, self.channels
        )
        with torch.no_grad():
            for name, values in zip(self._names, drawn, strict=True):
                self.tables[name].copy_(self.gain * values.reshape(self.tables[name].shape))

    # ---- running it ------------------------------------------------------------------------------
    def matrices(self) -> list[Tensor]:
        """For every table of the plan its matrix,
        ``(height * products of channels, width * out_channels)``.
        """
        stored = [self.tables[name] for name in self._names]
        return table_matrices(
            self.plan.tables,
            stored,
            self._constants,
            self._like(),
            self._products_of_channels,
            self.out_channels,
        )

    def forward(self, x: Mapping[str, Tensor], y: Mapping[str, Tensor] | None = None) -> Features:
        """``B(x, y)``; without ``y`` it is ``B(x, x)``."""
        like = next(self.parameters(), None)
        check_features(x, self._maps.left, "Product got", self.in_channels, like=like)
        if y is None:
            y = x
        if (
            y is not x
            or self._maps.right != self._maps.left
            or self.right_channels != self.in_channels
        ):
            check_features(
                y, self._maps.right, "Product got on the right", self.right_channels, like=like
            )
        left = [x[name] for name in self._maps.left]
        right = (
            left
            if y is x and self._compiled.right is self._compiled.left
            else [y[n] for n in self._maps.right]
        )
        if not self.plan.tables:  # nothing is equivariant but zero
            batch = left[0].shape[0]
            return {
                n: left[0].new_zeros(batch, *t.shape, self.out_channels)
                for n, t in self._maps.outputs.items()
            }
        statistics = contract(self._compiled, left, right, paired=self.channels == "same")
        gathered = put_side_by_side(self._compiled.layer, statistics, left[0])
        outputs = scatter(
            self._compiled.layer, gathered, self.matrices(), None, left[0].shape[0], in_place=False
        )
        return dict(zip(self._maps.outputs, outputs, strict=True))

    # ---- details ---------------------------------------------------------------------------------
    def _prepare(self) -> None:
        maps = self._maps
        self._compiled = compile_products(
            maps.left, maps.right, maps.outputs, maps.pairs, maps.diagrams
        )
        self._constants = Constants()

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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._make_constants()
        return self

    def _check_size(self) -> None:
        cost = self.plan.cost(
            self.in_channels, self.right_channels, self.out_channels, paired=self.channels == "same"
        )
        if cost.parameters <= PARAMETER_LIMIT:
            return
        table = max(self.plan.tables, key=lambda table: table.height * table.width)
        row = max(table.rows, key=lambda row: self.plan.layer.statistics[row.statistic].folded_size)
        statistic = self.plan.layer.statistics[row.statistic]
        raise TooLargeError(
            f"This layer would have {cost.parameters:,} parameters; the limit is "
            f"{PARAMETER_LIMIT:,}. Most belong to the product '{statistic.tensor}' "
            f"({statistic.folded_size} pairs of fixed positions). Permute these sets "
            "(with_groups), use fewer channels or channels='same', or go through a Linear to "
            "spaces without the Fixed axes."
        )

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        del state["_compiled"], state["_constants"], state["_maps"]  # made again from the spaces
        maps = self._maps
        state["_made_from"] = maps.left, maps.right, maps.outputs, maps.pairs, maps.diagrams
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        made_from = state.pop("_made_from")
        super().__setstate__(state)
        self._maps = BilinearMaps(*made_from)  # type: ignore[misc]
        self._prepare()
        self._make_constants()

    def extra_repr(self) -> str:
        cost = self.plan.cost(
            self.in_channels, self.right_channels, self.out_channels, paired=self.channels == "same"
        )
        return (
            f"{self.in_channels} {'with' if self.channels == 'same' else 'x'} "
            f"{self.right_channels} -> {self.out_channels} channels, {len(self._maps.pairs)} "
            f"pairs -> {len(self._maps.outputs)} tensors, {self.dimension} {self._maps.diagrams} "
            f"maps, {cost.parameters:,} parameters, {cost.multiplies:,} multiplies for each "
            "network"
        )

    def describe(self) -> str:
        """The plan with this layer's channels."""
        return self.plan.in_words(
            self.in_channels, self.right_channels, self.out_channels, paired=self.channels == "same"
        )


def contract(
    compiled: CompiledProduct, left: list[Tensor], right: list[Tensor], *, paired: bool
) -> list[Tensor]:
    """The statistics of products, each ``(batch, *axes, features)`` with
    features (left folded, right folded, channels).
    """
    left_statistics = take_statistics(compiled.left, left)
    right_statistics = left_statistics if right is left else take_statistics(compiled.right, right)
    plan = compiled.plan
    statistics: list[Tensor] = []
    for step, statistic, compiled_step in zip(
        plan.contractions, plan.layer.statistics, compiled.layer.statistics, strict=True
    ):
        if step.source is not None:
            statistics.append(mean_over(statistics[step.source], compiled_step.averaged))
            continue
        channels = left[0].shape[-1], right[0].shape[-1]
        statistics.append(
            _einsum(
                step,
                statistic,
                (left_statistics[step.left], right_statistics[step.right]),
                channels,
                paired,
            )
        )
    return statistics


def _einsum(
    step: Contraction,
    statistic: Statistic,
    factors: tuple[Tensor, Tensor],
    channels: tuple[int, int],
    paired: bool,
) -> Tensor:
    left, right = (
        factor.reshape(*factor.shape[:-1], factor.shape[-1] // count, count)
        for factor, count in zip(factors, channels, strict=True)
    )
    ends, result = step.equation.split("->")
    first, second = ends.split(",")
    features = "FGC" if paired else "FGCD"
    equation = f"B{first}FC,B{second}G{'C' if paired else 'D'}->B{result}{features}"
    product = torch.einsum(equation, left, right)
    product = product.reshape(
        *product.shape[: -len(features)], math.prod(product.shape[-len(features) :])
    )
    return product / step.divisor if step.divisor > 1 else product
