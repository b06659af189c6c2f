"""Modules, functions and example inputs that a user names by text."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any

from symnet.errors import SymnetError, TooLargeError
from symnet.graph.notation import whole_numbers

INPUT_LIMIT = 10**9  # numbers of one example input


def import_object(text: str) -> Any:
    """The object that ``package.module:name`` names; installed modules are found first, then those of the current folder.

    Raises:
        SymnetError: there is no such module, or it has no such name.
    """
    module_name, _, name = text.partition(":")
    if not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise SymnetError(
            f"{text!r} names no Python object. Write module:name, such as my_models:make_model."
        )
    # Last: a file sympy.py that lies there must not take the place of what symnet itself imports.
    sys.path[:] = [
        *(place for place in sys.path if place not in ("", str(Path.cwd()))),
        str(Path.cwd()),
    ]
    try:
        module = run_users_code(text, lambda: import_module(module_name))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks something that it imports itself
        hint = (
            f" Write {module_name.removesuffix('.py')}:{name}."
            if module_name.endswith(".py")
            else ""
        )
        raise SymnetError(
            f"There is no module '{module_name}' here. Run symnet in the folder that holds it.{hint}"
        ) from None
    if not hasattr(module, name):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise SymnetError(
            f"Module '{module_name}' has no '{name}'; it has {', '.join(public) or 'nothing public'}. It is {place_of(text)}."
        )
    return getattr(module, name)


def place_of(text: str) -> str:
    """The file of the imported module that ``module:name`` names: another of its name may lie elsewhere."""
    return getattr(sys.modules[text.partition(":")[0]], "__file__", None) or "part of this program"


def run_users_code(text: str, step: Callable[[], Any]) -> Any:
    """What a step of the user's own code returns; an error in it is told in one line, with its place.

    Args:
        text: the ``module:name`` that the user gave.
        step: imports it, or calls it.

    Raises:
        SymnetError: the code raised something, or ended the program (its exit code would pass for a verdict).
        ModuleNotFoundError: it needs a module that is not installed.

    Example:
        >>> run_users_code("mine:factory", lambda: 1 / 0)
        Traceback (most recent call last):
            ...
        symnet.errors.SymnetError: 'mine:factory' raised ZeroDivisionError: division by zero (...
    """
    try:
        return step()
    except (SymnetError, ModuleNotFoundError):
        raise
    except (Exception, SystemExit) as error:
        frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename != __file__]
        # The place of a syntax error stands in its text; its frames are the importer's.
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        raise SymnetError(
            f"{text!r} raised {type(error).__name__}: {error}{'' if isinstance(error, SyntaxError) else place}. "
            "Mend it, or name another; a factory is called without arguments."
        ) from error


def make_module(text: str, shapes: Iterable[str], seed: int) -> tuple[Any, tuple[Any, ...]]:
    """A module and its example inputs.

    Args:
        text: ``module:factory``; called without arguments it returns the module, or a tuple of the module and its inputs.
        shapes: one text for each input, as in ``read_input``; if any, they replace the factory's inputs.
        seed: of the random inputs.
    """
    import torch

    made = import_object(text)
    if not isinstance(made, torch.nn.Module):
        if not callable(made):
            raise SymnetError(
                f"{text!r} is a {type(made).__name__}; expected a module, or a function that returns one."
            )
        made = run_users_code(text, made)
    model, *inputs = made if isinstance(made, tuple) else (made,)
    generator = torch.Generator().manual_seed(seed)
    inputs = [read_input(shape, generator) for shape in shapes] or inputs
    if not isinstance(model, torch.nn.Module):
        raise SymnetError(
            f"{text!r} returned a {type(model).__name__}; expected a torch.nn.Module, or a tuple that begins with one."
        )
    if not inputs:
        raise SymnetError(
            f"{text!r} came without example inputs. Add --input SHAPE for each, such as --input 8,2."
        )
    return model, tuple(inputs)


def read_input(text: str, generator: Any) -> Any:
    """A random input: ``8,2`` is a normal float tensor ``(8, 2)``, ``8,16:int10`` holds whole numbers below 10.

    Example:
        >>> import torch
        >>> read_input("2,3:int10", torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """
    import torch

    sizes, _, kind = text.partition(":")
    shape = whole_numbers(part.strip() for part in sizes.split(","))
    (high,) = (whole_numbers([kind.removeprefix("int")]) or [0]) if kind.startswith("int") else [0]
    if shape is None or (kind and not high):
        raise SymnetError(
            f"{text!r} is not an input. Write its sizes, such as 8,2, or 8,16:int10 for whole numbers below 10."
        )
    if math.prod(shape) > INPUT_LIMIT:
        raise TooLargeError(
            f"{text!r:.80} is an input of more than {INPUT_LIMIT:,} numbers, which are not made."
        )
    if kind:
        return torch.randint(high, shape, generator=generator)
    return torch.randn(shape, generator=generator)
