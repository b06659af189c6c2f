"""Published folders of implicit neural representations: one SIREN of an image in each file.

Two layouts: that of Zhou et al. 2023 (`{set}/randinit_smaller_{label}s*/net{number}.pth`, keys `net.0.linear.weight`), and that of Navon et al.
2023 (`mnist_png_{part}_{label}_{number}/*/*.pth`, keys `seq.0.weight`), which adds 0.5 to the network's output and comes with a JSON file of splits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from symnet.data.network_set import NetworkSet, OnError, collect_networks
from symnet.errors import StateFileError, SymnetError
from symnet.files import read_json, read_state_file
from symnet.graph import NeuronGraph, catalogue

__all__ = ["read_dws_folders", "read_siren_folders"]

_LAYER = re.compile(r"(?:net|seq)\.([0-9]{1,6})\.(?:linear\.)?(weight|bias)")
_SIREN_FOLDER = re.compile(r"randinit_smaller_(?:(aug\d+)_)?([0-9]{1,9})s")
_SIREN_PARTS = (45_000, 50_000)  # images from which validation and test networks are
_SIREN_FILE = re.compile(r"net([0-9]{1,9})\.pth")
_DWS_FOLDER = re.compile(r"mnist_png_(\w+?)_([0-9]{1,9})_([0-9]{1,9})")


def read_siren_folders(folder: str | Path, *, on_error: OnError = "raise") -> NetworkSet:
    """The SIRENs of Zhou et al. 2023: `f(x) = W3 sin(30 (W2 sin(30 (W1 x + b1)) + b2)) + b3`.

    Args:
        folder: holds folders `randinit_smaller_{label}s...` of files `net{number}.pth`.
        on_error: what to do with files that are damaged, of other widths, or not finite.

    Returns:
        a set with the columns `label`, `image` (the number in the file's name), `fit` ("", or "aug0" and so on for further fits of
        the same image) and `path`; keys as in `symnet.catalogue.mlp`. Parts are those of the published experiments, by image:
        `train` below 45,000, `val` below 50,000, `test` from there on.

    Raises:
        SymnetError: no such files, or one that cannot be used.
    """
    root = Path(folder)
    found: dict[Path, dict[str, Any]] = {}
    for path in sorted(root.rglob("net*.pth")):
        place, file = _SIREN_FOLDER.match(path.parent.name), _SIREN_FILE.fullmatch(path.name)
        if place and file:
            row = {"label": int(place[2]), "image": int(file[1]), "fit": place[1] or ""}
            found[path] = row | {"path": str(path.relative_to(root))}
    networks = _read_all(
        root, found, "randinit_smaller_{label}s*/net{number}.pth", on_error, "SIREN, omega 30"
    )
    part = np.searchsorted(_SIREN_PARTS, networks.columns["image"], side="right")
    parts = {
        name: np.flatnonzero(part == number) for number, name in enumerate(("train", "val", "test"))
    }
    return NetworkSet(
        networks.graph,
        networks.weights,
        networks.columns,
        parts,
        networks.forward,
        networks.skipped,
    )


def read_dws_folders(
    folder: str | Path, splits: str | Path | None = None, *, on_error: OnError = "raise"
) -> NetworkSet:
    """The SIRENs of Navon et al. 2023: `f(x) = W3 sin(30 (...)) + b3 + 0.5`.

    Args:
        folder: holds folders `mnist_png_{part}_{label}_{number}` with one `.pth` file two levels below.
        splits: JSON file `{"train": {"path": [...], "label": [...]}, "val": ..., "test": ...}`; paths are matched from the
            image's folder on, whatever folder they were made in.
        on_error: what to do with files that are damaged, of other widths, or not finite.

    Returns:
        a set with the columns `label`, `image` and `path`; and the splits as `parts`.

    Raises:
        SymnetError: no such files, one that cannot be used, or a split that names a file which is not there or labels it otherwise.
    """
    root = Path(folder)
    found: dict[Path, dict[str, Any]] = {}
    for path in sorted(root.rglob("*.pth")):
        places = [
            match for part in path.relative_to(root).parts if (match := _DWS_FOLDER.fullmatch(part))
        ]
        if places:
            _, label, number = places[0].groups()
            found[path] = {
                "label": int(label),
                "image": int(number),
                "path": str(path.relative_to(root)),
            }
    networks = _read_all(
        root,
        found,
        "mnist_png_{part}_{label}_{number}/*/*.pth",
        on_error,
        "SIREN, omega 30, and 0.5 added to its output",
    )
    if splits is None:
        return networks
    parts = _read_splits(Path(splits), networks, on_error)
    return NetworkSet(
        networks.graph,
        networks.weights,
        networks.columns,
        parts,
        networks.forward,
        networks.skipped,
    )


def _read_all(
    root: Path, found: Mapping[Path, dict[str, Any]], layout: str, on_error: OnError, forward: str
) -> NetworkSet:
    if not found:
        raise SymnetError(f"{root} holds no files {layout}. Name the folder that was unpacked.")
    graph = _graph_of(found, on_error)
    return collect_networks(
        found,
        graph,
        lambda path: (_renamed(read_state_file(path)), found[path]),
        on_error=on_error,
        forward=forward,
    )


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of an MLP in `symnet.catalogue`: `net.1.linear.weight` is `2.weight`."""
    keys = {name: _LAYER.fullmatch(name) for name in state}
    return {f"{2 * int(match[1])}.{match[2]}": state[name] for name, match in keys.items() if match}


def _graph_of(found: Mapping[Path, dict[str, Any]], on_error: OnError) -> NeuronGraph:
    """The architecture of the first file that can be read; all others must have it too."""
    first: SymnetError | None = None
    for path in found:
        try:
            state = _renamed(read_state_file(path))
            shapes = [state[f"{2 * k}.weight"].shape for k in range(len(state) // 2)]
            if not shapes or any(len(shape) != 2 for shape in shapes):
                raise StateFileError(
                    f"{path} holds no MLP: its layers should be net.0.linear.weight or seq.0.weight, and so on."
                )
            return catalogue.mlp([shapes[0][1], *(shape[0] for shape in shapes)])
        except KeyError as error:
            problem: SymnetError = StateFileError(
                f"{path} holds no MLP: {error} is missing among its layers."
            )
        except SymnetError as error:
            problem = error
        if on_error == "raise":
            raise problem
        first = first or problem
    raise first or SymnetError("There are no files.")


def _read_splits(path: Path, networks: NetworkSet, on_error: OnError) -> dict[str, np.ndarray]:
    try:
        content = read_json(path)
        entries = {
            part: list(zip(values["path"], values["label"], strict=True))
            for part, values in content.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SymnetError(
            f'{path} is no file of splits ({type(error).__name__}: {error}); expected {{"train": {{"path": [...], "label": [...]}}, ...}}.'
        ) from error
    number = {_tail(str(place)): k for k, place in enumerate(networks.columns["path"])}
    parts = {}
    for part, listed in entries.items():
        rows = []
        for place, label in listed:
            row = number.get(_tail(str(place)))
            if row is None and on_error == "skip":
                continue
            if row is None or int(label) != networks.columns["label"][row]:
                said = (
                    "which is not there"
                    if row is None
                    else f"with label {label}, while its folder says {networks.columns['label'][row]}"
                )
                raise SymnetError(f"{path}: part '{part}' names {place}, {said}.")
            rows.append(row)
        parts[part] = np.array(rows, dtype=np.int64)
    return parts


def _tail(path: str) -> tuple[str, ...]:
    """A path from its image's folder on."""
    parts = Path(path).parts
    start = next((k for k, part in enumerate(parts) if _DWS_FOLDER.fullmatch(part)), 0)
    return parts[start:]
