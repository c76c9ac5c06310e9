"""A merge method: its parameters, the models it takes, and the formula it makes of numbers."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import MergeError
from ..recipe import Scalar
from .formula import Formula, Numbers
from .parameters import Parameter, Scope


@dataclass(frozen=True, slots=True)
class Method:
    """A merge method.

    `base`: what `base_model` is to it. "required": it stands apart from the experts, its own
    numbers are not read; "optional": so too where there is one; "listed": it is a model like the
    others if the recipe lists it. `experts`: how many models beside a base that stands apart, at
    least and at most (None: any number). `random`: the result depends on the mask seed. `merge`
    turns a tensor's resolved numbers into its formula. `origin` tells methods of the same name
    apart: empty for those of the table, a digest of the user's file for others. `loose`: numbers
    may be whatever mergekit takes, see `merging.differences`.
    """

    name: str
    parameters: tuple[Parameter, ...]
    base: Literal["required", "optional", "listed"]
    experts: tuple[int, int | None]
    random: bool
    paper: str
    merge: Callable[[Numbers], Formula]
    origin: str = ""
    loose: bool = False

    def loosened(self) -> "Method":
        """The same method with mergekit's own bounds, where it is a method of mergekit's."""
        return self if self.origin else replace(self, loose=True)

    @property
    def base_apart(self) -> bool:
        """Whether a base model, where there is one, is none of the experts."""
        return self.base != "listed"

    def takes_in(self, given: Collection[str]) -> bool:
        """Whether a base that `models` does not list is a source all the same.

        mergekit averages it in always, and fails where nobody gives it a weight. Here it lends its
        config and tokenizer only where a number that it needs is not among those given for all.
        """
        required = (one.name for one in self.parameters if one.default is None)
        return self.base_apart or (
            self.experts[1] is None and all(name in given for name in required)
        )

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, None if the method reads none."""
        return next((one for one in self.parameters if one.name == name), None)

    @property
    def ranked(self) -> bool:
        """Whether it keeps elements by rank, as DELLA does: density and epsilon go together."""
        names = {one.name for one in self.parameters if one.scope == "model"}
        return {"density", "epsilon"} <= names

    def conflict(self, parameters: Mapping[str, Scalar]) -> str | None:
        """Says which numbers of one expert do not go together, None where they do.

        DELLA needs 0 < density - epsilon and density + epsilon < 1; a density of 1 keeps
        everything, in mergekit one of 0 nothing.
        """
        if not self.ranked:
            return self._no_mask(parameters) if self.loose and self.random else None
        density, epsilon = (
            float(self._value(name, parameters)) for name in ("density", "epsilon")
        )
        drops_all = self.loose and density <= 0
        if density >= 1 or drops_all or (density - epsilon > 0 and density + epsilon < 1):
            return None
        return (
            "expected 0 < density - epsilon and density + epsilon < 1 (or density 1: keep all), "
            f"got density {density:g} and epsilon {epsilon:g}; make epsilon smaller than "
            f"{min(density, 1 - density):g}"
        )

    def _no_mask(self, parameters: Mapping[str, Scalar]) -> str | None:
        density = float(self._value("density", parameters))
        if density >= 0:
            return None
        return f"expected a density from 0, as mergekit does, got {density:g}"

    def formula_fault(self, numbers: Numbers) -> str | None:
        """Says why numbers give no formula (weights that cancel), None where they do."""
        try:
            self.merge(numbers)
        except MergeError as error:
            return str(error)
        return None

    def wrong_number(self, experts: int, *, with_base: bool) -> str | None:
        """Says how many models the method takes, None where these are as many."""
        low, high = self.experts
        if low <= experts and (high is None or experts <= high):
            return None
        exact = f"exactly {low}" if low == high else f"at least {low}"
        if high is not None and experts > high and low != high:
            exact = f"at most {high}"
        beside = " beside the base model" if with_base else ""
        models = "model" if exact.endswith(" 1") else "models"
        return f"{self.name} takes {exact} {models}{beside}, got {experts}"

    def complete(self, scope: Scope, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The numbers of that scope: checked, with defaults, without what is not read.

        Raises:
            MergeError: a required number is missing, a value is out of range, or two do not go
            together.
        """
        wanted = [one for one in self.parameters if one.scope == scope]
        numbers = {one.name: self._value(one.name, given) for one in wanted}
        for one in wanted:
            if fault := one.fault(numbers[one.name], loose=self.loose):
                raise MergeError(f"{self.name}: {one.name}: {fault}")
        if scope == "model" and (conflict := self.conflict(numbers)):
            raise MergeError(f"{self.name}: {conflict}")
        return numbers

    def _value(self, name: str, given: Mapping[str, Scalar]) -> Scalar:
        parameter = self.parameter(name)
        value = given.get(name, parameter.default if parameter else None)
        if value is None:
            raise MergeError(f"{self.name} needs the parameter {name!r}; give it")
        return value
