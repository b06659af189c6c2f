"""What the tests of the command line share: a command run, an architecture, a module of a user's."""

from __future__ import annotations

import pytest

from symnet.cli import main

TEXT = """\
# an MLP 2-4-1
neurons
  in: Fixed(2)
  h: Symmetric(4)
  out: Fixed(1)
tensors
  0.weight: h in
  0.bias: h
  2.weight: out h
  2.bias: out
"""

MODULES = """\
import torch
from torch import nn

def mlp():
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))

def mlp_with_inputs():
    return mlp(), torch.randn(5, 2)

def ordered():
    # Neuron k is scaled by k + 1: the hidden neurons can be told apart.
    class Ordered(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict({"0": nn.Linear(2, 4), "2": nn.Linear(4, 1)})
        def forward(self, x):
            return self.layers["2"](torch.tanh(self.layers["0"](x)) * torch.arange(1.0, 5.0, dtype=x.dtype))
        def state_dict(self, *args, **kwargs):
            return super().state_dict(*args, **kwargs)
    return Ordered()

def total():
    return lambda x: sum(t.flatten(1).sum(1) for t in x.values())

def first_neuron():
    return lambda x: x["0.bias"][:, 0]

def scaling():
    return lambda x: {name: 2 * value for name, value in x.items()}

number = 3

def raises():
    raise ValueError("a fault\\nof two lines")

def exits():
    raise SystemExit(0)

def needs_more(size):
    return size

def layer_that_raises():
    return lambda x: 1 / 0

def text():
    return "no module"
"""


def run(*arguments: str) -> int:
    """The exit code of one command."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)
