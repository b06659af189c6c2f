"""Laws over the registry of traced models: what is left computes what the masked model does, what is widened the same.

Every set of every model is either shown to be equal to 1e-9 on fresh inputs and random weights, or refused with a reason, and
both are counted by name.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import symnet as sn
from symnet.surgery import Copies, Outlets, ResizeError, Surgery
from symnet.surgery.budgets import kind_of
from symnet.surgery.expectation import Expectation
from symnet.surgery.proving import Trial, largest_difference
from tests.surgery.choices import divisible, half_of
from tests.tracing.hugging_face import HUGGING_FACE
from tests.tracing.models import CASES, Case

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

QUICK = {
    "mlp",
    "lenet",
    "unet",
    "crelu",
    "fused attention, chunk",
    "GRUCell by hand",
    "grouped transposed convolution",
    "dense experts",
}
# Modules whose code holds a size as a number: nothing can run them at other sizes, and they are told so.
LITERAL = {
    "maxout": {"group", "unit"},
    "padded shortcut": {"outer", "outer.2"},
    "fused attention, 3 h d": {"head", "head_dim", "key_dim"},
    "fused attention, h 3 d": {"head", "head_dim", "key_dim"},
    "fused attention, chunk": {"head", "head_dim", "key_dim"},
    "query and key norms": {"head", "head_dim", "key_dim"},
    "grouped queries, fused by heads": {"kv", "query_of_group", "head_dim", "key_dim"},
    "talking heads": {"stream", "v.stream"},
    "routed experts": set(),
}
# Layers and directions of one recurrent module have one size: they are cut together.
TOGETHER = {
    name for name in (case.name for case in CASES) if "layers" in name or "directions" in name
}


def models(quick: bool) -> list[object]:
    cases = [case for case in (*CASES, *HUGGING_FACE) if (case.name in QUICK) == quick]
    return [
        pytest.param(case, id=case.name, marks=() if quick else pytest.mark.slow) for case in cases
    ]


def prepared(case: Case) -> tuple[nn.Module, sn.NeuronGraph, dict[str, Outlets]]:
    if case in HUGGING_FACE:
        pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")
    torch.manual_seed(0)
    model = case.make()
    graph = sn.trace(model, *case.inputs(), **case.keywords())
    return model, graph, sn.surgery.outgoing(model, graph, *case.inputs(), **case.keywords())


def groups_of_sets(case: Case, graph: sn.NeuronGraph) -> list[list[str]]:
    names = divisible(graph, least=2)
    return [names] if case.name in TOGETHER else [[name] for name in names]


@pytest.mark.parametrize("case", [*models(quick=True), *models(quick=False)])
def test_every_set_of_every_model(case: Case) -> None:
    """Half of each set kept, and each set made half as large again (or twice as large where a norm hears of it)."""
    import numpy as np

    model, graph, outgoing = prepared(case)
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if isinstance(tensor, torch.Tensor)
    }
    rng = np.random.default_rng(0)
    literal = set()
    for names in groups_of_sets(case, graph):
        cut = sn.surgery.keep(state, graph, {name: half_of(graph, name, rng) for name in names})
        if not agrees(case, model, cut, outgoing):
            literal |= set(names)
        factor = {Copies.any: 1.5, Copies.alike: 2.0}
        if any(outgoing[name].copies is Copies.none for name in names):
            with pytest.raises(sn.GraphError, match="cannot be copied"):
                sn.surgery.widen(
                    state,
                    graph,
                    {name: 2 * graph.neurons[name].size for name in names},
                    outgoing=outgoing,
                )
            continue
        sizes = {
            name: int(graph.neurons[name].size * factor[outgoing[name].copies]) for name in names
        }
        if not agrees(
            case, model, sn.surgery.widen(state, graph, sizes, outgoing=outgoing), outgoing
        ):
            literal |= set(names)
    if (
        case in HUGGING_FACE
    ):  # one number holds the dims of keys and of values there: neither is cut alone
        assert {kind_of(name) for name in literal} <= {"key_dim", "head_dim"}
    else:
        assert literal == LITERAL.get(case.name, set())


def agrees(case: Case, model: nn.Module, surgery: Surgery, outgoing: dict[str, Outlets]) -> bool:
    """Whether the resized module is the masked or the old one; False if its code holds a size as a number."""
    try:
        resized = sn.surgery.resize(
            model, surgery, *case.inputs(), outgoing=outgoing, **case.keywords()
        )
    except (ResizeError, sn.VerificationError) as error:
        assert "number" in str(error) or "depend on a size" in str(error)
        return False
    # A route of its own: the module's own weights, before and after, and a control that has to differ.
    silencing = all(
        outgoing[name].silencing
        for name in outgoing
        if surgery.graph.neurons[name].size < surgery.old.neurons[name].size
    )
    if silencing:
        compare(case, model, resized, surgery, outgoing)
    return True


def compare(
    case: Case, model: nn.Module, resized: nn.Module, surgery: Surgery, outgoing: dict[str, Outlets]
) -> None:
    keywords = dict(case.keywords())
    chosen = keywords.pop("outputs", None)
    inputs = case.inputs(), keywords
    old, new = (
        Trial(model, surgery.old, inputs, chosen, 0),
        Trial(resized, surgery.graph, inputs, chosen, 0),
    )
    theta = {name: model.state_dict()[name].double() for name in surgery.old.weights}
    small = {
        name: torch.as_tensor(surgery.weights[name]).double() for name in surgery.graph.weights
    }
    narrower = not surgery.outgoing
    expected = sn.surgery.masked(theta, surgery.selection, outgoing=outgoing) if narrower else theta
    after = new.outputs_at(inputs, small)
    # Weights in single precision: shares of a third are rounded there.
    assert largest_difference(old.outputs_at(inputs, expected), after) < (
        1e-9 if narrower else 1e-5
    )


@pytest.mark.parametrize("name", ["mlp", "lenet", "crelu"])
def test_a_cut_of_other_neurons_is_noticed(name: str) -> None:
    """The control: the masked model with other neurons silenced differs from what was cut."""
    case = next(case for case in CASES if case.name == name)
    torch.manual_seed(0)
    model, inputs = case.make(), case.inputs()
    graph = sn.trace(model, *inputs)
    (first, *_) = divisible(graph, least=2)
    cut = sn.surgery.keep(model.state_dict(), graph, {first: [0, 1]})
    other = sn.surgery.keep(model.state_dict(), graph, {first: [0, 2]})
    resized = sn.surgery.resize(model, cut, *inputs)
    expectation = Expectation(model, other, (inputs, {}), None, 0, {})
    assert isinstance(
        expectation.problem(resized), type(None)
    )  # same structure: only the weights differ
    wrong = {n: t.double() for n, t in cut.weights.items()}
    trial = Trial(resized, cut.graph, (inputs, {}), None, 0)
    masked = sn.surgery.masked(
        {n: t.double() for n, t in model.state_dict().items()}, other.selection
    )
    reference = Trial(model, graph, (inputs, {}), None, 0)
    difference = largest_difference(
        reference.outputs_at((inputs, {}), masked), trial.outputs_at((inputs, {}), wrong)
    )
    assert difference > 1e-4
