"""Narrow models with the symmetry that each has: one registry that every tracing test draws on.

``sets`` lists the neuron sets as ``(size, sizes of the ancestors, how many such sets)``, worked out by hand from the
architecture. Models from Hugging Face transformers stand in ``hugging_face.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Sets = tuple[tuple[int, tuple[int, ...], int], ...]


@dataclass(frozen=True)
class Case:
    """A model, its example inputs, and the neuron sets that move."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Any, ...]]
    sets: Sets
    keywords: Callable[[], dict[str, Any]] = dict

    def __repr__(self) -> str:
        return self.name


CASES: list[Case] = []


def case(
    name: str, inputs: Callable[[], tuple[Any, ...]], *sets: tuple[int, tuple[int, ...], int]
) -> Callable:
    """Registers a module class (or factory) as a case."""

    def register(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        CASES.append(Case(name, make, inputs, tuple(sets)))
        return make

    return register


def rows(*shape: int) -> Callable[[], tuple[Tensor]]:
    """One float input of this shape."""
    return lambda: (torch.randn(shape, generator=torch.Generator().manual_seed(0)),)


def seq(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(*modules)


def plain(
    name: str, inputs: Callable[[], tuple[Any, ...]], make: Callable[[], nn.Module], *sets: Any
) -> None:
    case(name, inputs, *sets)(make)


# ---- feed-forward ---------------------------------------------------------------------------------------------------
plain(
    "mlp",
    rows(3, 2),
    lambda: seq(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)),
    (4, (), 1),
    (3, (), 1),
)
plain(
    "lenet",
    rows(2, 1, 12, 12),
    lambda: seq(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5),
        nn.ReLU(), nn.Linear(5, 2),
    ),
    (3, (), 1), (4, (), 1), (5, (), 1),
)  # fmt: skip
plain(
    "vgg with batch norm",
    rows(2, 3, 8, 8),
    lambda: seq(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(24, 7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 3),
    ),
    (4, (), 1), (5, (), 1), (6, (), 1), (7, (), 1),
)  # fmt: skip


class BasicBlock(nn.Module):
    def __init__(self, fan_in: int, fan_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(fan_out)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(fan_out)
        self.downsample = (
            seq(nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), nn.BatchNorm2d(fan_out))
            if stride != 1 or fan_in != fan_out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += skip
        return F.relu(x, inplace=True)


class Bottleneck(nn.Module):
    def __init__(self, fan_in: int, width: int, fan_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(fan_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = (
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.conv3, self.bn3 = nn.Conv2d(width, fan_out, 1, bias=False), nn.BatchNorm2d(fan_out)
        self.downsample = (
            seq(nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), nn.BatchNorm2d(fan_out))
            if stride != 1 or fan_in != fan_out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + skip)


class ResNet(nn.Module):
    """ResNet-18 (basic blocks) or ResNet-50 (bottlenecks), with the stages' widths given."""

    def __init__(
        self, stem: int, widths: list[int], depths: list[int], expansion: int = 0, classes: int = 3
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        fan_in = stem
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            blocks: list[nn.Module] = []
            for number in range(depth):
                stride = 2 if number == 0 and stage > 1 else 1
                fan_out = width * (expansion or 1)
                blocks.append(
                    Bottleneck(fan_in, width, fan_out, stride)
                    if expansion
                    else BasicBlock(fan_in, fan_out, stride)
                )
                fan_in = fan_out
            setattr(self, f"layer{stage}", seq(*blocks))
        self.stages = len(widths)
        self.fc = nn.Linear(fan_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


plain(
    "resnet18",
    rows(2, 3, 32, 32),
    lambda: ResNet(4, [4, 6, 8], [2, 2, 2]),
    (4, (), 3),
    (6, (), 3),
    (8, (), 3),
)  # stem and stream, and two inner widths, a stage
plain(
    "resnet50",
    rows(1, 3, 32, 32),
    lambda: ResNet(4, [2, 3, 4, 5], [3, 4, 6, 3], expansion=2),
    (2, (), 6), (3, (), 8), (6, (), 1), (4, (), 13), (8, (), 1), (5, (), 6), (10, (), 1),
)  # fmt: skip


class InvertedResidual(nn.Module):
    def __init__(self, fan_in: int, hidden: int, fan_out: int, stride: int) -> None:
        super().__init__()
        self.skip = stride == 1 and fan_in == fan_out
        self.conv = seq(
            nn.Conv2d(fan_in, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, fan_out, 1, bias=False), nn.BatchNorm2d(fan_out),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


plain(
    "mobilenetv2",
    rows(2, 3, 16, 16),
    lambda: seq(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(), InvertedResidual(4, 6, 5, 1), InvertedResidual(5, 7, 5, 1),
        InvertedResidual(5, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2),
    ),
    (4, (), 1), (6, (), 1), (5, (), 1), (7, (), 1), (8, (), 1), (3, (), 1),
)  # fmt: skip


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pwconv1, self.pwconv2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ChannelsFirstNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return (
            self.weight[:, None, None] * ((x - mean) / torch.sqrt(variance + 1e-6))
            + self.bias[:, None, None]
        )


plain(
    "convnext",
    rows(2, 3, 16, 16),
    lambda: seq(
        nn.Conv2d(3, 4, 4, 4), ChannelsFirstNorm(4), ConvNeXtBlock(4, 7), ChannelsFirstNorm(4), nn.Conv2d(4, 5, 2, 2),
        ConvNeXtBlock(5, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2),
    ),
    (4, (), 1), (7, (), 1), (5, (), 1), (8, (), 1),
)  # fmt: skip


@case("densenet", rows(2, 3, 8, 8), (4, (), 1), (3, (), 2), (5, (), 2), (6, (), 1))
class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.ModuleList(
            seq(
                nn.BatchNorm2d(n),
                nn.ReLU(),
                nn.Conv2d(n, 5, 1),
                nn.BatchNorm2d(5),
                nn.ReLU(),
                nn.Conv2d(5, 3, 3, padding=1),
            )
            for n in (4, 7)
        )
        self.transition = seq(nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 6, 1), nn.AvgPool2d(2))
        self.head = nn.Linear(6 * 16, 2)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.head(self.transition(torch.cat(features, 1)).flatten(1))


@case("unet", rows(2, 1, 8, 8), (3, (), 1), (4, (), 1), (5, (), 1), (6, (), 1))
class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 5, 2, 2)
        self.join, self.out = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        return self.out(F.relu(self.join(torch.cat([a, self.up(b)], 1))))


# ---- groups ---------------------------------------------------------------------------------------------------------
plain(
    "grouped convolution with group norm",
    rows(2, 2, 6, 6),
    lambda: seq(
        nn.Conv2d(2, 9, 3, padding=1), nn.GroupNorm(3, 9), nn.ReLU(), nn.Conv2d(9, 9, 3, padding=1, groups=3), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(9, 2),
    ),
    (3, (), 1), (3, (3,), 2),
)  # fmt: skip
plain(
    "depthwise convolution with group norm",
    rows(2, 2, 6, 6),
    lambda: seq(
        nn.Conv2d(2, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(), nn.Conv2d(6, 3, 1), nn.Flatten(),
        nn.Linear(12, 2),
    ),
    (2, (), 1), (3, (2,), 1), (3, (), 1),
)  # fmt: skip
plain(
    "grouped transposed convolution",
    rows(2, 2, 4, 4),
    lambda: seq(nn.Conv2d(2, 6, 1), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, 2, groups=2), nn.ReLU(), nn.Conv2d(4, 1, 1)),
    (2, (), 1), (3, (2,), 1), (2, (2,), 1),
)  # fmt: skip
plain(
    "instance norm", rows(2, 2, 5, 5), lambda: seq(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Conv2d(4, 1, 1)),
    (4, (), 1),
)  # fmt: skip
plain(
    "pixel shuffle", rows(2, 1, 4, 4), lambda: seq(nn.Conv2d(1, 12, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(3, 1, 3)),
    (3, (), 1),
)  # fmt: skip
plain(
    "pixel unshuffle", rows(2, 1, 4, 4), lambda: seq(nn.Conv2d(1, 3, 3, padding=1), nn.PixelUnshuffle(2), nn.ReLU(), nn.Conv2d(12, 1, 1)),
    (3, (), 1),
)  # fmt: skip
plain(
    "channel shuffle",
    rows(2, 1, 4, 4),
    lambda: seq(nn.Conv2d(1, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 1, groups=2), nn.ChannelShuffle(2), nn.ReLU(), nn.Conv2d(6, 1, 1)),
    (2, (), 1), (3, (2,), 2),
)  # fmt: skip


@case("squeeze-excite", rows(2, 2, 5, 5), (4, (), 1), (3, (), 1))
class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.down, self.up, self.out = (
            nn.Conv2d(2, 4, 3),
            nn.Conv2d(4, 3, 1),
            nn.Conv2d(3, 4, 1),
            nn.Linear(4, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        x = x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))
        return self.out(x.amax((2, 3)))


# ---- gates and joins ------------------------------------------------------------------------------------------------
@case("maxout", rows(3, 2), (4, (), 1), (3, (4,), 1))
class Maxout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pieces, self.out = nn.Linear(2, 12), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pieces(x).view(-1, 4, 3).max(-1).values)


@case("crelu", rows(3, 2), (4, (), 1))
class CReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(2, 4), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        return self.out(F.relu(torch.cat([x, -x], -1)))


class GatedLinear(nn.Module):
    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gate, self.up, self.down = gate, nn.Linear(2, 10), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, -1)
        return self.down(value * self.gate(gate))


plain("swiglu", rows(3, 2), lambda: GatedLinear(F.silu), (5, (), 1))
plain("geglu", rows(3, 2), lambda: GatedLinear(F.gelu), (5, (), 1))
plain("glu", rows(3, 2), lambda: seq(nn.Linear(2, 10), nn.GLU(), nn.Linear(5, 1)), (5, (), 1))


@case("outer product", rows(3, 2), (3, (), 1), (4, (), 1))
class OuterProduct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(2, 3), nn.Linear(2, 4), nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(
            torch.einsum("bi,bj->bij", torch.tanh(self.left(x)), torch.tanh(self.right(x))).flatten(
                1
            )
        )


@case("bilinear", rows(3, 2), (3, (), 1), (4, (), 1), (5, (), 1))
class BilinearNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.both, self.out = (
            nn.Linear(2, 3),
            nn.Linear(2, 4),
            nn.Bilinear(3, 4, 5),
            nn.Linear(5, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.both(F.relu(self.left(x)), F.relu(self.right(x)))))


plain(
    "weight norm",
    rows(3, 2),
    lambda: seq(
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 4)), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU(),
        nn.Linear(3, 1),
    ),
    (4, (), 1), (3, (), 1),
)  # fmt: skip
plain(
    "spectral norm",
    rows(3, 2),
    lambda: seq(
        nn.utils.parametrizations.spectral_norm(nn.Linear(2, 4)), nn.ReLU(), nn.Linear(4, 1)
    ),
    (4, (), 1),
)
plain("prelu", rows(3, 2), lambda: seq(nn.Linear(2, 4), nn.PReLU(4), nn.Linear(4, 1)), (4, (), 1))


@case("tied weights", rows(3, 4), (5, (), 1))
class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.bias = nn.Linear(4, 5), nn.Parameter(torch.zeros(4))
        self.decoder_weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.encoder(x)) @ self.decoder_weight + self.bias


@case("padded shortcut", rows(2, 3, 8, 8), (4, (), 1), (2, (), 2), (3, (), 1))
class PaddedShortcut(nn.Module):
    """The parameter-free shortcut of the first ResNets: the added channels are told apart from the kept ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer, self.fc = (
            nn.Conv2d(3, 4, 3, 1, 1),
            nn.Conv2d(4, 3, 3, 2, 1),
            nn.Conv2d(3, 8, 3, 1, 1),
            nn.Linear(8, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.outer(F.relu(self.inner(x)))
        y = y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.fc(F.relu(y).mean((2, 3)))


# ---- sets, mixers, recurrence ---------------------------------------------------------------------------------------
class MixerBlock(nn.Module):
    def __init__(self, tokens: int, width: int, token_hidden: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = seq(
            nn.Linear(tokens, token_hidden), nn.GELU(), nn.Linear(token_hidden, tokens)
        )
        self.channels = seq(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


@case("mlp-mixer", rows(2, 4, 3), (6, (), 1), (5, (), 1), (7, (), 1))
class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.block, self.head = nn.Linear(3, 6), MixerBlock(4, 6, 5, 7), nn.Linear(6, 2)
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.embed(x))).mean(1))


@case("deep sets", rows(2, 5, 3), (4, (), 1), (6, (), 1), (5, (), 1))
class DeepSets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phi = seq(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 6))
        self.rho = seq(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(self.phi(x).sum(1))


class Recurrent(nn.Module):
    def __init__(self, kind: str, layers: int, both: bool = False) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(3, 4, num_layers=layers, bidirectional=both)
        self.head = nn.Linear(8 if both else 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


for _kind in ("LSTM", "GRU", "RNN"):
    plain(
        f"{_kind.lower()}, two layers",
        rows(3, 2, 3),
        lambda kind=_kind: Recurrent(kind, 2),
        (4, (), 2),
    )
    plain(
        f"{_kind.lower()}, two directions",
        rows(3, 2, 3),
        lambda kind=_kind: Recurrent(kind, 2, True),
        (4, (), 4),
    )


class Unrolled(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cell, self.head = getattr(nn, kind)(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x:
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


for _kind in ("LSTMCell", "GRUCell", "RNNCell"):
    plain(f"{_kind} by hand", rows(3, 2, 3), lambda kind=_kind: Unrolled(kind), (4, (), 1))


# ---- attention ------------------------------------------------------------------------------------------------------
class Encoder(nn.Module):
    def __init__(self, depth: int = 2, norm_first: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 6, batch_first=True, norm_first=norm_first)
        self.embed, self.head = nn.Linear(3, 8), nn.Linear(8, 2)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x)))


TRANSFORMER = ((8, (), 1), (6, (), 2), (2, (), 2), (4, (2,), 4))
plain("transformer encoder", rows(2, 5, 3), Encoder, *TRANSFORMER)
plain(
    "transformer encoder, norm first", rows(2, 5, 3), lambda: Encoder(norm_first=True), *TRANSFORMER
)


@case(
    "cross attention with other widths",
    lambda: (*rows(2, 3, 8)(), *rows(2, 4, 5)()),
    (2, (), 1),
    (4, (2,), 2),
)
class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, kdim=5, vdim=5, batch_first=True)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.attend(x, memory, memory, need_weights=False)[0]


class FusedAttention(nn.Module):
    """Attention as in timm's ViT: one matrix for queries, keys and values, viewed as (3, head, dim)."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout, self.qkv, self.proj = layout, nn.Linear(6, 24), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        if self.layout == "3 h d":
            q, k, v = self.qkv(x).reshape(b, t, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.layout == "h 3 d":  # GPT-NeoX
            q, k, v = (part.transpose(1, 2) for part in self.qkv(x).view(b, t, 2, 12).split(4, -1))
        else:
            q, k, v = (part.view(b, t, 2, 4).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        x = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, t, 8))


for _layout in ("3 h d", "h 3 d", "chunk"):
    plain(
        f"fused attention, {_layout}",
        rows(2, 5, 6),
        lambda layout=_layout: FusedAttention(layout),
        (2, (), 1),
        (4, (2,), 2),
    )


@case("query and key norms", rows(2, 5, 6), (2, (), 1), (4, (2,), 1), (4, (), 1))
class NormedAttention(nn.Module):
    """The norms' weights are shared by the heads, so the keys of all heads move together."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (
            nn.Linear(6, 8),
            nn.Linear(6, 8),
            nn.Linear(6, 8),
            nn.Linear(8, 6),
        )
        self.q_norm, self.k_norm = nn.LayerNorm(4), nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, 2, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v, is_causal=True)
        return self.o(x.transpose(1, 2).reshape(b, t, 8))


@case("grouped queries, fused by heads", rows(2, 5, 6), (2, (), 1), (2, (2,), 1), (3, (2,), 2))
class GroupedQueries(nn.Module):
    """Four query heads over two key heads; heads of queries, keys and values are slices of one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(6, 24), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        heads = self.qkv(x).view(b, t, 8, 3).transpose(1, 2)
        q, k, v = heads[:, :4], heads[:, 4:6], heads[:, 6:]
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, 12))


@case("talking heads", rows(2, 5, 6), (2, (), 1), (4, (), 1))
class TalkingHeads(nn.Module):
    """Heads of values are mixed, so the values of all heads move together instead of each on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.mix, self.o = (
            nn.Linear(6, 8),
            nn.Parameter(torch.eye(2) + 0.1),
            nn.Linear(8, 6),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        v = torch.tanh(self.v(x).view(b, t, 2, 4))
        mixed = torch.einsum("bthd,hk->btkd", v, self.mix) + v
        return self.o(torch.tanh(mixed).reshape(b, t, 8))


# ---- experts --------------------------------------------------------------------------------------------------------
@case("dense experts", rows(4, 3), (3, (), 1), (5, (3,), 1))
class DenseExperts(nn.Module):
    """Every expert sees every sample: experts permute as a whole, with the router's rows and what is inside them."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(3, 3)
        self.up, self.down = nn.Parameter(torch.randn(3, 5, 3)), nn.Parameter(torch.randn(3, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        gates = self.router(x).softmax(-1)
        inner = F.gelu(torch.einsum("efm,bm->bef", self.up, x))
        return torch.einsum("bem,be->bm", torch.einsum("emf,bef->bem", self.down, inner), gates)


@case("routed experts", rows(8, 3), (5, (3,), 1))
class RoutedExperts(nn.Module):
    """Each sample goes to the expert with the largest score, picked by index: the experts' own axis is pinned."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(3, 3)
        self.up, self.down = nn.Parameter(torch.randn(3, 5, 3)), nn.Parameter(torch.randn(3, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        gates = self.router(x).softmax(-1)
        best, which = gates.max(-1)
        result = torch.zeros_like(x)
        for expert in range(3):
            rows = (which == expert).nonzero()[:, 0]
            y = F.gelu(x[rows] @ self.up[expert].T) @ self.down[expert].T
            result.index_add_(0, rows, y * best[rows, None])
        return result
