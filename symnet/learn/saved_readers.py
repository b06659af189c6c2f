"""Fitted estimators from their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from symnet.errors import SymnetError
from symnet.files import open_tensor_file, shown
from symnet.graph import parse
from symnet.learn.comparison import Comparison, Tried
from symnet.learn.editing_networks import Editor
from symnet.learn.estimators import Classifier, Regressor
from symnet.learn.members import Member
from symnet.learn.reader_files import FORMAT, PLAIN, rebuild_member

__all__ = ["load"]


def load(
    path: str | Path, *, module: nn.Module | None = None, build: Any = None
) -> Regressor | Classifier | Editor:
    """The fitted estimator in a file that `save` wrote: its predictions are the same to the last bit.

    Args:
        module: where it runs a module of the networks (probes, products by a module), one of the same architecture.
        build: for readers of several architectures, as in `sn.data.read_folder`.

    Raises:
        SymnetError: the file is missing, damaged, of a later version, or no such file.

    Example:
        >>> import tempfile, torch, symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: torch.randn(20, *shape) for name, shape in graph.shapes.items()}
        >>> networks = sn.data.NetworkSet(graph, weights)
        >>> model = Regressor(reader="statistics", steps=5, folds=2, verbose=False)
        >>> _ = model.fit(networks, weights["2.bias"][:, 0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/reader.symnet")
        ...     again = load(f"{folder}/reader.symnet")
        >>> bool((again.predict(networks) == model.predict(networks)).all())
        True
    """
    file = open_tensor_file(path)
    try:
        header = json.loads(file.metadata["symnet reader"])
        kind = {"Regressor": Regressor, "Classifier": Classifier, "Editor": Editor}[
            header["estimator"]
        ]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise SymnetError(f"{shown(path)} is no reader that symnet.learn has saved.") from error
    if header.get("format") != FORMAT:
        raise SymnetError(
            f"{shown(path)} has format {header.get('format')!r:.20}; this symnet reads {FORMAT}."
        )
    try:
        return _rebuilt(kind, header, dict(file), Path(path), module, build)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, SymnetError):
            raise
        raise SymnetError(
            f"{shown(path)} holds a damaged reader ({type(error).__name__}: {error!s:.120})."
        ) from error


def _rebuilt(
    kind: Any,
    header: dict[str, Any],
    tensors: dict[str, Tensor],
    path: Path,
    module: nn.Module | None,
    build: Any,
) -> Any:
    given = {"module": module} if kind is not Editor else {}
    given |= {"build": build} if kind is not Editor else {}
    estimator = kind(
        **{name: header["parameters"][name] for name in PLAIN if name in header["parameters"]},
        **given,
    )
    estimator.graph_ = None if header["graph"] is None else parse(header["graph"])
    estimator.graph = estimator.graph_
    estimator.target_, estimator.reader_ = header["target"], header["kept"]
    if header["classes"] is not None:
        estimator.classes_ = np.array(header["classes"])
    comparison = dict(header["comparison"])
    comparison["tried"] = tuple(Tried(**row) for row in comparison["tried"])
    estimator.comparison_ = Comparison(**comparison)
    members = []
    for number, described in enumerate(header["members"]):
        prefix = f"{number}."
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        centre, spread = tensors[f"{number}:scale"].tolist()
        members.append(Member(rebuild_member(path, described, state, module), centre, spread))
    if not members or any(
        not bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point()
    ):
        raise SymnetError(
            f"{shown(path)}: it has no members, or numbers that are not finite; the file is damaged."
        )
    estimator.members_ = tuple(members)
    return estimator
