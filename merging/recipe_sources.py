"""Who is merged: `models`, `slices` and `modules` of a recipe, with the parameters of each.

Read here is their form; which of them go together is the business of `recipe_rules`, whether the
models have such layers and modules that of `plan`.
"""

from dataclasses import dataclass

from .document import Document, Path, did_you_mean
from .lost_indentation import parameter_names
from .methods.method import Method
from .recipe import ModelReference, Module, Slice, Source
from .recipe_keys import MODULE_KEYS, SLICE_KEYS, SLICE_SOURCE_KEYS, SOURCE_KEYS, Keys
from .recipe_values import Reading, read_model, read_parameters, shown

MAX_LAYER = 2**20
MAX_MODULES = 64

Data = dict[str, object]


@dataclass(frozen=True, slots=True)
class SourceReader:
    """Reads the sources of one recipe, of its `method` and top-level `base` model."""

    reading: Reading
    method: Method
    base: ModelReference | None

    def models(self, data: Data, around: Path) -> tuple[Source, ...]:
        """The `models` of a mapping that stands at `around`; none if it has no such key."""
        if not data.get("models"):
            return ()
        path = (*around, "models")
        written = enumerate(self.reading.sequence(data["models"], path))
        return tuple(
            self._source(value, (*path, index), self.base, sliced=False)
            for index, value in written
        )

    def slices(self, data: Data, around: Path) -> tuple[Slice, ...]:
        """The `slices` of a mapping that stands at `around`; none if it has no such key."""
        if not data.get("slices"):
            return ()
        path = (*around, "slices")
        written = enumerate(self.reading.sequence(data["slices"], path))
        return tuple(self._slice(value, (*path, at)) for at, value in written)

    def modules(self, data: Data, around: Path) -> tuple[Module, ...]:
        """The `modules` of a recipe, in the order of the text."""
        if not data.get("modules"):
            return ()
        path = (*around, "modules")
        named = self.reading.mapping(data["modules"], path)
        if len(named) > MAX_MODULES:
            raise self.reading.document.error(path, f"more than {MAX_MODULES} modules")
        return tuple(self._module(name, value, (*path, name)) for name, value in named.items())

    def _module(self, name: str, value: object, path: Path) -> Module:
        data = self.reading.mapping(value, path)
        _only(self.reading, data, path, MODULE_KEYS, "a module")
        if bool(data.get("models")) == bool(data.get("slices")):
            got = "both" if data.get("models") else "neither"
            raise self.reading.document.error(
                path, f"expected exactly one of `models` and `slices`, got {got}", key=True
            )
        parameters = read_parameters(
            self.reading, data.get("parameters"), (*path, "parameters"), self.method, "slice"
        )
        return Module(name, self.models(data, path), self.slices(data, path), parameters)

    def _slice(self, value: object, path: Path) -> Slice:
        data = self.reading.mapping(value, path)
        _only(self.reading, data, path, SLICE_KEYS, "a slice")
        named = data.get("base_model")
        own = read_model(self.reading.document, named, (*path, "base_model")) if named else None
        written = enumerate(self.reading.sequence(data.get("sources"), (*path, "sources")))
        sources = tuple(
            self._source(one, (*path, "sources", at), own or self.base, sliced=True)
            for at, one in written
        )
        parameters = read_parameters(
            self.reading, data.get("parameters"), (*path, "parameters"), self.method, "slice"
        )
        return Slice(sources, own, parameters)

    def _source(
        self, value: object, path: Path, base: ModelReference | None, *, sliced: bool
    ) -> Source:
        """One entry of `models` or of a slice's `sources`."""
        reading = self.reading
        data = reading.mapping(value, path)
        keys = SLICE_SOURCE_KEYS if sliced else SOURCE_KEYS
        _only(reading, data, path, keys, "a source" if sliced else "a model")
        if "model" not in data:
            raise reading.document.error(path, "the key `model` is missing: whose weights?")
        model = read_model(reading.document, data["model"], (*path, "model"))
        parameters = read_parameters(
            reading,
            data.get("parameters"),
            (*path, "parameters"),
            self.method,
            "base" if model == base else "model",
        )
        layers = _layer_range(reading.document, data, path) if sliced else None
        return Source(model, parameters, layers)


def _only(reading: Reading, data: Data, path: Path, keys: Keys, what: str) -> None:
    """Tells of every key that has no meaning here."""
    for key in data:
        if key in keys:
            continue
        if key in parameter_names():
            reading.unknown((*path, key), f"{key!r} belongs under `parameters:`")
        elif key == "layer_range":
            reading.unknown((*path, key), "`layer_range` counts in `slices` only")
        else:
            hint = did_you_mean(key, keys)
            reading.unknown((*path, key), f"{what} has no key {key!r}{hint or ''}")


def _layer_range(document: Document, data: Data, path: Path) -> tuple[int, int]:
    at = (*path, "layer_range")
    value = data.get("layer_range")
    whole = isinstance(value, list) and all(
        isinstance(end, int) and not isinstance(end, bool) for end in value
    )
    if not isinstance(value, list) or not whole or len(value) != 2:
        got = shown(value)
        raise document.error(
            at, f"expected [first, end]: two whole numbers, end not in; got {got}"
        )
    first, end = value
    if not 0 <= first <= end <= MAX_LAYER:
        raise document.error(at, f"expected 0 <= first <= end, got {shown(value)}")
    return first, end
