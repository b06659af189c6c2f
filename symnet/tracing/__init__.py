"""Reading the neuron-permutation graph off a module's forward pass."""

from symnet.tracing.checking import Check
from symnet.tracing.tracer import trace

__all__ = ["Check", "trace"]
