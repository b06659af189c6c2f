"""The readers that `fit` compares: what each is given to see, and how it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from symnet.errors import SymnetError
from symnet.graph import NeuronGraph
from symnet.groups import is_trivial
from symnet.learn.kinds import KindReader
from symnet.nn import InvariantNetwork

__all__ = ["READERS", "Candidate", "candidates_for"]

PROBES = 64
# Above so many weights layers take more than minutes, and are built only if they are asked for.
LARGEST_FOR_LAYERS = 20_000
LAYERS = {"channels": 4, "layers": 1, "interactions": "adjacent", "moments": ("mean", "spread")}
READERS: dict[str, str] = {
    "statistics": "means, variances, quantiles of every tensor",
    "product": "statistics, and the product of the weights along the network",
    "probes": "statistics, and the networks' answers to random inputs",
    "layers": "statistics, and NF-Layers",
    "all": "everything that can be had",
}


@dataclass(frozen=True)
class Candidate:
    """One way to read networks.

    Args:
        name: one of `READERS`.
        options: of `InvariantNetwork`; none for a `KindReader`.
        kinds: of a `KindReader`.
    """

    name: str
    graph: NeuronGraph | None
    options: Mapping[str, Any]
    kinds: tuple[str, ...] = ()

    @property
    def has_layers(self) -> bool:
        """Whether it reads weights in every step of training, and not once for all."""
        return bool(self.options.get("channels"))

    def build(self, outputs: int) -> InvariantNetwork | KindReader:
        """A new reader; torch's generator starts it."""
        if self.graph is None:
            return KindReader(self.kinds, outputs)
        return InvariantNetwork(self.graph, outputs=outputs, **self.options)


def candidates_for(
    graph: NeuronGraph | None,
    kinds: Sequence[str],
    asked: str,
    module: nn.Module | None,
    example: Tensor | None,
) -> tuple[list[Candidate], dict[str, str]]:
    """The readers to compare, and why others are left out.

    Args:
        graph: of the networks; None where there are several.
        kinds: of their tensors, where there are several graphs.
        asked: "best" for all that can be built, or the name of one.
        module, example: of the networks, if their code is known.

    Raises:
        SymnetError: the reader that is asked for does not exist or cannot be built.
    """
    if asked not in ("best", *READERS):
        raise SymnetError(
            f"reader={asked!r:.60}: choose 'best' (compares all), or one of {', '.join(READERS)}."
        )
    if graph is None:
        if asked not in ("best", "statistics"):
            raise SymnetError(
                f"reader={asked!r} is of one architecture; networks of several are read by 'statistics'."
            )
        return [Candidate("statistics", None, {}, tuple(kinds))], {}
    candidates, left_out = [], dict[str, str]()
    for name in READERS if asked == "best" else (asked,):
        why = "" if asked != "best" else _why_not(name, graph, module)
        candidate = Candidate(name, graph, _options(name, graph, module, example))
        try:
            if not why:
                candidate.build(1)
                candidates.append(candidate)
        except SymnetError as error:
            if asked != "best":
                raise
            why = str(error)
        if why:
            left_out[name] = why
    if not candidates:
        raise SymnetError(
            f"No reader can be built for these networks: {'; '.join(left_out.values())}"
        )
    return candidates, left_out


def _why_not(name: str, graph: NeuronGraph, module: nn.Module | None) -> str:
    """Why a reader is not tried unless it is asked for; empty if it is."""
    symmetric = any(not is_trivial(neuron_set.group) for neuron_set in graph.neurons.values())
    if name == "probes" and module is None:
        return "no module was given (module=, example=)"
    if name in ("product", "layers", "all") and not symmetric:
        return "no neuron of the graph may be permuted, as far as is known"
    if name in ("layers", "all") and graph.weights.size > LARGEST_FOR_LAYERS:
        return f"layers on networks of {graph.weights.size:,} weights take long; ask for it with reader={name!r}"
    return ""


def _options(
    name: str, graph: NeuronGraph, module: nn.Module | None, example: Tensor | None
) -> dict[str, Any]:
    options: dict[str, Any] = {"statistics": True, "channels": 0}
    if name in ("layers", "all"):
        options |= LAYERS
    if name in ("product", "all"):
        options["path"] = True
    if name == "probes" or (name == "all" and module is not None):
        options["probes"] = PROBES
    if module is not None and ("path" in options or "probes" in options):
        options |= {"module": module, "example": example}
    return options
