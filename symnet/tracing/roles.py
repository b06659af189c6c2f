"""What a neuron set does in its network, read off the recording: a
residual stream, attention heads, experts.

Roles only choose names. A wrong role gives an odd name, never a wrong group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from symnet.tracing.axis_labels import Label, Node, leaves
from symnet.tracing.naming import Occurrence, Role
from symnet.tracing.reading_state import Reading
from symnet.tracing.recording import Recording, Value

# What hands entries on as they are, and what adjusts the scores of an attention.
HANDS_ON = frozenset({
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze",
    "expand", "clone", "detach", "alias", "_to_copy", "contiguous", "dropout", "native_dropout",
    "alias_update",
})  # fmt: skip
ADJUSTS = frozenset(
    {"mul", "div", "add", "sub", "masked_fill", "where", "clamp", "tanh", "slice", "cat"}
)
CONTRACTIONS = frozenset({
    "mm", "bmm", "mv", "addmm", "baddbmm", "linear", "convolution", "_convolution", "_trilinear",
    "embedding", "_grouped_mm", "_fft_r2c", "_fft_c2r",
})  # fmt: skip
SOFTMAXES = frozenset({"_softmax", "_safe_softmax", "softmax"})


def symbols_of(labels: Sequence[Label]) -> set[Node]:
    """The leaves of some labels."""
    return {leaf for label in labels for leaf in leaves(label)}


class Ancestry:
    """Which operation made which value of a recording."""

    def __init__(self, recording: Recording) -> None:
        self.producers = {
            output.number: operation
            for operation in recording.operations
            for output in operation.outputs
            if output is not None
        }

    def source(self, value: Value, through: AbstractSet[str] = HANDS_ON) -> Value:
        """The value behind views, copies and casts."""
        while (
            operation := self.producers.get(value.number)
        ) is not None and operation.name in through:
            value = next((v for v in operation.inputs() if not v.constant), operation.inputs()[0])
        return value

    def contracts(self, value: Value, ancestor: Value) -> bool:
        """Whether a value was computed from an earlier one by a layer. Numbers
        grow, so older values need no look.
        """
        waiting, seen = [(value, False)], {(value.number, False)}
        while waiting:
            current, layer = waiting.pop()
            operation = self.producers.get(current.number)
            if operation is None or current.number <= ancestor.number:
                continue
            layer = layer or operation.name in CONTRACTIONS
            for source in operation.inputs():
                if source.number == ancestor.number and layer:
                    return True
                if (source.number, layer) not in seen:
                    seen.add((source.number, layer))
                    waiting.append((source, layer))
        return False


def residual_streams(reading: Reading, ancestry: Ancestry) -> set[Node]:
    """Leaves along which a tensor is added to what a layer has made of it."""
    streams: set[Node] = set()
    for operation in reading.recording.operations:
        added = [value for value in operation.inputs() if not value.constant]
        output = operation.outputs[0] if operation.outputs else None
        if operation.name == "add" and len(added) == 2 and output is not None:
            left, right = map(ancestry.source, added)
            computed = left.number in ancestry.producers and right.number in ancestry.producers
            if computed and (ancestry.contracts(left, right) or ancestry.contracts(right, left)):
                streams |= symbols_of(reading.labels[output.number])
    return streams


def attention_dims(reading: Reading, ancestry: Ancestry) -> tuple[set[Node], set[Node]]:
    """Leaves along which queries are compared with keys before a softmax, and
    those of what its weights then sum up.
    """
    compared: set[Node] = set()
    values: set[Node] = set()
    softmaxes: set[int] = set()
    for operation in reading.recording.operations:
        sources = operation.inputs()
        if operation.name in SOFTMAXES and operation.outputs[0] is not None:
            softmaxes.add(operation.outputs[0].number)
            scores = ancestry.producers.get(ancestry.source(sources[0], HANDS_ON | ADJUSTS).number)
            if scores is not None and scores.name == "bmm":
                compared |= symbols_of(reading.labels.get(scores.inputs()[0].number, ())[-1:])
        elif operation.name == "bmm":
            first, second = (ancestry.source(value).number in softmaxes for value in sources)
            if first and not second:
                values |= symbols_of(reading.labels.get(sources[1].number, ())[-1:])
            elif second and not first:
                values |= symbols_of(reading.labels.get(sources[0].number, ())[-2:-1])
    return compared, values


def roles_of(
    reading: Reading,
    where: Mapping[Node, Sequence[Occurrence]],
    parents: Mapping[Node, Sequence[Node]],
) -> dict[Node, Role]:
    """The role of every symbol that has one.

    Args:
        where: occurrences of every symbol in the state.
        parents: the direct parents of every symbol.
    """
    beside_softmax = symbols_of(reading.attention)
    ancestry = Ancestry(reading.recording)
    compared, values = attention_dims(reading, ancestry)
    streams = residual_streams(reading, ancestry)
    children: dict[Node, list[Node]] = {}
    for node, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(node)
    roles: dict[Node, Role] = {}
    for node, occurrences in where.items():
        if node in children:
            in_product = any(item.in_product for item in occurrences)
            if in_product and node in beside_softmax:
                roles[node] = Role.KV if beside_softmax & set(children[node]) else Role.HEAD
            else:
                roles[node] = Role.GROUP if in_product else Role.EXPERT
        elif node in streams and len({item.tensor for item in occurrences if item.rank > 1}) > 1:
            roles[node] = Role.STREAM
        elif not parents.get(node) and node in compared | values:
            roles[node] = Role.KEY_DIM if node in compared else Role.HEAD_DIM
    for node in where:
        roles_above = [roles[p] for p in parents.get(node, ()) if p in roles]
        if Role.KV in roles_above and node in beside_softmax:
            roles[node] = Role.QUERY
        elif Role.HEAD in roles_above or Role.KV in roles_above:
            roles[node] = Role.KEY_DIM if node in compared else Role.HEAD_DIM
        elif Role.EXPERT in roles_above:
            roles[node] = Role.MLP
        elif roles_above and node not in roles:
            roles[node] = Role.UNIT
    return roles
