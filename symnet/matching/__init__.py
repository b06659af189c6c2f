"""Matching: which neurons of one network are which neurons of another, and a form that all equal networks share."""

from symnet.matching.alignment import Alignment, align
from symnet.matching.canonical import Canonical, canonicalize
from symnet.matching.scaling import Scaling, read_scaling

__all__ = ["Alignment", "Canonical", "Scaling", "align", "canonicalize", "read_scaling"]
