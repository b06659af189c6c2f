"""Parameter sharing: orbits of index pairs, counted, listed and labelled (no torch)."""

from symnet.sharing.bilinear_maps import BilinearMaps, derive_bilinear
from symnet.sharing.equivariant_maps import EquivariantMaps, Interactions, derive
from symnet.sharing.sharing_pattern import PlacedDiagram, SharingPattern

__all__ = [
    "BilinearMaps",
    "EquivariantMaps",
    "Interactions",
    "PlacedDiagram",
    "SharingPattern",
    "derive",
    "derive_bilinear",
]


def __dir__() -> list[str]:
    return __all__
