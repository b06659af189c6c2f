"""nn.PathProduct: the signed product of the weights along a network, kept at its Fixed ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import vjp, vmap

from symnet.errors import GraphError, ShapeError, TooLargeError, TraceError, VerificationError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.action import apply_views
from symnet.graph.neuron_graph import require_graph
from symnet.graph.notation import print_axes, symbols_in
from symnet.groups import Group, is_trivial
from symnet.nn.arguments import check_count
from symnet.nn.features import Features, check_features
from symnet.nn.linearization import linearize
from symnet.nn.linearization_rules import LinearProgram
from symnet.plan.path_plan import MOST, Link, PathPlan, plan_path

ENTRY_LIMIT = 2**22  # entries of a network's product of one channel
# of the check that a traced program's product is left alone by the group, in float64
_TOLERANCE = 1e-8


class PathProduct(nn.Module):
    """All tensors multiplied along the network, contracted over its permuted
    sets: what it computes to first order.

    ``W_L ... W_2 W_1`` of an MLP, an invariant of shape (outputs, inputs) that no linear layer can
    see, and the same up to every set in between: ``W_l ... W_1`` and ``W_L ... W_{l+1}``, permuted
    as the sets are. Every channel is multiplied with itself alone. There are no parameters.

    From a graph alone, tensors are chained in the order of its declaration (``plan`` says how).
    From a module, its own program is run, with strides, padding, pooling, residual sums and norms,
    and with nonlinearities as the identity (see ``symnet.nn.linearization``); the product is that
    program's derivative at zero input.

    Args:
        graph: the architecture. Its ends must be Fixed.
        module: a module of this architecture; it is copied, and its weights are not used.
        inputs: with a module, an example of what it is called with (a batch).
        hidden: whether to give the products up to the sets in between too.
        reads: the tensors that are read (default: the graph's).
        most: without a module, positions of an end up to which kernel taps are kept beside it;
            above, they are averaged.
        chunk: with a module, networks worked on at once: bounds memory.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to
        ``{"out in": (batch, out, in, channels), "h in": ..., "out h": ...}``; ``outputs`` is their
        space.

    Raises:
        GraphError: no chain leads from one Fixed set to another.
        TraceError: the module's program cannot be recorded, or its product is zero whatever the
            weights are.
        TooLargeError: a product has too many entries.
        VerificationError: the graph's group changes the module's product: it is the graph of
            another network.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 4, 3])
        >>> x = {name: torch.randn(5, *shape, 1) for name, shape in graph.shapes.items()}
        >>> path = sn.nn.PathProduct(graph)(x)
        >>> path["out in"].shape, path["h1 in"].shape
        (torch.Size([5, 3, 2, 1]), torch.Size([5, 8, 2, 1]))
        >>> matrices = [x[name][..., 0] for name in ("4.weight", "2.weight", "0.weight")]
        >>> torch.allclose(
        ...     path["out in"][..., 0], matrices[0] @ matrices[1] @ matrices[2], atol=1e-5
        ... )
        True
    """

    def __init__(
        self,
        graph: NeuronGraph,
        module: nn.Module | None = None,
        *inputs: Any,
        hidden: bool = True,
        reads: SpaceLike = None,
        most: int = MOST,
        chunk: int = 64,
    ) -> None:
        super().__init__()
        check_count("most", most)
        check_count("chunk", chunk)
        self.graph, self.hidden, self.chunk = require_graph(graph, "PathProduct"), hidden, chunk
        self.inputs = graph.space(reads)
        self._program: LinearProgram | None = None
        self._plan: PathPlan | None = None
        if module is None:
            self._plan = plan_path(graph, inputs=self.inputs, most=most)
            self._check_size()
            self._names = {
                n: k
                for n, k in self._plan.outputs.items()
                if hidden or self._plan.is_between_ends(k)
            }
            notation = {
                name: self._plan.values[number].notation() for name, number in self._names.items()
            }
            self.outputs = graph.space(notation)
            return
        if not isinstance(module, nn.Module):
            raise ShapeError(
                f"PathProduct got {module!r:.60} where a module is expected: PathProduct(graph, "
                "module, images)."
            )
        self._check_tensors(module)
        names = {name: name for name in graph.weights} | dict(graph.aliases)
        state = module.state_dict()
        self._program = linearize(
            module, {name: kept for name, kept in names.items() if name in state}, inputs
        )
        self.outputs = graph.space(self._traced_outputs(self._program))
        self._check_invariance({name: state[name] for name in graph.weights})

    def _check_size(self) -> None:
        for value in self.plan.values:
            if value.size[0] * value.size[1] > ENTRY_LIMIT:
                raise TooLargeError(
                    f"The product along this network from '{' '.join(value.end)}' to "
                    f"'{' '.join(value.node)}' is {value.size[0]:,} by {value.size[1]:,}; the "
                    f"limit is {ENTRY_LIMIT:,} entries. Permute one of its ends: with_groups."
                )

    def _check_tensors(self, module: nn.Module) -> None:
        state = module.state_dict()
        for name, tensor in self.graph.weights.items():
            if name not in state or tuple(state[name].shape) != tensor.shape:
                shown = tuple(state[name].shape) if name in state else "missing"
                raise ShapeError(
                    f"Tensor '{name}' has axes '{print_axes(tensor.axes)}' of sizes "
                    f"{tensor.shape}, but is {shown} in the module. Pass the graph of this "
                    "module: sn.trace(module, inputs)."
                )
        if set(self.inputs) != set(self.graph.weights):
            raise GraphError(
                "With a module, PathProduct reads all tensors of its graph: leave reads= out."
            )

    # ---- what it is ------------------------------------------------------------------------------
    @property
    def plan(self) -> PathPlan:
        """The chain of contractions, with its cost; a traced program has none."""
        if self._plan is None:
            raise GraphError(
                "This PathProduct runs a module's own program; only the one by the graph's "
                "order has a plan."
            )
        return self._plan

    def extra_repr(self) -> str:
        shown = ", ".join(f"'{name}'" for name in self.outputs)
        if self._plan is not None:
            how = (
                f"{len(self._plan.steps)} contractions, {self._plan.cost().multiplies:,} "
                "multiplies per channel"
            )
        else:
            how = "by the module's program"
        return f"{len(self.inputs)} tensors -> {shown}; {how}"

    # ---- running it ------------------------------------------------------------------------------
    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_features(x, self.inputs, "PathProduct got", alike=True)
        return self._run_plan(x) if self._plan is not None else self._run_program(x)

    def _run_plan(self, x: Mapping[str, Tensor]) -> Features:
        plan = self.plan
        values: list[Tensor | None] = [None] * len(plan.values)
        for step in plan.steps:
            # (batch, channels, rows, columns, taps)
            matrix = _matrix(x[step.link.tensor], self.inputs, step.link)
            if not step.keeps_taps:
                matrix = matrix.mean(-1, keepdim=True) if matrix.shape[-1] != 1 else matrix
            batch, channels, rows, columns, taps = matrix.shape
            if step.source is None:
                term = matrix.reshape(batch, channels, rows, columns * taps)
            else:
                source = values[step.source]
                assert source is not None
                flat = matrix.transpose(3, 4).reshape(batch, channels, rows * taps, columns)
                term = (
                    (flat @ source)
                    .view(batch, channels, rows, taps, source.shape[-1])
                    .transpose(3, 4)
                )
                term = term.reshape(batch, channels, rows, source.shape[-1] * taps)
            before = values[step.target]
            values[step.target] = term if before is None else before + term
        results: Features = {}
        for name, number in self._names.items():
            value = values[number]
            assert value is not None
            results[name] = value.permute(
                (0, 2, 3, 1) if plan.values[number].forward else (0, 3, 2, 1)
            )
        return results

    def _run_program(self, x: Mapping[str, Tensor]) -> Features:
        program = self._program
        assert program is not None
        some = next(iter(x.values()))
        batch, channels = some.shape[0], some.shape[-1]
        if not batch * channels:
            return {
                name: some.new_zeros(batch, *t.shape, channels) for name, t in self.outputs.items()
            }
        # every channel of every network is a network
        many = {name: tensor.movedim(-1, 1).flatten(0, 1) for name, tensor in x.items()}
        products = vmap(self._derivative, chunk_size=self.chunk)(many)
        return {
            name: product.unflatten(0, (batch, channels)).movedim(1, -1)
            for name, product in products.items()
        }

    def _derivative(self, state: Mapping[str, Tensor]) -> Features:
        """The products of one network."""
        program = self._program
        assert program is not None
        some = next(iter(state.values()))
        zero = torch.zeros_like(program.input, dtype=some.dtype, device=some.device)
        shifts = {name: some.new_zeros(size) for name, (size, _) in program.activations.items()}

        def call(x: Tensor, shifts: dict[str, Tensor]) -> Tensor:
            out, seen = program.run(state, x, shifts)
            return torch.cat([out, *seen.values()]) if self.hidden else out

        value, pull = vjp(call, zero, shifts)  # type: ignore[misc]
        by_input, by_shift = vmap(pull)(
            torch.eye(len(value), dtype=some.dtype, device=some.device)
        )[:2]
        by_input = by_input.flatten(1)
        results: Features = {"out in": by_input[: program.outputs]}
        start = program.outputs
        for name, (size, _) in program.activations.items() if self.hidden else ():
            if f"{name} in" in self.outputs:
                results[f"{name} in"] = by_input[start : start + size]
                results[f"out {name}"] = by_shift[name][: program.outputs]
            start += size
        return results

    # ---- of a traced module ----------------------------------------------------------------------
    def _traced_outputs(self, program: LinearProgram) -> dict[str, str]:
        begin = program.input.numel()
        if program.outputs * begin > ENTRY_LIMIT:
            raise TooLargeError(
                f"The product along this network is {program.outputs:,} by {begin:,}; the limit "
                f"is {ENTRY_LIMIT:,} entries. Give a smaller example of its input."
            )
        notation = {"out in": f"{program.outputs} {begin}"}
        for name, (_, axis) in program.activations.items() if self.hidden else ():
            axes = self.graph.weights[name].axes[axis : axis + 1]
            if all(is_trivial(self.graph.neurons[symbol].group) for symbol in symbols_in(axes[0])):
                continue  # an end itself
            if any(_has_a_dual(self.graph.neurons[symbol].group) for symbol in symbols_in(axes[0])):
                continue  # what is read there has other axes than what is written
            written = print_axes(axes)
            try:
                self.graph.space({"": written})
            except GraphError:  # copies over a set of another axis
                continue
            notation |= {
                f"{name} in": f"{written} {begin}",
                f"out {name}": f"{program.outputs} {written}",
            }
        return notation

    def _check_invariance(self, state: Mapping[str, Tensor]) -> None:
        """Raise unless the group leaves the product as it is, on weights
        near the module's, in float64.
        """
        generator = torch.Generator().manual_seed(0)
        weights = {
            name: (
                t.detach().cpu().double()
                + 0.1 * torch.randn(t.shape, generator=generator, dtype=torch.float64)
            )[None, ..., None]
            for name, t in state.items()
        }
        element = self.graph.random_element(0)
        with torch.no_grad():
            product = self._run_program(weights)
            moved = self._run_program(self.graph.act(element, weights, 1))
        if not bool(product["out in"].any()):
            raise TraceError(
                "The product along this module is zero whatever its weights are: gates that are "
                "held open, as those of a GRU, keep the input out. PathProduct(graph) without "
                "the module goes by the graph's own order."
            )
        expected = self.graph.act(element, product, 1, space=self.outputs)
        for name, value in moved.items():
            scale = float(value.abs().max()) if value.numel() else 0.0
            error = float((value - expected[name]).abs().max()) if value.numel() else 0.0
            if not error <= _TOLERANCE * max(scale, 1e-30):
                raise VerificationError(
                    f"The product along this module, '{name}', is changed by the graph's group "
                    f"(by {error:.2g} of {scale:.2g}): the graph is that of another network, or "
                    "the module computes with precision below float64, or divides by zero at "
                    "zero input."
                )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        if self._program is not None:  # whole numbers that were recorded in it move with it
            self._program.module._apply(fn)
        return self


def _has_a_dual(group: Group) -> bool:
    return group.rule is not None and group.rule.charge([1]) != group.rule.charge([-1])


def _matrix(tensor: Tensor, space: Space, link: Link) -> Tensor:
    """A block as a matrix with taps, ``(batch, channels, rows, columns, taps)``."""
    block = space[link.tensor].blocks[link.block]
    array = apply_views(tensor, block.views, offset=1)
    order = (0, array.dim() - 1, *(k + 1 for k in (*link.output, *link.input, *link.taps)))
    array = array.permute(order)
    return array.reshape(array.shape[0], array.shape[1], *link.sizes)
