"""From spaces to a plan: which statistics, which tables, and where
ties and gaps must be looked up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from symnet.errors import GraphError, TooLargeError
from symnet.graph.neuron_graph import NeuronGraph, SpaceLike
from symnet.graph.space import Space
from symnet.plan.layer_plan import LayerPlan
from symnet.plan.steps import Slot, Statistic, Table, TableRow
from symnet.sharing.diagrams import Diagram
from symnet.sharing.dims import BlockDims, dims_of
from symnet.sharing.equivariant_maps import EquivariantMaps, Interactions, derive
from symnet.sharing.patterns import Pattern, Signature, Term, all_orderings, terms

MATRIX_LIMIT = 2**31  # entries of one table's matrix

BlockPlace = tuple[str, int, BlockDims]  # tensor, number of the block, its dims


def make_plan(
    graph: NeuronGraph,
    *,
    inputs: SpaceLike = None,
    outputs: SpaceLike = None,
    interactions: Interactions = "full",
) -> LayerPlan:
    """The plan of the equivariant linear layer between two spaces
    (default: all weights to all weights).

    Raises:
        GraphError: a space is empty or not over the graph's neurons.
        TooLargeError: a table would not fit; names the tensors.
    """
    maps = derive(graph, inputs=inputs, outputs=outputs, interactions=interactions)
    for kind, space in (("inputs", maps.inputs), ("outputs", maps.outputs)):
        if not space:
            raise GraphError(f"A layer needs at least one tensor among its {kind}.")
    return lower(maps)


def lower(maps: EquivariantMaps) -> LayerPlan:
    """The plan of all maps of a derivation."""
    sources, targets = places_of(maps.inputs), places_of(maps.outputs)
    reachable = {term.signature for _, _, dims in targets for term in terms(dims)}
    statistics: list[Statistic] = []
    # biases are there even if no input has a mean
    rows: dict[Signature, list[tuple[int, Term, BlockPlace]]] = {(): []}
    for place in sources:
        chosen = [term for term in all_orderings(place[2]) if term.signature in reachable]
        number = add_statistics(place, chosen, statistics)
        for term in chosen:
            rows.setdefault(term.signature, []).append(
                (number[term.pattern, frozenset(term.kept)], term, place)
            )
    slots: dict[Signature, list[tuple[Term, BlockPlace]]] = {}
    for place in targets:
        for term in terms(place[2]):
            if term.signature in rows:
                slots.setdefault(term.signature, []).append((term, place))
    irregular = irregular_blocks(sources, targets)
    tables = []
    for signature in sorted(slots, key=lambda signature: (-len(signature), signature)):
        for row_terms, slot_terms in _coupled_groups(
            maps, signature, rows[signature], slots[signature]
        ):
            tables.append(make_table(signature, row_terms, slot_terms, statistics, irregular))
    tables = [table for table in tables if table.parameters or table.bias_parameters]
    plan = LayerPlan(maps.inputs, maps.outputs, tuple(statistics), tuple(tables), maps.interactions)
    assert plan.dimension == maps.dimension, (plan.dimension, maps.dimension)
    assert plan.bias_dimension == maps.bias_dimension, (plan.bias_dimension, maps.bias_dimension)
    return plan


RowTerms = list[tuple[int, Term, BlockPlace]]
SlotTerms = list[tuple[Term, BlockPlace]]


def _coupled_groups(
    maps: EquivariantMaps, signature: Signature, row_terms: RowTerms, slot_terms: SlotTerms
) -> Iterator[tuple[RowTerms, SlotTerms]]:
    """One table for all; among adjacent tensors alone, one for the
    outputs that see the same inputs.

    Tensors with an axis in common are adjacent, so that only the table without axes falls apart.
    """
    if maps.interactions == "full" or signature:
        yield row_terms, slot_terms
        return
    by_inputs: dict[tuple[int, ...], SlotTerms] = {}
    numbers: dict[str, list[int]] = {}
    for number, (_, _, source) in enumerate(row_terms):
        numbers.setdefault(source[0], []).append(number)
    for term, place in slot_terms:
        near = maps.adjacent_inputs(place[0])
        seen = tuple(sorted(n for name in near for n in numbers.get(name, ())))
        by_inputs.setdefault(seen, []).append((term, place))
    for seen, slots in by_inputs.items():
        yield [row_terms[n] for n in seen], slots


def places_of(space: Space) -> list[BlockPlace]:
    dims_by_instances: dict[object, BlockDims] = {}
    places = []
    for tensor in space.values():
        for number, block in enumerate(tensor.blocks):
            dims = dims_by_instances.setdefault(block.instances, dims_of(block, space.neurons))
            places.append((tensor.name, number, dims))
    return places


def add_statistics(
    place: BlockPlace, chosen: list[Term], statistics: list[Statistic]
) -> dict[tuple[Pattern, frozenset[int]], int]:
    """Add a block's statistics, largest first, each computed from the
    smallest that still has its axes.
    """
    tensor, block, dims = place
    number: dict[tuple[Pattern, frozenset[int]], int] = {}
    for term in sorted(chosen, key=lambda term: -len(term.kept)):
        key = term.pattern, frozenset(term.kept)
        if key in number:
            continue
        larger = [
            n for (pattern, kept), n in number.items() if pattern == term.pattern and kept > key[1]
        ]
        source = min(larger, key=lambda n: statistics[n].size, default=None)
        number[key] = len(statistics)
        statistics.append(
            Statistic(tensor, block, dims, term.pattern, tuple(sorted(term.kept)), source)
        )
    return number


def irregular_blocks(sources: list[BlockPlace], targets: list[BlockPlace]) -> set[BlockDims]:
    """Blocks with a pair that may have ties or gaps: folded groups, folded
    parents, or few neurons for the dims.

    All other pairs have a parameter for every entry, and need not be looked at one by one.
    """
    blocks = {dims for _, _, dims in (*sources, *targets)}
    counts = {dims: Counter(dims.dims[k].symbol for k in dims.sym) for dims in blocks}
    most: Counter[str | None] = Counter()
    for count in counts.values():
        most |= count
    return {
        dims
        for dims in blocks
        if not dims.is_plain
        or any(
            most[dims.dims[k].symbol] + counts[dims][dims.dims[k].symbol] > dims.dims[k].size
            for k in dims.sym
        )
    }


def make_table(
    signature: Signature,
    row_terms: RowTerms,
    slot_terms: SlotTerms,
    statistics: list[Statistic],
    irregular: set[BlockDims],
) -> Table:
    # The axes' order is free: taking the first input's spares transposing it.
    first = row_terms[0][1] if row_terms else slot_terms[0][0]
    axes = sorted(range(len(signature)), key=lambda a: first.pattern.parts[first.kept[a]].dims)
    rows, height = [], 0
    for number, term, (_, _, dims) in row_terms:
        order = tuple(statistics[number].kept.index(term.kept[a]) for a in axes)
        rows.append(TableRow(number, order, term, height))
        height += dims.folded_size
    slots, width = [], 0
    for term, (tensor, block, dims) in slot_terms:
        slots.append(Slot(tensor, block, dims, tuple(term.kept[a] for a in axes), term, width))
        width += dims.folded_size
    if height * width > MATRIX_LIMIT:
        raise TooLargeError(_too_large(signature, height, width, row_terms, slot_terms))
    sizes = tuple(first.kept_sizes[a] for a in axes)
    index = _index(rows, [p for _, _, p in row_terms], slots, height, width, irregular)
    bias_index = None if signature else _bias_index(slots, width)
    return Table(signature, sizes, tuple(rows), tuple(slots), height, width, index, bias_index)


def _index(
    rows: list[TableRow],
    places: list[BlockPlace],
    slots: list[Slot],
    height: int,
    width: int,
    irregular: set[BlockDims],
) -> np.ndarray | None:
    special: dict[tuple[int, int], Diagram] = {}
    for s, slot in enumerate(slots):
        for r, row in enumerate(rows):
            output_dims, input_dims = slot.dims, places[r][2]
            if output_dims in irregular or input_dims in irregular:
                diagram = Diagram(
                    output_dims + input_dims, len(output_dims.dims), slot.term, row.term
                )
                if not diagram.is_free:
                    special[s, r] = diagram
    if not special:
        return None
    index = np.full((height, width), -1)
    offset = 0
    for s, slot in enumerate(slots):
        for r, row in enumerate(rows):
            f_out, f_in = slot.dims.folded_size, places[r][2].folded_size
            if (s, r) in special:
                labels, count = special[s, r].labels, special[s, r].count
            else:
                labels, count = np.arange(f_out * f_in).reshape(f_out, f_in), f_out * f_in
            entries = np.where(labels >= 0, labels + offset, -1)
            index[row.start : row.start + f_in, slot.start : slot.start + f_out] = entries.T
            offset += count
    index.flags.writeable = False
    return index


def _bias_index(slots: list[Slot], width: int) -> np.ndarray | None:
    """Parameters of the biases: an equivariant bias is a map from a scalar."""
    scalar = BlockDims(())
    (constant,) = terms(scalar)
    diagrams = [
        Diagram(slot.dims + scalar, len(slot.dims.dims), slot.term, constant) for slot in slots
    ]
    if all(diagram.is_free for diagram in diagrams):
        return None
    index, offset = np.empty(width, dtype=np.int64), 0  # the slots fill all of it
    for slot, diagram in zip(slots, diagrams, strict=True):
        labels = diagram.labels[:, 0]
        index[slot.start : slot.start + len(labels)] = np.where(labels >= 0, labels + offset, -1)
        offset += diagram.count
    index.flags.writeable = False
    return index


def _too_large(
    signature: Signature, height: int, width: int, row_terms: RowTerms, slot_terms: SlotTerms
) -> str:
    source = max(row_terms, key=lambda entry: entry[2][2].folded_size)[2]
    target = max(slot_terms, key=lambda entry: entry[1][2].folded_size)[1]
    axes = " ".join(symbol for symbol, _ in signature) or "none"
    return (
        f"The table on axes [{axes}] would have {height} by {width} parameters for each pair of "
        f"channels. Most of them come from input '{source[0]}' ({source[2].folded_size} fixed "
        f"positions per neuron) and output '{target[0]}' ({target[2].folded_size}). Make a set of "
        "these permuted (with_groups), or leave the tensor out of inputs= or outputs=."
    )
