"""Which route writes a layer's outputs: plain torch, or the Triton kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch

from symnet.errors import BackendError

Backend = Literal["auto", "torch", "triton"]

# What "auto" takes for CUDA tensors. The kernels have run in Triton's interpreter and been compiled
# for a GPU, but no GPU has run or timed them: set this to "triton" once `python -m benchmarks.gpu`
# has shown on one that they are faster.
AUTO_ON_CUDA: Literal["torch", "triton"] = "torch"

_chosen: ContextVar[Backend] = ContextVar("backend", default="auto")


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Layers called inside run their output step by this route, and say so in their repr.

    Args:
        name: ``"torch"``; ``"triton"``: one kernel a group of equal tensors, which multiplies, adds
            what is broadcast and applies the ReLU; ``"auto"``: the default, at present ``"torch"``
            everywhere.

    A backward pass takes the route that its forward pass took. Steps that no kernel covers (small
    tables, tensors with more than three axes, whatever torch transforms or differentiates) are
    torch's on both routes.

    Raises:
        BackendError: an unknown name, or ``"triton"`` where the package is missing. A layer raises
            it for tensors on a CPU, unless Triton's interpreter is on.

    Example:
        >>> import symnet as sn
        >>> with sn.nn.backend("torch"):
        ...     sn.nn.Linear(sn.catalogue.mlp([2, 8, 1]), 1, 4).extra_repr()
        '1 -> 4 channels, 4 -> 4 tensors, 41 maps, full interactions, bias=True, backend: torch'
    """
    if name not in ("auto", "torch", "triton"):
        raise BackendError(
            f"backend({name!r}): there is no such route. Take 'auto', 'torch' or 'triton'."
        )
    if name == "triton" and not has_triton():
        raise BackendError(
            "backend('triton'): the package triton is not installed. On Linux: pip install "
            "'symnet[gpu]'; elsewhere take 'torch', which computes the same."
        )
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@cache
def has_triton() -> bool:
    """Whether the package is installed; it is not imported."""
    return find_spec("triton") is not None


def route(device: torch.device) -> Literal["torch", "triton"]:
    """The route that a layer on this device takes now."""
    name = _chosen.get()
    if name != "auto":
        return name
    return AUTO_ON_CUDA if device.type == "cuda" and has_triton() else "torch"


def interpreting() -> bool:
    """Whether Triton's interpreter is on: it runs kernels on the CPU, slowly."""
    import triton

    return bool(triton.knobs.runtime.interpret)


def check_device(device: torch.device) -> None:
    """Raise unless kernels run on tensors of this device."""
    if device.type != "cuda" and not interpreting():
        raise BackendError(
            f"backend('triton'): the tensors are on '{device}'; the kernels run on CUDA devices. "
            "Move the layer and its features there, take backend('torch'), or set "
            "TRITON_INTERPRET=1 before Python starts to run them in Triton's interpreter, for "
            "tests."
        )
