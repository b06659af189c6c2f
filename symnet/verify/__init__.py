"""Verification: does a function commute with the group, does the group leave a network's function unchanged, is a
linear layer complete and minimal?"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from symnet.verify.certify import Certificate, certify
from symnet.verify.equivariance import equivariance
from symnet.verify.foreign import on_lists, on_vectors
from symnet.verify.network import network
from symnet.verify.report import Check, Report

if TYPE_CHECKING:
    from symnet.verify.maximality import maximality

__all__ = ["Certificate", "Check", "Report", "certify", "equivariance", "network", "on_lists", "on_vectors"]

_LAZY = {"maximality": "symnet.verify.maximality"}


def __getattr__(name: str) -> Any:
    if name in _LAZY and find_spec(_LAZY[name]) is not None:
        # The import binds the name to the module; the function of that name is what is meant.
        globals()[name] = getattr(import_module(_LAZY[name]), name)
        return globals()[name]
    raise AttributeError(f"module 'symnet.verify' has no attribute {name!r}")
