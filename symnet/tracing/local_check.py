"""One operation on random operands, before and after a random element: whether it commutes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from symnet.graph import NeuronGraph
from symnet.groups import Fixed, SignedSymmetric, Symmetric
from symnet.tracing.claims import Claims
from symnet.tracing.execution import REFERENCES, plain_kernels
from symnet.tracing.layouts import Atom, Layout, Plain, atoms_of, change_atoms, shape_of
from symnet.tracing.local_action import LocalElement, NoParentError, Picks, draw
from symnet.tracing.reading_state import is_like_identity
from symnet.tracing.recording import Operation, Value
from symnet.tracing.tensor_differences import double, overwrite, relative_difference

# Entries of all operands together up to which an operation is checked at its own sizes.
_FULL = 6_000_000
# Checked at a few neurons per axis: no sizes among their arguments. Each has a test at several
# sizes.
NARROW = frozenset({
    "mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv", "linear", "convolution", "_convolution",
    "_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax", "sum", "mean", "amax",
    "amin", "var", "std", "var_mean", "logsumexp", "prod", "linalg_vector_norm", "embedding", "t",
    "transpose", "permute", "clone", "detach", "_to_copy", "alias", "contiguous",
    "native_batch_norm", "_native_batch_norm_legit_no_training", "glu", "dropout", "native_dropout",
    "topk", "argmax", "argmin", "sort", "any", "all", "max", "min", "native_layer_norm",
    "_fused_rms_norm", "lift_fresh", "unsqueeze",
})  # fmt: skip
_BY_SHAPE = frozenset({"view", "_unsafe_view", "reshape", "expand"})
_ALONG = frozenset({
    "slice", "select", "split", "split_with_sizes", "unbind", "chunk", "cat", "stack",
    "index_select", "narrow", "cumsum",
})  # fmt: skip
_LOW = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Operand:
    """A tensor of an operation: what is claimed about it."""

    value: Value
    layout: Layout
    along: tuple[Atom, ...]  # what its whole numbers are positions of
    picks: tuple[Picks, ...]
    key: int  # of its whole numbers


@dataclass(frozen=True)
class Context:
    """What all checks of one recording share: the graph, its words, and
    the values that somebody reads.
    """

    graph: NeuronGraph
    claims: Claims
    used: set[int]
    seed: int

    def moving(self, operands: Sequence[Operand]) -> tuple[str, ...]:
        """Sets that move some operand."""
        names = [
            a.symbol
            for o in operands
            for a in (*atoms_of(o.layout), *o.along)
            if a.symbol is not None
        ]
        return tuple(
            dict.fromkeys(
                name for name in names if not isinstance(self.graph.neurons[name].group, Fixed)
            )
        )


class LocalCheck:
    """One operation on random operands, before and after a random element."""

    def __init__(
        self,
        context: Context,
        operation: Operation,
        operands: Mapping[int, Operand],
        outputs: Sequence[Operand | None],
    ) -> None:
        self.context, self.operation, self.operands, self.outputs = (
            context,
            operation,
            operands,
            outputs,
        )
        self.everything = [*operands.values(), *(o for o in outputs if o is not None)]
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.narrowed = False

    def run(self) -> tuple[float, str, bool]:
        """Largest relative error, a problem in words if it could not be
        checked, and whether few neurons were used.
        """
        problem = "an operation of no kind that can be run alone"
        for plan in self.plans():
            try:
                with _small_changes(self, plan):
                    return max(self.trial(seed) for seed in (0, 1)), "", self.narrowed
            except NoParentError:
                raise
            except Exception as error:  # at few neurons some do not run: the next plan is tried
                problem = f"it does not run alone: {type(error).__name__}: {error}"[:160]
        return math.inf, problem, False

    def plans(self) -> Iterator[str]:
        """The ways to check it, the cheapest first."""
        name = self.operation.name
        known = any(
            o.value.constant and o.value.kept is not None and not o.value.dtype.is_floating_point
            for o in self.operands.values()
        )
        entries = sum(math.prod(o.value.shape) for o in self.everything)
        free = all(
            isinstance(self.context.graph.neurons[s].group, (Symmetric, SignedSymmetric, Fixed))
            for s in self.context.moving(self.everything)
        )
        pointwise = (
            self.operation.function is not None
            and torch.Tag.pointwise in self.operation.function.tags
        )
        grouped = name in ("convolution", "_convolution") and self.operation.arguments[8] != 1
        if free and (name in NARROW or pointwise) and not known and not grouped:
            yield "narrow"
        if entries <= _FULL:
            yield "full"
        elif free and name in _BY_SHAPE:
            yield "narrow"
        elif free and name in _ALONG:
            yield "across"

    # ---- one trial -------------------------------------------------------------------------------
    def trial(self, seed: int) -> float:
        """The relative error for one set of operands and one element."""
        rng = np.random.default_rng((self.context.seed, seed))
        generator = torch.Generator().manual_seed(1000 * self.context.seed + seed)
        element = LocalElement(self.context.graph, self.sizes, rng)
        numbers: dict[int, Tensor] = {}
        drawn = {
            number: self.draw(o, generator, seed == 1, numbers)
            for number, o in self.operands.items()
        }
        for output in (o for o in self.outputs if o is not None):
            self._draw_picks(output, generator, numbers)
        before = self.call(drawn)
        moved = {
            number: self.act(element, self.operands[number], x, numbers)
            for number, x in drawn.items()
        }
        after = self.call(moved)
        worst = 0.0
        for claim, old, new in zip(self.outputs, before, after, strict=True):
            if claim is None or claim.value.number not in self.context.used:
                continue
            if isinstance(old, Tensor):
                if claim.along:
                    numbers[claim.key] = old
                worst = max(worst, relative_difference(self.act(element, claim, old, numbers), new))
            elif old != new:
                worst = math.inf
        return worst

    def act(
        self, element: LocalElement, operand: Operand, tensor: Tensor, numbers: Mapping[int, Tensor]
    ) -> Tensor:
        if operand.along:
            tensor = element.move_numbers(operand.along, tensor)
        return element.act(operand.layout, tensor, operand.picks, numbers)

    def draw(
        self,
        operand: Operand,
        generator: torch.Generator,
        positive: bool,
        numbers: dict[int, Tensor],
    ) -> Tensor:
        """Entries for an operand: its own, if they are known and of this size, else random ones."""
        value = operand.value
        self._draw_picks(operand, generator, numbers)
        if (
            operand.along
            and operand.key in numbers
            and numbers[operand.key].shape == shape_of(operand.layout)
        ):
            return numbers[operand.key]
        if value.constant and value.kept is not None:
            if is_like_identity(value.kept):
                kept, size = value.kept.double(), shape_of(operand.layout)[0]
                return (
                    torch.eye(size, dtype=torch.float64) * (kept[0, 0] - kept[0, 1]) + kept[0, 1]
                ).to(double(value.dtype))
            if not self.narrowed:
                return value.kept.detach().cpu().to(double(value.dtype))
        tensor = draw(operand.layout, double(value.dtype), generator, positive, self._most(operand))
        if operand.along:
            numbers[operand.key] = tensor
        return tensor

    def _draw_picks(
        self, operand: Operand, generator: torch.Generator, numbers: dict[int, Tensor]
    ) -> None:
        """The whole numbers that picked an operand, if no operand holds them."""
        for picks in operand.picks:
            if picks.key not in numbers:
                size = math.prod(
                    self.sizes.get(picks.symbol, (self.context.graph.neurons[picks.symbol].size,))
                )
                shape = [atom.size for atom in picks.dims]
                holder = next(
                    (o for o in self.operands.values() if o.along and o.key == picks.key), None
                )
                if holder is not None:
                    shape = list(shape_of(holder.layout))
                numbers[picks.key] = torch.randint(size, shape, generator=generator)

    def _most(self, operand: Operand) -> int:
        if operand.along:
            return math.prod(atom.size for atom in operand.along)
        sizes = [
            n
            for o in self.operands.values()
            if o.value.dtype.is_floating_point
            for n in shape_of(o.layout)
        ]
        return min(sizes, default=4)

    def call(self, drawn: Mapping[int, Tensor]) -> list[Any]:
        """The operation's results on these operands, in float64."""
        operation = self.operation
        if operation.name == "alias_update":
            return [overwrite(operation, drawn)]

        def fill(item: Any) -> Any:
            if isinstance(item, Value):
                return drawn[item.number].clone()
            return torch.float64 if isinstance(item, torch.dtype) and item in _LOW else item

        arguments, keywords = tree_map(fill, (operation.arguments, operation.keywords))
        arguments = self._resized(list(arguments), drawn)
        with plain_kernels():
            result = REFERENCES.get(operation.function, operation.function)(*arguments, **keywords)
        if operation.overwritten:  # written in place: what was written into is the result
            return [result] if isinstance(result, Tensor) else list(result)
        return list(result) if isinstance(result, (tuple, list)) else [result]

    def _resized(self, arguments: list[Any], drawn: Mapping[int, Tensor]) -> list[Any]:
        """Arguments with sizes among them, where few neurons are used."""
        for k, schema in enumerate(self.operation.function._schema.arguments[: len(arguments)]):
            if schema.name == "half_to_float":
                arguments[k] = False
            if not self.narrowed:
                continue
            output = next((o for o in self.outputs if o is not None), None)
            if schema.name == "normalized_shape":
                arguments[k] = list(arguments[0].shape[-len(arguments[k]) :])
            elif (
                schema.name in ("size", "shape")
                and self.operation.name in _BY_SHAPE
                and output is not None
            ):
                arguments[k] = list(shape_of(output.layout))
        return arguments


@contextlib.contextmanager
def _small_changes(check: LocalCheck, plan: str) -> Iterator[None]:
    """Inside, the check's operands have few neurons: all axes, or those
    along which the operation does nothing.
    """
    operands, outputs, everything = check.operands, check.outputs, check.everything
    kept: set[int] = set()
    if plan == "across":
        dim = next(
            (
                a
                for s, a in zip(
                    check.operation.function._schema.arguments,
                    check.operation.arguments,
                    strict=False,
                )
                if s.name == "dim"
            ),
            0,
        )
        for operand in everything:
            shape = operand.value.shape
            along = [shape[dim % len(shape)]] if shape else []
            kept |= set(along)
            kept |= {a.size for a in _on_axis(operand.layout, dim)}

    def small(atom: Atom) -> Atom:
        return atom if atom.size in kept else replace(atom, size=few(atom.size))

    try:
        if plan != "full":

            def change(o: Operand) -> Operand:
                picks = tuple(replace(p, dims=tuple(map(small, p.dims))) for p in o.picks)
                return replace(
                    o,
                    layout=change_atoms(o.layout, small),
                    along=tuple(map(small, o.along)),
                    picks=picks,
                )

            check.operands = {number: change(o) for number, o in operands.items()}
            check.outputs = [None if o is None else change(o) for o in outputs]
            check.everything = [
                *check.operands.values(),
                *(o for o in check.outputs if o is not None),
            ]
            check.narrowed = True
        check.sizes = _set_sizes(check)
        yield
    finally:
        check.operands, check.outputs, check.everything, check.narrowed = (
            operands,
            outputs,
            everything,
            False,
        )


def _on_axis(layout: Layout, axis: int) -> Iterator[Atom]:
    if isinstance(layout, Plain):
        yield from layout.axes[axis]
    else:
        for part in layout.parts:
            yield from _on_axis(part, axis)


def _set_sizes(check: LocalCheck) -> dict[str, tuple[int, ...]]:
    """The sizes of the pieces of every set that occurs, and of their ancestors."""
    claims, graph = check.context.claims, check.context.graph
    sizes: dict[str, tuple[int, ...]] = {}
    names = [
        a.symbol
        for o in check.everything
        for a in (*atoms_of(o.layout), *o.along)
        if a.symbol is not None
    ]
    names += [p.symbol for o in check.everything for p in o.picks]
    pieces: dict[tuple[str, int], int] = {}
    for operand in check.everything:
        for atom in (*atoms_of(operand.layout), *operand.along):
            if atom.symbol is not None:
                pieces[atom.symbol, atom.piece] = atom.size
    for name in dict.fromkeys(names):
        for one in (*graph.ancestors(name), name):
            full = claims.pieces.get(one, (graph.neurons[one].size,))
            fixed = [
                position
                for o in check.everything
                for a in atoms_of(o.layout)
                for n, position in a.at
                if n == one
            ]
            sizes[one] = tuple(
                pieces.get((one, k), size if fixed or not check.narrowed else few(size))
                for k, size in enumerate(full)
            )
    return sizes


def few(size: int) -> int:
    """To how many positions an axis is narrowed; axes of one size stay of one size."""
    return size if size <= 4 else 5 + size % 3
