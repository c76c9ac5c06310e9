"""Keyword arguments of a sampler, held to its constructor before anything is run.

A name that the constructor does not have, one that a study says elsewhere, and a plain value of
another type than the constructor asks for: each is told with the nearest name. What annotations do
not tell shows when the sampler is rehearsed (`rehearsal`).
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from merging.document import did_you_mean

from .errors import SamplerOptionError

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "None": (type(None),),
}
GIVEN = ("seed", "search_space")
"""Arguments that are filled in here, where a constructor has them."""


def refuse_options(
    options: Mapping[str, Any], make: Callable[..., object], refused: Mapping[str, str]
) -> None:
    """Holds options to a signature.

    Args:
        options: Keyword arguments as the study says them.
        make: The class, or the function that makes a sampler.
        refused: Arguments that a study cannot give, and why.

    Raises:
        SamplerOptionError: an option that is unknown, refused, of another type, or missing.
    """
    parameters = keywords(make)
    known = [name for name in parameters if name not in refused and name not in GIVEN]
    for name, value in options.items():
        if name in refused:
            raise SamplerOptionError(f"{name}: {refused[name]}", name)
        if name in GIVEN and (name in parameters or name == "seed"):
            raise SamplerOptionError(f"{name}: {_OURS[name]}", name)
        if name not in parameters:
            if not _takes_any(make):
                listed = did_you_mean(name, known) or f"; it takes {', '.join(known) or 'none'}"
                raise SamplerOptionError(f"no argument is named {name!r}{listed}", name)
        elif expected := _other_type(parameters[name].annotation, value):
            raise SamplerOptionError(f"{name}: expected {expected}, got {value!r}", name)
    for name, one in parameters.items():
        if one.default is one.empty and name not in options and name not in GIVEN:
            raise SamplerOptionError(f"the argument {name!r} is missing", "")


_OURS = {
    "seed": "the study's own `seed` seeds every draw; leave it out here",
    "search_space": "made from the study's ranges; leave it out here",
}


def given(make: Callable[..., object], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of our values that a constructor takes: a seed; a search space if it must have one."""
    parameters = keywords(make)
    found = {name: one for name, one in values.items() if name in parameters}
    space = parameters.get("search_space")
    if space is not None and space.default is not space.empty:
        found.pop("search_space", None)
    return found


def keywords(make: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """The arguments that can be given by name."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        name: one for name, one in inspect.signature(make).parameters.items() if one.kind in kinds
    }


def _takes_any(make: Callable[..., object]) -> bool:
    parameters = inspect.signature(make).parameters.values()
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)


def _other_type(annotation: object, value: object) -> str | None:
    """What a plain annotation (`int | None`) asks for, where the value is something else."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    parts = [one.strip() for one in text.split("|")]
    if not all(one in _TYPES for one in parts):
        return None
    allowed: Collection[type] = [kind for one in parts for kind in _TYPES[one]]
    fits = type(value) in allowed
    return None if fits else " or ".join(parts)
