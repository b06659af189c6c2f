"""What a resized copy has to compute: what the network computes with the
other neurons masked, or what it did before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from symnet.errors import GraphError, VerificationError
from symnet.graph import NeuronGraph
from symnet.surgery.cutting import Surgery, change_all, masked
from symnet.surgery.outlets import Outlets, guess_outlets
from symnet.surgery.proving import Trial, largest_difference
from symnet.surgery.widening import sharing
from symnet.tracing.examples import detached
from symnet.tracing.fresh_inputs import Inputs

_TOLERANCE = 1e-9
# inputs, new weights, and the outputs that are expected
Case = tuple[Inputs, dict[str, Tensor], dict[str, Tensor]]


class Expectation:
    """Outputs of the old network on the given and on fresh inputs, at its
    own and at random weights, in float64.

    Args:
        surgery: None for weights of unknown origin; then only the shapes of outputs are compared.
        known: what reads some sets, proved before.
    """

    def __init__(
        self,
        model: nn.Module,
        surgery: Surgery | None,
        inputs: Inputs,
        outputs: Sequence[str] | None,
        seed: int,
        outlets: Mapping[str, Outlets],
    ) -> None:
        self.surgery, self.inputs, self.outputs = surgery, detached(inputs), outputs
        self.outlets = dict(outlets)
        old = surgery.old if surgery else NeuronGraph({}, {})
        self.trial = Trial(model, old, inputs, outputs, seed)
        self.shapes = self.trial.require_run()
        actual = {name: model.state_dict()[name].detach().double() for name in old.weights}
        first, second = self.trial.round(0), self.trial.round(1)
        self.settings = [
            (self.inputs, actual),
            (first.inputs, actual),
            (second.inputs, second.theta),
        ]
        self.proved = False
        self.cases: list[Case] | None = self._cases()

    def problem(self, model: nn.Module) -> Exception | None:
        """Why a copy is not what it should be: it does not run, or
        computes something else; None if it is.
        """
        problem = self._problem(model)
        if isinstance(problem, VerificationError) and self.cases and not self.proved:
            # It may be the mask that was wrong: what reads the sets had been guessed. Now it is
            # found out.
            self.proved = True
            self.cases = self._cases()
            problem = self._problem(model)
        return problem

    def _cases(self) -> list[Case] | None:
        """What to compare; None if a norm or softmax hears of the neurons that
        are left out, so that a mask is no cut.
        """
        surgery = self.surgery
        if surgery is None or surgery.selection is None:
            return None
        outgoing = self._outgoing(surgery)
        if outgoing is None:
            return None
        cases = []
        for inputs, theta in self.settings:
            before = (
                theta if surgery.outgoing else masked(theta, surgery.selection, outgoing=outgoing)
            )
            after = change_all(surgery.old, theta, sharing(surgery.selection, surgery.outgoing))
            cases.append((inputs, after, self.trial.outputs_at(inputs, before)))
        return cases

    def _outgoing(self, surgery: Surgery) -> Mapping[str, Outlets] | None:
        """What reads the sets that lose neurons: known, else guessed at first;
        None if something else hears of them.
        """
        if surgery.outgoing:
            return surgery.outgoing
        for name, neuron_set in surgery.old.neurons.items():
            if neuron_set.size > surgery.graph.neurons[name].size:
                outlets = self.outlets.get(name) or self._guess(surgery.old, name)
                if outlets is None or (self.proved and not outlets.proved):
                    outlets = self.trial.outlets(name)
                self.outlets[name] = outlets
                if not outlets.silencing:
                    return None
        return self.outlets

    def _guess(self, graph: NeuronGraph, name: str) -> Outlets | None:
        try:
            outlets = guess_outlets(graph, name)
        except GraphError:
            return None
        return outlets if outlets.silencing else None

    def _problem(self, model: nn.Module) -> Exception | None:
        graph = self.surgery.graph if self.surgery else NeuronGraph({}, {})
        try:
            trial = Trial(model, graph, self.inputs, self.outputs, 0)
            if self.cases is None:
                return _other_shapes(model, self.shapes, trial.outputs_at(self.inputs, {}))
            for inputs, weights, expected in self.cases:
                error = largest_difference(expected, trial.outputs_at(inputs, weights))
                if error > _TOLERANCE:
                    return VerificationError(
                        f"The resized {type(model).__name__} runs, but its outputs are off by "
                        f"{error:.2g} of what they should be. Its code may depend on a size in "
                        "another way than by its weights: say attributes={'path.name': value}."
                    )
        except Exception as error:  # whatever a model's code raises on sizes that do not fit
            return error
        return None


def _other_shapes(
    model: nn.Module, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> Exception | None:
    """What differs in the outputs' shapes, where there is nothing else to compare."""
    for path, tensor in before.items():
        if path not in after or after[path].shape != tensor.shape:
            shown = tuple(after[path].shape) if path in after else "missing"
            return VerificationError(
                f"The resized {type(model).__name__} runs, but its output '{path}' is {shown} "
                f"where it was {tuple(tensor.shape)}. Its code holds a size as a number: say "
                "attributes={'path.name': value}."
            )
    return None
