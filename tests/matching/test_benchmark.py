"""The benchmark of matching judges by what it says: distance, function, and a peer that may be absent."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from benchmarks.matching import judge, make_pair, with_rebasin, with_symnet


def test_a_planted_pair_is_aligned_and_judged() -> None:
    outcome = with_symnet(make_pair("CNN, flattened", planted=True, large=False))
    assert outcome.distance < 0.3 and outcome.error < 1e-12


def test_a_broken_network_is_noticed() -> None:
    """The judge is judged: neurons of one tensor moved alone are an error, not an alignment."""
    pair = make_pair("MLP 64-128-128-10", planted=False, large=False)
    state = pair.b.state_dict()
    outcome = judge(pair, state | {"0.weight": state["0.weight"][torch.randperm(128)]}, 0.0)
    assert outcome.error > 1e-2


@pytest.mark.skipif(find_spec("rebasin") is not None, reason="rebasin is installed here")
def test_an_absent_peer_is_said_to_be_absent() -> None:
    assert (
        with_rebasin(make_pair("MLP 64-128-128-10", planted=False, large=False)) == "not installed"
    )
