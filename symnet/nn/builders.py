"""Whole networks over weights in one call, from any graph: invariant and equivariant ones.

    encode values -> encode positions -> first layer -> residual blocks -> norm -> invariants -> MLP
                                                                                 -> last layer

Which neurons may be told apart decides between the paper's architectures (Zhou et al. 2023, section 3): the graph's Fixed sets
have parameters of their own (HNP), or are permuted as well and their neurons told apart by encodings (NP), or some one, some the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.graph.notation import print_axes
from symnet.groups import Fixed, Symmetric
from symnet.nn.arguments import check_count, check_interactions
from symnet.nn.attention import Attention
from symnet.nn.encodings import PositionalEncoding
from symnet.nn.features import Features, refuse_signs
from symnet.nn.fourier import ValueEncoding
from symnet.nn.linear import Linear
from symnet.nn.network import Network
from symnet.nn.pointwise import Pointwise
from symnet.nn.pool import Pool
from symnet.nn.regularization import Dropout, LayerNorm
from symnet.nn.residual import Residual
from symnet.sharing import Interactions

WIDE = 16  # Fixed neurons above which encode="auto" encodes a set: a layer's parameters grow with their square


class _Body(nn.Module):
    """What both kinds of networks begin with: features to features of ``channels``."""

    config: dict[str, Any]  # the arguments besides the graph; JSON holds them

    def __init__(
        self,
        graph: NeuronGraph,
        channels: int,
        *,
        in_channels: int = 1,
        layers: int = 2,
        mixing: str = "linear",
        heads: int = 4,
        interactions: Interactions = "full",
        encode: str | Iterable[str] = "auto",
        position_channels: int = 8,
        position_kind: str = "learned",
        value_waves: int = 0,
        value_kind: str = "gaussian",
        value_scale: float = 1.0,
        norm: bool = True,
        dropout: float = 0.0,
        inputs: SpaceLike = None,
    ) -> None:
        super().__init__()
        self.graph = require_graph(graph, type(self).__name__)
        for name, count in (("channels", channels), ("in_channels", in_channels)):
            check_count(name, count)
        check_count("layers", layers, 0)
        check_count("value_waves", value_waves, 0)
        check_interactions(interactions)
        if mixing not in ("linear", "attention"):
            raise GraphError(f"mixing={mixing!r}: choose 'linear' or 'attention'.")
        self.inputs = graph.space(inputs)
        refuse_signs(self.inputs, f"{type(self).__name__} has biases and GELUs")
        self.channels, self.encoded = channels, encoded_sets(graph, self.inputs, encode)
        self.config = {
            "channels": channels, "in_channels": in_channels, "layers": layers, "mixing": mixing, "heads": heads,
            "interactions": interactions, "encode": list(self.encoded), "position_channels": position_channels,
            "position_kind": position_kind,
            "value_waves": value_waves, "value_kind": value_kind, "value_scale": value_scale,
            "norm": norm, "dropout": dropout, "inputs": None if inputs is None else _notation(self.inputs),
        }  # fmt: skip
        self.permuted = graph.with_groups({name: Symmetric(graph.neurons[name].size) for name in self.encoded})
        modules, width = self._encodings(in_channels)
        modules.append(Linear(self.permuted, width, channels, **self._between()))
        for _ in range(layers):
            modules += self._blocks()
        if norm:
            modules.append(LayerNorm(self.permuted, channels, inputs=self._space))
        self.body = Network(*modules)

    @property
    def symmetry(self) -> NeuronGraph:
        """The graph whose group the network commutes with: the one given, with the encoded sets Fixed."""
        return self.graph.with_groups({name: Fixed(self.graph.neurons[name].size) for name in self.encoded})

    @property
    def _space(self) -> dict[str, str]:
        return _notation(self.inputs)

    def _between(self) -> dict[str, Any]:
        return {"inputs": self._space, "outputs": self._space, "interactions": self.config["interactions"]}

    def _encodings(self, width: int) -> tuple[list[nn.Module], int]:
        """Modules that append channels, and how many there are then."""
        modules: list[nn.Module] = []
        config = self.config
        if config["value_waves"]:
            waves = ValueEncoding(width, config["value_waves"], kind=config["value_kind"], scale=config["value_scale"])
            modules, width = [waves], waves.out_channels
        if self.encoded:
            each = config["position_channels"]
            check_count("position_channels", each)
            kind = config["position_kind"]
            modules.append(PositionalEncoding(self.permuted, self.encoded, each, kind=kind, inputs=self._space))
            width += each * len(self.encoded)
        return modules, width

    def _blocks(self) -> list[nn.Module]:
        """One step: weights hear of each other, then each by itself; both are added to what was there."""
        channels, drop = self.channels, self.config["dropout"]
        mix: list[nn.Module]
        if self.config["mixing"] == "attention":
            mix = [Attention(self.permuted, channels, heads=self.config["heads"], inputs=self._space)]
        else:
            mix = [Linear(self.permuted, channels, channels, **self._between())]
        each: list[nn.Module] = [
            Pointwise(nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)))
        ]
        found: list[nn.Module] = []
        for inner in (mix, each):
            before = [LayerNorm(self.permuted, channels, inputs=self._space)] if self.config["norm"] else []
            found.append(Residual(*before, *inner, *([Dropout(drop)] if drop else [])))
        return found

    def extra_repr(self) -> str:
        told = f"told apart by encodings: {', '.join(self.encoded)}" if self.encoded else "no positions encoded"
        return f"{len(self.inputs)} tensors, {told}"


class InvariantNetwork(_Body):
    """A network from weights to numbers that no permutation of neurons changes.

    Args:
        graph: the architecture of the networks that are read: declared, from the catalogue, or traced.
        channels: features of every weight inside.
        outputs: numbers for each network.
        in_channels: features of every weight at the input.
        layers: residual blocks after the first layer.
        mixing: how weights hear of each other in a block: ``"linear"`` (derived layers) or ``"attention"``.
        heads: of attention.
        interactions: as in ``Linear``; ``"adjacent"`` for networks of many tensors.
        encode: Fixed sets that are permuted, and whose neurons are told apart by encodings instead of parameters of their own:
            names; ``"none"`` (the paper's HNP); ``"fixed"``, all of them (NP); or ``"auto"``, those with more than 16 neurons.
        position_channels, position_kind: the ``PositionalEncoding`` of each such set, ``"learned"`` or ``"sinusoidal"``.
        value_waves, value_kind, value_scale: a ``ValueEncoding`` of the weights; 0 waves for none.
        norm: ``LayerNorm`` at the start of every block and before the head.
        dropout: probability in blocks and head.
        inputs: the tensors that are read, for instance without a traced model's running statistics (default: all).
        hidden: width of the head's hidden layer (default: twice the channels).

    Raises:
        GraphError, ShapeError: which argument does not fit, and what it should be.
        TooLargeError: more parameters than fit; ``encode="fixed"`` or ``interactions="adjacent"`` need fewer.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``(batch, outputs)``.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([64, 8, 3])
        >>> net = sn.nn.InvariantNetwork(graph, 16, outputs=10)
        >>> net.encoded
        ('in',)
        >>> net({name: torch.randn(5, *shape, 1) for name, shape in graph.shapes.items()}).shape
        torch.Size([5, 10])

    Source: Zhou et al. 2023 (arXiv 2302.14040), sections 2 and 3; blocks as in Neural Functional Transformers (arXiv 2305.13546).
    """

    def __init__(
        self, graph: NeuronGraph, channels: int, outputs: int, *, hidden: int | None = None, **options: Any
    ) -> None:
        super().__init__(graph, channels, **options)
        check_count("outputs", outputs)
        width = 2 * channels if hidden is None else hidden
        check_count("hidden", width)
        self.config |= {"outputs": outputs, "hidden": width}
        self.pool = Pool(self.permuted, inputs=self._space)
        count = self.pool.dimension * channels
        self.head = nn.Sequential(
            nn.Linear(count, width), nn.GELU(), nn.Dropout(self.config["dropout"]), nn.Linear(width, outputs)
        )

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.pool(self.body(x)))


class EquivariantNetwork(_Body):
    """A network from weights to features of weights, permuted as the weights are.

    Args:
        graph, channels: as in :class:`InvariantNetwork`, and so are all other options.
        out_channels: features that come out.
        outputs: what they are features of, in axis notation by name, or names of the graph's tensors (default: the inputs).

    Raises:
        GraphError, ShapeError, TooLargeError: as :class:`InvariantNetwork`.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``{name: (batch, *axes, out_channels)}``.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 3])
        >>> net = sn.nn.EquivariantNetwork(graph, 16, outputs={"score of a neuron": "h1"})
        >>> net({name: torch.randn(5, *shape, 1) for name, shape in graph.shapes.items()})["score of a neuron"].shape
        torch.Size([5, 8, 1])
    """

    def __init__(
        self, graph: NeuronGraph, channels: int, out_channels: int = 1, *, outputs: SpaceLike = None, **options: Any
    ) -> None:
        super().__init__(graph, channels, **options)
        check_count("out_channels", out_channels)
        self.outputs = self.inputs if outputs is None else graph.space(outputs)
        if not len(self.outputs):
            raise ShapeError("EquivariantNetwork has no outputs: outputs= names none. Name one at least.")
        written = _notation(self.outputs)
        self.config |= {"out_channels": out_channels, "outputs": None if outputs is None else written}
        between = self._between() | {"outputs": written}
        self.last = Linear(self.permuted, channels, out_channels, **between)
        # Complete layers share an output's variance among dozens of maps; the weight itself has a way of its own.
        self._each = tuple(name for name in written if written[name] == self._space.get(name))
        self.itself = nn.ModuleList(nn.Linear(channels, out_channels) for _ in self._each)

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        found = self.body(x)
        result: Features = self.last(found)
        own = {name: layer(found[name]) for name, layer in zip(self._each, self.itself, strict=True)}
        return {name: tensor + own[name] if name in own else tensor for name, tensor in result.items()}


def encoded_sets(graph: NeuronGraph, inputs: Space, encode: str | Iterable[str]) -> tuple[str, ...]:
    """The neuron sets that ``encode`` means.

    Raises:
        GraphError: a set that there is not.
    """
    used = dict.fromkeys(name for tensor in inputs.values() for name in tensor.symbols)
    fixed = [name for name in graph.neurons if name in used and isinstance(graph.neurons[name].group, Fixed)]
    if isinstance(encode, str):
        if encode not in ("auto", "none", "fixed"):
            raise GraphError(f"encode={encode!r}: choose 'auto', 'none', 'fixed', or give a list of neuron sets.")
        least = {"auto": WIDE + 1, "fixed": 2, "none": 2**63}[encode]
        return tuple(name for name in fixed if graph.neurons[name].size >= least)
    found = tuple(dict.fromkeys(encode))
    if unknown := [name for name in found if name not in used]:
        raise GraphError(
            f"encode= names {unknown}, but the tensors read are indexed by {', '.join(used) or 'no sets'}."
        )
    return found


def _notation(space: Space) -> dict[str, str]:
    return {name: print_axes(tensor.axes) for name, tensor in space.items()}
