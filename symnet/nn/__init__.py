"""Equivariant torch layers over the weights of networks."""

from symnet.nn.attention import Attention
from symnet.nn.baselines import FlatNetwork, PointwiseNetwork, Statistics, StatisticsNetwork
from symnet.nn.builders import EquivariantNetwork, InvariantNetwork
from symnet.nn.bundle import load, save
from symnet.nn.coefficients import bias_coefficients, coefficients
from symnet.nn.encodings import PositionalEncoding
from symnet.nn.features import features, state_dicts
from symnet.nn.fourier import ValueEncoding
from symnet.nn.gate import Gate
from symnet.nn.kernels.backend import backend
from symnet.nn.linear import Linear
from symnet.nn.low_rank import LowRankLinear
from symnet.nn.path_product import PathProduct
from symnet.nn.pointwise import Pointwise
from symnet.nn.pool import Pool
from symnet.nn.probes import Probes, random_inputs
from symnet.nn.product import Product
from symnet.nn.reference import DenseLinear, DenseProduct
from symnet.nn.regularization import Dropout, LayerNorm
from symnet.nn.residual import Residual
from symnet.nn.sequence import Network

__all__ = [
    "Attention",
    "DenseLinear",
    "DenseProduct",
    "Dropout",
    "EquivariantNetwork",
    "FlatNetwork",
    "Gate",
    "InvariantNetwork",
    "LayerNorm",
    "Linear",
    "LowRankLinear",
    "Network",
    "PathProduct",
    "Pointwise",
    "PointwiseNetwork",
    "Pool",
    "PositionalEncoding",
    "Probes",
    "Product",
    "Residual",
    "Statistics",
    "StatisticsNetwork",
    "ValueEncoding",
    "backend",
    "bias_coefficients",
    "coefficients",
    "features",
    "load",
    "random_inputs",
    "save",
    "state_dicts",
]


def __dir__() -> list[str]:
    return __all__
