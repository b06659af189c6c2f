"""The environment in which symnet runs a network, one for tracing and for
every check: exact, repeatable, per thread.

* float64 throughout: what the code makes or casts to lower precision is float64, so that rounding
  hides no error;
* random numbers from a generator of the run's own, the same in every run;
* a reference for what has no float64 kernel; for recording, attention and recurrent layers as what
  they are made of.

All of it holds in the thread that entered it alone. Torch's own settings (default dtype, random
state, kernels) belong to the whole process, and other threads compute meanwhile, so none of them is
touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode
from torch.utils._pytree import tree_map

_aten = torch.ops.aten
# Precisions that are raised, and to what.
_RAISED = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex64: torch.complex128,
    torch.complex32: torch.complex128,
}
_DOUBLE = {torch.float64, torch.complex128}
_FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor}


class Execution:
    """What a run in this environment did: ``draws``, whether the network drew random numbers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.draws = False
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device) -> torch.Generator | None:
        """The run's random numbers on a device; none where tensors have no entries."""
        self.draws = True
        if device.type == "meta":
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]


@contextlib.contextmanager
def plain_kernels(seed: int = 0) -> Iterator[Execution]:
    """Inside, attention and recurrent layers run as the operations they are
    made of, with random numbers from ``seed``.

    For recording: what fused operations are made of has no derivative of its own.
    """
    execution = Execution(seed)
    with _Functions(double=False), _Operations(execution, double=False):
        yield execution


@contextlib.contextmanager
def double_precision(seed: int = 0, execution: Execution | None = None) -> Iterator[Execution]:
    """Inside, all is computed in float64, by kernels or references that have it.

    Random numbers come from ``seed``, or go on from those of an execution that was left.
    """
    execution = Execution(seed) if execution is None else execution
    with _Functions(double=True), _Operations(execution, double=True):
        yield execution


@contextlib.contextmanager
def random_numbers(seed: int = 0) -> Iterator[None]:
    """Inside, this thread draws from a generator of its own; torch's
    random state is neither read nor changed.

    ``torch.random.fork_rng`` puts the process's state back, and with it what other threads drew
    meanwhile.
    """
    with _Operations(Execution(seed), double=False):
        yield


class ThreadMode(TorchDispatchMode):
    """A dispatch mode of one thread alone.

    Torch's own also sets flags for the whole process, which threads that enter and leave in turn do
    not restore, and wraps what it calls for every operation, which loads torch's compiler and takes
    a third of the time.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __enter__(self) -> ThreadMode:
        _push_mode(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _pop_mode()


class _Functions(TorchFunctionMode):
    """Numbers become float64 tensors at once: a third would be rounded before
    operations are seen. Recurrent layers too.

    While a function mode is on, torch also leaves the fused ways of its transformer layers alone.
    """

    def __init__(self, double: bool) -> None:
        super().__init__()
        self.double = double

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # in float64 there is no fused kernel, nor a warning of it
        if function is torch.lstm and not self.double:
            dtype = next(x.dtype for x in args if isinstance(x, Tensor))
            y = function(
                *tree_map(
                    lambda x: x.double() if isinstance(x, Tensor) and x.dtype in _RAISED else x,
                    args,
                )
            )
            return tuple(x.to(dtype) for x in y)
        result = function(*args, **kwargs)
        if (
            self.double
            and function in _FROM_NUMBERS
            and kwargs.get("dtype") is None
            and result.dtype in _RAISED
        ):
            return function(*args, **kwargs, dtype=_RAISED[result.dtype])
        return result


class _Operations(ThreadMode):
    """Decomposes what is fused, hands out random numbers, and raises the precision."""

    def __init__(self, execution: Execution, double: bool) -> None:
        super().__init__()
        self.execution, self.double = execution, double

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in FUSED and not self.double:  # in float64 they are exact as they are
            with self, _Decomposed():
                return FUSED[function](*args, **kwargs)
        if torch.Tag.nondeterministic_seeded in function.tags:
            function = self.seeded(function, args, kwargs)
        return _in_double(function, args, kwargs) if self.double else function(*args, **kwargs)

    def seeded(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The overload of a random operation that takes a generator,
        which is put among the keywords.
        """
        if function is _aten.native_dropout.default:
            return lambda x, p, train: _dropout(x, p, train, self.execution)
        overload = _with_generator(function)
        if overload is None:  # draws in training only
            return function
        if kwargs.get("generator") is None:
            device = kwargs.get("device") or next(
                (x.device for x in args if isinstance(x, Tensor)), None
            )
            kwargs["generator"] = self.execution.generator(torch.device(device or "cpu"))
            if kwargs["generator"] is None:
                del kwargs["generator"]
                return function
        return overload


def _in_double(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The result of an operation in float64."""
    if kwargs and kwargs.get("dtype") in _RAISED:
        kwargs["dtype"] = _RAISED[kwargs["dtype"]]
    low, high = _precisions(args, False, False)
    if kwargs:
        low, high = _precisions(kwargs.values(), low, high)
    if low and high:
        args, kwargs = _of_one_precision(function, args, kwargs)
    result = REFERENCES.get(function, function)(*args, **kwargs)
    if not low and not high and isinstance(result, Tensor) and result.dtype in _RAISED:
        return _from_whole_numbers(function, args, kwargs, result)
    return result


def _precisions(items: Any, low: bool, high: bool) -> tuple[bool, bool]:
    """Whether there are tensors of a precision that is raised, and of float64; for every
    operation, so without generators.
    """
    for x in items:
        if isinstance(x, Tensor):
            dtype = x.dtype
            if dtype in _DOUBLE:
                high = True
            elif dtype in _RAISED:
                low = True
        elif type(x) in (list, tuple):
            low, high = _precisions(x, low, high)
    return low, high


def _of_one_precision(
    function: Any, args: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The arguments of an operation that is given several precisions:
    float64, or that of what is written into.
    """
    written = {
        argument.name: number
        for number, argument in enumerate(function._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    }
    targets = [args[k] if k < len(args) else kwargs.get(name) for name, k in written.items()]
    lower = next((x.dtype for x in targets if isinstance(x, Tensor) and x.dtype in _RAISED), None)

    def change(x: Any) -> Any:
        if type(x) in (list, tuple):
            return type(x)(map(change, x))
        if not isinstance(x, Tensor):
            return x
        if lower is not None:
            return x.to(lower) if x.dtype in _DOUBLE else x
        return x.to(_RAISED[x.dtype]) if x.dtype in _RAISED else x

    return tuple(map(change, args)), {
        name: x if name in written else change(x) for name, x in kwargs.items()
    }


def _from_whole_numbers(function: Any, args: Any, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """The float64 result of an operation without floating-point arguments: a
    factory, or a quotient of whole numbers.
    """
    dtype = _RAISED[result.dtype]
    if (
        any(argument.name == "dtype" for argument in function._schema.arguments)
        and kwargs.get("dtype") is None
    ):
        with contextlib.suppress(RuntimeError, TypeError):
            return function(*args, **kwargs | {"dtype": dtype})
    with contextlib.suppress(RuntimeError, TypeError):
        raised = [x.to(dtype) if isinstance(x, Tensor) else x for x in args]
        again = function(*raised, **kwargs)
        if again.dtype == dtype:
            return again
    return result.to(dtype)


class _Decomposed(ThreadMode):
    """Composite operations as their parts. Below autograd, where dispatch modes are, they are
    not taken apart by themselves.
    """

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function.namespace == "prim":  # where a tensor without entries seems to be
            return function(*args, **kwargs)
        with self:
            result = function.decompose(*args, **kwargs)
        return function(*args, **kwargs) if result is NotImplemented else result


@cache
def _with_generator(function: Any) -> Any | None:
    """The overload of an operation that takes a generator and otherwise the same arguments."""
    names = [argument.name for argument in function._schema.arguments]
    if "generator" in names:
        return function
    for overload in function.overloadpacket.overloads():
        other = getattr(function.overloadpacket, overload)
        others = [argument.name for argument in other._schema.arguments]
        if "generator" in others and [name for name in others if name != "generator"] == names:
            return other
    return None


# ---- what fused operations are made of -----------------------------------------------------------
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention and the logarithms of its sums,
    from matrix products and a softmax.
    """
    shared = query.shape[-3] != key.shape[-3]  # grouped queries
    output, weights = _aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=shared
    )
    return output, weights.new_zeros(weights.shape[:-1])  # only backward passes read the sums


def _recurrent_layer(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One direction of one layer of a scripted LSTM, from its gates: in
    float64, which has no fused kernel.
    """
    weights, (h, c, reverse, _, _, _, _, has_biases) = arguments[:4], arguments[4:12]
    raised = [w.double() for w in (weights if has_biases else weights[:2])]
    start = [s.double().reshape(1, *s.shape[-2:]) for s in (h, c)]
    steps = x.double().flip(0) if reverse else x.double()
    y, h_n, c_n = torch.lstm(steps, start, raised, has_biases, 1, 0.0, False, False, False)
    y = y.flip(0) if reverse else y
    return (
        y.to(x.dtype),
        h_n[0].to(x.dtype).reshape(h.shape),
        c_n[0].to(x.dtype).reshape(c.shape),
        x.new_zeros(0),
    )


def _dropout(
    x: Tensor, p: float, train: bool | None, execution: Execution
) -> tuple[Tensor, Tensor]:
    if train is False or p == 0:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    kept = torch.empty_like(x).bernoulli_(1 - p, generator=execution.generator(x.device))
    return x * kept / max(1 - p, 1e-300), kept.bool()


FUSED: dict[Any, Callable[..., Any]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,
    _aten.mkldnn_rnn_layer.default: _recurrent_layer,
}


# ---- references for what has no float64 kernel ---------------------------------------------------
def grouped_matmul(
    a: Tensor,
    b: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: Any = None,
) -> Tensor:
    """Products of groups of rows (or of columns, or of what is summed over)
    with a matrix each, one group after another.

    Args:
        a, b: ``(m, k)`` and ``(groups, k, n)``; ``(groups, m, k)`` and ``(k, n)``; ``(m, k)`` and
            ``(k, n)``, grouped along k; or both with groups.
        offs: where each group ends. Rows (or columns) that belong to none are zero.
    """
    if offs is None or (a.dim() == 3 and b.dim() == 3):
        return torch.bmm(a, b)
    ends = offs.tolist()
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    if a.dim() == 2 and b.dim() == 2:
        return torch.stack([a[:, start:end] @ b[start:end] for start, end in spans])
    if a.dim() == 2:
        parts = [a[start:end] @ b[group] for group, (start, end) in enumerate(spans)]
        return torch.cat([*parts, a.new_zeros(a.shape[0] - ends[-1], b.shape[-1])])
    parts = [a[group] @ b[:, start:end] for group, (start, end) in enumerate(spans)]
    return torch.cat([*parts, a.new_zeros(a.shape[1], b.shape[1] - ends[-1])], 1)


# Older versions of torch do not have it.
REFERENCES: dict[Any, Callable[..., Any]] = (
    {_aten._grouped_mm.default: grouped_matmul} if hasattr(_aten, "_grouped_mm") else {}
)
