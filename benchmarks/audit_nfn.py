"""Audits of nfn (the code of Zhou et al. 2023), with symnet's verifier: ``pip install nfn``, then ``python -m benchmarks.audit_nfn``.

Linear layers get a certificate: how many equivariant maps there are, how many parameters the layer has, how many
independent maps these express. All other layers are checked for equivariance, in eval mode and in float64. Prints two tables, and
the certificates in full with ``--full``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

import symnet as sn

SEED = 0


def architectures() -> dict[str, Callable[[str], sn.NeuronGraph]]:
    """Small instances; nfn knows MLPs and two-dimensional CNNs with a global pool before the last layer."""
    found: dict[str, Callable[[str], sn.NeuronGraph]] = {}
    for sizes in ([2, 3, 2], [3, 2, 3, 2], [2, 3, 2, 3, 2], [2, 3, 2, 1], [2, 1, 2]):
        found["MLP " + "-".join(map(str, sizes))] = lambda io, sizes=sizes: sn.catalogue.mlp(
            sizes, io=io
        )
    found["CNN 1-2-2 (2x2)"] = lambda io: sn.catalogue.cnn([1, 2], 2, 2, io=io)
    found["CNN 2-2-3-2 (2x1)"] = lambda io: sn.catalogue.cnn([2, 2, 3], (2, 1), 2, io=io)
    return found


def specification(graph: sn.NeuronGraph) -> Any:
    """nfn's description of the architecture."""
    from nfn.common import network_spec_from_wsfeat

    features = {name: torch.zeros(1, 1, *shape) for name, shape in graph.shapes.items()}
    return network_spec_from_wsfeat(
        container(
            [t for t in features.values() if t.ndim > 3],
            [t for t in features.values() if t.ndim == 3],
        )
    )


def container(weights: list[torch.Tensor], biases: list[torch.Tensor]) -> Any:
    from nfn.common import WeightSpaceFeatures

    return WeightSpaceFeatures(weights, biases)


def adapted(layer: nn.Module, graph: sn.NeuronGraph) -> nn.Module:
    return sn.verify.on_lists(layer, graph, container=container)


def linear_layers() -> dict[str, tuple[str, Callable[[Any], nn.Module]]]:
    """By name: the I/O group that the layer is for, and how it is made with one channel in and out."""
    from nfn import layers

    return {
        "NPLinear": ("permuted", lambda spec: layers.NPLinear(spec, 1, 1)),
        "HNPLinear": ("fixed", lambda spec: layers.HNPLinear(spec, 1, 1)),
        "Pointwise": ("permuted", lambda spec: layers.Pointwise(spec, 1, 1)),
        "NPPool": ("permuted", layers.NPPool),
        "HNPPool": ("fixed", layers.HNPPool),
    }


def other_layers() -> dict[str, tuple[str, int, Callable[[Any], nn.Module]]]:
    """By name: the I/O group, the channels in, and how the layer is made."""
    from nfn import layers

    def residual(spec: Any) -> nn.Module:
        parts = (
            layers.HNPLinear(spec, 4, 4),
            layers.TupleOp(nn.ReLU()),
            0.5,
            layers.SimpleLayerNorm(spec, 4),
        )
        return layers.ResBlock(*parts)

    return {
        "NPAttention": (
            "permuted",
            4,
            lambda spec: layers.NPAttention(spec, 4, num_heads=2, dropout=0.5),
        ),
        "NPAttention, own projections": (
            "permuted",
            4,
            lambda spec: layers.NPAttention(spec, 4, num_heads=2, share_projections=False),
        ),
        "NPLinear with io_embed": (
            "fixed",
            1,
            lambda spec: layers.NPLinear(spec, 1, 2, io_embed=True),
        ),
        "SimpleLayerNorm": ("permuted", 4, lambda spec: layers.SimpleLayerNorm(spec, 4)),
        "ParamLayerNorm": ("fixed", 4, lambda spec: layers.ParamLayerNorm(spec, 4)),
        "ChannelDropout": ("permuted", 4, lambda spec: layers.ChannelDropout(0.5)),
        "GaussianFourierFeatureTransform": (
            "permuted",
            2,
            lambda spec: layers.GaussianFourierFeatureTransform(spec, 2, 3, 1.0),
        ),
        "IOSinusoidalEncoding": ("fixed", 1, layers.IOSinusoidalEncoding),
        "LearnedPosEmbedding": ("fixed", 4, lambda spec: layers.LearnedPosEmbedding(spec, 4)),
        "LearnedScale": ("permuted", 1, lambda spec: layers.LearnedScale(spec, 0.1)),
        "StatFeaturizer": ("permuted", 1, lambda spec: layers.StatFeaturizer()),
        "ResBlock of HNPLinear": ("fixed", 4, residual),
    }


def audit_linear(full: bool) -> None:
    """One line a layer and architecture."""
    print("Linear layers, per pair of channels (maps: equivariant linear maps that exist)\n")
    print(
        f"{'layer':<11}{'architecture':<19}{'maps':>6}{'parameters':>12}{'rank':>6}{'missing':>9}{'redundant':>11}  verdict"
    )
    for name, (io, make) in linear_layers().items():
        for title, declare in architectures().items():
            graph = declare(io)
            try:
                found = sn.verify.certify(
                    adapted(make(specification(graph)), graph), graph, seed=SEED
                )
            except (RuntimeError, IndexError) as error:
                print(f"{name:<11}{title:<19}  does not run: {str(error).splitlines()[0][:70]}")
                continue
            words = [("" if holds else "not ") + word for holds, word in verdicts(found)]
            print(
                f"{name:<11}{title:<19}{found.dimension:>6}{found.parameters:>12}{found.rank:>6}{len(found.missing):>9}"
                f"{len(found.redundant):>11}  {', '.join(words)}"
            )
            for text in found.missing[:2]:
                print(f"{'':<30}misses {text}")
            if full:
                print(f"\n{found}\n")


def verdicts(found: sn.verify.Certificate) -> list[tuple[bool, str]]:
    return [
        (found.equivariant, "equivariant"),
        (found.complete, "complete"),
        (found.minimal, "minimal"),
    ]


def audit_others() -> None:
    """One line a layer and architecture."""
    print("\nOther layers: equivariance in eval mode\n")
    for name, (io, channels, make) in other_layers().items():
        for title in ("MLP 2-3-2", "MLP 2-3-2-3-2", "CNN 1-2-2 (2x2)"):
            graph = architectures()[title](io)
            try:
                layer = adapted(make(specification(graph)), graph)
                report = sn.verify.equivariance(layer, graph, channels, seed=SEED)
            except (RuntimeError, IndexError, ValueError) as error:
                print(f"{name:<32}{title:<17} does not run: {str(error).splitlines()[0][:90]}")
                continue
            why = (
                ""
                if report.passed
                else f": {report.failures[0] if report.failures else report.problems[0]}"
            )
            print(
                f"{name:<32}{title:<17} {'equivariant' if report.passed else 'NOT equivariant'} ({report.max_error:.1e}){why}"
            )


def main() -> None:
    """Print both audits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="print every certificate")
    arguments = parser.parse_args()
    if find_spec("nfn") is None:
        sys.exit("nfn is not installed. Run: pip install nfn")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    audit_linear(arguments.full)
    audit_others()


if __name__ == "__main__":
    main()
