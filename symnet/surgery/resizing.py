"""resize: a copy of a module with weights of other sizes in place,
checked against the network it comes from.
"""

from __future__ import annotations

import copy
import itertools
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import ShapeError, SymnetError, VerificationError
from symnet.graph import NeuronGraph
from symnet.surgery.configurations import Configured, adopt
from symnet.surgery.cutting import Surgery
from symnet.surgery.expectation import Expectation
from symnet.surgery.large_files import OneByOne
from symnet.surgery.layer_sizes import is_torch_layer, set_sizes
from symnet.surgery.numbers import Changes, Number, changes_of, configs_of, numbers_in
from symnet.surgery.outlets import Outlets
from symnet.surgery.resized_attention import ResizedAttention

_COMBINATIONS = 600  # of numbers that are tried


class ResizeError(SymnetError):
    """A module whose code holds a size that is not known here; names the attribute or the line."""


def resize(
    model: nn.Module,
    weights: Surgery | Mapping[str, Any],
    *inputs: Any,
    attributes: Mapping[str, int] | None = None,
    outgoing: Mapping[str, Outlets] | None = None,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    **keyword_inputs: Any,
) -> nn.Module:
    """A copy of a module with the weights of ``keep``, ``widen``, ... in
    place, and with the numbers beside them set.

    Sizes of torch's layers follow from the weights. A transformers model gets a configuration that
    makes these sizes, if there is one, and can then be saved and loaded. Other whole numbers
    (heads, groups, widths in a class of one's own) are found by trial: with ``inputs``, those are
    taken with which the copy computes what the network computes with the other neurons masked, or
    what it did before it was widened; in float64, on fresh inputs, at its own and at random
    weights.

    Args:
        model: the network before; it is left as it is.
        weights: what ``keep`` and its like returned, or weights alone: then heads and groups are
            not known, and no function is compared.
        inputs, keyword_inputs: what to call the network with. Without them nothing is run.
        attributes: numbers that you know better: ``{"attention.num_heads": 3}``.
        outgoing: what ``sn.surgery.outgoing`` found on this module; it is found out if not given.
        outputs: which outputs count, by name, as in ``sn.trace``.
        seed: of fresh inputs and random weights.

    Raises:
        ResizeError: a number in the module's code or attributes stands in the way; it is named. The
            weights are there anyway.
        VerificationError: the copy runs, but its function is another.
        ShapeError: weights that are not the module's.

    Example:
        >>> import symnet as sn
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> cut = sn.surgery.keep(
        ...     model.state_dict(), sn.catalogue.mlp([2, 8, 1]), {"h1": [0, 3, 5]}
        ... )
        >>> sn.surgery.resize(model, cut, torch.randn(4, 2))
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): ReLU()
          (2): Linear(in_features=3, out_features=1, bias=True)
        )
    """
    surgery = weights if isinstance(weights, Surgery) else None
    if surgery is not None and isinstance(surgery.weights, Path):  # it was done on files
        opened = OneByOne(surgery.weights)
        surgery = replace(
            surgery,
            weights={
                **{a: opened[k] for a, k in surgery.graph.aliases.items() if k in opened},
                **opened,
            },
        )
    state = _tensors(model, surgery.weights if surgery else weights)  # type: ignore[arg-type]
    result = replace_tensors(model, state)
    by_tensor = _changes_by_tensor(model, state, surgery)
    everything = _united(by_tensor)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    arguments = (inputs, keyword_inputs) if inputs or keyword_inputs else None
    comparison = (
        Expectation(model, surgery, arguments, outputs, seed, outgoing or {}) if arguments else None
    )
    fits = Configured(model, shapes, everything).fits() if configs_of(model) else []
    for config, made in fits if comparison is not None or len(fits) == 1 else []:
        adopt(result, config, made)
        if comparison is None or comparison.problem(result) is None:
            return result
        result = replace_tensors(model, state)
    numbers = numbers_in(result, by_tensor, everything)
    _write_known(result, numbers, attributes or {})
    numbers = [
        number
        for number in numbers
        if f"{number.path}.{number.name}".lstrip(".") not in (attributes or {})
    ]
    if comparison is None:
        return _without_trial(result, numbers)
    return _by_trial(result, numbers, comparison)


def replace_tensors(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a module that holds these tensors; what is replaced is not copied."""
    memo: dict[int, Any] = {}
    for name, old in model.state_dict(keep_vars=True).items():
        if isinstance(old, Tensor) and id(old) not in memo:
            new = state[name].detach().to(old.device)
            memo[id(old)] = (
                nn.Parameter(new.clone(), old.requires_grad)
                if isinstance(old, nn.Parameter)
                else new.clone()
            )
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()  # a computed tensor kept as an attribute
    result = copy.deepcopy(model, memo)
    for path, module in list(result.named_modules()):
        if isinstance(module, nn.MultiheadAttention) and _has_changed(
            model.get_submodule(path), module
        ):
            old_width = model.get_submodule(path).head_dim
            parent = result.get_submodule(path.rpartition(".")[0]) if path else None
            resized = ResizedAttention(module, float(old_width) ** -0.5)  # type: ignore[arg-type]
            if parent is None:
                return resized
            setattr(parent, path.rpartition(".")[2], resized)
        elif is_torch_layer(module) or type(module).__name__ == "Conv1D":
            set_sizes(module)
            if isinstance(module, nn.RNNBase):
                _require_one_size(module, path)
    return result


def _require_one_size(module: nn.RNNBase, path: str) -> None:
    """Refuses a recurrent module whose layers or directions were cut to different sizes.

    Raises:
        ResizeError: with the sizes.
    """
    kinds = {"weight_hh": 1, "weight_hr": 0}
    for kind, axis in kinds.items():
        sizes = {t.shape[axis] for name, t in module.named_parameters() if name.startswith(kind)}
        if len(sizes) > 1:
            raise ResizeError(
                f"'{path}': {type(module).__name__} has one hidden_size for all of its layers "
                f"and directions, but the weights have {', '.join(map(str, sorted(sizes)))}. Cut "
                "or widen all of its sets to the same number."
            )


def _has_changed(old: nn.Module, new: nn.Module) -> bool:
    return any(a.shape != b.shape for a, b in zip(old.parameters(), new.parameters(), strict=True))


def _tensors(model: nn.Module, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """The whole new state of a module as tensors; entries that the
    weights do not hold stay as they are.

    Raises:
        ShapeError: no module; floating-point entries that are missing, or that the module does not
            have.
    """
    if not isinstance(model, nn.Module):
        raise ShapeError(
            f"resize got a {type(model).__name__}; pass the torch.nn.Module that the weights "
            "come from."
        )
    if not isinstance(weights, Mapping):
        raise ShapeError(
            f"resize got a {type(weights).__name__} as weights; pass what keep or widen "
            "returned, or a dict."
        )
    state = {
        name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)
    }
    if unknown := [name for name in weights if name not in state]:
        raise ShapeError(
            f"{type(model).__name__} has no state entry {', '.join(map(repr, unknown[:4]))}; "
            "pass its own weights."
        )
    if missing := [
        name for name, t in state.items() if name not in weights and t.is_floating_point()
    ]:
        raise ShapeError(
            f"The weights lack {', '.join(map(repr, missing[:4]))} of {type(model).__name__}; "
            "pass all of them."
        )
    tensors = {}
    for name, old in state.items():
        new = weights.get(name, old)
        tensor = torch.from_numpy(np.ascontiguousarray(new)) if isinstance(new, np.ndarray) else new
        if tensor.dim() != old.dim():
            raise ShapeError(
                f"'{name}' has {tensor.dim()} axes in the weights and {old.dim()} in "
                f"{type(model).__name__}."
            )
        tensors[name] = tensor.to(old.dtype)
    return tensors


def _changes_by_tensor(
    model: nn.Module, state: Mapping[str, Tensor], surgery: Surgery | None
) -> dict[str, Changes]:
    """What sizes become, by state entry."""
    if surgery is None:
        old = model.state_dict()
        return {
            name: _united({a: {b}} for a, b in zip(old[name].shape, tensor.shape, strict=True))
            for name, tensor in state.items()
        }
    graph: NeuronGraph = surgery.old
    keys = {name: graph.aliases.get(name, name) for name in state}
    return {
        name: changes_of(graph, surgery.graph, [key])
        for name, key in keys.items()
        if key in graph.weights
    }


def _united(several: Any) -> Changes:
    united: Changes = {}
    for changes in several.values() if isinstance(several, Mapping) else several:
        for old, new in changes.items():
            united.setdefault(old, set()).update(new)
    return united


# ---- numbers -------------------------------------------------------------------------------------
def _write_known(model: nn.Module, numbers: list[Number], attributes: Mapping[str, int]) -> None:
    """Writes the numbers that the user gives.

    Raises:
        ResizeError: the module has no such attribute.
    """
    for text, value in attributes.items():
        path, _, name = text.rpartition(".")
        owners = [number.owner for number in numbers if (number.path, number.name) == (path, name)]
        try:
            owner = owners[0] if owners else model.get_submodule(path)
        except AttributeError:
            owner = None
        if owner is None or not hasattr(owner, name):
            raise ResizeError(
                f"attributes={{'{text}': {value!r}}}: the module has no attribute of this name."
            )
        setattr(owner, name, value)


def _without_trial(result: nn.Module, numbers: list[Number]) -> nn.Module:
    """The copy with the part counts of torch's layers set; numbers of
    other classes are not guessed.

    Raises:
        ResizeError: naming them.
    """
    unknown = [
        number for number in numbers if not is_torch_layer(number.owner) or len(number.options) > 2
    ]
    if unknown:
        shown = ", ".join(dict.fromkeys(map(str, unknown[:6])))
        raise ResizeError(
            f"{type(result).__name__} keeps numbers that may be sizes that have changed: "
            f"{shown}. Give example inputs, so that resize(model, weights, x) tries them out, or "
            f"say what they become: attributes={{'{_named(unknown[0])}': ...}}."
        )
    for number in numbers:
        number.write(number.options[0])
    for module in result.modules():
        set_sizes(module)
    return result


def _named(number: Number) -> str:
    return f"{number.path}.{number.name}".lstrip(".")


def _by_trial(result: nn.Module, numbers: list[Number], comparison: Expectation) -> nn.Module:
    """The copy with numbers with which it computes what it should; as few as possible are changed.

    Raises:
        ResizeError: it cannot be run with any of them.
        VerificationError: it runs, but computes something else.
    """
    groups: dict[Any, list[Number]] = {}
    for number in numbers:
        groups.setdefault(number.signature, []).append(number)
    problems = []
    for values in itertools.islice(_combinations([key[-1] for key in groups]), _COMBINATIONS):
        _write(result, groups, values)
        problem = comparison.problem(result)
        if problem is None:
            return _fewest(result, groups, values, comparison)
        problems.append(problem)
    raise _explain(result, numbers, problems)


def _combinations(options: list[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Choices of one option each, those with all numbers changed first."""
    yield from sorted(
        itertools.islice(itertools.product(*options), 100_000), key=lambda c: _stayed(options, c)
    )


def _stayed(options: list[tuple[int, ...]], choice: tuple[int, ...]) -> int:
    return sum(value == values[-1] for value, values in zip(choice, options, strict=True))


def _write(model: nn.Module, groups: Mapping[Any, list[Number]], values: Sequence[int]) -> None:
    for numbers, value in zip(groups.values(), values, strict=True):
        for number in numbers:
            number.write(value)
    for module in model.modules():
        if is_torch_layer(module):
            set_sizes(module)


def _fewest(
    model: nn.Module,
    groups: Mapping[Any, list[Number]],
    values: Sequence[int],
    comparison: Expectation,
) -> nn.Module:
    """Numbers that change nothing are no sizes, and stay as they were."""
    chosen = list(values)
    for k, key in enumerate(groups):
        other = [*chosen[:k], key[-1][-1], *chosen[k + 1 :]]
        if other != chosen:
            _write(model, groups, other)
            if comparison.problem(model) is None:
                chosen = other
    _write(model, groups, chosen)
    return model


def _explain(model: nn.Module, numbers: list[Number], problems: list[Exception]) -> SymnetError:
    """The error that helps most: a wrong function if something ran, else where the code broke."""
    wrong = next((p for p in problems if isinstance(p, VerificationError)), None)
    if wrong is not None:
        return wrong
    first = problems[0]
    frames = [f for f in traceback.extract_tb(first.__traceback__) if f.line]
    libraries = [Path(torch.__file__).parent, Path(__file__).parents[1]]
    users = [
        f
        for f in frames
        if not any(Path(f.filename).is_relative_to(folder) for folder in libraries)
    ]
    where = (
        f" at '{users[-1].line}' (line {users[-1].lineno} of {Path(users[-1].filename).name})"
        if users
        else ""
    )
    shown = ", ".join(dict.fromkeys(map(str, numbers[:6])))
    tried = (
        f"; tried were other values of {shown}" if numbers else "; none of its attributes holds one"
    )
    return ResizeError(
        f"{type(model).__name__} cannot be run with the new sizes: its code holds one as a "
        f"number{where} ({type(first).__name__}: "
        f"{str(first).partition(chr(10))[0][:160]}){tried}. Write the number as an attribute or "
        "take it from a shape, or give it: attributes={'path.name': value}. The weights "
        "themselves are as they should be."
    )
