"""Pictures of derived layers (matplotlib, no screen needed). Nothing imports this but the command line and the tasks."""

from symnet.show.architecture_page import (
    InlinePage,
    explore,
    explorer_page,
    write_architecture_page,
)
from symnet.show.colours import distinct_colours
from symnet.show.figures import draw, save_picture
from symnet.show.labels import TyingPattern, label_matrix, narrowed
from symnet.show.networks import graph_picture
from symnet.show.orbits import orbit_picture
from symnet.show.page import Section, make_page
from symnet.show.plans import plan_picture
from symnet.show.squares import STEPS, commuting_frames, commuting_square, save_animation
from symnet.show.strands import draw_strands
from symnet.show.tying import tying_matrix

__all__ = [
    "STEPS",
    "InlinePage",
    "Section",
    "TyingPattern",
    "commuting_frames",
    "commuting_square",
    "distinct_colours",
    "draw",
    "draw_strands",
    "explore",
    "explorer_page",
    "graph_picture",
    "label_matrix",
    "make_page",
    "narrowed",
    "orbit_picture",
    "plan_picture",
    "save_animation",
    "save_picture",
    "tying_matrix",
    "write_architecture_page",
]


def __dir__() -> list[str]:
    return __all__
