"""The merge methods: one explicit table of parameters, ranges, defaults, papers and functions.

Recipes are checked against it, search spaces are bounded by it, `explain` prints it, and
`merge_tensor` calls it; nobody repeats it. Defaults and meanings are mergekit's. Importing it
costs no torch: the functions only turn numbers into a formula, which an engine (`merging.kernels`)
evaluates.

Not here: methods that mergekit has and eutectic refuses for now; `NOT_YET` says what to do
instead.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from ..errors import MergeError, UnsupportedError
from ..recipe import Scalar
from .formula import Numbers, TaskVectors, WeightedMean
from .linear import linear
from .task_vectors import dare_linear, dare_ties, della, della_linear, task_arithmetic, ties

Formula = WeightedMean | TaskVectors


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a method: where it stands, what it may be, what it is when nobody says.

    `scope` "model": a number for each expert (the top-level value is inherited); "global": one for
    the output. `default` None: required. Bounds of a bool are 0 and 1 and mean nothing.
    """

    name: str
    scope: Literal["model", "global"]
    kind: Literal["float", "bool"]
    low: float
    high: float
    low_open: bool
    high_open: bool
    default: float | bool | None
    meaning: str

    def fault(self, value: object) -> str | None:
        """Says what is wrong (`expected a number in (0, 1], got 1.4`), None where nothing is."""
        if self.kind == "bool":
            return None if isinstance(value, bool) else f"expected true or false, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"expected {self.expected()}, got {value!r}"
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return None if above and below else f"expected {self.expected()}, got {value:g}"

    def expected(self) -> str:
        """The range in words: `a number in (0, 1]`, `a finite number`, `true or false`."""
        if self.kind == "bool":
            return "true or false"
        if math.isinf(self.low) and math.isinf(self.high):
            return "a finite number"
        opening, closing = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"a number in {opening}{self.low:g}, {self.high:g}{closing}"


@dataclass(frozen=True, slots=True)
class Method:
    """A merge method.

    `base`: whether a recipe needs `base_model` ("optional": it is one of the models, if listed).
    `task_vectors`: experts count as differences from the base, whose own numbers are not read.
    `random`: the result depends on the mask seed. `merge` turns a tensor's resolved numbers into
    its formula.
    """

    name: str
    parameters: tuple[Parameter, ...]
    base: Literal["required", "optional", "none"]
    task_vectors: bool
    random: bool
    paper: str
    merge: Callable[[Numbers], Formula]

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, None if the method reads none."""
        return next((one for one in self.parameters if one.name == name), None)

    def conflict(self, parameters: Mapping[str, Scalar]) -> str | None:
        """Says which numbers of one expert do not go together, None where they do.

        DELLA needs 0 < density - epsilon and density + epsilon < 1; a density of 1 keeps
        everything.
        """
        if self.parameter("epsilon") is None:
            return None
        density, epsilon = (
            float(self._value(name, parameters)) for name in ("density", "epsilon")
        )
        if density >= 1 or (density - epsilon > 0 and density + epsilon < 1):
            return None
        return (
            "expected 0 < density - epsilon and density + epsilon < 1 (or density 1: keep all), "
            f"got density {density:g} and epsilon {epsilon:g}; make epsilon smaller than "
            f"{min(density, 1 - density):g}"
        )

    def complete(
        self, scope: Literal["model", "global"], given: Mapping[str, Scalar]
    ) -> dict[str, Scalar]:
        """The numbers of that scope: checked, with defaults, without what is not read.

        Raises:
            MergeError: a required number is missing, a value is out of range, or two do not go
            together.
        """
        wanted = [one for one in self.parameters if one.scope == scope]
        numbers = {one.name: self._value(one.name, given) for one in wanted}
        for one in wanted:
            if fault := one.fault(numbers[one.name]):
                raise MergeError(f"{self.name}: {one.name}: {fault}")
        if scope == "model" and (conflict := self.conflict(numbers)):
            raise MergeError(f"{self.name}: {conflict}")
        return numbers

    def _value(self, name: str, given: Mapping[str, Scalar]) -> Scalar:
        parameter = self.parameter(name)
        value = given.get(name, parameter.default if parameter else None)
        if value is None:
            raise MergeError(f"{self.name} needs the parameter {name!r} for every model; give it")
        return value


def _number(
    name: str,
    meaning: str,
    *,
    default: float | None,
    scope: Literal["model", "global"] = "model",
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = True,
    high_open: bool = True,
) -> Parameter:
    return Parameter(name, scope, "float", low, high, low_open, high_open, default, meaning)


def _switch(name: str, meaning: str, *, default: bool) -> Parameter:
    return Parameter(name, "global", "bool", 0.0, 1.0, False, False, default, meaning)


_WEIGHT = _number("weight", "what the expert is multiplied by", default=None)
_DENSITY = _number(
    "density",
    "the share of the delta that is kept",
    default=1.0,
    low=0.0,
    high=1.0,
    high_open=False,
)
_EPSILON = _number(
    "epsilon",
    "half the width of the keep probability from the smallest to the largest of a row",
    default=0.15,
    low=0.0,
    high=0.5,
    low_open=False,
)
_LAMBDA = _number("lambda", "what the merged delta is multiplied by", default=1.0, scope="global")
_INT8_MASK = _switch("int8_mask", "mergekit's memory saver; changes no value", default=False)


def _normalize(default: bool) -> Parameter:
    return _switch("normalize", "divide by the sum of the weights that count", default=default)


def _rescale(default: bool) -> Parameter:
    return _switch("rescale", "give the masked delta the L1 norm of the whole", default=default)


def _sparse(normalize: bool, rescale: bool, epsilon: bool = False) -> tuple[Parameter, ...]:
    own = (_WEIGHT, _DENSITY, _EPSILON) if epsilon else (_WEIGHT, _DENSITY)
    return (*own, _LAMBDA, _normalize(normalize), _rescale(rescale), _INT8_MASK)


def _task_vectors(
    name: str,
    parameters: tuple[Parameter, ...],
    paper: str,
    merge: Callable[[Numbers], Formula],
    *,
    random: bool,
) -> Method:
    return Method(name, parameters, "required", True, random, paper, merge)


_SOUPS = "https://arxiv.org/abs/2203.05482"
_TASK_ARITHMETIC = "https://arxiv.org/abs/2212.04089"
_TIES = "https://arxiv.org/abs/2306.01708"
_DARE = "https://arxiv.org/abs/2311.03099"
_DELLA = "https://arxiv.org/abs/2406.11617"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method(
                "linear", (_WEIGHT, _normalize(True)), "optional", False, False, _SOUPS, linear
            ),
            _task_vectors(
                "task_arithmetic",
                (_WEIGHT, _LAMBDA, _normalize(False), _INT8_MASK),
                _TASK_ARITHMETIC,
                task_arithmetic,
                random=False,
            ),
            _task_vectors("ties", _sparse(True, False), _TIES, ties, random=False),
            _task_vectors("dare_linear", _sparse(False, True), _DARE, dare_linear, random=True),
            _task_vectors("dare_ties", _sparse(False, True), _DARE, dare_ties, random=True),
            _task_vectors(
                "della_linear", _sparse(False, True, True), _DELLA, della_linear, random=True
            ),
            _task_vectors("della", _sparse(True, True, True), _DELLA, della, random=True),
        )
    }
)

NOT_YET: Mapping[str, str] = MappingProxyType(
    {
        "slerp": "use linear with the two models",
        "nuslerp": "use linear with the same weights",
        "multislerp": "use linear with the same weights",
        "karcher": "use linear with equal weights",
        "model_stock": "use task_arithmetic and search its lambda",
        "sce": "use ties with the same models",
        "ram": "use ties with the same models",
        "ramplus_tl": "use ties with the same models",
        "nearswap": "use linear with a small weight for the second model",
        "arcee_fusion": "use ties with a density below 1",
        "breadcrumbs": "use della_linear, or task_arithmetic",
        "breadcrumbs_ties": "use ties with the same density",
        "passthrough": "merge models with equal layers, or stack layers with mergekit first",
    }
)


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UnsupportedError: mergekit has it, eutectic has not (yet).
        MergeError: nobody has it; the message names the nearest.
    """
    if name in METHODS:
        return METHODS[name]
    known = ", ".join(METHODS)
    if name in NOT_YET:
        raise UnsupportedError(
            f"merge_method {name!r} is not supported yet: {NOT_YET[name]} (supported: {known})"
        )
    nearest = get_close_matches(name, (*METHODS, *NOT_YET), n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise MergeError(f"unknown merge_method {name!r}{hint} (supported: {known})")
