"""symnet derives permutation-equivariant layers for the weights of any network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from symnet.errors import (
    BackendError,
    FileError,
    GraphError,
    GroupError,
    MissingExtraError,
    NotationError,
    ShapeError,
    SymnetError,
    TooLargeError,
    TraceError,
    VerificationError,
)
from symnet.graph import GroupElement, NeuronGraph, NeuronSet, load, parse
from symnet.groups import (
    Cyclic,
    Dihedral,
    Fixed,
    GeneralLinear,
    Generated,
    Orthogonal,
    Scaled,
    SignedSymmetric,
    Symmetric,
)

__version__ = "0.1.0"

# Everything that needs torch or takes long to import is loaded when it is first asked for.
_LAZY = {
    "derive": "symnet.sharing",
    "features": "symnet.nn",
    "state_dicts": "symnet.nn",
    "trace": "symnet.tracing",
    "align": "symnet.matching",
    "canonicalize": "symnet.matching",
    "lineage": "symnet.matching",
    "merge": "symnet.matching",
    "normal_form": "symnet.matching",
}
_MODULES = (
    "catalogue",
    "data",
    "files",
    "learn",
    "matching",
    "nn",
    "plan",
    "sharing",
    "show",
    "surgery",
    "tasks",
    "testing",
    "tracing",
    "verify",
)
_EXTRAS = {
    "data": "data",
    "learn": "train",
    "show": "show",
    "tasks": "train",
    "testing": "test",
}  # what brings a module's packages

if TYPE_CHECKING:
    from symnet import (
        data,
        files,
        learn,
        matching,
        nn,
        plan,
        sharing,
        surgery,
        tasks,
        tracing,
        verify,
    )
    from symnet.graph import catalogue
    from symnet.matching import align, canonicalize, lineage, merge
    from symnet.matching.normal_forms import normal_form
    from symnet.nn import features, state_dicts
    from symnet.sharing import derive
    from symnet.tracing import trace


def __getattr__(name: str) -> Any:
    if name == "catalogue":
        return import_module("symnet.graph.catalogue")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _MODULES:
        return _import(name)
    raise AttributeError(f"module 'symnet' has no attribute {name!r}")


def _import(name: str) -> Any:
    try:
        return import_module(f"symnet.{name}")
    except ModuleNotFoundError as error:
        if name not in _EXTRAS or (error.name or "").startswith("symnet"):
            raise
        raise MissingExtraError(
            f"symnet.{name} needs '{error.name}', which is not installed. Run: pip install 'symnet[{_EXTRAS[name]}]'"
        ) from error


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, "__version__"})


__all__ = [
    "BackendError",
    "Cyclic",
    "Dihedral",
    "FileError",
    "Fixed",
    "GeneralLinear",
    "Generated",
    "GraphError",
    "GroupElement",
    "GroupError",
    "MissingExtraError",
    "NeuronGraph",
    "NeuronSet",
    "NotationError",
    "Orthogonal",
    "Scaled",
    "ShapeError",
    "SignedSymmetric",
    "Symmetric",
    "SymnetError",
    "TooLargeError",
    "TraceError",
    "VerificationError",
    "align",
    "canonicalize",
    "catalogue",
    "derive",
    "features",
    "lineage",
    "load",
    "merge",
    "nn",
    "normal_form",
    "parse",
    "state_dicts",
    "trace",
    "verify",
]
