"""What readers are given in training: readings taken once for all networks, or the weights themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from symnet.data import NetworkSet
from symnet.learn.kinds import KindReader, kind_statistics
from symnet.nn import EquivariantNetwork, InvariantNetwork

__all__ = ["CHUNK", "Head", "TakenReadings", "WithChannel", "calibrate", "chunks_of"]

CHUNK = 256  # networks read at once: of a corpus on the disk no more is in memory
MOST_TO_CALIBRATE = 2048  # networks from which scales are taken
Reader = InvariantNetwork | KindReader | EquivariantNetwork


def chunks_of(networks: NetworkSet, size: int = CHUNK) -> list[dict[str, Tensor]]:
    """Features `{name: (networks, *axes, 1)}` of some networks after others: views, not copies."""
    return [
        {
            name: tensor[start : start + size].unsqueeze(-1)
            for name, tensor in networks.weights.items()
        }
        for start in range(0, len(networks), size)
    ]


class TakenReadings:
    """The readings of all networks by kind, each taken when it is first asked for.

    Args:
        sets: the networks; several sets for a `KindReader` alone.
    """

    def __init__(self, sets: Sequence[NetworkSet]) -> None:
        self.sets = sets
        self._taken: dict[str, Tensor] = {}

    @torch.no_grad()
    def of(self, reader: InvariantNetwork | KindReader) -> dict[str, Tensor]:
        """The readings that a reader asks for, `{kind: (networks, numbers)}`."""
        if isinstance(reader, KindReader):
            if "kinds" not in self._taken:
                parts = [
                    kind_statistics(
                        {name: tensor[..., 0] for name, tensor in chunk.items()}, reader.kinds
                    )
                    for networks in self.sets
                    for chunk in chunks_of(networks)
                ]
                self._taken["kinds"] = torch.cat(parts)
            return {"kinds": self._taken["kinds"]}
        assert reader.readings is not None
        sources = reader.readings.sources
        missing = [kind for kind in sources if kind not in self._taken]
        taken: dict[str, list[Tensor]] = {kind: [] for kind in missing}
        for chunk in chunks_of(self.sets[0]) if missing else ():
            for kind in missing:
                taken[kind].append(sources[kind](chunk).nan_to_num(0.0, 0.0, 0.0))
        self._taken |= {kind: torch.cat(parts) for kind, parts in taken.items()}
        return {kind: self._taken[kind] for kind in sources}


def calibrate(
    reader: InvariantNetwork | KindReader,
    rows: Tensor,
    readings: Mapping[str, Tensor],
    networks: NetworkSet,
) -> None:
    """Set a reader's scales to the networks that it learns from."""
    if isinstance(reader, KindReader):
        reader.calibrate_to(readings["kinds"][rows])
        return
    if reader.readings is not None:
        reader.readings.calibrate_to({kind: values[rows] for kind, values in readings.items()})
    if reader.body is not None:
        some = rows[:MOST_TO_CALIBRATE]
        reader.scale.calibrate(
            {name: networks.weights[name][some].unsqueeze(-1) for name in reader.inputs}
        )


class Head(nn.Module):
    """What of a reader without layers is trained: it starts from readings."""

    def __init__(self, network: InvariantNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, readings: Mapping[str, Tensor]) -> Tensor:
        sources = self.network.readings
        assert sources is not None
        answer: Tensor = self.network.head(sources.mix(sources.standardised(readings)))
        return answer


class WithChannel(nn.Module):
    """A reader that is given weights without channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, weights: Mapping[str, Tensor]) -> Tensor:
        answer: Tensor = self.network(
            {name: tensor.unsqueeze(-1) for name, tensor in weights.items()}
        )
        return answer
