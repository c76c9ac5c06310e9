"""Studies whose candidates differ in depth: how deep they get, and the models to score them in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from merging.checkpoint import Checkpoint
from merging.depth import layer_heights, layer_orders, moved, output_config
from merging.document import Document
from merging.errors import UnsupportedError
from merging.layers import layer_layout
from merging.plan import TensorJob, plan_recipe
from merging.recipe import ModelReference
from merging.recipe_reader import read_recipe
from merging.stream import byte_size
from search.space import Space
from search.warm_start import Reference

from .errors import StudyError

if TYPE_CHECKING:
    from merging.candidate import LiveModel
    from merging.layer_pool import LayerPool

    from .preflight import Permissions, Preflight

Models = Mapping[ModelReference, Checkpoint]


def refuse_unmovable(
    document: Document, space: Space, models: Models, base: ModelReference
) -> None:
    """Refuses slices of a model whose config does not say what other layers would be like.

    Raises:
        UnsupportedError: with the place.
    """
    if not space.stack.slices:
        return
    heights = layer_heights(models[base])
    orders = moved(layer_orders(largest_jobs(document, space, models)), heights)
    try:
        if orders is not None:
            output_config(models[base].config, heights, orders)
    except UnsupportedError as error:
        raise UnsupportedError(document.message(("slices",), str(error))) from None


def depth(model: Checkpoint) -> int:
    """Layers of a model's main stack."""
    return layer_layout(model.tensors, model.config).length


def largest_jobs(document: Document, space: Space, models: Models) -> tuple[TensorJob, ...]:
    """The plan of the deepest candidate."""
    data = space.fill({**space.start, **space.stack.largest()})
    filled = document.with_data(data)
    recipe, _ = read_recipe(filled, strict=True)
    return plan_recipe(recipe, models, document=filled)


def largest_facts(preflight: "Preflight") -> dict[str, object]:
    """What `check` says of the largest candidate; nothing where all are like the base."""
    stack = preflight.space.stack
    if not stack.searched:
        return {}
    size = largest_bytes(preflight) / 1e9
    return {
        "layers_of_candidates": f"{stack.shortest} to {stack.longest} (the base has "
        f"{preflight.space.layers})",
        "gigabytes_of_the_largest": float(f"{size:.3g}"),
    }


def largest_bytes(preflight: "Preflight") -> int:
    """What the weights of the largest candidate take, as they are stored."""
    models, space = preflight.checkpoints, preflight.space
    if not space.stack.slices:
        return sum(byte_size(one) for one in models[preflight.base].tensors.values())
    jobs = largest_jobs(preflight.study.recipe, space, models)
    read = (job.base or job.sources[0] for job in jobs)
    return sum(byte_size(models[one.model].tensors[one.name]) for one in read)


def comparable(
    references: Sequence[Reference], models: Models
) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
    """The references that there are, and a notice where models of other depths have no mean.

    Raises:
        StudyError: models of other depths, and an output that speaks as all of them do.
    """
    depths = {str(model): depth(one) for model, one in models.items()}
    listed = [{one["model"] for one in found.data["models"]} for found in references]
    pairs = zip(references, listed, strict=True)
    kept = tuple(one for one, names in pairs if len({depths[name] for name in names}) == 1)
    if len(kept) == len(references):
        return kept, ()
    told = ", ".join(f"{name} {count}" for name, count in depths.items())
    if len(kept) < len(references) - 1:
        raise StudyError(
            f"the models differ in layers ({told}): a tokenizer or chat_template made of all of "
            "them cannot be searched; drop it, or take models of one depth"
        )
    return kept, (f"the models differ in layers ({told}): there is no uniform merge to compare",)


def layer_pool(
    preflight: "Preflight", live: "LiveModel", permissions: "Permissions"
) -> "LayerPool | None":
    """Models of every depth of a study with slices; memory for the largest is taken at once.

    `live` holds the base as it was loaded.

    Raises:
        UnsupportedError: the architecture cannot be made with other layers.
    """
    if not preflight.space.stack.slices:
        return None
    from merging.layer_pool import LayerPool

    base = preflight.checkpoints[preflight.base]
    pool = LayerPool(live, base, trust_remote_code=permissions.trust_remote_code)
    pool.of(largest_jobs(preflight.study.recipe, preflight.space, preflight.checkpoints))
    return pool
