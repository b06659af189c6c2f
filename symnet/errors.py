"""The errors a user can cause. Each says what was given, what was expected and what to do next."""

from __future__ import annotations


class SymnetError(ValueError):
    """Base class of every error that symnet raises for what a user gave it."""


class GroupError(SymnetError):
    """A permutation group, or an element of one, that does not exist as described."""


class NotationError(SymnetError):
    """Axis notation or a graph's text form that cannot be read; names the line and column."""


class GraphError(SymnetError):
    """A neuron-permutation graph whose neuron sets and tensors do not fit together."""


class ShapeError(SymnetError):
    """Tensors whose names or shapes do not fit the graph."""


class TooLargeError(SymnetError):
    """A request whose answer would not fit; says the size it would take."""


class TraceError(SymnetError):
    """A module whose symmetries could not be read off its forward pass soundly."""


class VerificationError(SymnetError):
    """A check that did not hold, raised by ``report.raise_if_failed()``."""


class MissingExtraError(SymnetError, ModuleNotFoundError):
    """A part of symnet whose packages are not installed; names the extra that brings them."""


class BackendError(SymnetError):
    """A route of computation that this machine or these tensors do not have."""
