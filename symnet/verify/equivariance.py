"""equivariance: does any function of weights commute with the group
of a graph, or is it invariant?
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import ShapeError, TraceError, VerificationError
from symnet.graph import GroupElement, NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.tracing.examples import copy_model
from symnet.tracing.execution import Execution, double_precision
from symnet.verify.comparison import (
    check_tolerance,
    check_whole,
    elements_of_set,
    errors_between,
    make_seed,
    moving_sets,
    said_of,
)
from symnet.verify.report import Difference, Report

Features = dict[str, Tensor]
KINDS = ("normal", "half of them zero", "large")  # of random features, one kind per trial
_PROBED = 64  # inputs up to which every one is tested for having an effect


def equivariance(
    fn: Callable[[Features], Any],
    graph: NeuronGraph,
    in_channels: int = 1,
    *,
    inputs: SpaceLike = None,
    outputs: SpaceLike = None,
    seed: int | None = None,
    trials: int = 3,
    tolerance: float = 1e-9,
    batch: int = 8,
    perturb: bool = True,
    may_vanish: bool = False,
) -> Report:
    """Whether ``fn(g.x) = g.fn(x)`` (it returns a dict) or
    ``fn(g.x) = fn(x)`` (it returns a tensor): a report.

    In float64, every neuron set is permuted alone, by random elements and by generators, then all
    together; every sample of a batch by an element of its own. The function must also repeat itself
    (no noise, no dropout) and treat the samples of a batch independently. Features are normal, half
    zero, and large in turn. A module is copied, converted and put into eval mode: nothing of yours
    changes.

    Args:
        fn: from features ``{name: (batch, *axes, in_channels)}`` to features or to a tensor
            ``(batch, ...)``.
        graph: whose group acts.
        inputs, outputs: what the features are, as in ``derive``; default the graph's tensors.
        trials: rounds of random features and elements.
        tolerance: of the largest difference, relative to the output's largest entry.
        perturb: run a module also with its trainable parameters perturbed (all rounds but the
            first): a wrong bias that still is zero shows only then.
        may_vanish: accept outputs that do not depend on the features.

    Raises:
        ShapeError: the outputs do not have the declared axes.
        VerificationError: ``fn`` does not run on such features, or returns something else.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> equivariance(lambda x: x["0.bias"].sum(1), graph).passed
        True
        >>> print(equivariance(lambda x: x["0.bias"][:, 0], graph, seed=0).failures[0].neurons)
        h1
    """
    check_whole(trials=trials, batch=batch, in_channels=in_channels)
    check_tolerance(tolerance)
    seed = make_seed(seed)
    spaces = require_graph(graph, "equivariance").space(inputs), graph.space(outputs)
    rng = np.random.default_rng(seed)
    trial = _Trials(fn, graph, spaces, in_channels, rng, perturb, Execution(seed))
    for number in range(trials):
        trial.run(number, batch)
    return trial.report(seed, tolerance, may_vanish)


class _Trials:
    """The rounds of one check and what they found.

    Only the function and random numbers need ``double_precision``: what is compared is float64
    anyway, and acting on it inside would take three times as long.
    """

    def __init__(
        self,
        fn: Callable[[Features], Any],
        graph: NeuronGraph,
        spaces: tuple[Space, Space],
        channels: int,
        rng: np.random.Generator,
        perturb: bool,
        execution: Execution,
    ) -> None:
        self.execution = execution
        self.graph, (self.inputs, self.outputs), self.channels, self.rng = (
            graph,
            spaces,
            channels,
            rng,
        )
        self.name = name_of(fn)
        self.fn, self.module = copy_function(fn)
        self.perturb = perturb
        self.checks: list[Difference] = []
        self.problems: dict[str, None] = {}
        self.depends = False
        self.influential: set[str] = set()
        self.invariant = False

    # ---- one round -------------------------------------------------------------------------------
    def run(self, number: int, batch: int) -> None:
        """Repeat, split the batch, permute every set alone, permute all."""
        kind = KINDS[number % len(KINDS)]
        x = self.draw(max(batch, 2), kind)
        y = self.call(x)
        if number == 0 and self.perturb and self.module is not None:
            # Perturbed from the next round on; lazy parameters exist by now.
            with double_precision(execution=self.execution):
                self.fn_next = _perturbed(self.fn, self.module)
        if kind == KINDS[0]:
            self.check_power(x, y)
        self.compare(number, None, "running it twice", y, self.call(x))
        self.check_samples(number, x, y)
        for name in moving_sets(self.graph):
            elements = elements_of_set(self.graph, name, self.rng, batch)
            self.check_elements(number, name, said_of(self.graph, name), elements, kind)
        if moving_sets(self.graph):
            every = [self.graph.random_element(self.rng) for _ in range(batch)]
            self.check_elements(number, None, said_of(self.graph), every, kind)
        if number == 0 and self.perturb and self.module is not None:
            self.fn, self.module = self.fn_next

    def check_samples(self, number: int, x: Features, y: Features) -> None:
        """Every sample of a batch is treated on its own: alone, and in
        another order with one sample left out.
        """
        alone = self.call({name: tensor[-1:] for name, tensor in x.items()})
        self.compare(
            number,
            None,
            "running one sample of a batch alone",
            {n: t[-1:] for n, t in y.items()},
            alone,
        )
        fewer = self.call({name: tensor[1:].flip(0) for name, tensor in x.items()})
        expected = {name: tensor[1:].flip(0) for name, tensor in y.items()}
        self.compare(
            number, None, "running a batch without its first sample, backwards", expected, fewer
        )

    def check_elements(
        self,
        number: int,
        neurons: str | None,
        action: str,
        elements: Sequence[GroupElement],
        kind: str,
    ) -> None:
        """Compare ``fn(g.x)`` with ``g.fn(x)``, sample k of a batch under element k."""
        x = self.draw(len(elements), kind)
        expected = self.call(x)
        if not self.invariant:
            expected = self.act(elements, expected, self.outputs)
        self.compare(
            number, neurons, action, expected, self.call(self.act(elements, x, self.inputs))
        )

    def act(
        self, elements: Sequence[GroupElement], x: Mapping[str, Tensor], space: Space
    ) -> Features:
        moved = [
            self.graph.act(g, {name: tensor[k] for name, tensor in x.items()}, space=space)
            for k, g in enumerate(elements)
        ]
        return {name: torch.stack([sample[name] for sample in moved]) for name in x}

    def compare(
        self, number: int, neurons: str | None, action: str, left: Features, right: Features
    ) -> None:
        for name, error in errors_between(left, right).items():
            shown = f"'{name}'" if name else "the output"
            self.checks.append(Difference(shown, neurons, action, error, number))

    def check_power(self, x: Features, y: Features) -> None:
        """Note whether the outputs are finite, and on which inputs they depend."""
        for name, tensor in y.items():
            if not bool(tensor.isfinite().all()):
                self.problems[
                    f"output '{name}' is not finite on normal features; nothing can be compared."
                ] = None
        self.depends |= any(
            error > 1e-12
            for error in errors_between(y, self.call(self.draw(len(_any(x)), KINDS[0]))).values()
        )
        for name in self.inputs if len(self.inputs) <= _PROBED else ():
            with double_precision(execution=self.execution):
                other = torch.randn_like(x[name])
            changed = self.call(x | {name: other})
            if any(not torch.equal(y[key], changed[key]) for key in y):
                self.influential.add(name)

    # ---- features and calls ----------------------------------------------------------------------
    def draw(self, batch: int, kind: str) -> Features:
        """Random features; ``half of them zero`` has whole tensors of zeros as well."""
        like = next(self.module.parameters(), None) if self.module is not None else None
        device = None if like is None else like.device
        features = {}
        with double_precision(execution=self.execution):
            for name, tensor in self.inputs.items():
                shape = (batch, *tensor.shape, self.channels)
                values = torch.randn(shape, dtype=torch.float64, device=device)
                if kind == KINDS[1]:
                    keep = torch.rand_like(values) < 0.5
                    sample = (batch, *([1] * (values.ndim - 1)))
                    some = torch.rand(sample, dtype=torch.float64, device=device) < 0.9
                    values = values * keep * some
                features[name] = 30 * values if kind == KINDS[2] else values
        return features

    def call(self, x: Features) -> Features:
        """The outputs by name, detached; an invariant tensor is named ``""``."""
        batch = len(_any(x))
        with double_precision(execution=self.execution):
            result = self.fn({name: tensor.clone() for name, tensor in x.items()})
        self.invariant = isinstance(result, Tensor)
        if isinstance(result, Tensor):
            if result.ndim < 1 or result.shape[0] != batch:
                raise ShapeError(
                    f"{self.name} returned a tensor of shape {tuple(result.shape)} for a batch "
                    f"of {batch}; an invariant function returns (batch, ...), one row for every "
                    "network."
                )
            return {"": result.detach()}
        if not isinstance(result, Mapping) or not result:
            raise VerificationError(
                f"{self.name} returned {type(result).__name__}; expected a dict of tensors "
                "(checked to be equivariant) or one tensor (checked to be invariant)."
            )
        return {name: self.checked(name, tensor, batch) for name, tensor in result.items()}

    def checked(self, name: str, tensor: Any, batch: int) -> Tensor:
        if name not in self.outputs:
            raise ShapeError(
                f"{self.name} returned '{name}', which is none of the outputs "
                f"{', '.join(self.outputs)}. Say what it is: outputs={{'{name}': 'axes'}}."
            )
        axes = self.outputs[name].shape
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else None
        if shape is None or shape[: 1 + len(axes)] != (batch, *axes) or len(shape) > 2 + len(axes):
            raise ShapeError(
                f"Output '{name}' of {self.name} must be (batch, "
                f"{', '.join(map(str, (*axes, 'channels')))}) with a batch of {batch}, but is "
                f"{shape if shape is not None else type(tensor).__name__}."
            )
        return tensor.detach()

    def report(self, seed: int, tolerance: float, may_vanish: bool) -> Report:
        kind = "invariance" if self.invariant else "equivariance"
        problems = list(self.problems)
        if not self.depends and not problems and not may_vanish:
            problems.append(
                "the outputs are the same for different features: nothing can be noticed."
            )
        notes = []
        if (
            self.perturb
            and self.module is not None
            and any(p.requires_grad for p in self.module.parameters())
        ):
            notes.append(
                "from trial 1 on the module's trainable parameters are perturbed (perturb=False "
                "leaves them)."
            )
        if not moving_sets(self.graph):
            notes.append(
                "no neuron set can move: the group is trivial and every function is equivariant."
            )
        without_influence = (
            [name for name in self.inputs if name not in self.influential]
            if len(self.inputs) <= _PROBED
            else []
        )
        return Report(
            subject=f"{kind} of {self.name} on {len(self.inputs)} tensors",
            seed=seed,
            tolerance=tolerance,
            checks=tuple(self.checks),
            problems=tuple(problems),
            dead=dict.fromkeys(without_influence, "no output depends on it"),
            notes=tuple(notes),
        )


def _any(x: Mapping[str, Tensor]) -> Tensor:
    return next(iter(x.values()))


def name_of(fn: object) -> str:
    """What reports call a function."""
    return (
        fn._get_name() if isinstance(fn, nn.Module) else getattr(fn, "__name__", type(fn).__name__)
    )


def copy_function(
    fn: Callable[[Features], Any],
) -> tuple[Callable[[Features], Any], nn.Module | None]:
    """A module, or a module's method, on a copy in float64 and eval
    mode; any other function as it is.
    """
    if not callable(fn):
        raise VerificationError(
            f"{fn!r:.60} cannot be called; give a module or a function from features to features."
        )
    if isinstance(fn, nn.Module):
        module = _copied(fn)
        return module, module
    if inspect.ismethod(fn) and isinstance(fn.__self__, nn.Module):
        module = _copied(fn.__self__)
        return partial(fn.__func__, module), module
    return fn, None


def _copied(module: nn.Module) -> nn.Module:
    """A copy in float64 and eval mode; tensors that it caches are copied
    without what they were computed from.
    """
    try:
        # what is cached in eval mode is made again, in float64
        return copy_model(module).double().train().eval()
    except TraceError as error:
        raise VerificationError(str(error).replace("trace works", "it is checked")) from error


def _perturbed(
    fn: Callable[[Features], Any], module: nn.Module
) -> tuple[Callable[[Features], Any], nn.Module]:
    """The same on another copy whose trainable parameters are moved by
    about a tenth of their spread.
    """
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.requires_grad and parameter.is_floating_point() and parameter.numel():
                spread = float(parameter.square().mean().sqrt()) or 1.0
                parameter.add_(0.1 * spread * torch.randn_like(parameter))
    method: Any = fn
    return (other, other) if fn is module else (partial(method.func, other), other)
