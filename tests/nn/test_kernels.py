"""The Triton kernels, in Triton's interpreter on the CPU, against the same sums written out in torch."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import symnet as sn
from symnet.nn.kernels import plan_kernels
from symnet.nn.kernels.backend import has_triton, route
from symnet.nn.kernels.launch import fused_backward, fused_block, fused_blocks
from symnet.nn.kernels.operands import MOST_GROUPED, KernelBlock, in_groups
from symnet.nn.linear import run_linear
from tests.cases import GRAPHS
from tests.nn.test_linear import layer_and_features
from tests.tolerances import assert_close

needs_triton = pytest.mark.skipif(
    not has_triton(), reason="the package triton is not installed (Linux only)"
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
# No axis, one, two (larger than a tile along i, j or both, and of size 1), three.
AXES = [(), (5,), (1, 1), (3, 4), (37, 19), (2, 3, 5)]


def broadcasts(axes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All shapes of terms that broadcast to the axes, the full one included."""
    for kept in itertools.product((False, True), repeat=len(axes)):
        yield tuple(size if keep else 1 for size, keep in zip(axes, kept, strict=True))


def random_block(
    axes: tuple[int, ...], channels: tuple[int, int], dtype: torch.dtype, batch: int = 2
) -> KernelBlock:
    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64).to(dtype).to(DEVICE)

    values = tuple(draw(batch, *shape, channels[1]) for shape in broadcasts(axes))
    return KernelBlock(draw(batch, *axes, channels[0]), draw(*channels), values)


def written_out(block: KernelBlock) -> Tensor:
    """The block's sum in float64."""
    return block.rows.double() @ block.matrix.double() + sum(
        value.double() for value in block.values
    )


def check(actual: Tensor | None, expected: Tensor, dtype: torch.dtype) -> None:
    assert actual is not None
    assert_close({"": actual}, {"": expected}, dtype)


def check_sums(rows: Tensor | None, columns: Tensor | None, of: Tensor) -> None:
    """Sums are of what was written, kept in float32 or better: no rounding to a lower dtype in between."""
    precise = torch.float64 if of.dtype == torch.float64 else torch.float32
    for sums, axis in ((rows, -2), (columns, -3)):
        assert sums is not None
        assert sums.dtype == precise
        check(sums, of.double().sum(axis), precise)


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_the_forward_kernel_is_product_plus_broadcast_terms(axes, dtype, activation) -> None:
    """Sizes that no tile divides, all ways to broadcast, and its sums over either axis."""
    torch.manual_seed(0)
    block = random_block(axes, (18, 5), dtype)
    result = fused_block(
        block.rows, block.matrix, block.values, activation=activation, sums=len(axes) > 1
    )
    expected = written_out(block)
    check(result.output, expected.relu() if activation == "relu" else expected, dtype)
    assert result.output.is_contiguous()
    if len(axes) > 1:
        check_sums(result.row_sums, result.column_sums, result.output)


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("axes", "sums"),
    [
        (axes, sums)
        for axes in AXES
        for sums in ("none", "result", "gradient")
        if sums == "none" or len(axes) > 1
    ],
    ids=str,
)
def test_the_backward_kernel_is_both_products_and_the_sums(axes, dtype, sums) -> None:
    """Derivatives by the rows, zero where a ReLU was, by the matrix, and statistics of what the next layer asks for."""
    torch.manual_seed(0)
    block = random_block(axes, (5, 18), dtype)
    x = torch.randn(block.shape, device=DEVICE).to(dtype)
    (result,) = fused_backward([block], [x], masked=True, sums=sums)
    check(result.rows, written_out(block) * (x > 0), dtype)
    check(result.matrix, x.reshape(-1, 18).double().t() @ block.rows.reshape(-1, 5).double(), dtype)
    if sums != "none":
        check_sums(
            result.row_sums, result.column_sums, result.rows if sums == "result" else block.rows
        )


@needs_triton
@pytest.mark.parametrize("channels", [(0, 2), (1, 1), (16, 16), (64, 33), (70, 130)])
def test_channels_of_any_number(channels) -> None:
    """None (the terms are left), fewer than a tile, exactly one, and several in both directions."""
    torch.manual_seed(1)
    block = random_block((4, 3), channels, torch.float64)
    check(
        fused_block(block.rows, block.matrix, block.values).output,
        written_out(block),
        torch.float64,
    )
    if max(channels) <= 64:
        x = torch.randn(block.shape, dtype=torch.float64, device=DEVICE)
        (gradient,) = fused_backward([block], [x])
        check(gradient.rows, written_out(block), torch.float64)
        check(gradient.matrix, x.flatten(0, -2).t() @ block.rows.flatten(0, -2), torch.float64)


@needs_triton
def test_equal_blocks_share_a_launch_and_others_do_not() -> None:
    """Eleven equal blocks and one of another shape: two launches and one; each block gets its own result."""
    torch.manual_seed(2)
    blocks = [random_block((3, 4), (2, 3), torch.float64) for _ in range(MOST_GROUPED + 3)]
    blocks.insert(4, random_block((4, 3), (2, 3), torch.float64))
    groups = in_groups(blocks, KernelBlock.key)
    assert [len(group) for group in groups] == [MOST_GROUPED, 3, 1]
    for block, result in zip(blocks, fused_blocks(blocks, sums=True), strict=True):
        check(result.output, written_out(block), torch.float64)
        check_sums(result.row_sums, result.column_sums, result.output)
    inputs = [torch.randn(block.shape, dtype=torch.float64, device=DEVICE) for block in blocks]
    for block, x, result in zip(blocks, inputs, fused_backward(blocks, inputs), strict=True):
        check(result.rows, written_out(block), torch.float64)
        check(result.matrix, x.flatten(0, -2).t() @ block.rows.flatten(0, -2), torch.float64)


@needs_triton
def test_blocks_whose_matrices_lie_differently_are_not_grouped() -> None:
    torch.manual_seed(5)
    one = random_block((3, 4), (5, 5), torch.float64)
    other = KernelBlock(one.rows, one.matrix.t(), one.values)
    for block, result in zip((one, other), fused_blocks([one, other]), strict=True):
        check(result.output, written_out(block), torch.float64)


@needs_triton
@pytest.mark.parametrize("programs", [1, 3, 10_000])
def test_the_number_of_programs_changes_nothing(monkeypatch, programs) -> None:
    """Few programs walk over several strips each; many share a strip's j."""
    monkeypatch.setattr("symnet.nn.kernels.launch.PROGRAMS", programs)
    torch.manual_seed(6)
    block = random_block((34, 9), (4, 3), torch.float64)
    result = fused_block(block.rows, block.matrix, block.values, sums=True)
    check(result.output, written_out(block), torch.float64)
    check_sums(result.row_sums, result.column_sums, result.output)
    x = torch.randn(block.shape, dtype=torch.float64, device=DEVICE)
    (gradient,) = fused_backward([block], [x], sums="result")
    check(gradient.rows, written_out(block), torch.float64)
    check(gradient.matrix, x.flatten(0, -2).t() @ block.rows.flatten(0, -2), torch.float64)
    check_sums(gradient.row_sums, gradient.column_sums, gradient.rows)


@needs_triton
def test_operands_are_read_where_they_lie() -> None:
    """Transposed rows, a transposed matrix, and terms that are parts of a wider table: by strides, nothing copied."""
    torch.manual_seed(3)
    table = torch.randn(2, 4, 11, dtype=torch.float64, device=DEVICE)
    rows = torch.randn(2, 3, 4, 5, dtype=torch.float64, device=DEVICE).transpose(1, 2)
    matrix = torch.randn(6, 5, dtype=torch.float64, device=DEVICE).t()
    block = KernelBlock(rows, matrix, (table[:, :, None, 2:8],))
    check(fused_block(rows, matrix, block.values).output, written_out(block), torch.float64)


@needs_triton
def test_the_same_inputs_give_the_same_bits() -> None:
    """No atomics: sums are added in one order, whatever runs first."""
    torch.manual_seed(4)
    block = random_block((33, 20), (6, 7), torch.float32)
    x = torch.randn(block.shape, device=DEVICE)
    for call in (
        lambda: fused_blocks([block], sums=True)[0],
        lambda: fused_backward([block], [x], sums="result")[0],
    ):
        for one, other in zip(call(), call(), strict=True):
            assert torch.equal(one, other)


@needs_triton
def test_not_a_number_passes_the_relu() -> None:
    rows = torch.full((1, 2, 2, 1), float("nan"), device=DEVICE)
    assert (
        fused_block(rows, torch.ones(1, 1, device=DEVICE), activation="relu").output.isnan().all()
    )


@needs_triton
@pytest.mark.parametrize("axes", [(3, 4), (0, 4), (3, 0)], ids=str)
def test_nothing_in_gives_nothing_out(axes) -> None:
    """A batch of no networks, and axes of no neurons: sums over nothing are zero, and so is the derivative."""
    block = random_block(axes, (2, 3), torch.float64, batch=0 if axes == (3, 4) else 2)
    torch.utils.deterministic.fill_uninitialized_memory = True  # fresh memory holds NaN below
    torch.use_deterministic_algorithms(True)
    try:
        result = fused_block(block.rows, block.matrix, block.values, sums=True)
        (gradient,) = fused_backward([block], [block.rows.new_empty(block.shape)], sums="result")
    finally:
        torch.use_deterministic_algorithms(False)
    assert result.output.shape == block.shape
    check_sums(result.row_sums, result.column_sums, result.output)
    check_sums(gradient.row_sums, gradient.column_sums, gradient.rows)
    assert torch.equal(gradient.matrix, torch.zeros(3, 2, dtype=torch.float64, device=DEVICE))


@needs_triton
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: fused_block(torch.ones(1, 2, 3), torch.ones(4, 5)),
            r"\(4, 5\).*\(1, 2, 3\).*\(3, out\)",
        ),
        (
            lambda: fused_block(torch.ones(1, 2, 3), torch.ones(3, 5), [torch.ones(1, 4, 5)]),
            r"\(1, 4, 5\)",
        ),
        (lambda: fused_block(torch.ones(1, 2, 3), torch.ones(3, 5).double()), "float64.*float32"),
        (lambda: fused_block(torch.ones(1, 2, 3), torch.ones(3, 5), sums=True), "two axes"),
        (lambda: fused_block(torch.ones(1, 2, 3), torch.ones(3, 5), activation="tanh"), "tanh"),
        (lambda: fused_block(torch.ones(1, 1, 1, 1, 1, 3), torch.ones(3, 5)), "up to 3 axes"),
        (lambda: fused_block(torch.ones(1, 2, 3, dtype=torch.int64), torch.ones(3, 5)), "int64"),
        (
            lambda: fused_backward(
                [KernelBlock(torch.ones(1, 2, 3), torch.ones(3, 5))], [torch.ones(1, 2, 4)]
            ),
            "1, 2, 4",
        ),
        (
            lambda: fused_backward(
                [KernelBlock(torch.ones(1, 2, 3), torch.ones(3, 129))], [torch.ones(1, 2, 129)]
            ),
            "129",
        ),
    ],
)
def test_operands_that_do_not_fit_are_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(sn.ShapeError, match=words):
        call()


# ---- the layer ------------------------------------------------------------------------------------------------------
def values_and_gradients(layer: sn.nn.Linear, x: dict, relu: bool) -> dict[str, Tensor]:
    """Outputs, first and second derivatives by features and parameters."""
    y = run_linear(layer, x, relu=relu)
    arguments = [*x.values(), *layer.parameters()]
    total = sum((value**3).sum() for value in y.values())
    found = {f"output {name}": value for name, value in y.items()}
    first = torch.autograd.grad(total, arguments, retain_graph=True, allow_unused=True)
    again = torch.autograd.grad(total, arguments, create_graph=True, allow_unused=True)
    squares = sum((gradient**2).sum() for gradient in again if gradient is not None)
    second = torch.autograd.grad(squares, arguments, allow_unused=True)
    for order, gradients in (("first", first), ("second", second)):
        found |= {
            f"{order} {n}": gradient for n, gradient in enumerate(gradients) if gradient is not None
        }
    return found


@needs_triton
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_both_routes_agree_in_values_and_derivatives(name, relu) -> None:
    layer, x = layer_and_features(GRAPHS[name])
    layer, x = layer.to(DEVICE), {n: v.detach().to(DEVICE).requires_grad_() for n, v in x.items()}
    with sn.nn.backend("torch"):
        expected = values_and_gradients(layer, x, relu)
    with sn.nn.backend("triton"):
        assert_close(values_and_gradients(layer, x, relu), expected)


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["mlp permuted", "cnn", "attention"])
def test_lower_precision_is_close_to_float64(name, dtype) -> None:
    """Outputs and first derivatives of the kernels, against float64 by torch."""
    layer, x = layer_and_features(GRAPHS[name])
    low = sn.nn.Linear(GRAPHS[name], 2, 3, dtype=dtype, device=DEVICE)
    low.load_state_dict(layer.state_dict())
    small = {n: v.detach().to(DEVICE, dtype).requires_grad_() for n, v in x.items()}
    with sn.nn.backend("triton"):
        y = low(small)
        by_input = torch.autograd.grad(sum(v.sum() for v in y.values()), list(small.values()))
    expected = layer(x)
    gradients = torch.autograd.grad(sum(v.sum() for v in expected.values()), list(x.values()))
    assert_close({n: v.cpu() for n, v in y.items()}, expected, dtype)
    assert_close(
        {n: g.cpu() for n, g in zip(x, by_input, strict=True)},
        dict(zip(x, gradients, strict=True)),
        dtype,
    )


@needs_triton
def test_the_kernels_do_run_and_the_backward_takes_the_route_of_the_forward(monkeypatch) -> None:
    """Three equal weights are one launch forward and one backward, which is called outside of the context."""
    from symnet.nn.kernels import plan_kernels

    launched = []
    monkeypatch.setattr(
        plan_kernels, "fused_blocks", lambda b, **k: launched.append(len(b)) or fused_blocks(b, **k)
    )
    monkeypatch.setattr(
        plan_kernels,
        "fused_backward",
        lambda b, r: launched.append(-len(b)) or fused_backward(b, r),
    )
    layer, x = layer_and_features(GRAPHS["mlp permuted"])
    layer, x = layer.to(DEVICE), {n: v.detach().to(DEVICE).requires_grad_() for n, v in x.items()}
    with sn.nn.backend("triton"):
        y = layer(x)
    sum(v.sum() for v in y.values()).backward()
    assert [n for n in launched if n] == [3, -3]
    launched.clear()
    layer(x)
    assert launched == []


def test_a_second_step_copies_nothing_from_the_host(monkeypatch) -> None:
    """What CUDA graphs need: numbers of the plan are on the device after the first step."""
    layer, x = layer_and_features(GRAPHS["mlp fixed"])
    expected = torch.autograd.grad(sum((v**2).sum() for v in layer(x).values()), list(x.values()))
    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, None)
    again = torch.autograd.grad(sum((v**2).sum() for v in layer(x).values()), list(x.values()))
    monkeypatch.undo()
    assert all(torch.equal(one, other) for one, other in zip(expected, again, strict=True))


@needs_triton
def test_the_repr_and_the_description_name_the_route() -> None:
    layer, _ = layer_and_features(GRAPHS["mlp permuted"])
    assert "backend: torch" in repr(layer)
    with sn.nn.backend("triton"):
        assert "backend: triton" in repr(layer)
        assert layer.describe().endswith("backend: triton")
    assert route(torch.device("cpu")) == "torch"


def test_an_unknown_route_and_a_missing_package_are_refused(monkeypatch) -> None:
    with (
        pytest.raises(sn.BackendError, match=r"'numpy'.*'auto', 'torch' or 'triton'"),
        sn.nn.backend("numpy"),
    ):
        pass
    monkeypatch.setattr("symnet.nn.kernels.backend.has_triton", lambda: False)
    with pytest.raises(sn.BackendError, match=r"symnet\[gpu\]"), sn.nn.backend("triton"):
        pass


# ---- what other processes see ---------------------------------------------------------------------------------------
def run_python(code: str, **environment: str) -> str:
    root = Path(__file__).parents[2]
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CALL = """
import sys, torch, symnet as sn
{hide}
graph = sn.catalogue.mlp([2, 3, 4, 1])
layer = sn.nn.Linear(graph, 1, 2)
x = {{name: torch.randn(2, *shape, 1) for name, shape in graph.shapes.items()}}
sum(v.sum() for v in layer(x).values()).backward()
"""


@pytest.mark.parametrize("installed", [True, False])
def test_a_layer_on_the_cpu_never_imports_triton(installed) -> None:
    """With the package there, and without it: same route, no import."""
    hide = (
        ""
        if installed
        else "sys.modules['triton'] = None; import importlib.util as u; find = u.find_spec\n"
    )
    hide += (
        ""
        if installed
        else "u.find_spec = lambda name, *more: None if name == 'triton' else find(name, *more)"
    )
    seen = run_python(CALL.format(hide=hide) + "print(bool(sys.modules.get('triton')), layer)")
    assert seen.startswith("False")
    assert "backend: torch" in seen


@needs_triton
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_tensors_on_the_cpu_are_refused_unless_the_interpreter_is_on() -> None:
    code = """
try:
    with sn.nn.backend("triton"):
        layer(x)
except sn.BackendError as error:
    print(error)
"""
    seen = run_python(CALL.format(hide="") + code)
    assert "'cpu'" in seen
    assert "TRITON_INTERPRET=1" in seen


WIDEST = """
import json, torch
from benchmarks.gpu_compile import compiled
print(json.dumps([compiled("forward", torch.bfloat16, 128), compiled("backward", torch.float32, 128)]))
"""


@needs_triton
@pytest.mark.parametrize(
    ("code", "least"),
    [
        pytest.param(WIDEST, 2, id="widest"),
        pytest.param(
            "from benchmarks.gpu_compile import main; main()", 8, id="all", marks=pytest.mark.slow
        ),
    ],
)
def test_the_programs_compile_for_a_gpu_and_fit_it(tmp_path, code: str, least: int) -> None:
    """Compiled for compute capability 9.0 (no GPU is needed for that): shared memory within its 227 KiB."""
    programs = json.loads(run_python(code, TRITON_CACHE_DIR=str(tmp_path / "cache")))
    assert len(programs) >= least
    for entry in programs:
        assert 0 < entry["shared_bytes"] <= 227 * 1024, entry
        assert entry["atomics"] == 0, entry


def test_the_gpu_benchmark_says_what_it_needs() -> None:
    if torch.cuda.is_available():
        pytest.skip("says what happens without CUDA")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "CUDA" in done.stderr
    assert "Traceback" not in done.stderr


@needs_triton
@pytest.mark.parametrize("name", ["mlp permuted", "cnn", "attention"])
def test_sums_that_the_kernels_emit_are_what_the_next_layer_starts_from(monkeypatch, name) -> None:
    """In a network; values and derivatives are those of the other route, and means over one axis are not taken again."""
    graph = GRAPHS[name]
    torch.manual_seed(0)
    modules = [
        sn.nn.Linear(graph, 1, 4),
        sn.nn.Pointwise(torch.nn.ReLU()),
        sn.nn.Linear(graph, 4, 2),
    ]
    net = sn.nn.Network(*modules).double().to(DEVICE)
    shapes = graph.shapes.items()
    x = {
        n: torch.randn(2, *s, 1, dtype=torch.float64, device=DEVICE, requires_grad=True)
        for n, s in shapes
    }
    results = []
    emitted: list[int] = []
    original = plan_kernels._mean_of
    monkeypatch.setattr(
        plan_kernels,
        "_mean_of",
        lambda result, axis: emitted.append(axis) or original(result, axis),
    )
    for route_ in ("torch", "triton"):
        with sn.nn.backend(route_):
            y = net(x)
            gradients = torch.autograd.grad(
                sum(t.sin().sum() for t in y.values()), [*x.values(), *net.parameters()]
            )
        results.append({**y, **{f"gradient {k}": g for k, g in enumerate(gradients)}})
        assert bool(emitted) == (route_ == "triton")
    assert_close(*results)
