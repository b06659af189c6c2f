"""Laws of tracing mixtures of experts: whichever way the code routes rows, experts permute as a whole."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import symnet as sn
from symnet.tracing.execution import grouped_matmul
from tests.tracing.odd_models import Net, rand, weight

# 4 experts with 8 inner units each: all of it, and experts pinned. (torch's grouped product takes multiples of 4.)
UNITS = 40320
WHOLE, PINNED = 24 * UNITS**4, UNITS**4


def experts() -> dict[str, nn.Module | nn.Parameter]:
    torch.manual_seed(0)
    return {
        "router": nn.Linear(4, 4),
        "up": weight(4, 8, 4),
        "down": weight(4, 4, 8),
        "bias": weight(4, 4),
    }


def by_sorting(
    net: Any, x: Tensor, mix: Any = lambda y, chosen: y, ends: Any = lambda ends: ends
) -> Tensor:
    """Rows in the order of their experts, a grouped product, and back."""
    scores, chosen = net.router(x).softmax(-1).topk(2, -1)
    ids, order = chosen.reshape(-1).sort()
    last = ends(torch.histc(ids.float(), bins=4, min=0, max=3).cumsum(0, dtype=torch.int32))
    h = torch.ops.aten._grouped_mm(x[order // 2], net.up.transpose(1, 2), last).relu()
    y = torch.ops.aten._grouped_mm(h, net.down.transpose(1, 2), last) + net.bias[ids]
    y = mix(y * scores.reshape(-1)[order, None], ids)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return y[back].view(len(x), 2, 4).sum(1)


def order_of(function: Any) -> int:
    return sn.trace(Net(function, **experts()), rand(6, 4)).order


def test_rows_sorted_by_expert_and_multiplied_in_groups_move_as_whole_experts() -> None:
    assert order_of(by_sorting) == WHOLE


def test_a_permutation_can_be_inverted_by_sorting_it() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        chosen = net.router(x).argmax(-1)
        order = chosen.argsort()
        y = torch.einsum("bfm,bm->bf", net.up[chosen[order]], x[order]).relu()
        return torch.einsum("bmf,bf->bm", net.down[chosen[order]], y)[order.argsort()]

    assert order_of(forward) == WHOLE


@pytest.mark.parametrize(
    "mix",
    [
        lambda y, ids: y.cumsum(0),
        lambda y, ids: torch.cat([y[:1] * 2, y[1:]]),
        lambda y, ids: y.flip(0),
        lambda y, ids: y * torch.arange(1, len(y) + 1)[:, None],
        lambda y, ids: y + y[torch.arange(len(y)) // 2],
        lambda y, ids: y.view(2, -1, 4).softmax(0).view(-1, 4),
        lambda y, ids: y * (ids[:, None] + 1),
    ],
    ids=["running sum", "first row", "flipped", "counted", "pairs", "halves", "numbers"],
)
def test_what_uses_the_order_of_the_sorted_rows_pins_the_experts(mix: Any) -> None:
    assert order_of(lambda net, x: by_sorting(net, x, mix)) == PINNED


def test_ends_of_groups_that_are_used_as_numbers_pin_the_experts() -> None:
    assert order_of(
        lambda net, x: by_sorting(net, x) * by_sorting(net, x, ends=lambda e: (e + 1).clamp(max=12))
    ) in (
        PINNED,
        1,
    )


def test_sums_over_the_sorted_rows_are_free_of_their_order() -> None:
    assert order_of(lambda net, x: by_sorting(net, x, lambda y, ids: y + y.mean(0))) == WHOLE


# ---- loops over the experts that were hit ------------------------------------------------------------------------
def by_loop(
    net: Any, x: Tensor, classes: int = 5, each: Any = lambda y, number: y, add: Any = None
) -> Tensor:
    """The experts that any row chose, one after another, as in transformers' plain version."""
    scores, chosen = net.router(x).softmax(-1).topk(2, -1)
    mask = F.one_hot(chosen, classes).permute(2, 1, 0)
    result = torch.zeros_like(x)
    for number, hit in enumerate(torch.greater(mask.sum((-1, -2)), 0).nonzero()):
        expert = hit[0]
        if expert == 4:
            continue
        rank, row = torch.where(mask[expert])
        y = F.linear(F.linear(x[row], net.up[expert]).relu(), net.down[expert], net.bias[expert])
        y = each(y * scores[row, rank, None], number)
        result = add(result, row, y) if add else result.index_add_(0, row, y)
    return result


@pytest.mark.parametrize("classes", [4, 5])
def test_experts_taken_one_by_one_and_added_up_move_as_a_whole(classes: int) -> None:
    assert order_of(lambda net, x: by_loop(net, x, classes)) == WHOLE


def test_a_loop_over_distinct_choices_is_one_over_experts() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        shares = net.router(x).softmax(-1)
        best, chosen = shares.max(-1)
        result = torch.zeros_like(x)
        for expert in chosen.unique():
            row = (chosen == expert).nonzero()[:, 0]
            y = F.linear(F.linear(x[row], net.up[expert]).relu(), net.down[expert])
            result = result.index_add(0, row, y * best[row, None])
        return result

    assert order_of(forward) == WHOLE


@pytest.mark.parametrize(
    "changes",
    [
        {"each": lambda y, number: y * (number + 1)},
        {"each": lambda y, number: y.tanh() if number else y},
        {"each": lambda y, number: y + torch.full_like(y, float(number))},
        {"add": lambda result, row, y: (result * 0.5).index_add(0, row, y)},
        {"add": lambda result, row, y: result.index_add(0, row, y * result[row])},
        {"add": lambda result, row, y: result.index_copy(0, row, y)},
    ],
    ids=[
        "weighted by turn",
        "first differs",
        "a number for each turn",
        "decaying",
        "by what is there",
        "overwriting",
    ],
)
def test_turns_that_differ_or_see_each_other_pin_the_experts(changes: dict[str, Any]) -> None:
    assert order_of(lambda net, x: by_loop(net, x, **changes)) == PINNED


def test_one_turn_does_not_show_what_others_would_do() -> None:
    """With a single row one expert is hit; the code could do anything with a second one, so experts are pinned."""

    def forward(net: Any, x: Tensor) -> Tensor:
        chosen = net.router(x[:1]).argmax(-1)
        y = torch.zeros_like(x)
        for number, expert in enumerate(chosen.unique()):
            y = y + (number + 1) * F.linear(F.linear(x, net.up[expert]).relu(), net.down[expert])
        return y

    assert order_of(forward) == UNITS


def test_the_two_best_one_after_another() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        scores, chosen = net.router(x).softmax(-1).topk(2, -1)
        result = torch.zeros_like(x)
        for rank in range(2):
            h = torch.bmm(net.up[chosen[:, rank]], x[:, :, None]).relu()
            y = torch.bmm(net.down[chosen[:, rank]], h).squeeze(-1) + net.bias[chosen[:, rank]]
            result += scores[:, rank, None] * y
        return result

    assert order_of(forward) == WHOLE


# ---- models of transformers --------------------------------------------------------------------------------------
SMALL = {
    "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_experts_per_tok": 2,
    "max_position_embeddings": 16, "intermediate_size": 8, "moe_intermediate_size": 8,
}  # fmt: skip
GROUPED = {"num_key_value_heads": 1, "num_local_experts": 4, "num_experts": 4}
LATENT = {
    "num_key_value_heads": 2, "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 0, "q_lora_rank": 4,
    "kv_lora_rank": 4, "qk_rope_head_dim": 2, "qk_nope_head_dim": 2, "v_head_dim": 3,
}  # fmt: skip
# Stream, two queries, four values; experts with their units.
GROUPED_ORDER = 40320 * 2 * 24 * WHOLE
# Stream, two heads with their values and unrotated dims, two latent spaces; a shared expert; experts in groups.
LATENT_ORDER = 40320 * (2 * 6**2 * 2**2) * 24**2 * UNITS * (2 * 2**2 * UNITS**4)


@pytest.mark.parametrize("implementation", ["grouped_mm", "batched_mm", "eager"])
@pytest.mark.parametrize(
    ("family", "sizes", "expected"),
    [
        ("Mixtral", GROUPED, GROUPED_ORDER),
        ("Qwen3Moe", GROUPED | {"head_dim": 4}, GROUPED_ORDER),
        ("GptOss", GROUPED | {"head_dim": 4, "layer_types": ["full_attention"]}, GROUPED_ORDER),
        ("DeepseekV3", LATENT, LATENT_ORDER),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_language_models_with_experts(
    implementation: str, family: str, sizes: dict[str, Any], expected: int
) -> None:
    """All three implementations of transformers give the experts with the router's rows, and the units of each."""
    import transformers

    config = getattr(transformers, f"{family}Config")(**SMALL, **sizes)
    config._experts_implementation = implementation
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    assert sn.trace(model, torch.randint(11, (2, 5)), outputs=["logits"]).order == expected


def test_the_plain_grouped_product_is_what_torch_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, weights = (torch.randn(*n, generator=generator) for n in ((7, 8), (3, 8, 4)))
    ends = torch.tensor([2, 2, 7], dtype=torch.int32)
    by_hand = torch.cat(
        [rows[a:b] @ w for w, (a, b) in zip(weights, itertools.pairwise([0, 2, 2, 7]), strict=True)]
    )
    torch.testing.assert_close(grouped_matmul(rows, weights, ends), by_hand)
    torch.testing.assert_close(torch.ops.aten._grouped_mm(rows, weights, ends), by_hand)
