"""Reading the neuron-permutation graph off a module's forward pass."""

from symnet.tracing.check_options import Check
from symnet.tracing.reading_state import Reading, rule
from symnet.tracing.recording import Operation
from symnet.tracing.tracer import trace

__all__ = ["Check", "Operation", "Reading", "rule", "trace"]


def __dir__() -> list[str]:
    return __all__
