"""Equivariant torch layers over the weights of networks."""

from symnet.nn.coefficients import bias_coefficients, coefficients
from symnet.nn.encodings import PositionalEncoding
from symnet.nn.features import features, state_dicts
from symnet.nn.kernels.backend import backend
from symnet.nn.linear import Linear
from symnet.nn.low_rank import LowRankLinear
from symnet.nn.network import Network
from symnet.nn.pointwise import Pointwise
from symnet.nn.pool import Pool
from symnet.nn.reference import DenseLinear
from symnet.nn.regularization import Dropout, LayerNorm

__all__ = [
    "DenseLinear",
    "Dropout",
    "LayerNorm",
    "Linear",
    "LowRankLinear",
    "Network",
    "Pointwise",
    "Pool",
    "PositionalEncoding",
    "backend",
    "bias_coefficients",
    "coefficients",
    "features",
    "state_dicts",
]
