"""Verification: does a function commute with the group, and does the group leave a network's function unchanged?"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from symnet.verify.equivariance import equivariance
from symnet.verify.network import network
from symnet.verify.report import Check, Report

if TYPE_CHECKING:
    from symnet.verify.maximality import maximality

__all__ = ["Check", "Report", "equivariance", "network"]

_LAZY = {"maximality": "symnet.verify.maximality"}


def __getattr__(name: str) -> Any:
    if name in _LAZY and find_spec(_LAZY[name]) is not None:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'symnet.verify' has no attribute {name!r}")
