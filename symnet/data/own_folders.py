"""Networks of one's own: a folder of checkpoints, as training leaves it, joined with a table of what is known about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from symnet.data.checkpoint_files import (
    AsideError,
    Rename,
    checkpoint_paths,
    read_checkpoint,
    renamed,
    without_prefix,
)
from symnet.data.configured_graphs import Build, ConfiguredGraphs
from symnet.data.label_tables import LabelTable, as_columns, read_labels
from symnet.data.mixed_networks import MixedNetworks
from symnet.data.network_set import NetworkSet, OnError, fitting
from symnet.data.weight_storage import GrowingWeights
from symnet.errors import FileError, SymnetError
from symnet.files import shown
from symnet.graph import NeuronGraph
from symnet.graph.neuron_graph import require_graph

__all__ = ["read_folder", "unknown_architecture"]

MOST_MEMORY = 2**31
UNKNOWN = "only the shapes of its tensors are known"


def read_folder(
    folder: str | Path,
    graph: NeuronGraph | None = None,
    *,
    labels: str | Path | Mapping[str, Any] | None = None,
    pattern: str = "**/*",
    rename: Rename | None = None,
    build: Build | None = None,
    shapes_only: bool = False,
    on_error: OnError = "raise",
    most_memory: int = MOST_MEMORY,
    on_progress: Callable[[int, int], None] | None = None,
) -> NetworkSet | MixedNetworks:
    """The networks in a folder of one's own checkpoints, or in one file, in order of their paths.

    State dicts are unwrapped, and prefixes (`module.`, `_orig_mod.`, what Lightning puts before) are taken off; files of optimizers
    and the like are left aside. All of this is told in `notes`.

    Args:
        folder: searched with all folders in it for `.pt`, `.pth`, `.ckpt`, `.bin`, `.safetensors` and indices of shards.
        graph: of the networks; further entries of the state dicts are left alone. Without one it is traced from the `config.json`
            nearest above each file; where there is none, only the tensors' shapes are known, and no symmetry is claimed:
            readers of such networks see statistics alone.
        labels: a table of what is known about each network (see `symnet.data.read_labels`), looked for here, then in the folder.
        pattern: which paths, as for `Path.glob`.
        rename: names of the network by names in the files; a function may return None for a tensor to leave out.
        build: with `config.json` files that are not of transformers: from a configuration the module and example inputs.
        shapes_only: do not look for configurations, and keep networks of all shapes.
        on_error: "raise", or "skip" what cannot be used: it is named in `skipped`.
        most_memory: bytes above which weights are kept in a temporary file and mapped into memory.
        on_progress: called with the files that are done and all.

    Returns:
        a `NetworkSet` with the column `path` and those of the table; `MixedNetworks` where there are several architectures.

    Raises:
        SymnetError: files that are damaged, of another architecture, without a row in the table, or none at all; each is named.

    Example:
        >>> import tempfile, torch
        >>> from symnet.graph import catalogue
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for seed in range(3):
        ...         torch.save(torch.nn.Sequential(torch.nn.Linear(2, 1)).state_dict(), f"{place}/{seed}.pt")
        ...     read_folder(place, catalogue.mlp([2, 1]), labels={"0": 0.5, "1": 0.7, "2.pt": 0.6})
        NetworkSet(3 networks, 3 weights each, columns ['path', 'label'])
    """
    root = Path(folder)
    paths, aside = checkpoint_paths(root, pattern)
    if not paths:
        raise SymnetError(
            f"{shown(root)} holds no checkpoints (.pt, .pth, .ckpt, .safetensors); save networks' state_dict() there."
        )
    if graph is not None:
        require_graph(graph, "read_folder")
    reading = _Reading(
        root,
        graph,
        ConfiguredGraphs(root, build),
        rename,
        most_memory,
        len(paths),
        aside=list(aside),
        shapes_only=shapes_only,
    )
    table = None if labels is None else read_labels(_placed(labels, root))
    for done, path in enumerate(paths):
        reading.take(path, path.name if root.is_file() else path.relative_to(root).as_posix())
        if on_progress is not None:
            on_progress(done + 1, len(paths))
    return reading.finish(table, on_error)


def unknown_architecture(state: Mapping[str, Tensor]) -> NeuronGraph:
    """A graph of these shapes that claims no symmetry: every axis stands still."""
    axes = {
        name: " ".join(map(str, tensor.shape))
        for name, tensor in state.items()
        if tensor.is_floating_point()
    }
    return NeuronGraph({}, axes, notes=(UNKNOWN,))


@dataclass
class _Members:
    """The networks of one graph so far."""

    graph: NeuronGraph
    weights: GrowingWeights
    names: list[str] = field(default_factory=list)

    def keep(self, rows: Mapping[str, Any]) -> None:
        """Leave out the networks that have no row."""
        kept = [number for number, name in enumerate(self.names) if name in rows]
        if len(kept) < len(self.names):
            self.weights.keep(kept)
            self.names = [self.names[number] for number in kept]


@dataclass
class _Reading:
    """A folder while it is read."""

    root: Path
    graph: NeuronGraph | None
    configured: ConfiguredGraphs
    rename: Rename | None
    most_memory: int
    left: int
    aside: list[Path]
    shapes_only: bool
    members: dict[Any, _Members] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    prefixes: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def take(self, path: Path, name: str) -> None:
        """Read one file into the networks of its graph, or note why not."""
        self.left -= 1
        try:
            graph = self.graph
            if graph is None and not self.shapes_only:
                graph = self.configured.of(path)
            state = renamed(read_checkpoint(path), self.rename, shown(path))
            state, prefix = without_prefix(
                state, () if graph is None else graph.shapes, shown(path)
            )
            graph = unknown_architecture(state) if graph is None else graph
            weights = fitting(state, graph, shown(path))
        except AsideError:
            self.aside.append(path)
            return
        except SymnetError as error:
            self.problems[name] = str(error)
            return
        self.prefixes[prefix] += bool(prefix)
        if graph not in self.members:
            self.members[graph] = _Members(
                graph, GrowingWeights(graph.shapes, self.left + 1, self.most_memory)
            )
        self.members[graph].weights.append(weights)
        self.members[graph].names.append(name)

    def finish(self, table: LabelTable | None, on_error: OnError) -> NetworkSet | MixedNetworks:
        """The sets of all that was read, joined with the table."""
        members = self._without_strangers(
            sorted(self.members.values(), key=lambda some: some.names[0])
        )
        rows: dict[str, Mapping[str, Any]] = {}
        if table is not None:
            read = [name for some in members for name in some.names]
            rows, without, unused = table.match(sorted([*read, *self.problems]))
            self.problems = without | self.problems
            if unused:
                self.notes.append(f"{_several(unused)} in {table.where} fit no file here")
            for some in members:
                some.keep(rows)
        problems = [self.problems[name] for name in sorted(self.problems)]
        if problems and on_error == "raise":
            raise FileError(_told(problems))
        members = [some for some in members if some.names]
        if not members:
            why = f"; first: {problems[0]}" if problems else ": its files hold no networks"
            raise SymnetError(f"No network could be read{why}.")
        notes = (*self._notes(), *self.notes)
        sets = tuple(_as_set(some, rows, table, tuple(problems), notes) for some in members)
        return (
            sets[0] if len(sets) == 1 else MixedNetworks(sets, skipped=tuple(problems), notes=notes)
        )

    def _without_strangers(self, members: list[_Members]) -> list[_Members]:
        """Of networks of which only shapes are known, those that most files have; the others are named."""
        unknown = [some for some in members if UNKNOWN in some.graph.notes]
        if len(unknown) < 2 or self.shapes_only:
            return members
        usual = max(unknown, key=lambda some: len(some.names))
        for some in unknown:
            if some is not usual:
                why = f"has other tensors than {len(usual.names)} files here; is it another architecture?"
                self.problems |= {name: f"{shown(self.root / name)} {why}" for name in some.names}
        return [some for some in members if some is usual or some not in unknown]

    def _notes(self) -> list[str]:
        notes = [
            f"the prefix '{prefix}' was taken off the names of {count} files"
            for prefix, count in self.prefixes.items()
            if count
        ]
        if self.aside:
            names = [
                str(path.relative_to(self.root)) for path in sorted(self.aside) if path != self.root
            ]
            notes.append(f"left aside, as they hold no networks: {_several(names)}")
        if any(UNKNOWN in some.graph.notes for some in self.members.values()):
            notes.append(
                "no architecture was given, and there is no config.json: readers see statistics of tensors alone"
            )
        return notes


def _as_set(
    some: _Members,
    rows: Mapping[str, Mapping[str, Any]],
    table: LabelTable | None,
    skipped: tuple[str, ...],
    notes: tuple[str, ...],
) -> NetworkSet:
    columns = {"path": np.array(some.names)}
    if table is not None:
        columns |= as_columns([rows[name] for name in some.names], table.columns, table.where)
    return NetworkSet(some.graph, some.weights.weights(), columns, skipped=skipped, notes=notes)


def _placed(labels: str | Path | Mapping[str, Any], root: Path) -> str | Path | Mapping[str, Any]:
    """The table's file: as named, or of that name in the folder."""
    if isinstance(labels, Mapping) or Path(labels).exists() or not (root / labels).exists():
        return labels
    return root / labels


def _told(problems: Sequence[str], most: int = 5) -> str:
    if len(problems) == 1:
        return problems[0]
    rest = f" And {len(problems) - most} more." if len(problems) > most else ""
    return f"{len(problems)} files cannot be used (on_error='skip' leaves them out): {'; '.join(problems[:most])}.{rest}"


def _several(names: Sequence[str], most: int = 4) -> str:
    texts = [shown(name, 80) for name in names[:most]]
    return ", ".join(texts) + (f" and {len(names) - most} more" if len(names) > most else "")
