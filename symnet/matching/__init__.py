"""Matching: which neurons of one network are which neurons of another, and a form that all equal networks share."""

from symnet.matching.alignment import Alignment, align
from symnet.matching.canonical import Canonical, canonicalize
from symnet.matching.folds import ClassMean, Fold, Gain, Phase, Shift, Unread
from symnet.matching.normal_form import normal_form
from symnet.matching.same_function import same_function
from symnet.matching.scaling import Scaling, read_scaling

__all__ = [
    "Alignment",
    "Canonical",
    "ClassMean",
    "Fold",
    "Gain",
    "Phase",
    "Scaling",
    "Shift",
    "Unread",
    "align",
    "canonicalize",
    "normal_form",
    "read_scaling",
    "same_function",
]
