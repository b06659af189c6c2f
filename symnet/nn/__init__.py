"""Equivariant torch layers over the weights of networks."""

from symnet.nn.coefficients import bias_coefficients, coefficients
from symnet.nn.features import features, state_dicts
from symnet.nn.linear import Linear
from symnet.nn.pointwise import Pointwise
from symnet.nn.reference import DenseLinear

__all__ = ["DenseLinear", "Linear", "Pointwise", "bias_coefficients", "coefficients", "features", "state_dicts"]
