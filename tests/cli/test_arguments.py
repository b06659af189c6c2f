"""Architectures, spaces, inputs and modules are what their text says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import symnet as sn
from symnet.cli.architectures import (
    catalogue_functions,
    change_groups,
    read_architecture,
    read_spaces,
)
from symnet.cli.modules import import_object, make_module, read_input
from tests.cli.running import TEXT


def test_architectures_are_calls_or_files(folder: Path) -> None:
    assert read_architecture("mlp:2-4-1") == sn.catalogue.mlp([2, 4, 1])
    assert read_architecture("mlp:2-4-1:io=permuted") == sn.catalogue.mlp([2, 4, 1], io="permuted")
    assert read_architecture("cnn:1-8-8-10") == sn.catalogue.cnn([1, 8, 8], classes=10)
    assert read_architecture("cnn:1-8-8,classes=3,kernel_size=5") == sn.catalogue.cnn(
        [1, 8, 8], kernel_size=5, classes=3
    )
    assert read_architecture("attention:8-2:bias=false") == sn.catalogue.attention(8, 2, bias=False)
    assert read_architecture("resnet:3-4-8:blocks=1-2:classes=5") == sn.catalogue.resnet(
        (3, 4, 8), (1, 2), classes=5
    )
    assert read_architecture("rnn:3-8:io=permuted") == sn.catalogue.rnn(3, 8, io="permuted")
    assert read_architecture("small.symnet") == sn.parse(TEXT)


def test_no_options_change_nothing(folder: Path) -> None:
    graph = sn.load("small.symnet")
    assert change_groups(graph, (), ()) is graph
    assert read_spaces(()) is None


def test_inputs_are_what_their_text_says() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    assert read_input("2,3", generator).shape == (2, 3)
    tokens = read_input("4,5:int7", generator)
    assert tokens.shape == (4, 5) and tokens.dtype == torch.int64 and int(tokens.max()) < 7


def test_inputs_on_the_command_line_replace_the_factorys(folder: Path) -> None:
    _, (inputs,) = make_module("cli_example_modules:mlp_with_inputs", ["7,2"], seed=0)
    assert inputs.shape == (7, 2)


def test_a_module_that_lacks_a_module_of_its_own_says_so(folder: Path) -> None:
    """Not 'there is no such module': the file is there, and its author needs the real cause."""
    Path("cli_example_broken.py").write_text("import surely_not_installed")
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        import_object("cli_example_broken:f")


def test_the_catalogue_on_the_command_line_makes_graphs_from_sizes() -> None:
    """Nothing is offered that cannot be called by text; near misses are told, and a truth value is one."""
    assert "pad_rank" not in catalogue_functions() and "lora" not in catalogue_functions()
    for text, words in {
        "mpl:2-3-1": "Did you mean 'mlp'?",
        "mlp:2-3-1:bias=foo": "bias=foo is neither true nor false",
    }.items():
        with pytest.raises(sn.NotationError, match=re.escape(words)):
            read_architecture(text)


def test_every_command_has_an_example_whose_options_it_takes() -> None:
    import typer.main

    from symnet.cli.commands import app

    commands = typer.main.get_command(app).commands
    assert len(commands) > 12
    for name, command in commands.items():
        program, called, *arguments = shlex.split((command.epilog or "").removeprefix("Example: "))
        assert (program, called) == ("symnet", name)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("-")} <= options
        command.make_context(name, arguments)
