"""The self-check of a traced graph: random elements must leave the
randomised network's function unchanged.

Every floating-point entry is randomised first and all is computed in float64: at default
initialisation (zero biases, unit norms) most wrong actions go unnoticed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import TraceError
from symnet.graph import GroupElement, NeuronGraph
from symnet.groups import is_trivial
from symnet.tracing.check_options import EACH_ALONE, Check, Mismatch, moving_element
from symnet.tracing.examples import (
    float_state,
    other_inputs,
    randomise,
    run,
)
from symnet.tracing.execution import ThreadMode, double_precision
from symnet.tracing.fresh_inputs import FreshInputs, Inputs, fresh_inputs_that_run
from symnet.tracing.movement import Movement, distance, largest, movements
from symnet.tracing.recording import map_tensors, module_paths, tensors_in

# Entries of the state above which one random state has to do.
_LARGE_STATE = 20_000_000
# Entries of the state times entries of the inputs above which inputs of one other size are tried
# instead of four.
_LARGE = 1_000_000_000_000


class Checker:
    """Compares the function at a random state with the function at the permuted state.

    Args:
        model: a private copy; its state is overwritten.
        graph: the claimed symmetry.
        inputs: example inputs.
        input_axes: for ``io='permuted'``, axis notation of the inputs; likewise of the outputs.
        original: the state that the caller's model has.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: NeuronGraph,
        inputs: Inputs,
        check: Check,
        input_axes: Mapping[str, Any] | None = None,
        output_axes: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        original: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        with torch.no_grad():  # scripted modules make new parameters
            self.model = model.double()
        self.graph = graph
        self.check = check
        self.state, _ = float_state(self.model)
        self.original = original
        self.fresh = FreshInputs(inputs)
        self.movements: dict[str, Movement] = {}  # of the outputs, once they are known
        self.input_axes = dict(input_axes or {})
        self.output_axes = dict(output_axes or {})
        randomise(self.state, check.seed)
        self.loaded: tuple[GroupElement | None, list[tuple[int, int]], NeuronGraph] | None = None
        self.entries: dict[str, Tensor] = {}
        self.keep()
        self.outputs = outputs
        self.worst = 0.0
        self.tried: dict[str, Tensor] | None = (
            None  # outputs at the state and the first fresh inputs, once they are known
        )

    def elements(self, rng: np.random.Generator) -> Iterator[tuple[str, GroupElement]]:
        """The elements to try: of the whole group, then of each neuron set
        alone where that is affordable.
        """
        for number in range(self.check.rounds):
            yield f"random element {number}", moving_element(self.graph, rng)
        moved = [n for n, s in self.graph.neurons.items() if not is_trivial(s.group)]
        if len(moved) > 1 and len(moved) * self.graph.weights.size < EACH_ALONE:
            for name in moved:
                yield f"neuron set '{name}' alone", moving_element(self.graph, rng, only=name)

    def run_all(self) -> float:
        """The largest relative error that was seen.

        Raises:
            Mismatch: the claimed group does not leave the function unchanged; names set, tensors
                and operation.
            TraceError: no random state gives numbers.
        """
        if self.graph.order == 1:
            return 0.0
        self.find_a_state()
        rng = np.random.default_rng(self.check.seed)
        generator = torch.Generator().manual_seed(self.check.seed + 1)
        for number, (label, element) in enumerate(self.elements(rng)):
            # one element for the inputs of all sizes: moving the state of a large model takes
            # longest
            if number == 0:
                for described, inputs, reference in list(self.sizes(generator)):
                    self.compare(label + described, element, inputs, reference)
                continue
            # neurons that the first state silences
            if number == 1 and self.graph.weights.size < _LARGE_STATE:
                randomise(self.state, self.check.seed + 1)
                self.keep()
                self.find_a_state()
            if number < self.check.rounds or number % 8 == self.check.rounds or number == 1:
                inputs = self.fresh.draw(generator)
                reference = self.evaluate(inputs, None)
            self.compare(label, element, inputs, reference)
        return self.worst

    def keep(self) -> None:
        """Takes the state that the model has now for the one whose images are compared."""
        self.entries = {name: tensor.detach().clone() for name, tensor in self.state.items()}
        self.loaded = None

    def find_a_state(self) -> None:
        """Leaves the random state if the function is defined there; else a
        positive one, else one near the original.

        Raises:
            TraceError: no random state gives numbers.
        """
        as_passed = FreshInputs(
            self.fresh.inputs, frozenset(path for path, _ in tensors_in(self.fresh.inputs))
        )
        if self.is_defined(self.fresh):
            return
        for kind in ("moderate", "positive", "near the original"):
            if kind != "moderate":
                randomise(self.state, self.check.seed, positive=True)
            if kind == "near the original":
                self.bring_near_the_given_one()
            self.keep()
            if self.is_defined(as_passed):
                generator = torch.Generator().manual_seed(self.check.seed + 1)
                self.fresh = fresh_inputs_that_run(as_passed.inputs, self.gives_numbers, generator)
                self.is_defined(self.fresh)
                return
        self.require_finite(self.evaluate(as_passed.draw(torch.Generator()), None))

    def bring_near_the_given_one(self) -> None:
        """The given state, with a tenth of the random one added."""
        with torch.no_grad():
            for name, tensor in self.state.items():
                if name in self.original:
                    tensor.copy_(
                        self.original[name] + 0.1 * self.original[name].abs().mean() * tensor
                    )

    def is_defined(self, fresh: FreshInputs) -> bool:
        """Whether the outputs are numbers at this state, on inputs drawn from the seed."""
        inputs = fresh.draw(torch.Generator().manual_seed(self.check.seed + 1))
        return self.gives_numbers(inputs)

    def gives_numbers(self, inputs: Inputs) -> bool:
        """Whether the network runs on these inputs at this state, and its
        outputs are numbers; keeps them if so.
        """
        self.tried = None
        try:
            outputs = self.evaluate(inputs, None)
        except Exception:  # of any class: state and inputs are invented
            return False
        if any(bool(t.isnan().any()) for t in outputs.values() if t.dtype.is_floating_point):
            return False
        self.tried = outputs
        return True

    def sizes(self, generator: torch.Generator) -> Iterator[tuple[str, Inputs, dict[str, Tensor]]]:
        """Fresh inputs with their outputs: of the example's sizes, then of others
        and other numbers that the model takes.
        """
        inputs = self.fresh.draw(generator)  # those of is_defined: one seed
        reference = self.tried if self.tried is not None else self.evaluate(inputs, None)
        self.require_finite(reference)
        self.measure(inputs, reference)
        yield "", inputs, reference
        # permuted inputs keep the sizes of their neuron sets
        if not self.check.shapes or self.input_axes:
            return
        entries = sum(t.numel() for _, t in tensors_in(self.fresh.inputs) if t is not None)
        large = entries * self.graph.weights.size >= _LARGE
        for alternatives in other_inputs(self.fresh, generator, few=large):
            for described, inputs in alternatives:
                if sum(t.numel() for _, t in tensors_in(inputs) if t is not None) > 2_000_000:
                    break
                with contextlib.suppress(Exception):  # of any class: these inputs are invented
                    reference = self.evaluate(inputs, None)
                    yield described, inputs, reference
                    break

    def evaluate(self, inputs: Inputs, element: GroupElement | None) -> dict[str, Tensor]:
        """Outputs at the random state, moved by an element."""
        self.load(element)
        return run(self.model, self.move(inputs, element), self.outputs)

    def load(self, element: GroupElement | None) -> None:
        """Brings the model to the random state moved by an element,
        unless it is there and untouched.
        """
        place = element, self.versions(), self.graph
        if self.loaded is not None and self.loaded[0] is element and self.loaded[1:] == place[1:]:
            return
        tensors = {
            name: tensor for name, tensor in self.entries.items() if name in self.graph.weights
        }
        if element is not None:
            on_processor = all(tensor.device.type == "cpu" for tensor in tensors.values())
            # numpy takes columns of large matrices nearly three times as fast as torch does
            if on_processor:
                arrays = self.graph.act(
                    element, {name: tensor.numpy() for name, tensor in tensors.items()}
                )
                tensors = {
                    name: torch.from_numpy(np.asarray(array, order="C"))
                    for name, array in arrays.items()
                }
            else:
                tensors = dict(self.graph.act(element, tensors))
        with torch.no_grad():
            for name, tensor in self.state.items():
                tensor.copy_(tensors.get(name, self.entries[name]))
        self.loaded = element, self.versions(), self.graph

    def versions(self) -> list[tuple[int, int]]:
        """What changes when somebody writes into the state, or gives an entry other data."""
        return [(tensor._version, tensor.data_ptr()) for tensor in self.state.values()]

    def move(self, inputs: Inputs, element: GroupElement | None) -> Inputs:
        """The inputs moved along, where their axes are not fixed."""
        if element is None or not self.input_axes:
            return inputs
        by_path = {path: t for path, t in tensors_in(inputs) if t is not None}
        fitting = {p: t for p, t in by_path.items() if p in self.input_axes}
        moved = self.graph.act(
            element, fitting, space=self.graph.space({p: self.input_axes[p] for p in fitting})
        )
        replaced = {id(by_path[path]): tensor for path, tensor in moved.items()}
        return map_tensors(lambda x: replaced.get(id(x), x), inputs)

    @staticmethod
    def doubled(inputs: Inputs) -> Inputs:
        """The inputs with every float tensor in float64."""
        return map_tensors(lambda x: x.double() if x.dtype.is_floating_point else x, inputs)

    def measure(self, inputs: Inputs, reference: Mapping[str, Tensor]) -> None:
        """Notes how far each output moves from one random state to another.

        Raises:
            TraceError: it is so little beside the outputs' size that no wrong action could be
                noticed.
        """
        randomise(self.state, self.check.seed + 101)
        try:
            others = run(self.model, inputs, self.outputs)
        except Exception:  # of any class: the state is invented
            others = {}
        self.movements = movements(reference, others)
        moving = [movement for movement in self.movements.values() if not movement.is_constant]
        if moving and all(movement.shows_nothing for movement in moving):
            most = max(movement.distance / movement.size for movement in moving)
            raise TraceError(
                "The self-check can show nothing: over random states the outputs of "
                f"{type(self.model).__name__} move by only {most:.0e} of their size, and errors "
                "would drown in rounding. Trace the part before the last operations."
            )

    def require_finite(self, outputs: Mapping[str, Tensor]) -> None:
        for path, tensor in outputs.items():
            if tensor.dtype.is_floating_point and bool(torch.isnan(tensor).any()):
                raise TraceError(
                    f"The self-check could not be done: output {path!r} is not a number at a "
                    "random state. Pass other example inputs."
                )

    def compare(
        self, label: str, element: GroupElement, inputs: Inputs, reference: Mapping[str, Tensor]
    ) -> None:
        expected = dict(reference)
        if self.output_axes:
            fitting = {p: t for p, t in expected.items() if p in self.output_axes}
            space = self.graph.space({p: self.output_axes[p] for p in fitting})
            expected |= self.graph.act(element, fitting, space=space)
        outputs = self.evaluate(inputs, element)
        error = max(
            (self.movements[path].error(expected[path], outputs[path]) for path in expected),
            default=0.0,
        )
        self.worst = max(self.worst, error)
        if not error <= self.check.tolerance:
            self.require_a_function(inputs)
            raise Mismatch(self.explain(label, element, inputs, error), inputs)

    def require_a_function(self, inputs: Inputs) -> None:
        """Refuses a model that answers differently the second time."""
        once = self.evaluate(inputs, None)
        self.loaded = None
        again = self.evaluate(inputs, None)
        if any(
            not self.movements[path].error(once[path], again[path]) <= self.check.tolerance
            for path in once
        ):
            raise TraceError(
                f"{type(self.model).__name__} gives other outputs when it is called a second "
                "time with the same state and inputs, so what it computes is no function of its "
                "state dict. Reset what it keeps between calls, or trace a part without it."
            )

    def explain(self, label: str, element: GroupElement, inputs: Inputs, error: float) -> str:
        """What went wrong, with the neuron set, its tensors and the
        operation where the values first differ.
        """
        guilty = self.guilty_set(inputs, element)
        where = first_difference(self, inputs, element)
        tensors = [n for n, t in self.graph.weights.items() if guilty in t.symbols]
        return (
            f"The traced group does not leave the function unchanged: {label} changes the output "
            f"by {error:.1e} (of what random states do, float64; allowed "
            f"{self.check.tolerance:.0e}). Neuron set '{guilty}' in "
            f"{', '.join(repr(t) for t in tensors[:4])}; values first differ after {where}. Pass "
            "example inputs that show every dependence (several tokens, a batch), or declare "
            "the graph by hand."
        )

    def guilty_set(self, inputs: Inputs, element: GroupElement) -> str:
        reference = self.evaluate(inputs, None)
        rng = np.random.default_rng(0)
        worst, name = -1.0, next(iter(self.graph.neurons))
        if self.input_axes or self.output_axes:
            return next((n for n in self.graph.neurons if element.moves(n)), name)
        for candidate, neuron_set in self.graph.neurons.items():
            if not is_trivial(neuron_set.group):
                outputs = self.evaluate(inputs, moving_element(self.graph, rng, only=candidate))
                error = max(
                    (self.movements[p].error(reference[p], outputs[p]) for p in reference),
                    default=0.0,
                )
                if error > worst:
                    worst, name = error, candidate
        return name


class _Sorted(ThreadMode):
    """Keeps a permutation-invariant digest of every result."""

    def __init__(self, stack: list[str]) -> None:
        super().__init__()
        self.stack = stack
        self.digests: list[tuple[str, Tensor]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor) and tensor.dtype.is_floating_point:
                name = function._schema.name.split("::")[-1]
                self.digests.append(
                    (f"'{name}' in '{self.stack[-1]}'", tensor.double().reshape(-1).sort().values)
                )
        return result


def first_difference(checker: Checker, inputs: Inputs, element: GroupElement) -> str:
    """The first operation whose results are not a rearrangement of what they were."""
    digests = []
    for moved in (None, element):
        checker.load(moved)
        with module_paths(checker.model) as stack, torch.no_grad(), double_precision():
            with (mode := _Sorted(stack)):
                arguments = checker.move(inputs, moved)
                checker.model(*arguments[0], **arguments[1])
            digests.append(mode.digests)
    for (name, before), (other, after) in zip(*digests, strict=False):
        if name != other or distance(before, after) > checker.check.tolerance * largest(before):
            return name
    return "its last operation"
