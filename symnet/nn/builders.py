"""Whole networks over weights in one call, from any graph: invariant and equivariant ones.

    encode values -> encode positions -> first layer -> residual blocks -> norm -> invariants -> MLP
                                                                                 -> last layer

Which neurons may be told apart decides between the paper's architectures (Zhou et al. 2023, section
3): the graph's Fixed sets have parameters of their own (HNP), or are permuted as well and their
neurons told apart by encodings (NP), or one choice for some of them and the other for the rest.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError, TooLargeError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.graph.notation import print_axes
from symnet.groups import Fixed, Symmetric
from symnet.nn.arguments import check_count, check_interactions
from symnet.nn.attention import Attention
from symnet.nn.commuting import demands
from symnet.nn.companions import CompanionBody
from symnet.nn.encodings import PositionalEncoding
from symnet.nn.features import Features, check_features, refuse_signs
from symnet.nn.fourier import ValueEncoding
from symnet.nn.linear import Linear
from symnet.nn.pointwise import Pointwise
from symnet.nn.pool import Pool
from symnet.nn.readings import InputScale, Readings
from symnet.nn.regularization import Dropout, LayerNorm
from symnet.nn.residual import Residual
from symnet.nn.sequence import Network
from symnet.sharing import Interactions

# Fixed neurons above which encode="auto" encodes a set: a layer's parameters grow with their square
WIDE = 16


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
        check_count("channels", channels, 0 if isinstance(self, InvariantNetwork) else 1)
        check_count("in_channels", in_channels)
        check_count("layers", layers, 0)
        check_count("value_waves", value_waves, 0)
        check_interactions(interactions)
        if mixing not in ("linear", "attention"):
            raise GraphError(f"mixing={mixing!r}: choose 'linear' or 'attention'.")
        self.inputs = graph.space(inputs)
        self.has_companions = bool(demands(self.inputs))
        if self.has_companions and (mixing == "attention" or value_waves):
            used = 'mixing="attention"' if mixing == "attention" else f"value_waves={value_waves}"
            refuse_signs(self.inputs, f"{type(self).__name__}({used}) has softmaxes or cosines")
        self.channels, self.encoded = channels, encoded_sets(graph, self.inputs, encode)
        self.config = {
            "channels": channels, "in_channels": in_channels, "layers": layers,
            "mixing": mixing, "heads": heads, "interactions": interactions,
            "encode": list(self.encoded), "position_channels": position_channels,
            "position_kind": position_kind,
            "value_waves": value_waves, "value_kind": value_kind, "value_scale": value_scale,
            "norm": norm, "dropout": dropout,
            "inputs": None if inputs is None else _notation(self.inputs),
        }  # fmt: skip
        self.scale = InputScale(self.inputs)
        self.body: nn.Module | None = None
        if not channels:
            return
        self.permuted = graph.with_groups(
            {name: Symmetric(graph.neurons[name].size) for name in self.encoded}
        )
        self._written = self._invariant = self.permuted.space(self._space)
        if self.has_companions:
            body = CompanionBody(self.permuted, self._written, self.encoded, self.config)
            self.body, self._written, self._invariant = body, body.outputs, body.companions
            return
        modules, width = self._encodings(in_channels)
        modules.append(Linear(self.permuted, width, channels, **self._between()))
        for _ in range(layers):
            modules += self._blocks()
        if norm:
            modules.append(LayerNorm(self.permuted, channels, inputs=self._space))
        self.body = Network(*modules)

    @property
    def symmetry(self) -> NeuronGraph:
        """The graph whose group the network commutes with: the one
        given, with the encoded sets Fixed.
        """
        return self.graph.with_groups(
            {name: Fixed(self.graph.neurons[name].size) for name in self.encoded}
        )

    @property
    def _space(self) -> dict[str, str]:
        return _notation(self.inputs)

    def _between(self) -> dict[str, Any]:
        return {
            "inputs": self._space,
            "outputs": self._space,
            "interactions": self.config["interactions"],
        }

    def _encodings(self, width: int) -> tuple[list[nn.Module], int]:
        """Modules that append channels, and how many there are then."""
        modules: list[nn.Module] = []
        config = self.config
        if config["value_waves"]:
            waves = ValueEncoding(
                width, config["value_waves"], kind=config["value_kind"], scale=config["value_scale"]
            )
            modules, width = [waves], waves.out_channels
        if self.encoded:
            each = config["position_channels"]
            check_count("position_channels", each)
            kind = config["position_kind"]
            modules.append(
                PositionalEncoding(self.permuted, self.encoded, each, kind=kind, inputs=self._space)
            )
            width += each * len(self.encoded)
        return modules, width

    def _blocks(self) -> list[nn.Module]:
        """One step: weights hear of each other, then each by itself;
        both are added to what was there.
        """
        channels, drop = self.channels, self.config["dropout"]
        mix: list[nn.Module]
        if self.config["mixing"] == "attention":
            mix = [
                Attention(self.permuted, channels, heads=self.config["heads"], inputs=self._space)
            ]
        else:
            mix = [Linear(self.permuted, channels, channels, **self._between())]
        each: list[nn.Module] = [
            Pointwise(
                nn.Sequential(
                    nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
                )
            )
        ]
        blocks: list[nn.Module] = []
        for inner in (mix, each):
            before = (
                [LayerNorm(self.permuted, channels, inputs=self._space)]
                if self.config["norm"]
                else []
            )
            blocks.append(Residual(*before, *inner, *([Dropout(drop)] if drop else [])))
        return blocks

    def extra_repr(self) -> str:
        told = (
            f"told apart by encodings: {', '.join(self.encoded)}"
            if self.encoded
            else "no positions encoded"
        )
        parameters = sum(parameter.numel() for parameter in self.parameters())
        each = f"{parameters / max(self.inputs.size, 1):.3g} for each weight that is read"
        return f"{len(self.inputs)} tensors, {told}, {parameters:,} parameters, {each}"


LARGEST = 300_000  # parameters of a network whose channels are not given
CHANNELS = (16, 8, 4, 2, 1)  # that are tried then


class InvariantNetwork(_Body):
    """A network from weights to numbers that no element of the graph's group changes.

    Over permutations its blocks are residual layers with pointwise functions. Where the group also
    changes signs, scales, rotates or transforms neurons (ReLU, tanh and sine networks, LoRA,
    transformers), they are products and gates: every tensor has companions on which the group only
    permutes, and functions act on these.

    Layers see what is linear and pointwise; ``statistics``, ``path`` and ``probes`` add what they
    do not, and what reads accuracies best. Call ``calibrate`` with the networks to learn from
    before training: it sets the scales of inputs and of these readings, which are saved with the
    network.

    Args:
        graph: the architecture of the networks that are read: declared, from the catalogue, or
            traced.
        channels: features of every weight inside; 0 for no layers, where there are readings; None
            for as many, of at most 16, as make at most 300,000 parameters.
        outputs: numbers for each network.
        statistics: whether it also sees the seven statistics of every tensor.
        path: whether it also sees the product along the network (see ``PathProduct``): with a
            module by its own program.
        probes: number of random inputs, or inputs, on which it also runs the networks (see
            ``Probes``); needs a module.
        module, example: a module of this architecture and a batch that it takes. A saved network
            needs the module to be loaded.
        moments: of the pooled features (see ``Pool``).
            Readings are of all tensors of the graph, whatever ``inputs`` names.
        in_channels: features of every weight at the input.
        layers: residual blocks after the first layer.
        mixing: how weights hear of each other in a block: ``"linear"`` (derived layers) or
            ``"attention"``.
        heads: of attention.
        interactions: as in ``Linear``; ``"adjacent"`` for networks of many tensors.
        encode: Fixed sets that are permuted, and whose neurons are told apart by encodings instead
            of parameters of their own: names; ``"none"`` (the paper's HNP); ``"fixed"``, all of
            them (NP); or ``"auto"``, those with more than 16 neurons.
        position_channels, position_kind: the ``PositionalEncoding`` of each such set, ``"learned"``
            or ``"sinusoidal"``.
        value_waves, value_kind, value_scale: a ``ValueEncoding`` of the weights; 0 waves for none.
        norm: ``LayerNorm`` at the start of every block and before the head.
        dropout: probability in blocks and head.
        inputs: the tensors that are read, for instance without a traced model's running statistics
            (default: all).
        hidden: width of the head's hidden layer (default: twice the channels).

    Raises:
        GraphError, ShapeError: which argument does not fit, and what it should be.
        TooLargeError: more parameters than fit; ``encode="fixed"`` or ``interactions="adjacent"``
            need fewer.

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

    Source: Zhou et al. 2023 (arXiv 2302.14040), sections 2 and 3; blocks as in Neural Functional
    Transformers (arXiv 2305.13546).
    """

    def __init__(
        self,
        graph: NeuronGraph,
        channels: int | None = None,
        outputs: int = 1,
        *,
        hidden: int | None = None,
        statistics: bool = False,
        path: bool = False,
        probes: int | Tensor = 0,
        module: nn.Module | None = None,
        example: Tensor | None = None,
        moments: Sequence[str] = ("mean",),
        **options: Any,
    ) -> None:
        require_graph(graph, "InvariantNetwork")
        check_count("outputs", outputs)
        asked = statistics or path or isinstance(probes, Tensor) or bool(probes)
        readings = None
        if asked:
            readings = Readings(
                graph, statistics=statistics, path=path, probes=probes, module=module,
                example=example, in_channels=options.get("in_channels", 1),
            )  # fmt: skip
        chosen = (
            _fitting(graph, outputs, moments, readings, options) if channels is None else channels
        )
        if chosen == 0 and not asked:
            raise ShapeError(
                "channels=0 leaves no layers: ask for statistics=True, path=True or probes=, or "
                "give channels."
            )
        super().__init__(graph, chosen, **options)
        width = max(2 * chosen, 64 if asked else 1) if hidden is None else hidden
        check_count("hidden", width)
        self.config |= {"outputs": outputs, "hidden": width, "moments": list(moments)}
        self.readings, count = readings, 0
        if chosen:
            self.pool = Pool(self.permuted, inputs=self._invariant, moments=moments)
            count = self.pool.dimension * self.pool.numbers * chosen
        if readings is not None:
            count += readings.out_features
            number = len(probes) if isinstance(probes, Tensor) else probes
            self.config |= {"statistics": statistics, "path": path, "probes": number}
            if module is not None and example is not None:
                self.config["example"] = [
                    list(example.shape),
                    str(example.dtype).removeprefix("torch."),
                ]
        self.head = nn.Sequential(
            nn.Linear(count, width),
            nn.GELU(),
            nn.Dropout(self.config["dropout"]),
            nn.Linear(width, outputs),
        )

    def calibrate(self, x: Mapping[str, Tensor]) -> Self:
        """Take scales from the networks to learn from; what is found is saved with the network.

        Warns:
            UserWarning: there are fewer networks than a thousandth of the parameters.
        """
        space = self.inputs if self.readings is None else self.graph.weights
        check_features(x, space, "calibrate got", self.config["in_channels"])
        count, parameters = len(next(iter(x.values()))), sum(p.numel() for p in self.parameters())
        if 1000 * count < parameters:
            warnings.warn(
                f"{count} networks are few to learn {parameters:,} parameters from: give fewer "
                "channels, or channels=0 with statistics=True and path=True.",
                stacklevel=2,
            )
        self.scale.calibrate(x)
        if self.readings is not None:
            self.readings.calibrate(x)
        return self

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        parts = []
        if self.body is not None:
            chosen = (
                x if self.readings is None else {name: x[name] for name in self.inputs if name in x}
            )
            hidden = self.body(self.scale(chosen))
            parts.append(self.pool({name: hidden[name] for name in self._invariant}))
        if self.readings is not None:
            parts.append(self.readings(x))
        return self.head(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])


def _fitting(
    graph: NeuronGraph,
    outputs: int,
    moments: Sequence[str],
    readings: Readings | None,
    options: Mapping[str, Any],
) -> int:
    """The most channels with which there are at most 300,000 parameters,
    counted on networks without memory.
    """
    taken = (
        0
        if readings is None
        else sum(p.numel() for p in readings.parameters()) + 64 * readings.out_features
    )
    for channels in CHANNELS:
        try:
            with torch.device("meta"):
                network = InvariantNetwork(
                    graph, channels, outputs, hidden=64, moments=moments, **options
                )
        except TooLargeError:
            continue
        if taken + sum(parameter.numel() for parameter in network.parameters()) <= LARGEST:
            return channels
    return 1 if readings is None else 0


class EquivariantNetwork(_Body):
    """A network from weights to features of weights, permuted as the weights are.

    Args:
        graph, channels: as in :class:`InvariantNetwork`, and so are all other options.
        out_channels: features that come out.
        outputs: what they are features of, in axis notation by name, or names of the graph's
            tensors (default: the inputs).

    Raises:
        GraphError, ShapeError, TooLargeError: as :class:`InvariantNetwork`.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``{name: (batch, *axes, out_channels)}``.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 3])
        >>> net = sn.nn.EquivariantNetwork(graph, 16, outputs={"score of a neuron": "h1"})
        >>> net({name: torch.randn(5, *shape, 1) for name, shape in graph.shapes.items()})[
        ...     "score of a neuron"
        ... ].shape
        torch.Size([5, 8, 1])
    """

    def __init__(
        self,
        graph: NeuronGraph,
        channels: int,
        out_channels: int = 1,
        *,
        outputs: SpaceLike = None,
        **options: Any,
    ) -> None:
        super().__init__(graph, channels, **options)
        check_count("out_channels", out_channels)
        self.outputs = self.inputs if outputs is None else graph.space(outputs)
        if not len(self.outputs):
            raise ShapeError(
                "EquivariantNetwork has no outputs: outputs= names none. Name one at least."
            )
        written = _notation(self.outputs)
        self.config |= {
            "out_channels": out_channels,
            "outputs": None if outputs is None else written,
        }
        between = self._between() | {"inputs": _notation(self._written), "outputs": written}
        self.last = Linear(self.permuted, channels, out_channels, **between)
        # Complete layers share an output's variance among dozens of maps; the weight itself has a
        # way of its own.
        self._each = tuple(name for name in written if written[name] == self._space.get(name))
        self.itself = nn.ModuleList(
            nn.Linear(channels, out_channels, bias=not self.has_companions) for _ in self._each
        )

    def calibrate(self, x: Mapping[str, Tensor]) -> Self:
        """Take the scales of inputs from the networks to learn from;
        they are saved with the network.
        """
        check_features(x, self.inputs, "calibrate got", self.config["in_channels"])
        self.scale.calibrate(x)
        return self

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        assert self.body is not None
        hidden = self.body(self.scale(x))
        result: Features = self.last(hidden)
        by_itself = {
            name: layer(hidden[name]) for name, layer in zip(self._each, self.itself, strict=True)
        }
        return {
            name: tensor + by_itself[name] if name in by_itself else tensor
            for name, tensor in result.items()
        }


def encoded_sets(graph: NeuronGraph, inputs: Space, encode: str | Iterable[str]) -> tuple[str, ...]:
    """The neuron sets that ``encode`` means.

    Raises:
        GraphError: a set that there is not.
    """
    used = dict.fromkeys(name for tensor in inputs.values() for name in tensor.symbols)
    fixed = [
        name
        for name in graph.neurons
        if name in used and isinstance(graph.neurons[name].group, Fixed)
    ]
    if isinstance(encode, str):
        if encode not in ("auto", "none", "fixed"):
            raise GraphError(
                f"encode={encode!r}: choose 'auto', 'none', 'fixed', or give a list of neuron sets."
            )
        least = {"auto": WIDE + 1, "fixed": 2, "none": 2**63}[encode]
        return tuple(name for name in fixed if graph.neurons[name].size >= least)
    names = tuple(dict.fromkeys(encode))
    if unknown := [name for name in names if name not in used]:
        raise GraphError(
            f"encode= names {unknown}, but the tensors read are indexed by "
            f"{', '.join(used) or 'no sets'}."
        )
    return names


def _notation(space: Space) -> dict[str, str]:
    return {name: print_axes(tensor.axes) for name, tensor in space.items()}
