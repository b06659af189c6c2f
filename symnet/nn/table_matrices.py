"""The parameters of tables: how they are stored and named, and the matrices that they make up."""

from __future__ import annotations

import keyword
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from symnet.nn.constants import Constants
from symnet.plan.steps import Table


def stored_shape(table: Table, in_channels: int, out_channels: int) -> tuple[int, ...]:
    """Shape of a table's parameters: its matrix, or one entry a
    parameter where entries are tied.
    """
    if table.index is None:
        return table.height, in_channels, table.width, out_channels
    return table.parameters, in_channels, out_channels


def table_names(tables: Sequence[Table]) -> tuple[str, ...]:
    """A state-dict key for every table: its axes; dots would nest, so they become slashes.

    Words of Python stand in brackets, since torch.export writes code with these names, and so do
    names that every ``ParameterDict`` has for something else (``values``, ``copy``).
    """
    taken = nn.ParameterDict()
    names: dict[str, None] = {}
    for table in tables:
        base = table.name.replace(".", "/")
        base = f"[{base}]" if keyword.iskeyword(base) or hasattr(taken, base) else base
        name, number = base, 2
        while name in names:
            name, number = f"{base} ({number})", number + 1
        names[name] = None
    return tuple(names)


def table_matrices(
    tables: Sequence[Table],
    stored: Sequence[Tensor | None],
    constants: Constants,
    like: Tensor,
    in_channels: int,
    out_channels: int,
) -> list[Tensor]:
    """For every table its matrix, ``(height * in_channels, width * out_channels)``, from what is
    stored of it.
    """
    matrices = []
    for number, (table, values) in enumerate(zip(tables, stored, strict=True)):
        shape = table.height * in_channels, table.width * out_channels
        if table.index is None:
            matrices.append(like.new_zeros(shape) if values is None else values.view(shape))
            continue
        index = constants.get(f"index {number}", table.index, like.device)
        entries = like.new_zeros(0, in_channels, out_channels) if values is None else values
        # -1, no parameter, reads the zero at the end
        padded = torch.cat([entries, entries.new_zeros(1, in_channels, out_channels)])
        matrices.append(padded[index].permute(0, 2, 1, 3).reshape(shape))
    return matrices
