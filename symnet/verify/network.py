"""network: does the declared group leave the function of a network unchanged?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import VerificationError
from symnet.graph import GroupElement, NeuronGraph
from symnet.graph.neuron_graph import require_graph
from symnet.tracing.fresh_inputs import FreshInputs, Inputs, fresh_inputs_that_run
from symnet.tracing.movement import Movement, movements
from symnet.tracing.recording import tensors_in
from symnet.verify.comparison import (
    check_tolerance,
    check_whole,
    element_that_moves_all,
    elements_of_set,
    flatten,
    make_seed,
    moving_sets,
    said_of,
)
from symnet.verify.effects import Effects
from symnet.verify.io_axes import AxesLike, act_on, read_axes, sets_in
from symnet.verify.network_copies import made_ready
from symnet.verify.random_networks import (
    change_tensors,
    tensors_left_out,
    to_double,
)
from symnet.verify.report import Difference, Report
from symnet.verify.running import OTHER_STATE, LoadedNetwork, Outputs
from symnet.verify.streamed import StreamedNetwork

# Generators of every set's group that are tried in the first trial, and runs that they may take all
# together.
_GENERATORS, _GENERATOR_RUNS = 4, 24
# Entries of the state times neuron sets above which sets are moved alone only if all together fail.
_EACH_ALONE = 100_000_000
# Neuron sets up to which each is moved alone in every trial.
_FEW_SETS = 8
# Entries of the state above which effects are looked at in the first trial alone.
_LARGE_STATE = 1_000_000


def network(
    model: nn.Module,
    graph: NeuronGraph,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    input_axes: AxesLike = None,
    output_axes: AxesLike = None,
    seed: int | None = None,
    trials: int = 3,
    tolerance: float = 1e-9,
    positive: Collection[str] = (),
    allow_unread: bool = False,
    streamed: bool | None = None,
) -> Report:
    """Whether ``f(x; g.theta) = f(x; theta)``, or
    ``f(g.x; g.theta) = g.f(x; theta)`` where I/O neurons move: a report.

    Works on a copy in eval mode; yours is not touched. All is computed in float64, casts inside
    included; random numbers that the network draws are the same in every run, and what it keeps
    between calls is put back. In every trial all floating-point entries of the state (running
    statistics too) are drawn again, with the scale and the signs of your own, and so are the
    inputs, of the same domains and also of another batch size where the model takes it. Neuron sets
    are permuted all together and, unless the network is large, each alone. A tensor that the
    outputs do not depend on is reported as not felt; the check fails where it could not have
    noticed anything: tensors that the group moves and the model never reads, outputs that hardly
    move.

    Args:
        model: the network; its state dict is what the graph describes.
        inputs, kwargs: example inputs; tensors in tuples, lists, dicts and dataclasses are found.
        outputs: which outputs count, by name as in ``trace`` (``["logits"]``); all of them unless
            given.
        input_axes, output_axes: where I/O neurons move, on which dims they lie: ``["... in"]``,
            ``["_ in ..."]``, or by path ``{"0": "... in"}``; ``"..."`` and ``_`` are dims that
            stay, ``None`` leaves an output out of the check.
        tolerance: of the largest difference, relative to how much the output moves over random
            states.
        positive: state entries that must stay positive (``running_var`` does by itself).
        allow_unread: pass even if single tensors that the group moves are never read, or hardly
            influential.
        streamed: make the weights of one tensor at a time, when an operation first reads it,
            instead of holding all: for models larger than memory. By default above 30 million
            weights, and for models on the device ``meta``. All sets are moved together then, and no
            influence of single tensors is looked at.

    Raises:
        ShapeError: the graph does not cover the state dict; every entry is named.
        VerificationError: the model does not run on the inputs, or returns no tensors.

    Example:
        >>> import symnet as sn
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        ... )
        >>> sn.verify.network(model, sn.catalogue.mlp([2, 8, 1]), torch.randn(5, 2)).passed
        True
    """
    check_whole(trials=trials)
    check_tolerance(tolerance)
    require_graph(graph, "network")
    seed = make_seed(seed)
    network = made_ready(
        model, graph, (inputs, dict(kwargs or {})), seed, positive, outputs, streamed
    )
    check = _NetworkCheck(
        network, to_double((inputs, dict(kwargs or {}))), (input_axes, output_axes), seed, tolerance
    )
    check.notes += [
        f"{name} lies outside of what the graph describes and stays as it is."
        for name in _outside(model, graph)
    ]
    for number in range(trials):
        check.run(number)
    return check.report(type(model).__name__, allow_unread)


def _outside(model: nn.Module, graph: NeuronGraph) -> list[str]:
    names = [repr(name) for name in tensors_left_out(model, graph)]
    return [*names[:4], f"and {len(names) - 4} more tensors"] if len(names) > 4 else names


class _NetworkCheck:
    """The rounds of one check and what they found."""

    def __init__(
        self,
        network: LoadedNetwork | StreamedNetwork,
        inputs: Inputs,
        io_axes: tuple[AxesLike, AxesLike],
        seed: int,
        tolerance: float,
    ) -> None:
        self.network, self.graph, self.seed, self.tolerance = (
            network,
            network.graph,
            seed,
            tolerance,
        )
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.checks: list[Difference] = []
        self.problems: dict[str, None] = {}
        self.notes: list[str] = []
        self.movements: dict[str, Movement] = {}
        self.effects = Effects(self.graph)
        self.output_axes: dict[str, str | None] = {}
        self.fresh, outputs = self.find_a_state(inputs)
        self.input_axes = read_axes(io_axes[0], list(_by_path(inputs)), "input")
        self.output_axes = read_axes(io_axes[1], list(outputs), "output")
        self.notes += [
            f"output '{path}' was left out."
            for path, text in self.output_axes.items()
            if text is None
        ]
        self.notes += self.fresh.notes
        self.other_batch = self.find_other_batch()

    # ---- running it ------------------------------------------------------------------------------
    def call(self, inputs: Inputs, trial: int, element: GroupElement | None = None) -> Outputs:
        """Outputs by path; those left out of the check are not among them."""
        tensors = self.network.run(inputs, trial, element)
        return {
            path: tensor
            for path, tensor in tensors.items()
            if self.output_axes.get(path, "") is not None
        }

    def find_a_state(self, inputs: Inputs) -> tuple[FreshInputs, Outputs]:
        """Fresh inputs on which the network gives numbers at random states,
        which are brought near its own if need be.

        Raises:
            VerificationError: it returns no tensors, or runs at no such state in float64.
        """
        as_passed = FreshInputs(inputs, frozenset(path for path, _ in tensors_in(inputs)))
        for nearby in (False, True):
            if nearby and not self.network.bring_near_its_own():
                break
            if self.gives_numbers(as_passed.inputs):
                if nearby:
                    self.notes.append(
                        "the function is not defined at random states; those tried are near its "
                        "own."
                    )
                return fresh_inputs_that_run(inputs, self.gives_numbers, self.generator), self.call(
                    inputs, 0
                )
        try:
            outputs = self.call(inputs, 0)
        except Exception as error:  # of any class: it is the model's own
            raise VerificationError(
                f"{type(self.network.model).__name__} runs as it is, but not in float64 at "
                f"random weights: {type(error).__name__}: {error}. Name tensors that must be "
                "positive with positive=[...]."
            ) from error
        if not outputs:
            raise VerificationError(
                f"{type(self.network.model).__name__} returned no tensors"
                f"{' of these names' if self.network.outputs else ''} (inside tuples, dicts or "
                "dataclasses); nothing can be compared."
            )
        self.check_finite(outputs)
        return as_passed, outputs

    def gives_numbers(self, inputs: Inputs) -> bool:
        """Whether the network runs on these inputs at the first random
        state, and its outputs are numbers.
        """
        try:
            outputs = self.call(inputs, 0)
        except Exception:  # of any class: state and inputs are invented
            return False
        return bool(outputs) and not any(map(_is_undefined, outputs.values()))

    def find_other_batch(self) -> tuple[int, int] | None:
        """Old and new first size of the inputs, if the model takes another one."""
        size = next(
            (tensor.shape[0] for tensor in flatten(self.fresh.inputs).values() if tensor.ndim), None
        )
        if not size:
            return None
        if not self.gives_numbers(self.fresh.of_size(0, size, size + 2).draw(self.generator)):
            self.notes.append(
                f"inputs with a first dim of {size + 2} instead of {size} were refused, so not "
                "tried."
            )
            return None
        self.notes.append(f"first dims of the inputs: {size} and {size + 2}.")
        return size, size + 2

    # ---- one round -------------------------------------------------------------------------------
    def run(self, number: int) -> None:
        """New weights, new inputs; permute all sets, and every set alone."""
        resized = (
            self.fresh.of_size(0, *self.other_batch)
            if number % 2 and self.other_batch
            else self.fresh
        )
        x = resized.draw(self.generator)
        y = self.call(x, number)
        self.check_finite(y)
        if number == 0:
            self.movements = movements(y, self.call(x, OTHER_STATE))
        self.compare(number, None, "running it twice", y, self.call(x, number))
        large = self.graph.weights.size > _LARGE_STATE
        if isinstance(self.network, StreamedNetwork):
            self.effects.trust(self.network.read)
        elif number == 0 or not large:
            everything = element_that_moves_all(self.graph, self.rng)
            self.effects.observe(self.network, number, x, y, self.movements, everything)
        for neurons, action, element in self.elements(number):
            self.check_element(number, neurons, action, element, x, y)

    def elements(self, number: int) -> Iterator[tuple[str | None, str, GroupElement]]:
        """The elements of a trial: of every set alone where that is affordable, then of all."""
        names = moving_sets(self.graph)
        alone = len(names) * self.graph.weights.size <= _EACH_ALONE and isinstance(
            self.network, LoadedNetwork
        )
        if alone and (number == 0 or len(names) <= _FEW_SETS):
            most = min(_GENERATORS, _GENERATOR_RUNS // len(names)) if number == 0 and names else 0
            for name in names:
                for element in elements_of_set(self.graph, name, self.rng, 1, most):
                    yield name, said_of(self.graph, name), element
        if names:
            before = len(self.checks)
            yield None, said_of(self.graph), element_that_moves_all(self.graph, self.rng)
            tried = {check.neurons for check in self.checks}
            if any(
                check.error > self.tolerance for check in self.checks[before:]
            ) and not tried.issuperset(names):
                for name in names:  # which of them is it?
                    yield (
                        name,
                        said_of(self.graph, name),
                        elements_of_set(self.graph, name, self.rng, 1, 0)[0],
                    )

    def check_element(
        self,
        number: int,
        neurons: str | None,
        action: str,
        element: GroupElement,
        x: Inputs,
        y: Outputs,
    ) -> None:
        def move(paths: Mapping[str, str | None], what: str, path: str, tensor: Tensor) -> Tensor:
            text = paths.get(path, "")
            return act_on(self.graph, element, text, tensor, f"{what} '{path}'") if text else tensor

        moved = (
            change_tensors(x[0], lambda path, tensor: move(self.input_axes, "input", path, tensor)),
            change_tensors(x[1], lambda path, tensor: move(self.input_axes, "input", path, tensor)),
        )
        expected = {
            path: move(self.output_axes, "output", path, tensor) for path, tensor in y.items()
        }
        self.compare(number, neurons, action, expected, self.call(moved, number, element))

    def compare(
        self, number: int, neurons: str | None, action: str, left: Outputs, right: Outputs
    ) -> None:
        if left.keys() != right.keys():
            raise VerificationError(
                f"Two runs returned different outputs: {', '.join(map(repr, left))} and "
                f"{', '.join(map(repr, right))}. What is returned must not depend on the values."
            )
        for path, tensor in left.items():
            shown = f"output '{path}'" if path else "the output"
            error = self.movements[path].error(tensor, right[path])
            self.checks.append(Difference(shown, neurons, action, error, number))

    def check_finite(self, outputs: Outputs) -> None:
        for path, tensor in outputs.items():
            if _is_undefined(tensor):
                self.problems[
                    f"output '{path}' holds NaN or no finite number at random weights, so "
                    "nothing can be compared. Name tensors that must be positive with "
                    "positive=[...]."
                ] = None

    # ---- the verdict -----------------------------------------------------------------------------
    def shown(self) -> Iterator[str]:
        """Outputs that move too little for anything to be noticed."""
        for path, movement in self.movements.items():
            name = f"output '{path}'" if path else "the output"
            saturated = movement.is_constant and path in self.effects.dependent
            if movement.shows_nothing or saturated:
                yield (
                    f"nothing was shown for {name}: over random states it moves by only "
                    f"{movement.distance:.1g}, beside entries of {movement.size:.1g}; a wrong "
                    "action could not be told from rounding. Verify the network without its "
                    "last operations, or leave this output out."
                )

    def report(self, name: str, allow_unread: bool) -> Report:
        unsaid = sets_in([*self.input_axes.values(), *self.output_axes.values()], self.graph)
        if any(check.error > self.tolerance for check in self.checks) and not unsaid:
            self.notes.append(
                "if a set that fails indexes inputs or outputs, say where: input_axes=['... "
                "in'], output_axes=['... out']."
            )
        if isinstance(self.network, StreamedNetwork):
            self.notes.append(
                "weights were made one tensor at a time; which of them the outputs depend on "
                "was not looked at."
            )
        if not moving_sets(self.graph):
            self.notes.append(
                "no neuron set can move: the group is trivial, and nothing is claimed."
            )
        return Report(
            subject=f"the group of {len(self.graph.neurons)} neuron sets leaves the function of "
            f"{name} unchanged",
            seed=self.seed,
            tolerance=self.tolerance,
            checks=tuple(self.checks),
            problems=(*self.problems, *self.shown(), *self.effects.problems(allow_unread)),
            dead=self.effects.dead(),
            notes=(*self.notes, *(f"{note}." for note in self.network.habits.notes)),
        )


def _is_undefined(tensor: Tensor) -> bool:
    return bool(tensor.numel()) and (
        bool(tensor.isnan().any()) or not bool(tensor.isfinite().any())
    )


def _by_path(inputs: Inputs) -> list[str]:
    return [*flatten(inputs[0]), *flatten(inputs[1])]
