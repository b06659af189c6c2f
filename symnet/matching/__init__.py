"""Matching: which neurons of one network are which neurons of another,
and a form that all equal networks share.
"""

from symnet.matching.alignment import Alignment, align
from symnet.matching.ancestry import Lineage, LineageEvidence, lineage
from symnet.matching.auditing import Audit, SetAudit, audit, find_copies
from symnet.matching.canonical import Canonical, canonicalize
from symnet.matching.folds import ClassMean, Fold, Gain, Phase, Shift, Unread
from symnet.matching.merging import Barrier, Merge, Repair, merge
from symnet.matching.normal_forms import normal_form
from symnet.matching.same_function import same_function
from symnet.matching.scaling import Scaling, read_scaling

Evidence = LineageEvidence  # its name before; tracing has a class of this one

__all__ = [
    "Alignment",
    "Audit",
    "Barrier",
    "Canonical",
    "ClassMean",
    "Fold",
    "Gain",
    "Lineage",
    "LineageEvidence",
    "Merge",
    "Phase",
    "Repair",
    "Scaling",
    "SetAudit",
    "Shift",
    "Unread",
    "align",
    "audit",
    "canonicalize",
    "find_copies",
    "lineage",
    "merge",
    "normal_form",
    "read_scaling",
    "same_function",
]


def __dir__() -> list[str]:
    return __all__
