"""Matching: which neurons of one network are which neurons of another, and a form that all equal networks share."""

from symnet.matching.alignment import Alignment, align

__all__ = ["Alignment", "align"]
