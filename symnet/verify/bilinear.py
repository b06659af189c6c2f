"""The certificate of a bilinear layer: equivariant, all connected
bilinear maps, none of them twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import TooLargeError, VerificationError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.notation import print_axes
from symnet.nn.product import Product
from symnet.nn.reference import DenseProduct
from symnet.sharing import BilinearMaps, derive_bilinear
from symnet.sharing.bilinear_maps import Connection, Pairs
from symnet.verify.comparison import check_tolerance, check_whole, make_seed
from symnet.verify.equivariance import copy_function, equivariance, name_of
from symnet.verify.ranks import rank_of
from symnet.verify.report import Report, entry
from symnet.verify.triple_orbits import ENTRY_LIMIT, count_orbits

Features = dict[str, Tensor]


@dataclass(frozen=True)
class BilinearCertificate:
    """What a bilinear layer is, with the evidence; true if it is equivariant, complete and minimal.

    Numbers are per triple of channels (left, right, output). ``dimension`` counts the diagrams,
    ``dimension_by_orbits`` the orbits of index triples under the group's generators whose entries
    hang together (None where the group has no list of generators); ``rank`` is how many independent
    maps the parameters express, ``outside`` how many of these are no combination of the diagrams.
    """

    subject: str
    report: Report
    diagrams: str
    dimension: int
    dimension_by_orbits: int | None
    parameters: float
    rank: float
    outside: float
    margin: float

    @property
    def equivariant(self) -> bool:
        return self.report.passed

    @property
    def complete(self) -> bool:
        """Whether the layer can express every map."""
        return self.rank - self.outside == self.dimension

    @property
    def minimal(self) -> bool:
        """Whether no parameter repeats others."""
        return self.rank >= self.parameters

    @property
    def seed(self) -> int:
        return self.report.seed

    def raise_if_failed(self) -> BilinearCertificate:
        """This certificate, if the layer is equivariant, complete and minimal.

        Raises:
            VerificationError: the certificate in words.
        """
        if not self:
            raise VerificationError(str(self))
        return self

    def __bool__(self) -> bool:
        counts_agree = self.dimension_by_orbits in (None, self.dimension)
        return self.equivariant and self.complete and self.minimal and counts_agree

    def __str__(self) -> str:
        claims = (
            (self.equivariant, "equivariant"),
            (self.complete, "complete"),
            (self.minimal, "minimal"),
        )
        lines = [
            f"{self.subject}: "
            f"{', '.join(word if holds else f'NOT {word}' for holds, word in claims)}"
        ]
        orbits = (
            ""
            if self.dimension_by_orbits is None
            else f" (orbits of index triples: {self.dimension_by_orbits:,})"
        )
        margin = (
            ""
            if np.isinf(self.margin)
            else f" (smallest singular value counted: {self.margin:.0e} times the next)"
        )
        counts = (
            f"{self.dimension:,} {self.diagrams} bilinear maps{orbits}, {self.parameters:g} "
            f"parameters of rank {self.rank:g}{margin}"
        )
        lines += entry("maps", [counts])
        if self.outside:
            lines += entry(
                "outside", [f"{self.outside:g} of the maps are no combination of these diagrams"]
            )
        if not self.report.passed:
            lines += entry(
                "failures",
                [str(failure) for failure in self.report.failures] or self.report.problems,
            )
        lines += entry("largest", [f"error of equivariance {self.report.max_error:.2g}"])
        return "\n".join([*lines, f"  {'seed':<9} {self.seed}"])

    __repr__ = __str__


def certify_bilinear(
    fn: Callable[..., Any],
    graph: NeuronGraph,
    in_channels: int = 1,
    *,
    right_channels: int | None = None,
    inputs: SpaceLike = None,
    right: SpaceLike = None,
    outputs: SpaceLike = None,
    pairs: Pairs | None = None,
    diagrams: Connection = "connected",
    seed: int | None = None,
    tolerance: float = 1e-9,
) -> BilinearCertificate:
    """A certificate of any bilinear layer ``B(x, y)``: its rank against the number of diagrams.

    The derivative by every parameter is taken on random features in float64; its rank is the number
    of independent maps that the layer expresses. It is compared with the diagrams', evaluated from
    orbit labels.

    Args:
        fn: from two features ``{name: (batch, *axes, channels)}`` to features. For a ``Product``
            the maps are those it was made with, and nothing else need be given.
        inputs, right, outputs, pairs, diagrams, right_channels: as in ``sn.nn.Product``.

    Raises:
        VerificationError: ``fn`` is not bilinear, or its rank cannot be decided.
        TooLargeError: the arrays would not fit; certify a narrower instance.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([1, 3, 2], io="permuted")
        >>> certificate = certify_bilinear(sn.nn.Product(graph, 1, 1), graph)
        >>> (
        ...     certificate.dimension == certificate.dimension_by_orbits == certificate.rank,
        ...     bool(certificate),
        ... )
        (True, True)
    """
    check_tolerance(tolerance)
    seed = make_seed(seed)
    if isinstance(fn, Product):
        maps, channels = fn.maps, (fn.in_channels, fn.right_channels)
    else:
        right_channels = in_channels if right_channels is None else right_channels
        maps = derive_bilinear(
            graph, left=inputs, right=right, outputs=outputs, pairs=pairs, diagrams=diagrams
        )
        channels = (in_channels, right_channels)
    check_whole(in_channels=channels[0], right_channels=channels[1])
    joined = _Joined(fn, maps, channels)
    report = equivariance(
        joined,
        graph,
        max(channels),
        inputs=joined.notation,
        outputs=_notation(maps.outputs),
        seed=seed,
        tolerance=tolerance,
        may_vanish=True,
    )
    family = _BilinearFamily(fn, maps, channels, seed)
    family.check_bilinear()
    paired = isinstance(fn, Product) and fn.channels == "same"
    rows, basis = family.derivatives(), family.diagrams(paired)
    rank, basis_rank = rank_of(rows), rank_of(basis)
    outside = rank_of(np.concatenate([rows, basis])).rank - basis_rank.rank
    triples = (channels[0] if paired else channels[0] * channels[1]) * family.out_channels
    return BilinearCertificate(
        subject=f"bilinear {name_of(fn)}",
        report=report,
        diagrams=maps.diagrams,
        dimension=maps.dimension,
        dimension_by_orbits=count_orbits(graph, maps),
        parameters=len(rows) / triples,
        rank=rank.rank / triples,
        outside=outside / triples,
        margin=rank.margin,
    )


def _notation(space: Space) -> dict[str, str]:
    return {name: print_axes(tensor.axes) for name, tensor in space.items()}


class _Joined(nn.Module):
    """A function of two features as one of their union, so that the group acts on both."""

    def __init__(
        self, fn: Callable[..., Any], maps: BilinearMaps, channels: tuple[int, int]
    ) -> None:
        super().__init__()
        self.fn, self.maps, self.channels = fn, maps, channels
        self.notation = {f"left {n}": axes for n, axes in _notation(maps.left).items()}
        self.notation |= {f"right {n}": axes for n, axes in _notation(maps.right).items()}

    def forward(self, z: Features) -> Any:
        x = {n: z[f"left {n}"][..., : self.channels[0]] for n in self.maps.left}
        return self.fn(x, {n: z[f"right {n}"][..., : self.channels[1]] for n in self.maps.right})


class _BilinearFamily:
    """The maps that a layer expresses, seen through its values on random features."""

    def __init__(
        self, fn: Callable[..., Any], maps: BilinearMaps, channels: tuple[int, int], seed: int
    ) -> None:
        copied, module = copy_function(fn)
        self.fn = cast(Callable[..., Any], copied)  # of two features
        self.maps, self.channels = maps, channels
        self.parameters = (
            [p for p in module.parameters() if p.requires_grad] if module is not None else []
        )
        self._generator = torch.Generator().manual_seed(seed)
        x, y = self._draw(1)
        sample = self.fn(x, y)
        self.out_channels = next(iter(sample.values())).shape[-1]
        count = sum(p.numel() for p in self.parameters)
        pairs = channels[0] * channels[1] * self.out_channels
        per_sample = sum(value.numel() for value in sample.values())
        wanted = max(count, maps.dimension * pairs) + 8
        if 2 * wanted * wanted > ENTRY_LIMIT:
            raise TooLargeError(
                f"certify_bilinear would take the rank of {wanted:,} by {2 * wanted:,} numbers. "
                "Certify the same layer on a narrower architecture, with one channel."
            )
        # every output must be seen on enough samples for all maps into it
        least = min(value.numel() for value in sample.values()) or 1
        most_into_one = max((self._into(s) for s in maps.outputs), default=0) * pairs
        batch = max(-(-2 * wanted // max(per_sample, 1)), -(-most_into_one // least) + 2)
        self.x, self.y = self._draw(batch)

    def _into(self, output: str) -> int:
        return sum(
            placed.count
            for s, a, b in self.maps.triples()
            if s == output
            for placed in self.maps.placed(s, a, b)
        )

    def _draw(self, batch: int) -> tuple[Features, Features]:
        sides = zip((self.maps.left, self.maps.right), self.channels, strict=True)
        left, right = (
            {
                n: torch.randn(
                    batch, *t.shape, count, dtype=torch.float64, generator=self._generator
                )
                for n, t in space.items()
            }
            for space, count in sides
        )
        return left, right

    def check_bilinear(self) -> None:
        """Check ``B(x + 2 x', y) = B(x, y) + 2 B(x', y)`` and the same on the right.

        Raises:
            VerificationError: it does not hold; names the side.
        """
        (x, y), (x2, y2) = self._draw(2), self._draw(2)
        for side, moved, other in (
            ("left", (_sum(x, x2), y), (x2, y)),
            ("right", (x, _sum(y, y2)), (x, y2)),
        ):
            with torch.no_grad():
                total, first, second = self.fn(*moved), self.fn(x, y), self.fn(*other)
            for name, value in total.items():
                expected = first[name] + 2 * second[name]
                error = float((value - expected).abs().max()) if value.numel() else 0.0
                if not error <= 1e-9 * (1 + float(expected.abs().max() if value.numel() else 0)):
                    raise VerificationError(
                        f"certify_bilinear is for bilinear layers, but output '{name}' is not "
                        f"linear in its {side} argument (off by {error:.2g})."
                    )

    def derivatives(self) -> np.ndarray:
        """Derivative of all outputs by every parameter,
        ``(parameters, entries)``; a layer without any is one map.
        """
        return _derivatives(self.fn, self.parameters, self.x, self.y)

    def diagrams(self, paired: bool) -> np.ndarray:
        """The same for the diagrams, from orbit labels."""
        pairs = self.channels[0] if paired else self.channels[0] * self.channels[1]
        placed = {(s, f"{a} * {b}"): self.maps.placed(s, a, b) for s, a, b in self.maps.triples()}
        zeros = {
            key: torch.zeros(
                sum(one.count for one in many), pairs, self.out_channels, dtype=torch.float64
            )
            for key, many in placed.items()
        }
        twin = DenseProduct(self.maps, zeros, paired=paired)
        return _derivatives(twin, list(twin.parameters()), self.x, self.y)


def _derivatives(
    fn: Callable[..., Any], parameters: list[nn.Parameter], x: Features, y: Features
) -> np.ndarray:
    outputs = torch.cat([value.reshape(-1) for value in fn(x, y).values()])
    if not parameters:
        return outputs.detach().numpy()[None][: int(bool(outputs.any()))]
    rows = []
    for part in outputs.split(256):
        units = torch.eye(len(part), dtype=part.dtype)
        by_parameter = torch.autograd.grad(
            part, parameters, units, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        flat = [
            part.new_zeros(len(part), p.numel()) if g is None else g.reshape(len(part), -1)
            for g, p in zip(by_parameter, parameters, strict=True)
        ]
        rows.append(torch.cat(flat, dim=1))
    return torch.cat(rows).T.numpy()


def _sum(x: Mapping[str, Tensor], y: Mapping[str, Tensor]) -> Features:
    return {name: x[name] + 2 * y[name] for name in x}
