"""Verification: does a function commute with the group, does the group leave a network's
function unchanged, is there no larger one, is a linear layer complete and minimal?
"""

from symnet.verify.bilinear import BilinearCertificate, certify_bilinear
from symnet.verify.certify import Certificate, certify
from symnet.verify.continuous_part import ContinuousPart, continuous_part
from symnet.verify.equivariance import equivariance
from symnet.verify.foreign import on_lists, on_vectors
from symnet.verify.jacobian_bound import JacobianBound, jacobian_bound
from symnet.verify.lie_algebra import LieAlgebra, lie_algebra
from symnet.verify.lie_pieces import LiePiece, named_dimension, pieces_of
from symnet.verify.maximality import MaximalityReport, maximality
from symnet.verify.network import network
from symnet.verify.operations import operations
from symnet.verify.report import Difference, Report

Check = Difference  # its name before; tracing has a class of this one

__all__ = [
    "BilinearCertificate",
    "Certificate",
    "ContinuousPart",
    "Difference",
    "JacobianBound",
    "LieAlgebra",
    "LiePiece",
    "MaximalityReport",
    "Report",
    "certify",
    "certify_bilinear",
    "continuous_part",
    "equivariance",
    "jacobian_bound",
    "lie_algebra",
    "maximality",
    "named_dimension",
    "network",
    "on_lists",
    "on_vectors",
    "operations",
    "pieces_of",
]


def __dir__() -> list[str]:
    return __all__
