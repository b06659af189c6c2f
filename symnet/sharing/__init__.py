"""Parameter sharing: orbits of index pairs, counted, listed and labelled (no torch)."""

from symnet.sharing.equivariant_maps import EquivariantMaps, Interactions, derive
from symnet.sharing.sharing_pattern import PlacedDiagram, SharingPattern

__all__ = ["EquivariantMaps", "Interactions", "PlacedDiagram", "SharingPattern", "derive"]
