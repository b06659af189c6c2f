"""Fewer, more, or other neurons in a network whose graph is known:
what to cut is the graph's to say.
"""

from symnet.surgery.budgets import choose
from symnet.surgery.cutting import Surgery, drop, keep, masked, reorder
from symnet.surgery.finding import outgoing
from symnet.surgery.joining import join
from symnet.surgery.outlets import Copies, Outlets, Place
from symnet.surgery.resizing import ResizeError, resize
from symnet.surgery.scores import importance
from symnet.surgery.selection import Selection
from symnet.surgery.widening import split, widen

__all__ = [
    "Copies",
    "Outlets",
    "Place",
    "ResizeError",
    "Selection",
    "Surgery",
    "choose",
    "drop",
    "importance",
    "join",
    "keep",
    "masked",
    "outgoing",
    "reorder",
    "resize",
    "split",
    "widen",
]


def __dir__() -> list[str]:
    return __all__
