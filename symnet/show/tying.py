"""The tying matrix: a layer's weight matrix with one colour an orbit, as in the figures of Zhou et al. 2023."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symnet.sharing import EquivariantMaps
from symnet.show.colours import as_seen, distance, distinct_colours, text_colour
from symnet.show.figures import LARGE, NORMAL, SMALL, new_figure
from symnet.show.labels import TyingPattern, label_matrix

_ZERO = np.ones(
    (1, 3)
)  # last, where label -1 finds it: weights that a signed group forces to zero are left white
_NUMBERED = 30  # up to so many rows and columns the orbits' numbers fit into the entries
_CHARACTER = 0.078  # inches that a character of a tensor's name takes


def tying_matrix(
    maps: EquivariantMaps, *, title: str | None = None, numbers: bool | None = None
) -> Figure:
    """A picture of the layer's weight matrix: equal colours are tied weights, one colour for each orbit.

    Args:
        maps: from ``derive``; outputs are drawn down, inputs across, blocks labelled by tensor.
        title: default: the number of orbits and entries.
        numbers: write each orbit's number into its entries; default: where they fit.

    Raises:
        TooLargeError: too many rows, columns or orbits to be seen; says how to get a smaller picture.
    """
    pattern = label_matrix(maps)
    height, width = pattern.labels.shape
    colours = colour_orbits(pattern)
    entry = min(0.28, max(0.05, 7.0 / max(height, width, 1)))  # inches
    left = 0.45 + _CHARACTER * max(map(len, pattern.rows), default=0)
    above = 0.9 + 0.85 * _CHARACTER * max(map(len, pattern.columns), default=0)
    inches = np.array([left + width * entry + 0.7, above + height * entry + 0.3])
    figure = new_figure(*np.maximum(inches, 3.2))
    total = figure.get_size_inches()
    axes = figure.add_axes(
        (left / total[0], 0.3 / total[1], width * entry / total[0], height * entry / total[1])
    )
    axes.imshow(
        np.vstack([colours, _ZERO])[pattern.labels],
        interpolation="nearest",
        aspect="equal",
        extent=(0, width, height, 0),
    )
    if numbers if numbers is not None else max(height, width) <= _NUMBERED:
        _write_numbers(axes, pattern.labels, colours, entry)
    _draw_blocks(axes, pattern)
    _label_bands(axes, pattern, entry)
    default = f"{pattern.dimension} orbits tie {pattern.labels.size:,} weights"
    figure.suptitle(
        default if title is None else title, fontsize=LARGE, y=1 - 0.12 / total[1], va="top"
    )
    return figure


def colour_orbits(pattern: TyingPattern) -> np.ndarray:
    """A colour for every orbit, ``(dimension, 3)``: no two equal, and far apart within each block.

    The largest orbit of a block is its background and gets a pale colour; the others are chosen one after another, each
    as far as possible from those already in the block.

    Raises:
        TooLargeError: more orbits than colours that can be told apart.
    """
    palette = distinct_colours(pattern.dimension)
    points = as_seen(palette)
    free = np.ones(len(palette), dtype=bool)
    chosen = np.full(pattern.dimension, -1)
    sizes = np.bincount(pattern.labels[pattern.labels >= 0], minlength=pattern.dimension)
    blocks = [
        sorted(pattern.orbits_between(rows, columns), key=lambda k: -sizes[k])
        for rows in pattern.rows.values()
        for columns in pattern.columns.values()
    ]
    # Blocks of many orbits choose first, blocks of one take what is left.
    blocks.sort(key=lambda block: -len(block))
    for block in blocks:
        if len(block) > 1:
            chosen[block[0]] = np.where(
                free, points[:, 0, 0], -1
            ).argmax()  # the lightest that is left
            free[chosen[block[0]]] = False
    for block in blocks:
        for place, orbit in enumerate(block):
            if chosen[orbit] < 0:
                others = points[chosen[block[:place]]] if place else points[~free]
                gap = distance(points[:, None], others[None]).min(axis=1, initial=np.inf)
                chosen[orbit] = np.where(free, gap, -1).argmax()
                free[chosen[orbit]] = False
    return palette[chosen]


def _write_numbers(axes: Axes, labels: np.ndarray, colours: np.ndarray, entry: float) -> None:
    size = min(SMALL, entry * 72 * 0.42)
    for (row, column), label in np.ndenumerate(labels):
        if label < 0:
            continue
        axes.text(
            column + 0.5,
            row + 0.52,
            str(label),
            fontsize=size,
            color=text_colour(colours[label]),
            ha="center",
            va="center",
        )


def _draw_blocks(axes: Axes, pattern: TyingPattern) -> None:
    """White lines between the blocks of different tensors."""
    for band in list(pattern.rows.values())[1:]:
        axes.axhline(band.start, color="white", linewidth=1.8)
    for band in list(pattern.columns.values())[1:]:
        axes.axvline(band.start, color="white", linewidth=1.8)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def spread(centres: list[float], gap: float) -> list[float]:
    """Places as near as can be to the centres, in their order, at least ``gap`` apart.

    Example:
        >>> spread([1.0, 1.5, 9.0], 2.0)
        [0.25, 2.25, 9.0]
    """
    groups: list[
        tuple[float, int]
    ] = []  # clusters of touching labels: mean of the wished first places, count
    for centre in centres:
        first, count = centre, 1
        while groups and groups[-1][0] + gap * groups[-1][1] > first:
            other, size = groups.pop()
            # Every member wishes where the cluster starts; the cluster starts at the mean of the wishes.
            first = (other * size + (first - gap * size) * count) / (size + count)
            count += size
        groups.append((first, count))
    return [first + gap * k for first, count in groups for k in range(count)]


def _label_bands(axes: Axes, pattern: TyingPattern, entry: float) -> None:
    """Names of the tensors at the left and above, moved apart where bands are thin, with a line to each band."""
    gap, away = 0.16 / entry, 0.22 / entry
    rows = [(band.start + band.stop) / 2 for band in pattern.rows.values()]
    for name, centre, place in zip(pattern.rows, rows, spread(rows, gap), strict=True):
        axes.plot([-0.1 * away, -away], [centre, place], color="0.6", linewidth=0.8, clip_on=False)
        axes.text(-1.15 * away, place, name, ha="right", va="center", fontsize=NORMAL)
    columns = [(band.start + band.stop) / 2 for band in pattern.columns.values()]
    for name, centre, place in zip(pattern.columns, columns, spread(columns, gap), strict=True):
        axes.plot([centre, place], [-0.1 * away, -away], color="0.6", linewidth=0.8, clip_on=False)
        axes.text(
            place,
            -1.15 * away,
            name,
            ha="left",
            va="bottom",
            fontsize=NORMAL,
            rotation=55,
            rotation_mode="anchor",
        )
    height, width = pattern.labels.shape
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xlabel(
        "inputs across, outputs down; white lines part the tensors", fontsize=SMALL, color="0.4"
    )
