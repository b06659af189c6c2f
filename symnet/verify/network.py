"""network: does the declared group leave the function of a network unchanged?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import VerificationError
from symnet.graph import GroupElement, NeuronGraph
from symnet.graph.neuron_graph import require_graph
from symnet.verify.comparison import (
    check_tolerance,
    check_whole,
    double_precision,
    elements_of_set,
    errors_between,
    flatten,
    make_seed,
    moving_sets,
)
from symnet.verify.effects import Effects
from symnet.verify.io_axes import AxesLike, act_on, read_axes, sets_in
from symnet.verify.random_networks import (
    change_tensors,
    check_state,
    double_copy,
    first_size,
    fresh,
    load,
    random_state,
    to_double,
)
from symnet.verify.report import Check, Report

# What a network may raise on inputs that it was not made for.
_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AssertionError)
_GENERATORS = 4  # of every set's group, tried in the first trial


def network(
    model: nn.Module,
    graph: NeuronGraph,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    input_axes: AxesLike = None,
    output_axes: AxesLike = None,
    seed: int | None = None,
    trials: int = 3,
    tolerance: float = 1e-9,
    positive: Collection[str] = (),
    allow_unread: bool = False,
) -> Report:
    """Whether ``f(x; g.theta) = f(x; theta)``, or ``f(g.x; g.theta) = g.f(x; theta)`` where I/O neurons move: a report.

    Works on a copy in float64 and eval mode; yours is not touched. In every trial all floating-point entries of the
    state (running statistics too) are drawn anew, and so are the inputs, of the same shapes and of another batch size
    where the model takes it. Every neuron set is permuted alone, then all together. A tensor that the outputs do not
    depend on is reported as not felt; one that the model never read, though the group moves it, fails the check.

    Args:
        model: the network; its state dict is what the graph describes.
        inputs, kwargs: example inputs; tensors in tuples, lists, dicts and dataclasses are found.
        input_axes, output_axes: where I/O neurons move, on which dims they lie: ``["... in"]``, ``["_ in ..."]``, or by path
            ``{"0": "... in"}``; ``"..."`` and ``_`` are dims that stay, ``None`` leaves an output out of the check.
        tolerance: of the largest difference, relative to the output's largest entry.
        positive: state entries that must stay positive (``running_var`` does by itself).
        allow_unread: pass even if tensors that the group moves are never read.

    Raises:
        ShapeError: the graph does not cover the state dict; every entry is named.
        VerificationError: the model does not run in float64 or returns no tensors.

    Example:
        >>> import symnet as sn
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> sn.verify.network(model, sn.catalogue.mlp([2, 8, 1]), torch.randn(5, 2)).passed
        True
    """
    check_whole(trials=trials)
    check_tolerance(tolerance)
    require_graph(graph, "network")
    seed = make_seed(seed)
    with double_precision(seed) as rng:
        arguments = to_double((inputs, dict(kwargs or {})))
        check = _NetworkCheck(model, graph, arguments, (input_axes, output_axes), rng, seed, positive)
        for number in range(trials):
            check.run(number)
        return check.report(seed, tolerance, allow_unread)


class _NetworkCheck:
    """The copy that runs, and what was found on it."""

    def __init__(
        self,
        model: nn.Module,
        graph: NeuronGraph,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        io_axes: tuple[AxesLike, AxesLike],
        rng: np.random.Generator,
        seed: int,
        positive: Collection[str],
    ) -> None:
        self.name, self.graph, self.rng, self.positive = type(model).__name__, graph, rng, positive
        if isinstance(model, nn.Module) and any(parameter.is_meta for parameter in model.parameters()):
            raise VerificationError(
                f"{self.name} has parameters on the device 'meta', which hold no values. Load it first."
            )
        self.model, self.arguments = double_copy(model), arguments
        self.generator = torch.Generator().manual_seed(seed)
        self.output_axes: dict[str, str | None] = {}
        outputs = self.first_run()  # before the state is looked at: lazy parameters are made here
        check_state(self.model, graph)
        self.input_axes = read_axes(io_axes[0], list(_by_path(arguments)), "input")
        self.output_axes = read_axes(io_axes[1], list(outputs), "output")
        entries = self.model.state_dict().items()  # a module may keep other things there as well
        self.own = {name: tensor.clone() for name, tensor in entries if isinstance(tensor, Tensor)}
        self.effects = Effects(graph)
        self.checks: list[Check] = []
        self.problems: dict[str, None] = {}
        self.notes = [f"output '{path}' was left out." for path, text in self.output_axes.items() if text is None]
        self.other_batch = self.find_other_batch()

    # ---- running it ---------------------------------------------------------------------------------------------
    def call(self, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> dict[str, Tensor]:
        """Outputs by path; those left out of the check are not among them."""
        copied = change_tensors(arguments, lambda _, x: x.clone())
        found = flatten(self.model(*copied[0], **copied[1]))
        return {path: tensor for path, tensor in found.items() if self.output_axes.get(path, "") is not None}

    def first_run(self) -> dict[str, Tensor]:
        try:
            with torch.no_grad():
                outputs = self.call(self.arguments)
        except RuntimeError as error:
            if "dtype" not in str(error) and "Double" not in str(error):
                raise
            raise VerificationError(
                f"{self.name} does not run in float64: {error}. Make the tensors that it creates inside of the same dtype as "
                "its inputs or parameters (x.new_zeros(...), torch.arange(..., dtype=x.dtype))."
            ) from error
        if not outputs:
            raise VerificationError(
                f"{self.name} returned no tensors (inside tuples, dicts or dataclasses); nothing can be compared."
            )
        return outputs

    def find_other_batch(self) -> tuple[int, int] | None:
        """Old and new first size of the inputs, if the model takes another one."""
        size = first_size(self.arguments)
        if not size:
            return None
        try:
            with torch.no_grad():
                self.call(fresh(self.arguments, self.generator, (size, size + 2)))
        except _REFUSALS:
            self.notes.append(f"inputs with a first dim of {size + 2} instead of {size} were refused, so not tried.")
            return None
        return size, size + 2

    # ---- one round ----------------------------------------------------------------------------------------------
    def run(self, number: int) -> None:
        """New weights, new inputs; permute every set alone, then all."""
        load(self.model, self.graph, self.own)
        theta = random_state(self.model, self.graph, self.generator, self.positive)
        x = fresh(self.arguments, self.generator, self.other_batch if number % 2 else None)
        load(self.model, self.graph, theta)
        with torch.no_grad():
            y = self.call(x)
            self.check_finite(y)
            self.compare(number, None, "running it twice", y, self.call(x))
        self.effects.look(self.model, theta, lambda: self.call(x), self.generator)
        with torch.no_grad():
            for name in moving_sets(self.graph):
                for element in elements_of_set(self.graph, name, self.rng, 1, 0 if number else _GENERATORS):
                    self.check_element(number, name, f"permuting '{name}'", element, theta, x, y)
            if moving_sets(self.graph):
                everything = self.graph.random_element(self.rng)
                self.check_element(number, None, "permuting all sets", everything, theta, x, y)

    def check_element(
        self,
        number: int,
        neurons: str | None,
        action: str,
        element: GroupElement,
        theta: Mapping[str, Tensor],
        x: tuple[tuple[Any, ...], dict[str, Any]],
        y: Mapping[str, Tensor],
    ) -> None:
        def move(paths: Mapping[str, str | None], what: str, path: str, tensor: Tensor) -> Tensor:
            text = paths.get(path, "")
            return act_on(self.graph, element, text, tensor, f"{what} '{path}'") if text else tensor

        load(self.model, self.graph, self.graph.act(element, theta))
        moved = (
            change_tensors(x[0], lambda path, tensor: move(self.input_axes, "input", path, tensor)),
            change_tensors(x[1], lambda path, tensor: move(self.input_axes, "input", path, tensor)),
        )
        expected = {path: move(self.output_axes, "output", path, tensor) for path, tensor in y.items()}
        self.compare(number, neurons, action, expected, self.call(moved))

    def compare(
        self, number: int, neurons: str | None, action: str, left: Mapping[str, Tensor], right: Mapping[str, Tensor]
    ) -> None:
        for path, error in errors_between(left, right).items():
            shown = f"output '{path}'" if path else "the output"
            self.checks.append(Check(shown, neurons, action, error, number))

    def check_finite(self, outputs: Mapping[str, Tensor]) -> None:
        for path, tensor in outputs.items():
            if tensor.numel() and (bool(tensor.isnan().any()) or not bool(tensor.isfinite().any())):
                self.problems[
                    f"output '{path}' holds NaN or no finite number at random weights, so nothing can be compared. Name "
                    "tensors that must be positive with positive=[...]."
                ] = None

    # ---- the verdict --------------------------------------------------------------------------------------------
    def report(self, seed: int, tolerance: float, allow_unread: bool) -> Report:
        problems = [*self.problems, *self.effects.problems(allow_unread)]
        unsaid = sets_in([*self.input_axes.values(), *self.output_axes.values()], self.graph)
        if any(check.error > tolerance for check in self.checks) and not unsaid:
            self.notes.append(
                "if a set that fails indexes inputs or outputs, say where: input_axes=['... in'], output_axes=['... out']."
            )
        if self.other_batch is not None:
            self.notes.append(f"first dims of the inputs: {self.other_batch[0]} and {self.other_batch[1]}.")
        if not moving_sets(self.graph):
            self.notes.append("no neuron set can move: the group is trivial, and nothing is claimed.")
        return Report(
            subject=f"the group of {len(self.graph.neurons)} neuron sets leaves the function of {self.name} unchanged",
            seed=seed,
            tolerance=tolerance,
            checks=tuple(self.checks),
            problems=tuple(problems),
            dead=self.effects.dead(),
            notes=tuple(self.notes),
        )


def _by_path(arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> Iterable[str]:
    return [*flatten(arguments[0]), *flatten(arguments[1])]
