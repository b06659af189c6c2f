"""Adapters as PEFT saves them: a folder with ``adapter_model.safetensors`` and
``adapter_config.json``; nothing is executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symnet.errors import StateFileError
from symnet.files import read_json, read_state_file
from symnet.graph import NeuronGraph
from symnet.graph.catalogue import lora

if TYPE_CHECKING:
    from torch import Tensor

_KEY = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<factor>[AB])(?:\.[\w-]+)?\.weight$"
)


@dataclass(frozen=True, eq=False)
class Adapter:
    """LoRA weights read from a folder.

    ``weights`` holds ``MODULE.lora_A`` and ``MODULE.lora_B``, the latter multiplied by the module's
    ``alpha / rank`` (or ``alpha / sqrt(rank)``), so that ``lora_B @ lora_A`` is what is added to
    the matrix; ``scalings`` says by what. ``others`` are the names of entries that are no factors
    (trained biases and heads), which are not read.
    """

    graph: NeuronGraph
    weights: Mapping[str, Tensor]
    scalings: Mapping[str, float]
    others: tuple[str, ...]


def read_peft_folder(folder: str | Path) -> Adapter:
    """The LoRA adapter in a folder that PEFT wrote.

    Args:
        folder: holds ``adapter_model.safetensors`` (or ``adapter_model.bin``) and
            ``adapter_config.json``.

    Raises:
        StateFileError: a file is missing or damaged, the adapter is no LoRA of matrices, or its
            ranks differ from those in its configuration.
    """
    folder = Path(folder)
    config = read_json(folder / "adapter_config.json")
    if (
        not isinstance(config, dict)
        or str(config.get("peft_type", "LORA")).upper() != "LORA"
        or config.get("use_dora")
    ):
        kind = "DoRA" if isinstance(config, dict) and config.get("use_dora") else "no LoRA"
        raise StateFileError(
            f"The adapter in {folder} is {kind}: its function is no product of two matrices alone."
        )
    path = next(
        (
            p
            for p in (folder / "adapter_model.safetensors", folder / "adapter_model.bin")
            if p.exists()
        ),
        None,
    )
    if path is None:
        raise StateFileError(
            f"{folder} holds no adapter_model.safetensors. Save the adapter with model.save_pretrained(folder)."
        )
    factors, others = _factors(read_state_file(path))
    weights: dict[str, Tensor] = {}
    scalings: dict[str, float] = {}
    sizes: dict[str, tuple[int, int, int]] = {}
    for module, pair in factors.items():
        down, up = _checked(module, pair, path)
        rank = down.shape[0]
        scalings[module] = _scaling(module, rank, config, folder)
        sizes[module] = (up.shape[0], rank, down.shape[1])
        weights |= {f"{module}.lora_A": down, f"{module}.lora_B": up * scalings[module]}
    if not sizes:
        raise StateFileError(f"{path} holds no entries named *.lora_A.weight and *.lora_B.weight.")
    return Adapter(lora(sizes), weights, scalings, tuple(others))


def _factors(state: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    factors: dict[str, dict[str, Tensor]] = {}
    others = []
    for name, tensor in state.items():
        if (match := _KEY.match(name)) is None:
            others.append(name)
        else:
            factors.setdefault(match["module"], {})[match["factor"]] = tensor
    return factors, others


def _checked(module: str, pair: Mapping[str, Tensor], path: Path) -> tuple[Tensor, Tensor]:
    if set(pair) != {"A", "B"}:
        raise StateFileError(
            f"{path}: '{module}' has lora_{min(pair)} alone; both factors are needed."
        )
    down, up = pair["A"], pair["B"]
    if down.ndim != 2 or up.ndim != 2 or up.shape[1] != down.shape[0]:
        raise StateFileError(
            f"{path}: '{module}' has lora_A of shape {tuple(down.shape)} and lora_B of shape "
            f"{tuple(up.shape)}; expected "
            "(rank, in) and (out, rank). Adapters of convolutions are not read."
        )
    return down, up


def _scaling(module: str, rank: int, config: Mapping[str, Any], folder: Path) -> float:
    """``alpha / rank`` of a module; its patterns are names of modules, or the ends of such."""
    declared = _by_pattern(module, config.get("rank_pattern"), config.get("r", rank))
    alpha = _by_pattern(module, config.get("alpha_pattern"), config.get("lora_alpha", rank))
    if declared != rank:
        raise StateFileError(
            f"The adapter in {folder} declares rank {declared!r:.20} for '{module}', but its factors have rank {rank}."
        )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise StateFileError(
            f"The adapter in {folder} declares lora_alpha={alpha!r:.40} for '{module}'; expected a number."
        )
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _by_pattern(module: str, patterns: Any, default: Any) -> Any:
    """The value of the first pattern that is the module's name or its end after a dot. Regular
    expressions are not run.
    """
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if module == pattern or module.endswith(f".{pattern}"):
            return value
    return default
