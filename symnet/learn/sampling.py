"""Which networks a step trains on: a function of the seed and the step alone, so that going on after a kill is exact."""

from __future__ import annotations

import torch
from torch import Tensor

from symnet.errors import SymnetError

__all__ = ["Sampler", "draws"]


class Sampler:
    """Batches from an endless row of epochs, each epoch a permutation of all networks.

    Step `k` takes the places `k * batch` to `(k + 1) * batch` of that row, and process `r` of `w` every w-th of them from
    the r-th on. So the shards of the processes are disjoint, together they are the batch of one process, and
    every epoch has each network once. Nothing is remembered between steps but a permutation that can be made again.

    Args:
        rows: the networks' numbers, `(networks,)`.
        batch: networks of one step, of all processes together.
        seed: of the permutations.
        rank, world: this process among all.

    Raises:
        SymnetError: no networks, or a batch that the processes cannot share evenly.

    Example:
        >>> one = Sampler(torch.arange(6), batch=4, seed=0)
        >>> sorted(torch.cat([one(0), one(1)[:2]]).tolist())
        [0, 1, 2, 3, 4, 5]
        >>> two = [Sampler(torch.arange(6), batch=4, seed=0, rank=rank, world=2) for rank in (0, 1)]
        >>> sorted(torch.cat([shard(5) for shard in two]).tolist()) == sorted(one(5).tolist())
        True
    """

    def __init__(
        self, rows: Tensor, *, batch: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if not len(rows) or batch < 1:
            raise SymnetError(
                f"A sampler of {len(rows)} networks and batch={batch}: both must be positive."
            )
        if batch % world:
            raise SymnetError(
                f"batch={batch} cannot be shared evenly by {world} processes; set training.batch to a multiple of {world}."
            )
        self.rows, self.batch, self.seed, self.rank, self.world = rows, batch, seed, rank, world
        self._epoch, self._order = -1, rows

    def __call__(self, step: int) -> Tensor:
        """The networks of this process at a step, `(batch / world,)`."""
        places = torch.arange(step * self.batch, (step + 1) * self.batch)
        epochs, within = places // len(self.rows), places % len(self.rows)
        found = [
            self._permutation(int(epoch))[within[epochs == epoch]] for epoch in epochs.unique()
        ]
        return torch.cat(found)[self.rank :: self.world]

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            order = torch.randperm(len(self.rows), generator=draws(self.seed, epoch))
            self._epoch, self._order = epoch, self.rows[order]
        return self._order


def draws(seed: int, number: int) -> torch.Generator:
    """A generator of its own for every number (a step, an epoch), not to be had by counting seeds up."""
    mixed = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
    return torch.Generator().manual_seed(mixed ^ (mixed >> 31))
