"""A short text cannot ask for what never ends: sizes that come from texts have limits, and large declarations take linear time."""

from __future__ import annotations

import time

import pytest

import symnet as sn
from symnet.cli import main
from symnet.cli.architectures import read_architecture
from symnet.cli.modules import read_input

DIGITS = "9" * 5_000
MANY = " ".join(["h"] * 3_000)
TEXTS = {
    "rnn:2-3:layers=100000000": "10,000",
    f"rnn:2-3:layers={10**20}": "18",
    "resnet:3-8:blocks=100000000": "",
    f"mlp:2-{DIGITS}-1": "5,000 digits",
    "mlp:2-٣-1": "expected widths",
    "mlp:2-²-1": "expected widths",
    "rnn:2-3:layers=²": "",
    f"mlp:{10**18 - 1}-2": "1,000,000,000,000,000",
}
GROUPS = {
    f"Generated({10**12}, [[1, 0]])": "not a permutation",
    f"Generated({10**20}, [[1, 0]])": "21 digits",
    f"Symmetric({DIGITS})": "cannot be read",
    f"Fixed({'-' * 5_000}3)": "cannot be read",
    f"Fixed({'(' * 5_000}3{')' * 5_000})": "",
    f"Generated(3, {'[' * 5_000}{']' * 5_000})": "",
    "Fixed(٣)": "cannot be read",
    f"Symmetric({10**16})": "1,000,000,000,000,000",
}
AXES = {
    MANY: "64",
    " ".join(["(h + h)"] * 60): "blocks",
    f"({' + '.join(['(h + h) (h + h)'] * 30_000)})": "blocks",
    "(" * 5_000: "100 parentheses",
    DIGITS: "5000 digits",
    "+" * 5_000: "without an open parenthesis",
}


def graph_text(group: str = "Symmetric(2)", axes: str = "h") -> str:
    return f"neurons\n  h: {group}\ntensors\n  w: {axes}\n"


@pytest.mark.parametrize(
    ("text", "limit"),
    [(graph_text(group), limit) for group, limit in GROUPS.items()]
    + [(graph_text(axes=axes), limit) for axes, limit in AXES.items()],
)
def test_texts_of_graphs_are_refused_at_once(text: str, limit: str, record_property) -> None:
    started = time.process_time()
    with pytest.raises(sn.SymnetError) as caught:
        sn.parse(text)
    assert limit in str(caught.value) and len(str(caught.value)) < 1000
    assert time.process_time() - started < 10
    record_property("sizes from texts", 1)


@pytest.mark.parametrize("text", TEXTS)
def test_architectures_are_refused_at_once(
    text: str, capsys: pytest.CaptureFixture[str], record_property
) -> None:
    started = time.process_time()
    with pytest.raises(sn.SymnetError):
        read_architecture(text)
    assert time.process_time() - started < 10
    with pytest.raises(SystemExit) as stop:
        main(["derive", text])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and TEXTS[text] in said and said.count("\n") == 1
    record_property("sizes from texts", 1)


@pytest.mark.parametrize(
    "text", ["²", "٣,2", DIGITS, f"{10**12},{10**12}", "8:int²", f"8:int{DIGITS}", "8:int0"]
)
def test_inputs_are_refused_at_once(text: str, record_property) -> None:
    import torch

    with pytest.raises(sn.SymnetError):
        read_input(text, torch.Generator())
    record_property("sizes from texts", 1)


def large_text(sets: int) -> str:
    neurons = "".join(f"  h{number}: Symmetric(4)\n" for number in range(sets))
    tensors = "".join(f"  {number}.weight: h{number + 1} h{number}\n" for number in range(sets - 1))
    return f"neurons\n{neurons}tensors\n{tensors}"


def seconds_for(sets: int) -> float:
    text = large_text(sets)
    started = time.process_time()
    graph = sn.parse(text)
    assert graph.order > 1
    return time.process_time() - started


def test_a_declaration_is_read_in_linear_time() -> None:
    """Ten times the sets take ten times as long, and not a hundred times (the law before: 0.12 and 19.6 seconds)."""
    seconds_for(100)
    few, many = (min(seconds_for(sets) for _ in range(3)) for sets in (1_000, 10_000))
    assert many < 40 * max(few, 0.01)


@pytest.mark.slow
def test_a_hundred_thousand_sets_are_read_in_seconds() -> None:
    assert seconds_for(100_000) < 15  # under 5 where nothing else runs
