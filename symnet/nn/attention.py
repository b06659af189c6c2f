"""Attention among the weights that share a neuron set, and among tensors.

For an MLP, Zhou et al. (2023, *Neural Functional Transformers*, equations 4 to 6) let the rows and
columns of the two matrices and the bias that touch one hidden layer attend to each other. For any
architecture:

A tensor with concatenated axes is a direct sum of blocks; every block is a product of instances of
neuron sets. Take a neuron set ``v`` with its ancestors ``u`` (the sets that it is over), and an
instance of ``v`` in a block. The dims of the block fall in three kinds:

- *along*: the instance itself and the ancestors' instances that it reads its copy from;
- *averaged*: instances that read a copy from one of these (the ``dim`` of every head, when ``v`` is
  the head): element 1 of one copy has nothing to do with element 1 of another, so they are averaged
  over;
- *tokens*: all others.

So a block gives one token for every combination of the third kind, and the token is a function on
the pairs ``(u, v)``. The tokens of all blocks, and of all instances of ``v`` in them (a recurrent
matrix ``h h`` gives its rows and its columns), attend to each other::

    out[a] = sum_b softmax_b( <q[a], k[b]> / sqrt(size of a token) ) v[b]

The group moves all functions on the pairs ``(u, v)`` alike, so the scores are invariant under it;
what it does to the indices of the tokens permutes rows and columns of the scores. So ``out`` is
equivariant, for every group: subgroups of permutations as well as all of them. Results for averaged
dims are broadcast, and those of all neuron sets are added up. Attention over tensors has one token
a block, its mean. Anonymous Fixed axes (kernel offsets) are folded into the channels of queries,
keys and values, as in the paper. A named Fixed set is treated as a permuted one: tell its neurons
apart with a ``PositionalEncoding``.

Memory is linear in the number of tokens wherever torch's fused attention runs (CPU, and GPU with
the sizes it takes). The fused one has first derivatives; for second ones, run it under
``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.neuron_graph import require_graph
from symnet.nn.arguments import check_count, check_spaces
from symnet.nn.features import Features, check_features, refuse_signs


@dataclass(frozen=True, slots=True)
class AttendedBlock:
    """A block as attention reads it: ``(batch, *sizes, folded * channels)``."""

    tensor: str
    block: Block
    order: tuple[int, ...]  # dims of the block: named ones, then anonymous ones
    sizes: tuple[int, ...]  # of the named ones
    folded: int  # positions of the anonymous ones together


@dataclass(frozen=True, slots=True)
class Fibres:
    """How one instance of a neuron set cuts a part into tokens; its
    named dims are numbered from 0.
    """

    part: int
    tokens: tuple[int, ...]
    along: tuple[int, ...]
    averaged: tuple[int, ...]


class Attention(nn.Module):
    """Multi-head attention among the weights that share a neuron set, plus
    attention over tensors; see the module's text.

    Args:
        graph: the architecture.
        channels: features of every weight, in and out; a multiple of ``heads``.
        heads: attention heads.
        inputs: the features' space (default: the graph's tensors).
        share_projections: one projection for all blocks with equally many kernel offsets, as the
            published layer has, instead of one for each block.
        over_tensors: whether tensors' means attend to each other too.

    Raises:
        ShapeError: channels or heads that do not fit, or features that do not.
        GraphError: a tensor's sign may change (``SignedSymmetric``): the softmax of its scores
            would not follow.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to the same.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 1])
        >>> layer = sn.nn.Attention(graph, 16, heads=2)
        >>> layer({name: torch.randn(5, *shape, 16) for name, shape in graph.shapes.items()})[
        ...     "0.weight"
        ... ].shape
        torch.Size([5, 8, 2, 16])
        >>> layer.tokens  # of h1: a row for each input, a bias, a row for each output
        {'h1': 4, 'in': 8, 'out': 9}

    Source: Zhou et al. 2023 (arXiv 2305.13546).
    """

    def __init__(
        self,
        graph: NeuronGraph,
        channels: int,
        *,
        heads: int = 4,
        inputs: SpaceLike = None,
        share_projections: bool = False,
        over_tensors: bool = True,
    ) -> None:
        super().__init__()
        check_count("channels", channels)
        check_count("heads", heads)
        if channels % heads:
            raise ShapeError(
                f"channels={channels} cannot be divided among heads={heads}: give a multiple of "
                f"{heads}."
            )
        graph = require_graph(graph, "Attention")
        self.inputs, _ = check_spaces("Attention", graph.space(inputs), graph.weights)
        refuse_signs(self.inputs, "Attention takes softmaxes of scores")
        self.channels, self.heads, self.over_tensors = channels, heads, over_tensors
        self.parts = read_parts(self.inputs)
        self.fibres = find_fibres(self.inputs, self.parts)
        keys = [
            part.folded if share_projections else number for number, part in enumerate(self.parts)
        ]
        kinds = list(dict.fromkeys(keys))
        self._projection = tuple(kinds.index(key) for key in keys)  # which projection a part has
        widths = [channels * self.parts[keys.index(kind)].folded for kind in kinds]
        self.project = nn.ModuleList(nn.Linear(width, 3 * channels) for width in widths)
        self.combine = nn.ModuleList(nn.Linear(channels, width) for width in widths)

    @property
    def tokens(self) -> dict[str, int]:
        """How many tokens attend to each other, by neuron set."""
        return {
            name: sum(math.prod(self.parts[f.part].sizes[k] for k in f.tokens) for f in cuts)
            for name, cuts in self.fibres.items()
        }

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_features(x, self.inputs, "Attention got", self.channels, like=next(self.parameters()))
        triples = [self._triples(number, x) for number in range(len(self.parts))]
        totals: list[Tensor] = self._between_tensors(triples)
        for cuts in self.fibres.values():
            for fibres, change in zip(cuts, self._among(cuts, triples), strict=True):
                totals[fibres.part] = totals[fibres.part] + change
        return self._write([self._combined(number, total) for number, total in enumerate(totals)])

    # ---- details ---------------------------------------------------------------------------------
    def _triples(self, number: int, x: Mapping[str, Tensor]) -> Tensor:
        """Query, key and value of every entry of a part:
        ``(3, batch, heads, *sizes, channels of a head)``.
        """
        part = self.parts[number]
        values = apply_views(x[part.tensor], part.block.views, 1)
        if part.folded > 1 or part.order != tuple(range(len(part.order))):
            values = values.permute(0, *(k + 1 for k in part.order), values.dim() - 1)
        batch, named = values.shape[0], len(part.sizes)
        values = values.reshape(batch, *part.sizes, part.folded * self.channels)
        values = self.project[self._projection[number]](values)
        values = values.view(batch, *part.sizes, 3, self.heads, self.channels // self.heads)
        return values.permute(named + 1, 0, named + 2, *range(1, named + 1), named + 3)

    def _between_tensors(self, triples: list[Tensor]) -> list[Tensor]:
        """What each part hears from the means of all:
        ``(batch, heads, 1, ..., 1, channels of a head)``.
        """
        ones = [(1,) * len(part.sizes) for part in self.parts]
        if not self.over_tensors:
            return [
                t.new_zeros(*t.shape[1:3], *one, t.shape[-1])
                for t, one in zip(triples, ones, strict=True)
            ]
        means = [t.mean(dim=tuple(range(3, t.dim() - 1))) if t.dim() > 4 else t for t in triples]
        queries, keys, values = torch.stack(means, dim=3).unbind(0)
        heard = attend(queries, keys, values)
        return [
            heard[:, :, k].view(*heard.shape[:2], *one, heard.shape[-1])
            for k, one in enumerate(ones)
        ]

    def _among(self, cuts: tuple[Fibres, ...], triples: list[Tensor]) -> list[Tensor]:
        """What the tokens of one neuron set hear from each other, as entries of
        their parts (size 1 where averaged).
        """
        tokens = [_cut(triples[fibres.part], fibres) for fibres in cuts]
        # Concatenated before the dims along the fibres are merged: one copy less.
        rows = [
            t.flatten(3, 2 + len(f.tokens)) if f.tokens else t.unsqueeze(3)
            for t, f in zip(tokens, cuts, strict=True)
        ]
        queries, keys, values = torch.cat(rows, dim=3).flatten(4).unbind(0)
        heard = attend(queries, keys, values)
        pieces = heard.split([t.shape[3] for t in rows], dim=2)
        return [_paste(p, t.shape[1:], f) for p, t, f in zip(pieces, tokens, cuts, strict=True)]

    def _combined(self, number: int, total: Tensor) -> Tensor:
        """Heads mixed and kernel offsets unfolded:
        ``(batch, *dims of the block, channels)``, or 1 where all are alike.
        """
        part, named = self.parts[number], total.dim() - 3
        total = total.permute(0, *range(2, named + 2), 1, named + 2).flatten(-2)
        total = self.combine[self._projection[number]](total)
        anonymous = [part.block.shape[k] for k in part.order[named:]]
        total = total.unflatten(-1, (*anonymous, self.channels))
        back = sorted(range(len(part.order)), key=part.order.__getitem__)
        total = total.permute(0, *(k + 1 for k in back), total.dim() - 1)
        return total.expand(total.shape[0], *part.block.shape, self.channels)

    def _write(self, values_by_part: list[Tensor]) -> Features:
        """Parts put together to tensors."""
        result: Features = {}
        for part, values in zip(self.parts, values_by_part, strict=True):
            tensor = self.inputs[part.tensor]
            shape = (values.shape[0], *tensor.shape, self.channels)
            if len(tensor.blocks) == 1:
                result[part.tensor] = values.reshape(shape)
                continue
            if part.tensor not in result:
                result[part.tensor] = values.new_empty(shape)
            apply_views(result[part.tensor], part.block.views, 1).copy_(values)
        return result

    def extra_repr(self) -> str:
        tokens = ", ".join(f"{count} along {name}" for name, count in self.tokens.items())
        return (
            f"{self.channels} channels, {self.heads} heads, {len(self.inputs)} tensors; tokens: "
            f"{tokens}"
        )


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Scaled dot-product attention: ``(batch, heads, tokens, size)`` each, and so is the result.

    Where tokens are as long as they are many, their scores take no more memory than they do, and
    plain products are the faster way; they have all derivatives too.
    """
    if queries.shape[-2] <= queries.shape[-1]:
        scores = (queries / math.sqrt(queries.shape[-1])) @ keys.transpose(-1, -2)
        return scores.softmax(dim=-1) @ values
    return scaled_dot_product_attention(queries, keys, values)


def read_parts(space: Space) -> tuple[AttendedBlock, ...]:
    """The blocks of all tensors, their anonymous dims last."""
    parts = []
    for tensor in space.values():
        for block in tensor.blocks:
            named = [k for k, instance in enumerate(block.instances) if instance.symbol is not None]
            rest = [k for k in range(len(block.shape)) if k not in named]
            sizes = tuple(block.shape[k] for k in named)
            folded = math.prod(block.shape[k] for k in rest)
            parts.append(AttendedBlock(tensor.name, block, (*named, *rest), sizes, folded))
    return tuple(parts)


def find_fibres(space: Space, parts: tuple[AttendedBlock, ...]) -> dict[str, tuple[Fibres, ...]]:
    """For every neuron set, all its instances in all parts."""
    cuts_by_set: dict[str, list[Fibres]] = {}
    for number, part in enumerate(parts):
        place = {k: position for position, k in enumerate(part.order)}
        for k, instance in enumerate(part.block.instances):
            if instance.symbol is None:
                continue
            parents = dict(instance.parents)
            # The same order in every block: a token is a function on (ancestors, neuron).
            along = [*(parents[name] for name in space.ancestors[instance.symbol]), k]
            others = [j for j in part.order[: len(part.sizes)] if j not in along]
            below = {
                j for j in others if {p for _, p in part.block.instances[j].parents} & set(along)
            }
            tokens = tuple(place[j] for j in others if j not in below)
            cut = Fibres(
                number,
                tokens,
                tuple(place[j] for j in along),
                tuple(sorted(place[j] for j in below)),
            )
            cuts_by_set.setdefault(instance.symbol, []).append(cut)
    return {name: tuple(cuts) for name, cuts in cuts_by_set.items()}


def _cut(triples: Tensor, fibres: Fibres) -> Tensor:
    """``(3, batch, heads, *tokens, *along, channels of a head)``, averaged over the rest."""
    if fibres.averaged:
        triples = triples.mean(dim=tuple(k + 3 for k in fibres.averaged), keepdim=True)
    order = (*fibres.tokens, *fibres.along, *fibres.averaged)
    triples = triples.permute(0, 1, 2, *(k + 3 for k in order), triples.dim() - 1)
    kept = 3 + len(fibres.tokens) + len(fibres.along)
    return triples.reshape(*triples.shape[:kept], triples.shape[-1])


def _paste(heard: Tensor, shape: torch.Size, fibres: Fibres) -> Tensor:
    """The inverse of cutting: ``(batch, heads, tokens, size)`` to
    ``(batch, heads, *sizes or 1, channels of a head)``.
    """
    heard = heard.reshape(*shape[:-1], *(1 for _ in fibres.averaged), shape[-1])
    order = (*fibres.tokens, *fibres.along, *fibres.averaged)
    back = sorted(range(len(order)), key=order.__getitem__)
    return heard.permute(0, 1, *(k + 2 for k in back), heard.dim() - 1)
