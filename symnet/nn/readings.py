"""What a reader is given besides layers: statistics, the product along the network, the networks' own answers; and input scales.

Everything here is invariant (or scales tensors as wholes), and is set to the networks to learn from once, by ``calibrate``; what that finds
are buffers, so that saving a reader keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph, Space
from symnet.nn.baselines import Statistics
from symnet.nn.features import Features, check_features
from symnet.nn.path_product import PathProduct
from symnet.nn.probes import Probes, random_inputs

WIDEST = 4096  # numbers of a path product; those of wider ends are projected to that many


class InputScale(nn.Module):
    """Every tensor divided by its root mean square over the networks that a reader learns from (by 1 before ``calibrate``).

    Args:
        space: the features' space.

    Raises:
        ShapeError: features that do not fit.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to the same.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 3])
        >>> scale = InputScale(graph.weights)
        >>> x = {name: 5 * torch.ones(4, *shape, 1) for name, shape in graph.shapes.items()}
        >>> scale.calibrate(x)
        >>> float(scale(x)["0.weight"].mean())
        1.0
    """

    deviation: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space, self.names = space, tuple(space)
        self.register_buffer("deviation", torch.ones(len(self.names)))

    @torch.no_grad()
    def calibrate(self, x: Mapping[str, Tensor]) -> None:
        """Take the scales from networks."""
        for number, name in enumerate(self.names):
            values = x[name].detach().float()
            values = values[values.isfinite()]
            deviation = values.square().mean().sqrt() if values.numel() else values.new_ones(())
            self.deviation[number] = deviation if deviation > 0 else 1.0

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_features(x, self.space, "InputScale got")
        return {
            name: x[name] / self.deviation[number].to(x[name].dtype)
            for number, name in enumerate(self.names)
        }


class PathNumbers(nn.Module):
    """The product along a network as numbers without scale: rows centred over the outputs and normalised, their cosines, log norms.

    Args:
        path: where the product comes from.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to ``(batch, numbers)``.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([4, 8, 3])
        >>> numbers = PathNumbers(sn.nn.PathProduct(graph, hidden=False))
        >>> numbers({name: torch.randn(5, *shape, 1) for name, shape in graph.shapes.items()}).shape  # 3 x 4, 3 pairs, 3 norms
        torch.Size([5, 18])
    """

    def __init__(self, path: PathProduct) -> None:
        super().__init__()
        self.path = path
        generator = torch.Generator().manual_seed(0)
        self._projected = []
        for number, tensor in enumerate(path.outputs.values()):
            rows, columns = tensor.shape
            if rows * columns > WIDEST:
                narrow = max(WIDEST // rows, 1)
                self.register_buffer(
                    f"projection_{number}",
                    torch.randn(columns, narrow, generator=generator) / columns**0.5,
                )
                self._projected.append(number)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        products = self.path(x)
        return torch.cat(
            [
                self._numbers(number, products[name])
                for number, name in enumerate(self.path.outputs)
            ],
            dim=1,
        )

    def _numbers(self, number: int, product: Tensor) -> Tensor:
        rows = product.movedim(-1, 1)  # (batch, channels, outputs, inputs)
        if rows.shape[2] > 1:
            rows = rows - rows.mean(2, keepdim=True)
        norms = (rows.square().sum(3) + torch.finfo(rows.dtype).tiny).sqrt()
        rows = rows / norms[..., None]
        upper = torch.triu_indices(rows.shape[2], rows.shape[2], 1, device=rows.device)
        cosines = (rows @ rows.mT)[..., upper[0], upper[1]]
        if number in self._projected:
            rows = rows @ getattr(self, f"projection_{number}").to(rows.dtype)
        return torch.cat([rows.flatten(1), cosines.flatten(1), norms.log().flatten(1)], dim=1)


class Readings(nn.Module):
    """Invariants of every kind that is asked for, standardised, each kind through a layer of its own.

    Args:
        graph: the architecture.
        statistics: whether the seven statistics of every tensor are among them.
        path: whether the product along the network is; with a module by its own program, without by the graph's order.
        probes: how many random inputs the networks are run on, or the inputs; needs the module.
        module, example: a module of this architecture and a batch that it takes.
        in_channels: features of every weight.
        width: of what comes out for each kind.
        dropout: probability with which a reading is left out in training.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``(batch, width * kinds)``.

    Raises:
        ShapeError: probes without a module, or a module without an example.
    """

    def __init__(
        self,
        graph: NeuronGraph,
        *,
        statistics: bool,
        path: bool,
        probes: int | Tensor,
        module: nn.Module | None,
        example: Tensor | None,
        in_channels: int,
        width: int = 48,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        if module is not None and not isinstance(example, Tensor):
            raise ShapeError("With module= give example=, a batch that it takes.")
        sources: dict[str, nn.Module] = {}
        if statistics:
            sources["statistics"] = Statistics(graph)
        if path:
            by_module = () if module is None else (module, example)
            sources["path"] = PathNumbers(PathProduct(graph, *by_module, hidden=False))
        if isinstance(probes, Tensor) or probes:
            if module is None or example is None:
                raise ShapeError(
                    "probes= needs module= and example=, a module of this architecture and a batch that it takes."
                )
            inputs = probes if isinstance(probes, Tensor) else random_inputs(example, probes)
            sources["probes"] = Probes(module, graph, inputs)
        self.sources = nn.ModuleDict(sources)
        self.width, self.dropout = width, nn.Dropout(dropout)
        self.layers = nn.ModuleDict()
        with torch.no_grad():
            zero = {
                name: torch.zeros(1, *shape, in_channels) for name, shape in graph.shapes.items()
            }
            sizes = {name: source(zero).shape[1] for name, source in sources.items()}
        for name, size in sizes.items():
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_spread", torch.ones(size))
            self.layers[name] = nn.Linear(size, width)

    @property
    def out_features(self) -> int:
        return self.width * len(self.layers)

    @torch.no_grad()
    def calibrate(self, x: Mapping[str, Tensor]) -> None:
        """Take means and spreads from networks."""
        self.calibrate_to(self.take(x))

    @torch.no_grad()
    def calibrate_to(self, taken: Mapping[str, Tensor]) -> None:
        """The same from readings that ``take`` gave."""
        for name, values in taken.items():
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            spread = values.std(0, correction=0)
            getattr(self, f"{name}_spread").copy_(
                torch.where(spread > 1e-6 * (1 + values.mean(0).abs()), spread, 1.0)
            )

    def take(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every kind of reading as it is, ``(batch, numbers)``: the same in every step of training unless probes are learned."""
        return {name: source(x).nan_to_num(0.0, 0.0, 0.0) for name, source in self.sources.items()}

    def standardised(self, taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Readings by the means and spreads of the networks to learn from."""
        readings = {}
        for name, values in taken.items():
            values = (values - getattr(self, f"{name}_mean")) / getattr(self, f"{name}_spread")
            # an outlier among a thousand networks is no thousand times as interesting
            readings[name] = values.clamp(-8, 8)
        return readings

    def read(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every kind of reading, standardised."""
        return self.standardised(self.take(x))

    def mix(self, readings: Mapping[str, Tensor]) -> Tensor:
        """What layers make of readings, ``(batch, out_features)``."""
        mixed = [
            nn.functional.gelu(layer(self.dropout(readings[name])))
            for name, layer in self.layers.items()
        ]
        return torch.cat(mixed, dim=1)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.mix(self.read(x))

    def extra_repr(self) -> str:
        sizes = [f"{getattr(self, f'{name}_mean').numel()} of {name}" for name in self.sources]
        return f"{', '.join(sizes)} -> {self.out_features}"
