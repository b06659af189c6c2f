"""Pictures of derived layers (matplotlib, no screen needed). Nothing imports this but the command line and the tasks."""

from symnet.show.colours import distinct_colours
from symnet.show.figures import draw, save_picture
from symnet.show.labels import TyingPattern, label_matrix
from symnet.show.networks import graph_picture
from symnet.show.tying import tying_matrix

__all__ = ["TyingPattern", "distinct_colours", "draw", "graph_picture", "label_matrix", "save_picture", "tying_matrix"]
