"""Verification: does a function commute with the group, does the group leave a network's function unchanged, is there no
larger one, is a linear layer complete and minimal?"""

from symnet.verify.bilinear import BilinearCertificate, certify_bilinear
from symnet.verify.certify import Certificate, certify
from symnet.verify.equivariance import equivariance
from symnet.verify.foreign import on_lists, on_vectors
from symnet.verify.maximality import MaximalityReport, maximality
from symnet.verify.network import network
from symnet.verify.report import Check, Report

__all__ = [
    "BilinearCertificate",
    "Certificate",
    "Check",
    "MaximalityReport",
    "Report",
    "certify",
    "certify_bilinear",
    "equivariance",
    "maximality",
    "network",
    "on_lists",
    "on_vectors",
]
