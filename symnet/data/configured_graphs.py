"""Graphs of checkpoints that lie beside a `config.json`: the module is made from it without memory, and traced."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import MissingExtraError, StateFileError, SymnetError
from symnet.files import read_json, reason, shown
from symnet.graph import NeuronGraph
from symnet.tracing import trace

__all__ = ["Build", "ConfiguredGraphs"]

Build = Callable[[Mapping[str, Any]], tuple[nn.Module, tuple[Any, ...]]]
CONFIG = "config.json"
# Fields of transformers' configurations that say nothing about the architecture.
ORIGIN = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")
TOKENS = 6  # of the example that a language model is traced with


class ConfiguredGraphs:
    """The graph of each file by the nearest `config.json` above it; equal configurations are traced once.

    Args:
        root: folder above which no configuration is looked for.
        build: from a configuration the module that weights belong to, and example inputs; it is your code. Default: the class
            of transformers that the configuration names.
    """

    def __init__(self, root: Path, build: Build | None) -> None:
        self.root, self.build = root, build
        self._texts: dict[Path, str | None] = {}
        self._graphs: dict[str, NeuronGraph | SymnetError] = {}

    def of(self, path: Path) -> NeuronGraph | None:
        """The graph of a file's network; None if no configuration is above it.

        Raises:
            SymnetError: the configuration cannot be read, or no module made or traced.
        """
        text = self._text_of(path.parent)
        if text is None:
            return None
        if text not in self._graphs:
            try:
                self._graphs[text] = self._traced(json.loads(text), path)
            except SymnetError as error:
                self._graphs[text] = error
        graph = self._graphs[text]
        if isinstance(graph, SymnetError):
            raise graph
        return graph

    def _text_of(self, folder: Path) -> str | None:
        if folder not in self._texts:
            place = folder / CONFIG
            if place.is_file():
                values = read_json(place)
                if not isinstance(values, dict):
                    raise StateFileError(
                        f"{shown(place)} holds a {type(values).__name__}; expected an object."
                    )
                kept = {name: value for name, value in values.items() if name not in ORIGIN}
                self._texts[folder] = json.dumps(kept, sort_keys=True)
            else:
                above = folder != self.root and self.root in folder.parents
                self._texts[folder] = self._text_of(folder.parent) if above else None
        return self._texts[folder]

    def _traced(self, config: Mapping[str, Any], path: Path) -> NeuronGraph:
        if self.build is None:
            return _trace_transformers(config, path)
        try:
            model, inputs = self.build(config)
        except (KeyError, TypeError, ValueError) as error:
            raise StateFileError(
                f"{shown(path)}: build= made no module of its {CONFIG} ({error!r:.200})."
            ) from error
        return trace(model.to("meta"), *inputs)


def _trace_transformers(config: Mapping[str, Any], path: Path) -> NeuronGraph:
    """The graph of the class of transformers that a configuration names."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if "model_type" not in config or not isinstance(name, str):
        raise StateFileError(
            f"{shown(path)}: its {CONFIG} names no class of transformers (model_type, architectures); say with "
            "build= how a module is made from it, or give the graph."
        )
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f"The {CONFIG} beside {shown(path)} is of transformers, which is not installed. Run: pip install transformers"
        ) from error
    kind = getattr(transformers, name, None)
    if (
        kind is None
        or not isinstance(kind, type)
        or not issubclass(kind, transformers.PreTrainedModel)
    ):
        raise StateFileError(f"{shown(path)}: transformers has no model '{shown(name, 80)}'.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            settings = transformers.AutoConfig.for_model(
                **{k: v for k, v in config.items() if k != "architectures"}
            )
            with torch.device("meta"):
                model = kind(settings)
    except Exception as error:  # its code refuses numbers with errors of all kinds
        raise StateFileError(
            f"{shown(path)}: no {name} can be made from its {CONFIG}: {reason(error)}."
        ) from error
    name, example = _example(model, path)
    keywords: Any = {name: example}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trace(model, outputs=[_answer(model)], **keywords)


def _example(model: Any, path: Path) -> tuple[str, Tensor]:
    """What a model of transformers is called with: tokens, or pixels."""
    generator = torch.Generator().manual_seed(0)
    name, config = model.main_input_name, model.config
    if name == "input_ids":
        return name, torch.randint(config.vocab_size, (2, TOKENS), generator=generator)
    if name == "pixel_values" and hasattr(config, "image_size"):
        size = (
            config.image_size
            if isinstance(config.image_size, list | tuple)
            else [config.image_size] * 2
        )
        return name, torch.randn(2, getattr(config, "num_channels", 3), *size, generator=generator)
    raise StateFileError(
        f"{shown(path)}: what {type(model).__name__} is called with ('{name}') is not known here; give build= or the graph."
    )


def _answer(model: Any) -> str:
    """The output that the graph is to keep."""
    return (
        "logits"
        if model.get_output_embeddings() is not None or "For" in type(model).__name__
        else "last_hidden_state"
    )
