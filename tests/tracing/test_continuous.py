"""Laws of ``trace(groups="all")``: the largest group on every set, proven on the network, and
nothing larger.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from tests.verify.continuous_models import Attention, Llama, LoRA, mlp


class Fused(nn.Module):
    """Queries, keys and values from one matrix, as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 24, bias=False), nn.Linear(8, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(x).split(8, -1))
        return self.out(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))


class Grouped(nn.Module):
    """Two groups of two queries that share their keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(6, 16, bias=False), nn.Linear(6, 8, bias=False)
        self.v, self.out = nn.Linear(6, 8, bias=False), nn.Linear(16, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (2, 2, 4)).permute(0, 2, 3, 1, 4)
        k, v = (
            part(x).unflatten(-1, (2, 4)).transpose(1, 2)[:, :, None] for part in (self.k, self.v)
        )
        return self.out(((q @ k.mT).softmax(-1) @ v).permute(0, 3, 1, 2, 4).flatten(2))


TOKENS = torch.randint(9, (4, 7), generator=torch.Generator().manual_seed(0))
VALUES = "(head head_dim) stream", "stream (head head_dim*)"

# Model, inputs, and what stands in the text of the graph.
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], list[str]]] = {
    "relu": (
        lambda: mlp([3, 5, 4, 2], torch.relu),
        lambda: torch.randn(8, 3),
        [
            "layer0: Scaled(5)",
            "layer2: Scaled(4)",
            "0.weight: layer0 3",
            "2.weight: layer2 layer0*",
            "4.weight: 2 layer2*",
        ],
    ),
    "tanh then relu": (
        lambda: nn.Sequential(
            nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)
        ),
        lambda: torch.randn(8, 3),
        ["layer0: SignedSymmetric(5)", "layer2: Scaled(4)"],
    ),
    "gelu": (
        lambda: mlp([3, 5, 2], nn.functional.gelu),
        lambda: torch.randn(8, 3),
        ["layer0: Symmetric(5)"],
    ),
    "square": (
        lambda: mlp([3, 5, 2], torch.square),
        lambda: torch.randn(8, 3),
        ["layer0: SignedSymmetric(5)", "0.bias: layer0\n", "2.weight: 2 layer0."],
    ),
    "lora": (
        lambda: LoRA(6, 2, 5),
        lambda: torch.randn(8, 5),
        ["lora_A: GeneralLinear(2)", "lora_B: 6 lora_A*"],
    ),
    "attention": (
        lambda: Attention(6, 2, 3, bias=True),
        lambda: torch.randn(3, 4, 6),
        [
            "key_dim: GeneralLinear(3) over head",
            "head_dim: GeneralLinear(3) over head",
            "k.weight: (head key_dim*) 6",
        ],
    ),
    "fused attention": (
        Fused,
        lambda: torch.randn(2, 3, 6),
        [
            "qkv.weight: ((head key_dim) + (head key_dim*) + (head head_dim)) 6",
            "out.weight: 6 (head head_dim*)",
        ],
    ),
    "grouped queries": (
        Grouped,
        lambda: torch.randn(2, 3, 6),
        [
            "q.weight: (kv query_of_group key_dim) 6",
            "k.weight: (kv key_dim*) 6",
            "(kv query_of_group head_dim*)",
        ],
    ),
    "rotary attention": (
        lambda: Attention(5, 2, 4, rotary=True),
        lambda: torch.randn(3, 4, 5),
        ["q.weight: (head 4) 5", "head_dim: GeneralLinear(4) over head"],
    ),
    "llama": (
        Llama,
        lambda: TOKENS,
        [
            "stream: Orthogonal(6)",
            "gate: Scaled(5)",
            "up.weight: gate stream",
            "gate.weight: gate. stream",
            *VALUES,
        ],
    ),
    "layer norm llama": (
        lambda: Llama("layer"),
        lambda: TOKENS,
        ["stream: Orthogonal(6, fixes_mean=True)", *VALUES],
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)),
        lambda: torch.randn(8, 3),
        ["layer0: Scaled(5)", "1.bias: layer0\n", "1.running_var: layer0.", "3.weight: 2 layer0*"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_set_gets_its_largest_group(name: str) -> None:
    """And the graph passes as one of permutations does: on random elements, in a verifier that
    knows nothing of trace.
    """
    make, inputs, lines = CASES[name]
    torch.manual_seed(0)
    model, x = make(), inputs()
    graph = sn.trace(model, x, groups="all")
    for line in lines:
        assert line in str(graph)
    sn.verify.network(model, graph, x).raise_if_failed()
    assert [
        name for name, one in graph.neurons.items() if not isinstance(one.group, sn.Symmetric)
    ] == [
        note.partition(":")[0] for note in graph.notes if "random elements agree" in note
    ] or name == "gelu"


def test_permutations_stay_the_default() -> None:
    model, x = mlp([3, 5, 2], torch.relu), torch.randn(8, 3)
    assert sn.trace(model, x) == sn.trace(model, x, groups="permutations")
    assert sn.trace(model, x).order == 120 and sn.trace(model, x, groups="all").dimension == 5


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(sn.TraceError, match="'permutations', or 'all'"):
        sn.trace(nn.Linear(2, 2), torch.randn(3, 2), groups="some")
    with pytest.raises(sn.TraceError, match="'all' where io='fixed'"):
        sn.trace(nn.Linear(2, 2), torch.randn(3, 2), groups="all", io="permuted")


def test_a_gain_hides_the_rotations_of_its_stream() -> None:
    """What trace says of gains: their scales are found, each neuron's three, and rotations are
    not.
    """
    graph = sn.trace(Llama(gain=True), TOKENS, groups="all")
    assert graph.neurons["stream"].group == sn.Scaled(6)
    assert any("3 independent scales" in note for note in graph.notes)


def test_a_scale_of_degree_two_is_no_scale_of_a_declaration() -> None:
    """x^2 scales by squares, which strands of degree 1, 0 and -1 cannot say."""
    graph = sn.trace(mlp([3, 5, 2], torch.square), torch.randn(8, 3), groups="all")
    assert graph.dimension == 0


def test_found_graphs_go_to_their_normal_form() -> None:
    """trace, then normal_form: the same function, and permutations only."""
    torch.manual_seed(0)
    model = mlp([3, 5, 4, 2], torch.relu).double()
    x = torch.randn(8, 3).double()
    normal, left = sn.normal_form(model, sn.trace(model, x, groups="all"))
    torch.testing.assert_close(
        torch.func.functional_call(model, normal, (x,)), model(x), rtol=1e-9, atol=1e-9
    )
    assert left == sn.trace(model, x)


def test_single_neurons_and_large_batches_pass() -> None:
    """Nothing to find is no fault."""
    graph = sn.trace(nn.Linear(3, 2), torch.randn(1, 3), groups="all")
    assert graph.dimension == 0 and not any("random elements" in note for note in graph.notes)
