"""The modules of a model (an encoder, a vision tower), found by the checkpoint's own names.

mergekit keeps a table of modules for each architecture. Here a module is everything below a path
of tensor names (`encoder`, `vision_tower`, `model.visual`, `multi_modal_projector`): usually a
stack of layers with what stands beside it. Of two paths above a tensor the longer one counts. A
tensor that stands beside all stacks (`lm_head`, a projection) belongs to the module of its kind,
by the words of both names (`visual_projection` to `vision_model`), else to the one of the main
stack (a head to the decoder's). Names that mergekit's tables use and no tensor has
(`text_decoder`) are read by their words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .compatibility import Models
from .document import did_you_mean
from .errors import RecipeError
from .layers import Layout, Stack, is_embedding, kinds_of
from .recipe import Source
from .sections import Section

DEFAULT = "default"
"""mergekit's name for the one module of a model; here all that no other module claims."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Who owns which tensor.

    `paths` are those of the recipe's modules, and of the stacks that it names none for (None);
    `kinds` says which of them is of a kind, `main` whose the main stack is, `head` whose the stack
    that the output head follows: the decoder's, where there is one.
    """

    paths: Mapping[str, str | None]
    kinds: Mapping[str, str | None]
    main: str | None
    head: str | None

    def owner(self, tensor: str) -> str | None:
        """The module that a tensor belongs to, None where the recipe names none for it."""
        for path in _paths_to(tensor):
            if path in self.paths:
                return self.paths[path]
        for kind in kinds_of(tensor):
            if kind in self.kinds:
                return self.kinds[kind]
        return self.paths.get("", self.main if is_embedding(tensor) else self.head)


def split_modules(
    models: Models, sections: Sequence[Section]
) -> list[tuple[Models, list[Section]]]:
    """Each module's sections, with the models cut down to what the module owns.

    Without modules everything is one part. What the recipe names no module for is a part of its
    own, which takes the tensors of the donor as they are.

    Raises:
        RecipeError: a name that nothing or more than one part of the model has, or two names of
            one part; says which modules there are.
    """
    names = list(dict.fromkeys(one.module for one in sections if one.module is not None))
    if not names:
        return [(models, list(sections))]
    owners = _owners(models, names)
    parts = [
        (_restricted(models, owners, name), [one for one in sections if one.module == name])
        for name in names
    ]
    return [*parts, (_restricted(models, owners, None), [_unchanged(models)])]


def unnamed_tensors(models: Models, sections: Sequence[Section]) -> tuple[str, ...]:
    """The tensors of the donor that belong to no module of the recipe."""
    if all(one.module is None for one in sections):
        return ()
    rest, _ = split_modules(models, sections)[-1]
    layout = next(iter(rest.layouts.values()))
    inside = (name for stack in layout.stacks for layer in stack.layers for name in layer)
    return (*layout.before, *inside, *layout.after)


def _unchanged(models: Models) -> Section:
    """The donor alone: a base that nothing is merged into."""
    donor = next(iter(models.layouts))
    return Section((Source(donor, {}),), donor, (), (), ("modules",))


def _restricted(models: Models, owners: Owners, module: str | None) -> Models:
    """The models as far as a module owns them; None: what no module of the recipe does."""

    def cut(layout: Layout) -> Layout:
        return Layout(
            before=tuple(name for name in layout.before if owners.owner(name) == module),
            stacks=tuple(one for one in layout.stacks if owners.owner(one.prefix) == module),
            after=tuple(name for name in layout.after if owners.owner(name) == module),
        )

    return replace(models, layouts={model: cut(one) for model, one in models.layouts.items()})


def _owners(models: Models, names: Sequence[str]) -> Owners:
    layout = next(iter(models.layouts.values()))
    roots = _roots(layout.stacks)
    paths: dict[str, str | None] = {}
    for name in names:
        for path in _paths(models, layout, roots, name):
            if path in paths:
                text = f"the same part of the model as {paths[path]!r}"
                raise RecipeError(models.message(("modules", name), text))
            paths[path] = name
    kinds: dict[str, str | None] = {}
    for path, owner in paths.items():
        for kind in (*kinds_of(path)[:1], *kinds_of(owner or "")[:1]):
            kinds.setdefault(kind, owner)
    owners = {stack.prefix: _owner(stack.prefix, paths) for stack in layout.stacks}
    main = next(iter(owners.values()), None)
    head = next((own for prefix, own in owners.items() if "decoder" in prefix), main)
    for prefix, root in roots.items():
        if root and owners[prefix] is None:
            paths[root] = None
            for kind in kinds_of(prefix)[:1]:
                kinds.setdefault(kind, None)
    return Owners(paths, kinds, main, head)


def _owner(name: str, paths: Mapping[str, str | None]) -> str | None:
    """The module whose path is the longest above a name, the empty path included."""
    return next((paths[path] for path in (*_paths_to(name), "") if path in paths), None)


def _roots(stacks: Sequence[Stack]) -> dict[str, str]:
    """The path below which each stack and what belongs to it stand, by the stack's prefix.

    It is one step longer than what all stacks have in common; empty where there is one stack.
    """
    parts = [stack.prefix.split(".") for stack in stacks]
    if len(parts) < 2:
        return {stack.prefix: "" for stack in stacks}
    common = 0
    while len({tuple(part[: common + 1]) for part in parts}) == 1:
        common += 1
    return {".".join(part): ".".join(part[: common + 1]) for part in parts}


def _paths(models: Models, layout: Layout, roots: Mapping[str, str], name: str) -> list[str]:
    """The paths that a module's name stands for."""
    if name == DEFAULT or name in roots:
        return [roots.get(name, "")]
    if any(name in _paths_to(tensor) for tensor in _places(layout)):
        return [name]
    inside = [root for prefix, root in roots.items() if f".{name}." in f".{prefix}."]
    found = list(dict.fromkeys(inside or _by_kind(layout, roots, name)))
    text = None
    if inside and len(found) > 1:
        text = f"{name!r} is in {_listed(found)}; write one of them whole"
    elif not found:
        known = list(dict.fromkeys([*roots.values(), *_beside(layout, roots), DEFAULT]))
        hint = did_you_mean(name, filter(None, known)) or f"; it has {_listed(known)}"
        text = f"the model has no module {name!r}{hint}"
    if text is not None:
        raise RecipeError(models.message(("modules", name), text))
    return found


def _by_kind(layout: Layout, roots: Mapping[str, str], name: str) -> list[str]:
    """The parts of the kind that a name speaks of: paths to a projector, else roots of stacks."""
    wanted = kinds_of(name)
    if "projector" in wanted:
        paths = (list(_paths_to(tensor))[::-1] for tensor in _places(layout))
        firsts = (next(filter(_is_projector, above), None) for above in paths)
        return [path for path in firsts if path is not None]
    found = [root for prefix, root in roots.items() if {*wanted} & {*kinds_of(prefix)}]
    return found or (list(roots.values())[:1] if "text" in wanted else [])


def _is_projector(path: str) -> bool:
    return "projector" in kinds_of(path.rpartition(".")[2])


def _places(layout: Layout) -> Iterator[str]:
    """Every tensor outside the stacks, and the prefix of each stack."""
    yield from (*layout.before, *(stack.prefix for stack in layout.stacks), *layout.after)


def _beside(layout: Layout, roots: Mapping[str, str]) -> list[str]:
    """The first step of tensors that stand below no root."""
    below = set(roots.values())
    outside = (name for name in _places(layout) if below.isdisjoint((*_paths_to(name), "")))
    return [name.partition(".")[0] for name in outside]


def _paths_to(name: str) -> Iterator[str]:
    """A name and the paths above it, the longest first."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names if name)
