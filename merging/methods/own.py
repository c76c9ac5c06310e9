'''Merge methods of the user's own: a Python file with a decorated function for each.

    """swap.py"""
    from merging.methods.own import merge_method, number

    @merge_method(
        parameters=[
            number("weight", "what the expert is multiplied by", default=1.0),
            number("cut", "the largest difference", default=0.1, scope="global", low=0.0),
        ],
        paper="https://...",
    )
    def clipped(base, experts, numbers):
        """The base + the experts' differences, none larger than the cut."""
        cut = numbers.output["cut"]
        deltas = [(expert - base).clamp(-cut, cut) for expert in experts]
        return base + sum(numbers.of(e, "weight") * delta for e, delta in enumerate(deltas))

The function gets float32 tensors of one shape and the tensor's numbers, complete and in range, and
returns a tensor of that shape, which is rounded to the output's dtype. It must depend on nothing
else: a run goes on, and is verified, by calling it again. The file is code: it runs only when the
command line names it (`--methods swap.py`), and its content is part of every recipe's hash.
'''

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import MergeError
from .formula import Custom, Numbers
from .method import Method
from .parameters import Parameter, count, number, switch

if TYPE_CHECKING:
    import torch

__all__ = ["count", "load_methods", "merge_method", "number", "switch"]

Function = Callable[["torch.Tensor | None", "Sequence[torch.Tensor]", Numbers], "torch.Tensor"]


def merge_method(
    *,
    parameters: Iterable[Parameter] = (),
    base: Literal["required", "optional", "listed"] = "required",
    experts: tuple[int, int | None] = (1, None),
    paper: str = "",
    name: str | None = None,
) -> Callable[[Function], Method]:
    """Makes a merge method of a function of a base (or None), experts and `Numbers`.

    Args:
        parameters: made by `number`, `count` and `switch`; recipes, ranges, `check` and `explain`
            read them.
        base: "required": the function gets it apart from the experts; "optional": so too, or None;
            "listed": it is an expert like the others, if a recipe lists it.
        experts: how many at least and at most (None: any number).
        paper: an address.
        name: what recipes call it; the function's own name by default.
    """
    own = tuple(parameters)

    def make(function: Function) -> Method:
        called = name or function.__name__

        def merge(numbers: Numbers) -> Custom:
            return Custom(called, function, numbers)

        return Method(called, own, base, experts, False, paper, merge)

    return make


def load_methods(file: Path) -> tuple[Method, ...]:
    """Runs a file and takes the merge methods that stand in it.

    Raises:
        MergeError: the file is missing, fails, or holds no method.
    """
    try:
        source = file.read_bytes()
    except OSError as error:
        raise MergeError(f"--methods {file}: cannot be read: {error.strerror}") from None
    origin = blake2b(source, digest_size=16).hexdigest()
    module_name = f"eutectic_methods_{origin}"
    spec = spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise MergeError(f"--methods {file}: expected a Python file (.py)")
    module = module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses in the file look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a stranger's file raises is told in one line
        raise MergeError(f"--methods {file}: {type(error).__name__}: {error}") from error
    found = [one for one in vars(module).values() if isinstance(one, Method)]
    unique = {one.name: replace(one, origin=origin) for one in found if not one.origin}
    if not unique:
        raise MergeError(
            f"--methods {file}: no merge method in it; decorate a function with @merge_method(...)"
        )
    return tuple(unique.values())
