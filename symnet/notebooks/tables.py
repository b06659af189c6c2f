"""The cells of symnet's values: one function for each type, found by the type's name in ``CELLS``.

By name, so that showing a graph imports neither torch nor the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from symnet.graph.notation import print_axes
from symnet.notebooks.cells import Cell, Grid, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from symnet.graph.neuron_graph import NeuronGraph
    from symnet.matching.alignment import Alignment
    from symnet.nn.linear import Linear
    from symnet.plan import LayerPlan
    from symnet.sharing import EquivariantMaps
    from symnet.verify.certify import Certificate
    from symnet.verify.report import Report

PAIRS_SHOWN = 12  # tensors down and across in the table of counts
EQUATIONS_SHOWN = 150  # maps whose equations stand below the counts


def graph_cell(graph: NeuronGraph) -> Cell:
    """The picture, and a table of the neuron sets."""
    sets = grid(
        ("neuron set", "moved by", "neurons", "copies over"),
        [
            (name, repr(one.group).partition("(")[0], one.size, ", ".join(one.over))
            for name, one in graph.neurons.items()
        ],
    )

    def picture() -> Figure:
        from symnet.show import graph_picture

        return graph_picture(graph)

    heading = (
        f"NeuronGraph: {len(graph.neurons)} neuron sets, {len(graph.tensors)} tensors, "
        f"{graph.weights.size:,} weights"
    )
    return Cell(heading, grids=(sets,), notes=graph.notes[:8], picture=picture)


def maps_cell(maps: EquivariantMaps) -> Cell:
    """How many maps there are between any two tensors, and their equations where they are few."""
    outputs, inputs = list(maps.outputs)[:PAIRS_SHOWN], list(maps.inputs)[:PAIRS_SHOWN]

    def count(output: str, input: str) -> object:
        coupled = maps.are_coupled(output, input)
        return maps.between(output, input).dimension if coupled else ""

    rows = [(output, *(count(output, input) for input in inputs)) for output in outputs]
    left_out = len(maps.outputs) - len(outputs)
    counts = Grid(("to \\ from", *inputs), tuple(rows), left_out)
    across = len(maps.inputs) - len(inputs)
    notes = (f"{across} more columns are not shown.",) if across else ()
    heading = (
        f"EquivariantMaps: {maps.dimension:,} free parameters for each pair of channels "
        f"(Burnside's lemma: {maps.dimension_by_burnside:,}), {maps.bias_dimension:,} biases"
    )
    latex = maps.latex if maps.dimension <= EQUATIONS_SHOWN else None
    return Cell(heading, grids=(counts,), notes=notes, latex=latex)


def plan_cell(plan: LayerPlan) -> Cell:
    """The picture, the tables and their costs."""
    cost = plan.cost()
    tables = grid(
        ("table on axes", "positions", "rows", "columns", "parameters"),
        [(one.name, one.positions, one.height, one.width, one.parameters) for one in plan.tables],
    )

    def picture() -> Figure:
        from symnet.show import plan_picture

        return plan_picture(plan)

    heading = (
        f"LayerPlan: {plan.dimension:,} maps and {plan.bias_dimension:,} biases in "
        f"{len(plan.tables)} tables, {cost.multiplies:,} multiplies for each network"
    )
    return Cell(heading, grids=(tables,), picture=picture)


def layer_cell(layer: Linear) -> Cell:
    """A layer's spaces and numbers, and the picture of its plan."""
    spaces = [("input", layer.inputs), ("output", layer.outputs)]
    rows = [
        (side, name, print_axes(tensor.axes))
        for side, space in spaces
        for name, tensor in space.items()
    ]
    numbers = sum(parameter.numel() for parameter in layer.parameters())
    heading = f"{type(layer).__name__}({layer.extra_repr()}): {numbers:,} parameters"
    picture = plan_cell(layer.plan).picture
    return Cell(heading, grids=(grid(("side", "tensor", "axes"), rows),), picture=picture)


def report_cell(report: Report) -> Cell:
    """Green or red; the worst comparison of every tensor, worst first."""
    worst: dict[str, Any] = {}
    for check in sorted(report.checks, key=lambda check: -check.error):
        worst.setdefault(check.tensor, check)
    rows = [
        (one.tensor, one.action, f"{one.error:.2g}", one.error <= report.tolerance)
        for one in worst.values()
    ]
    heading = f"{'PASSED' if report.passed else 'FAILED'}: {report.subject}"
    largest = f"Largest relative error {report.max_error:.2g}, tolerance {report.tolerance:.2g}"
    notes = [
        *report.problems,
        f"{largest}, {len(report.checks)} comparisons, seed {report.seed}.",
        *(f"not felt: {name}: {what}" for name, what in report.dead.items()),
        *report.notes,
    ]
    table = grid(("tensor", "worst on", "relative error", "holds"), rows, most=12)
    return Cell(heading, report.passed, (table,), tuple(notes[:12]))


def certificate_cell(certificate: Certificate) -> Cell:
    """Equivariant, complete, minimal: which hold, and the counts that show it."""
    verdicts = (
        ("equivariant", certificate.equivariant, f"error {certificate.report.max_error:.2g}"),
        (
            "complete",
            certificate.complete,
            f"rank {certificate.rank:,} of {certificate.dimension:,}",
        ),
        (
            "minimal",
            certificate.minimal,
            f"{certificate.parameters:,} parameters of rank {certificate.rank:,}",
        ),
    )
    notes = (
        *(f"missing: {what}" for what in certificate.missing[:5]),
        *(f"redundant: {what}" for what in certificate.redundant[:5]),
        *(f"not tied: {what}" for what in certificate.untied[:5]),
        f"Burnside's lemma counts {certificate.dimension_by_burnside:,} maps; seed {certificate.seed}.",
        *certificate.notes,
    )
    heading = f"Certificate: {certificate.subject}"
    return Cell(
        heading, bool(certificate), (Grid(("claim", "holds", "evidence"), verdicts),), notes
    )


def alignment_cell(alignment: Alignment) -> Cell:
    """Distances before and after, tensor by tensor, the largest after first."""
    ordered = sorted(alignment.distances.items(), key=lambda item: -item[1][1])
    rows = [(name, f"{before:.4g}", f"{after:.4g}") for name, (before, after) in ordered]
    heading = (
        f"Alignment: distance {alignment.distance_before:.4g} before, "
        f"{alignment.distance_after:.4g} after"
    )
    note = (
        f"Agreement {alignment.agreement_before:.4f} before, {alignment.agreement_after:.4f} after; "
        f"{len(alignment.values)} starts, seed {alignment.seed}."
    )
    return Cell(heading, grids=(grid(("tensor", "before", "after"), rows),), notes=(note,))


def results_cell(results: Any) -> Cell:
    """Of a run of a task: every training, the most accurate first."""
    trained = sorted(results.trained, key=lambda row: -row.accuracy)
    rows = [(one.reader, one.seed, f"{one.accuracy:.3f}", one.parameters) for one in trained]
    table = grid(("reader", "seed", "accuracy", "parameters"), rows)
    return Cell(f"Results in {results.folder}", grids=(table,))


CELLS: Mapping[str, Callable[[Any], Cell]] = {
    "symnet.graph.neuron_graph.NeuronGraph": graph_cell,
    "symnet.sharing.equivariant_maps.EquivariantMaps": maps_cell,
    "symnet.plan.layer_plan.LayerPlan": plan_cell,
    "symnet.nn.linear.Linear": layer_cell,
    "symnet.verify.report.Report": report_cell,
    "symnet.verify.certify.Certificate": certificate_cell,
    "symnet.matching.alignment.Alignment": alignment_cell,
    "symnet.tasks.results.Results": results_cell,
}


def cell_of(value: object) -> Cell:
    """The cell of a value, by its type or the nearest of its bases that has one."""
    for one in _names(type(value)):
        if one in CELLS:
            return CELLS[one](value)
    raise AssertionError(f"{type(value)} is displayed, but has no row in CELLS")


def _names(kind: type) -> Iterator[str]:
    return (f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)
