"""A module's program as a linear one: nonlinearities are the identity, norms do not divide,
attention looks everywhere alike.

The module is run once and its ATen operations are recorded (``make_fx``), with strides, padding,
pooling, residual sums as they are. Then nodes are replaced, by what they do to first order where
nothing is known of the data:

- activations: the identity; maximum over positions: the mean;
- layer, group and RMS norms: centring where they centre, times their gain, without dividing by a
  deviation (which is tiny at zero input); batch norms in evaluation: what they are;
- a division by what depends on the input: the numerator; a gate (the product of two values of which
  one comes straight from an activation): the other value;
- softmax: equal weights if its result is multiplied with what depends on the input (attention at
  zero input), else the identity.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, fx

from symnet.errors import TraceError
from symnet.nn.stand_ins import (
    NORMS,
    adaptive_mean_pool,
    as_real_as,
    batch_norm,
    centred_norm,
    equal_weights,
    mean_over,
    mean_pool,
    means,
    on_channels,
    rms_norm,
    same,
)

State = Mapping[str, Tensor]


_ACTIVATIONS = {
    "relu", "relu6", "gelu", "silu", "elu", "celu", "selu", "leaky_relu", "hardtanh", "hardswish",
    "hardsigmoid", "mish", "softplus", "tanh", "sin", "cos", "abs", "sigmoid",
    "log_sigmoid_forward", "threshold", "softshrink", "hardshrink", "rrelu_with_noise",
    "_prelu_kernel", "_log_softmax", "clamp", "clamp_min", "clamp_max", "square", "exp", "sign",
    "erf",
}  # fmt: skip


_GATES = {"sigmoid", "silu", "gelu", "relu", "tanh", "hardsigmoid", "hardswish", "mish", "softplus"}


_SIGMOIDS = {"sigmoid", "hardsigmoid"}


_INVERSES = {"rsqrt", "sqrt", "reciprocal"}


_VIEWS = {
    "view", "_unsafe_view", "reshape", "transpose", "permute", "t", "expand", "unsqueeze",
    "squeeze", "select", "slice", "clone", "detach", "getitem", "split", "chunk", "alias",
    "_to_copy", "unbind", "split_with_sizes",
}  # fmt: skip


_PRODUCTS = {"bmm", "mm", "matmul", "mul", "baddbmm"}


@dataclass(frozen=True)
class LinearProgram:
    """A module's linearized program.

    Args:
        module: the rewritten graph: of weights, input and perturbations.
        input: zeros of the shape of the input, which is one-hot where the module takes whole
            numbers.
        outputs: number of outputs.
        activations: name of a weight -> number of channels that it writes, and which of its axes
            these are.
    """

    module: fx.GraphModule
    weights: tuple[str, ...]  # in the order of the module's arguments
    input: Tensor
    outputs: int
    activations: dict[str, tuple[int, int]]

    def run(
        self, state: State, x: Tensor, perturbations: State
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The output, flat, and the activations of the weighted operations,
        each averaged over all but its channels.

        A perturbation is added to every activation's channels.
        """
        values = [state[name] for name in self.weights]
        out, *seen = self.module(*values, x, *(perturbations[name] for name in self.activations))
        return out.reshape(-1), dict(zip(self.activations, seen, strict=True))


class Rewriting:
    """The recorded graph, while nodes are replaced."""

    def __init__(
        self, recorded: fx.GraphModule, names: list[str], state: dict[str, Tensor], sample: Tensor
    ) -> None:
        self.module, self.graph, self.state, self.sample = recorded, recorded.graph, state, sample
        placeholders = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.weights = dict(zip(placeholders, names, strict=False))
        self.input = placeholders[len(names)]
        self.moving: set[fx.Node] = set()  # nodes that depend on the input
        # what stands for activations that can be gates, and which
        self.gates: dict[fx.Node, str] = {}
        self.activations: dict[str, tuple[int, int]] = {}
        self.written: list[tuple[str, fx.Node]] = []

    def program(self) -> LinearProgram:
        zeros = self._replace_tokens()
        self._free_dtypes()
        (end,) = (node for node in self.graph.nodes if node.op == "output")
        for node in list(self.graph.nodes):
            if (
                node.target is as_real_as
                or node.op != "call_function"
                or not any(n in self.moving for n in node.all_input_nodes)
            ):
                continue
            self.moving.add(node)
            self._linearize(node)
            self._add_perturbation(node)
        self._end(end)
        self.graph.eliminate_dead_code()
        self.graph.lint()
        plain = fx.Graph()  # takes arguments one by one, not the structure that was recorded
        plain.output(plain.graph_copy(self.graph, {}))
        for node in plain.nodes:
            node.meta.clear()
        program = LinearProgram(
            fx.GraphModule(self.module, plain),
            tuple(self.weights.values()),
            zeros,
            0,
            self.activations,
        )
        nothing = {name: zeros.new_zeros(size) for name, (size, _) in self.activations.items()}
        return replace(program, outputs=program.run(self.state, zeros, nothing)[0].numel())

    # ---- the ends --------------------------------------------------------------------------------
    def _replace_tokens(self) -> Tensor:
        """What stands for the input: itself, or, where whole numbers look rows
        up in a table, their one-hot form.
        """
        some = next((t for t in self.state.values()), torch.zeros(()))
        if self.sample.is_floating_point():
            self.moving.add(self.input)
            return torch.zeros_like(self.sample, dtype=some.dtype)
        tables = [
            node
            for node in self.input.users
            if _name(node) == "embedding" and node.args[1] is self.input
        ]
        if not tables:
            raise TraceError(
                "The module's input holds whole numbers that look nothing up: it has no "
                "products along the network."
            )
        rows = {
            self.state[self.weights[node.args[0]]].shape[0]
            for node in tables
            if node.args[0] in self.weights
        }
        if len(rows) != 1:
            raise TraceError(
                "The module's input looks tables of several sizes up: it has no products along "
                "the network."
            )
        self.module.register_buffer("_tokens", torch.zeros_like(self.sample))
        with self.graph.inserting_after(self.input):
            constant = self.graph.get_attr("_tokens")
        self.input.replace_all_uses_with(constant)
        for node in tables:
            with self.graph.inserting_before(node):
                product = self.graph.call_function(torch.matmul, (self.input, node.args[0]))
            node.replace_all_uses_with(product)
        self.moving.add(self.input)
        return torch.zeros(*self.sample.shape, rows.pop(), dtype=some.dtype)

    def _free_dtypes(self) -> None:
        """Constants that the code makes are of the dtype of the input,
        not of the one that was recorded.
        """
        for node in list(self.graph.nodes):
            if node.op == "get_attr" or (node.op == "call_function" and not node.all_input_nodes):
                with self.graph.inserting_after(node):
                    converted = self.graph.call_function(as_real_as, (node, self.input))
                node.replace_all_uses_with(
                    converted, delete_user_cb=lambda user, kept=converted: user is not kept
                )

    def _end(self, end: fx.Node) -> None:
        result = end.args[0]
        assert isinstance(result, fx.Node | list | tuple)
        last = result if isinstance(result, fx.Node) else result[0]
        end.args = ([last, *(self._channel_means(name, node) for name, node in self.written)],)

    # ---- weighted operations ---------------------------------------------------------------------
    def _add_perturbation(self, node: fx.Node) -> None:
        """Let something be added to the channels that a weight writes."""
        place = self._weight_of(node)
        if place is None:
            return
        weight, axis, channels_last = place
        name = self.weights[weight]
        if name in self.activations:  # shared by two operations: which one is meant?
            return
        size = self.state[name].shape[axis]
        self.activations[name] = (size, axis)
        with self.graph.inserting_before(next(iter(self.graph.nodes))):
            added = self.graph.placeholder(f"perturbation_{len(self.written)}")
        last = [n for n in self.graph.nodes if n.op == "placeholder"]
        last[-1].append(added)  # placeholders keep the order of the arguments
        dims = 0 if channels_last else len(self.state[name].shape) - 2
        with self.graph.inserting_after(node):
            shaped = self.graph.call_function(on_channels, (added, dims))
        with self.graph.inserting_after(shaped):
            total = self.graph.call_function(torch.add, (node, shaped))
        node.replace_all_uses_with(total, delete_user_cb=lambda user: user is not total)
        self.moving.add(total)
        self.written.append((name, total))

    def _weight_of(self, node: fx.Node) -> tuple[fx.Node, int, bool] | None:
        """The weight that an operation multiplies with, its axis of outputs, and whether
        channels come last in the result.
        """
        name, arguments = _name(node), cast(tuple[Any, ...], node.args)
        if name == "convolution" and arguments[1] in self.weights:
            transposed, groups = bool(arguments[6]), arguments[8]
            return None if transposed and groups != 1 else (arguments[1], int(transposed), False)
        factor = (
            arguments[2] if name == "addmm" else arguments[1] if name in ("mm", "matmul") else None
        )
        axis = 1
        while isinstance(factor, fx.Node) and _name(factor) in (
            "t",
            "transpose",
            "permute",
            "detach",
            "alias",
        ):
            if _name(factor) in ("t", "transpose", "permute"):
                axis = 1 - axis
            factor = factor.args[0]
        if (
            isinstance(factor, fx.Node)
            and factor in self.weights
            and len(self.state[self.weights[factor]].shape) == 2
        ):
            return factor, axis, True
        return None

    def _channel_means(self, name: str, node: fx.Node) -> fx.Node:
        size, _ = self.activations[name]
        last = _name(node.args[0]) != "convolution"
        with self.graph.inserting_after(node):
            return self.graph.call_function(means, (node, last, size))

    # ---- operations ------------------------------------------------------------------------------
    def _linearize(self, node: fx.Node) -> None:
        name, arguments = _name(node), cast(tuple[Any, ...], node.args)
        first = arguments[0] if arguments else None
        if name in _ACTIVATIONS and first in self.moving:
            self._become(node, first)
        elif name in ("_softmax", "_safe_softmax", "softmax"):
            if self._is_attention(node):
                self._call(node, equal_weights, (first, arguments[1]))
            else:
                self._become(node, first)
        elif name in ("native_layer_norm", "native_group_norm", "_fused_rms_norm", "rms_norm"):
            self._call(node, NORMS.get(name, rms_norm), arguments)
        elif name in (
            "native_batch_norm",
            "_native_batch_norm_legit_no_training",
            "_native_batch_norm_legit",
        ):
            training = len(arguments) == 6 or (len(arguments) == 8 and bool(arguments[5]))
            self._call(
                node,
                centred_norm if training else batch_norm,
                (*arguments[:5], float(arguments[-1])),
            )
        elif name.startswith("max_pool"):
            self._call(node, mean_pool, (name, *arguments))
        elif name.startswith("adaptive_max_pool"):
            self._call(node, adaptive_mean_pool, (name, *arguments))
        elif (
            name in ("amax", "max") and len(arguments) > 1 and not isinstance(arguments[1], fx.Node)
        ):
            self._call(
                node,
                mean_over,
                (first, arguments[1], bool(arguments[2]) if len(arguments) > 2 else False, name),
            )
        elif name in _INVERSES or (
            name == "pow" and isinstance(arguments[1], float | int) and arguments[1] < 1
        ):
            self._call(node, torch.ones_like, (first,))
        elif name == "div" and arguments[1] in self.moving:
            self._become(node, first) if first in self.moving else self._call(
                node, torch.ones_like, (arguments[1],)
            )
        elif name == "mul" and first in self.moving and arguments[1] in self.moving:
            self._open_gate(node)
        elif name == "_to_copy":
            self._become(node, first)  # everything is computed in one dtype

    def _open_gate(self, node: fx.Node) -> None:
        gates = [self._comes_from_a_gate(value) for value in node.args[:2]]
        if all(gates):  # of a sigmoid and another activation the sigmoid is the gate
            gates = [self._comes_from_a_gate(value, _SIGMOIDS) for value in node.args[:2]]
        if gates[0] != gates[1]:
            self._become(node, node.args[1] if gates[0] else node.args[0])

    def _comes_from_a_gate(self, node: Any, kinds: Collection[str] = _GATES) -> bool:
        while _name(node) in _VIEWS:
            node = node.args[0]
        return self.gates.get(node) in kinds

    def _is_attention(self, node: fx.Node) -> bool:
        """Whether what a softmax gives is multiplied with something that depends on the input."""
        todo, seen = [node], {node}
        while todo:
            for user in todo.pop().users:
                if _name(user) in _PRODUCTS and self._both_move(user):
                    return True
                if _name(user) in _VIEWS | {"native_dropout", "add"} and user not in seen:
                    seen.add(user)
                    todo.append(user)
        return False

    def _both_move(self, node: fx.Node) -> bool:
        """Whether both factors depend on the input; nodes that come
        later have not been looked at yet.
        """
        return all(self._depends(value) for value in node.args[:2])

    def _depends(self, node: Any) -> bool:
        todo, seen = [node], set()
        while todo:
            one = todo.pop()
            if not isinstance(one, fx.Node) or one in seen or one.target is as_real_as:
                continue
            if one is self.input or one in self.moving:
                return True
            seen.add(one)
            todo += one.all_input_nodes
        return False

    def _become(self, node: fx.Node, other: Any) -> None:
        """A node's users read another node."""
        if _name(node) in _GATES:
            with self.graph.inserting_after(node):
                marked = self.graph.call_function(same, (other,))
            self.moving.add(marked)
            self.gates[marked] = _name(node)
            other = marked
        for user in list(node.users):
            if _name(user) == "getitem":  # of an operation with several results
                user.replace_all_uses_with(other)
        node.replace_all_uses_with(other)

    def _call(
        self, node: fx.Node, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """A node's users read the result of a function; operations with
        several results give it as their first.
        """
        with self.graph.inserting_after(node):
            new = self.graph.call_function(function, arguments)
        self.moving.add(new)
        for user in list(node.users):
            if user is new:
                continue
            if _name(user) == "getitem":
                user.replace_all_uses_with(new)
            else:
                user.replace_input_with(node, new)


def _name(node: Any) -> str:
    """'add' for aten.add.Tensor."""
    if not isinstance(node, fx.Node) or node.op != "call_function":
        return ""
    if node.target is operator.getitem:
        return "getitem"
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target.overloadpacket.__name__
    return getattr(node.target, "__name__", "")
