"""mergekit-evolve's configuration file, read.

Its genome as a recipe with ranges, its tasks as lm-eval tasks.

One weight (and density) a model, a filter and a group of `layer_granularity` layers, as its
genotype has them.
"""

from collections.abc import Mapping
from typing import Any

from merging.document import Document
from merging.methods.table import find_method

DENSITY = {"range": [0.05, 1.0], "start": 1.0}


def recipe_from_genome(document: Document) -> dict[str, Any]:
    """The recipe that the genome searches; raises RecipeError for what is missing."""
    data: Any = document.data
    genome = data["genome"]
    if not isinstance(genome, Mapping):
        raise document.error(("genome",), "expected a mapping")
    for key in ("models", "merge_method"):
        if not genome.get(key):
            raise document.error(("genome",), f"the key {key!r} is missing")
    method = find_method(str(genome["merge_method"]))
    models = [str(model) for model in genome["models"]]
    parameters = _parameters(
        document, genome, len(models), {one.name for one in method.parameters}
    )
    experts = [model for model in models if model != genome.get("base_model")]
    recipe: dict[str, Any] = {"merge_method": method.name}
    if genome.get("base_model"):
        recipe["base_model"] = str(genome["base_model"])
    recipe["models"] = [{"model": model, "parameters": dict(parameters)} for model in experts]
    if isinstance(genome.get("normalize"), bool):
        recipe["parameters"] = {"normalize": genome["normalize"]}
    recipe["dtype"] = "bfloat16"
    return recipe


def tasks_from_evolve(document: Document) -> list[dict[str, Any]]:
    """Its tasks by their lm-eval names; a weighted sum there is objectives of their own here."""
    data: Any = document.data
    found = []
    for task in data.get("tasks") or []:
        name = task.get("name") if isinstance(task, Mapping) else task
        one: dict[str, Any] = {"name": str(name), "lm_eval": str(name)}
        if isinstance(data.get("num_fewshot"), int):
            one["fewshot"] = data["num_fewshot"]
        if isinstance(data.get("limit"), int):
            one["limit"] = data["limit"]
        found.append(one)
    return found


def _parameters(
    document: Document, genome: Mapping[str, Any], models: int, known: set[str]
) -> dict[str, Any]:
    low = -1.0 if genome.get("allow_negative_weights") else 0.0
    weight = {"range": [low, 1.0], "start": round(1 / models, 6)}
    ranges = {"weight": weight} | ({"density": dict(DENSITY)} if "density" in known else {})
    along = _along(document, genome)
    filters = [str(one) for one in genome.get("filters") or []]
    found: dict[str, Any] = {}
    for name, one in ranges.items():
        value = one | along
        listed = [{"filter": text, "value": dict(value)} for text in filters]
        found[name] = [*listed, {"value": dict(value)}] if filters else value
    return found


def _along(document: Document, genome: Mapping[str, Any]) -> dict[str, int]:
    """How values change along depth.

    Its groups of layers as `blocks`, or `anchors` where it smooths.
    """
    granularity = genome.get("layer_granularity") or 0
    if not isinstance(granularity, int) or isinstance(granularity, bool) or granularity < 1:
        return {}
    layers = genome.get("layers")
    if not isinstance(layers, int):
        return {"anchors": 4}  # the number of layers stands in the models, which may not be here
    groups = max(1, layers // granularity)
    return {"anchors" if genome.get("smooth") else "blocks": groups}
