"""nn.Probes: what the networks themselves answer to given, random or
learned inputs, as invariants of their weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph
from symnet.graph.neuron_graph import require_graph
from symnet.nn.arguments import check_count
from symnet.nn.features import check_features
from symnet.nn.linearization import first_tensor

COARSE = 4  # cells along a side of the noise that smooth images are made from


def random_inputs(
    example: Tensor, count: int, *, seed: int = 0, tokens: int | None = None
) -> Tensor:
    """Random inputs for networks, of the kind that an example is:
    smooth images, tokens, or vectors.

    Args:
        example: a batch that the networks take; its first dim is the batch.
        count: how many.
        seed: of the draw.
        tokens: number of different tokens, where the example holds whole numbers (default: its
            largest one and those below).

    Returns:
        ``(count, *shape of one input)``: whole numbers for whole numbers; for images
        ``(channels, height, width)`` noise on a coarse grid, interpolated; else independent normal
        numbers; of the example's mean and standard deviation if it varies.

    Raises:
        ShapeError: the example has no batch dim.

    Example:
        >>> random_inputs(torch.zeros(2, 3, 32, 32), 64).shape
        torch.Size([64, 3, 32, 32])
    """
    if not isinstance(example, Tensor) or not example.dim():
        raise ShapeError(
            f"random_inputs got {example!r:.60}; give a batch of inputs, one row for each."
        )
    check_count("count", count)
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *example.shape[1:])
    if not example.is_floating_point():
        highest = int(example.max()) + 1 if tokens is None else tokens
        return torch.randint(0, max(highest, 1), shape, generator=generator, dtype=torch.int64).to(
            example.dtype
        )
    if example.dim() == 4:
        coarse = torch.randn(
            count, shape[1], *(min(COARSE, side) for side in shape[2:]), generator=generator
        )
        noise = nn.functional.interpolate(coarse, shape[2:], mode="bilinear", align_corners=False)
        noise = noise / noise.std().clamp_min(1e-6)
    else:
        noise = torch.randn(shape, generator=generator)
    spread = (
        example.detach().float().std(correction=0).cpu() if example.numel() else torch.zeros(())
    )
    if spread > 0:
        noise = noise * spread + example.detach().float().mean().cpu()
    return noise.to(example.dtype)


class Probes(nn.Module):
    """The outputs of the networks whose weights are read, on a fixed set of inputs.

    What a network computes is invariant under every symmetry of its weights. Each network of the
    batch is run on all probes (``torch.func.functional_call`` under ``vmap``), in evaluation: no
    dropout, batch norms by the statistics among its features. Every channel is a network of its
    own.

    Args:
        module: a module of the architecture; it is copied, and its weights are not used.
        graph: its graph.
        inputs: the probes, a batch ``(probes, *shape)``: yours, or
            ``random_inputs(example, count)``.
        learned: whether the probes are parameters, started from ``inputs``.
        scale_free: three features for each output: softmax over an output's classes, logits centred
            and divided by their spread, and asinh of logits; otherwise the outputs as they are.
            Networks with one output have no softmax.
        chunk: networks run at once: bounds memory.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to ``(batch, features)``.

    Raises:
        ShapeError: the module does not fit the graph or the probes.

    Example:
        >>> import symnet as sn, torch
        >>> module = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        ... )
        >>> graph = sn.trace(module, torch.zeros(1, 2))
        >>> probes = Probes(module, graph, random_inputs(torch.zeros(1, 2), 16))
        >>> probes(
        ...     sn.features([module, module], graph)
        ... ).shape  # 16 probes, 3 outputs, 3 features of each
        torch.Size([2, 144])

    Source: probing networks with inputs: ProbeGen (arXiv 2410.10811); learned probes beside
    weights: neural graphs (arXiv 2403.12143).
    """

    inputs: Tensor

    def __init__(
        self,
        module: nn.Module,
        graph: NeuronGraph,
        inputs: Tensor,
        *,
        learned: bool = False,
        scale_free: bool = True,
        chunk: int = 64,
    ) -> None:
        super().__init__()
        self.graph = require_graph(graph, "Probes")
        if not isinstance(module, nn.Module):
            raise ShapeError(
                f"Probes got {module!r:.60} where a module is expected: Probes(module, graph, "
                "inputs)."
            )
        if not isinstance(inputs, Tensor) or not inputs.dim() or not len(inputs):
            raise ShapeError(
                "Probes needs inputs, a batch with one row for each: "
                "sn.nn.random_inputs(example, 64) draws some."
            )
        if learned and not inputs.is_floating_point():
            raise ShapeError(
                "Probes that are whole numbers cannot be learned: leave learned=True out."
            )
        check_count("chunk", chunk)
        self.scale_free, self.chunk = scale_free, chunk
        # In a tuple: its parameters are not this module's.
        self._module = (copy.deepcopy(module).eval().requires_grad_(False),)
        inputs = inputs.detach().clone()
        if learned:
            self.inputs = nn.Parameter(inputs)
        else:
            self.register_buffer("inputs", inputs)
        self.by_loop = False
        self.count = self._try()

    def _try(self) -> int:
        """Run two copies of the module's own weights: how many features there
        are, and whether ``vmap`` can do it.
        """
        state = self._module[0].state_dict()
        missing = [
            n for n, t in self.graph.shapes.items() if n not in state or tuple(state[n].shape) != t
        ]
        if missing:
            raise ShapeError(
                f"The module has no '{missing[0]}' of shape {self.graph.shapes[missing[0]]}, "
                "which the graph has. Pass the graph of this module: sn.trace(module, inputs)."
            )
        many = {n: torch.stack([state[n], state[n]]) for n in self.graph.weights}
        with torch.no_grad():
            try:
                answers = self._answers(many)
            except (RuntimeError, NotImplementedError) as error:
                self.by_loop = True
                try:
                    answers = self._answers(many)
                except (RuntimeError, TypeError, ValueError) as second:
                    raise ShapeError(
                        f"The module does not run on these probes: {second}"
                    ) from error
        self.shape = tuple(answers.shape[1:])
        return int(self._features(answers).shape[1])

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        check_features(x, self.graph.weights, "Probes got", alike=True)
        some = next(iter(x.values()))
        batch, channels = some.shape[0], some.shape[-1]
        if not batch * channels:
            return some.new_zeros(batch, self.count * channels)
        many = {name: tensor.movedim(-1, 1).flatten(0, 1) for name, tensor in x.items()}
        return self._features(self._answers(many)).view(batch, channels * self.count)

    def _answers(self, many: Mapping[str, Tensor]) -> Tensor:
        """Outputs ``(networks, probes, *shape)``."""
        if not self.by_loop:
            return vmap(self._answer, chunk_size=self.chunk, randomness="different")(dict(many))
        count = len(next(iter(many.values())))
        return torch.stack(
            [self._answer({name: tensor[k] for name, tensor in many.items()}) for k in range(count)]
        )

    def _answer(self, state: dict[str, Tensor]) -> Tensor:
        some = next(iter(state.values()))
        inputs = self.inputs.to(some.dtype) if self.inputs.is_floating_point() else self.inputs
        state = state | {alias: state[kept] for alias, kept in self.graph.aliases.items()}
        return first_tensor(functional_call(self._module[0], state, (inputs,)))

    def _features(self, answers: Tensor) -> Tensor:
        if not self.scale_free:
            return answers.flatten(1)
        rows = answers.flatten(2) if answers.dim() > 2 else answers.unsqueeze(2)
        # classes lie in the last dim of an output
        classes = answers.shape[-1] if answers.dim() > 2 else 1
        logits = rows.unflatten(2, (rows.shape[2] // classes, classes))
        centred = logits - logits.mean(-1 if classes > 1 else (1, 2, 3), keepdim=True)
        spread = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
        parts = [centred / (spread + 1e-6 * (spread == 0)), logits.asinh()]
        if classes > 1:
            parts.insert(0, logits.softmax(-1))
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        # whole numbers of its state, which no features replace, move with it
        self._module[0]._apply(fn)
        return self

    def extra_repr(self) -> str:
        kind = "learned" if isinstance(self.inputs, nn.Parameter) else "fixed"
        how = (
            "network by network (vmap cannot run this module)"
            if self.by_loop
            else f"{self.chunk} networks at once"
        )
        outputs = math.prod(self.shape[1:])
        return (
            f"{len(self.inputs)} {kind} probes x {outputs} outputs -> {self.count} features a "
            f"channel; {how}"
        )
