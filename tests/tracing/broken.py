"""Wrong graphs made from right ones: one axis of one tensor is held still, and the check of the tracer must notice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

import symnet as sn
from symnet.tracing import Check
from symnet.tracing.check_options import moving_element
from symnet.tracing.checking import Checker
from symnet.tracing.examples import Inputs, copy_model, detached, float_state, randomise
from symnet.tracing.execution import double_precision
from symnet.tracing.recording import tensors_in
from symnet.verify.comparison import errors_between
from tests.tracing.models import Case


def broken_graphs(graph: sn.NeuronGraph) -> Iterator[tuple[str, sn.NeuronGraph]]:
    """Every graph that differs in one axis of one tensor, which no longer moves."""
    for name, tensor in graph.weights.items():
        words = _top_level(graph.tensors[name])
        for axis, word in enumerate(words):
            still = str(tensor.shape[axis])
            if word != still and any(
                graph.neurons[s].group.generators for s in tensor.symbols if s in word
            ):
                changed = " ".join([*words[:axis], still, *words[axis + 1 :]])
                try:
                    yield name, sn.NeuronGraph(graph.neurons, {**graph.tensors, name: changed})
                except sn.GraphError:
                    continue  # the other axis read its parent from this one


def _top_level(notation: str) -> list[str]:
    words, depth = [""], 0
    for character in notation:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == " " and depth == 0:
            words.append("")
        else:
            words[-1] += character
    return [word for word in words if word]


def dead_entries(model: nn.Module, case: Case) -> set[str]:
    """Tensors that the outputs do not depend on at a random state (a key's bias under a softmax), by autograd."""
    private = copy_model(model).double()
    state, _ = float_state(private)
    randomise(state, seed=3)
    parameters = {
        name: tensor for name, tensor in state.items() if isinstance(tensor, nn.Parameter)
    }
    keywords = {k: v for k, v in case.keywords().items() if k != "outputs"}
    inputs = tuple(x.double() if x.is_floating_point() else x for x in case.inputs())
    with double_precision():
        result = private(*inputs, **keywords)
    total = sum(
        (t * torch.randn_like(t)).sum()
        for _, t in tensors_in(result)
        if t is not None and t.is_floating_point()
    )
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    return {
        n
        for n, g in zip(parameters, gradients, strict=True)
        if g is None or float(g.abs().max()) < 1e-12
    }


def is_noticed(
    checker: Checker, broken: sn.NeuronGraph, inputs: Inputs, reference: dict[str, torch.Tensor]
) -> bool:
    """Whether an element of a wrong group changes the outputs."""
    checker.graph = broken
    try:
        element = moving_element(broken, np.random.default_rng(0))
        outputs = checker.evaluate(checker.doubled(inputs), element)
    except sn.TraceError:
        return True
    return max(errors_between(reference, outputs).values()) > 1e-9


def broken_actions(model: nn.Module, graph: sn.NeuronGraph, case: Case) -> tuple[int, list[str]]:
    """How many wrong graphs of tensors with influence there are, and the tensors of those that went unnoticed."""
    keywords = {k: v for k, v in case.keywords().items() if k != "outputs"}
    inputs = detached((case.inputs(), keywords))
    dead = dead_entries(model, case)
    outputs = case.keywords().get("outputs")
    checkers = [  # two random states, as in the check itself: in a narrow network one may silence a neuron
        Checker(
            copy_model(model),
            graph,
            inputs,
            Check(rounds=1, shapes=False, seed=seed),
            outputs=outputs,
        )
        for seed in (0, 1)
    ]
    references = [checker.evaluate(checker.doubled(inputs), None) for checker in checkers]
    total, missed = 0, []
    for name, broken in broken_graphs(graph):
        if name not in dead:
            total += 1
            pairs = zip(checkers, references, strict=True)
            if not any(
                is_noticed(checker, broken, inputs, reference) for checker, reference in pairs
            ):
                missed.append(name)
    return total, missed
