"""mergekit-evolve's configuration file, read.

Its genome as a recipe with ranges, its tasks as lm-eval tasks, its weights as the winner rule.

One weight (and density) a model, a filter and a group of `layer_granularity` layers, as its
genotype has them. Its chat templates are not taken over unless the file asks for them: a base
model often has none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merging.document import Document
from merging.errors import SourceError
from merging.headers import member, read_json
from merging.methods.table import find_method
from merging.references import parse_reference

NORMALIZED = frozenset({"ties", "dare_ties", "linear"})
"""Methods that mergekit-evolve normalizes where the file does not say."""
DENSITY = {"range": [0.05, 1.0], "start": 1.0}


def recipe_from_genome(document: Document, layers: int | None) -> dict[str, Any]:
    """The recipe that the genome searches; raises RecipeError for what is missing.

    `layers` is how many the models have; None, where they are not here, gives other groups.
    """
    data: Any = document.data
    genome = data["genome"]
    if not isinstance(genome, Mapping):
        raise document.error(("genome",), "expected a mapping")
    for key in ("models", "merge_method"):
        if not genome.get(key):
            raise document.error(("genome",), f"the key {key!r} is missing")
    method = find_method(str(genome["merge_method"]))
    if method.parameter("weight") is None:  # slerp: two of several models for each group
        text = f"its genome for {method.name} has no counterpart; write that recipe with ranges"
        raise document.error(("genome", "merge_method"), text)
    if not isinstance(genome["models"], list):
        raise document.error(("genome", "models"), "expected a list of models")
    models = [str(model) for model in genome["models"]]
    known = {one.name for one in method.parameters}
    parameters = _parameters(genome, len(models), known, layers)
    base = genome.get("base_model") if method.base_apart else None  # else it is one of them
    experts = [model for model in models if model != base]
    recipe: dict[str, Any] = {"merge_method": method.name}
    if genome.get("base_model"):
        recipe["base_model"] = str(genome["base_model"])
    recipe["models"] = [{"model": model, "parameters": dict(parameters)} for model in experts]
    normalize = genome.get("normalize")
    if "normalize" in known:
        wanted = method.name in NORMALIZED if normalize is None else bool(normalize)
        recipe["parameters"] = {"normalize": wanted}
    if genome.get("tokenizer_source"):
        recipe["tokenizer_source"] = str(genome["tokenizer_source"])
    recipe["dtype"] = "bfloat16"
    return recipe


def tasks_from_evolve(document: Document) -> list[dict[str, Any]]:
    """Its tasks by their lm-eval names; a weighted sum there is objectives of their own here."""
    data: Any = document.data
    found = []
    for task in data.get("tasks") or []:
        name = str(task.get("name") if isinstance(task, Mapping) else task)
        one: dict[str, Any] = {"name": name, "lm_eval": name}
        if isinstance(data.get("num_fewshot"), int):
            one["fewshot"] = data["num_fewshot"]
        if isinstance(data.get("limit"), int):
            one["limit"] = data["limit"]
        if data.get("apply_chat_template") is True:
            one["chat_template"] = True
        found.append(one)
    return found


def ignored_by_study(document: Document) -> list[str]:
    """Keys of the file that a study has no use for, with what takes their place."""
    data: Any = document.data
    known = {
        "shuffle": "`limit` draws a fixed sample",
        "random_init": "a search begins with the genome's start and known forms",
        "fewshot_as_multiturn": "shots of a chat are turns anyway",
    }
    return [f"{key}: {why}" for key, why in known.items() if data.get(key)]


def goals_from_evolve(document: Document) -> dict[str, Any]:
    """`objectives` and `winner`, where its tasks name metrics or weights."""
    data: Any = document.data
    names = [one["name"] for one in tasks_from_evolve(document)]
    listed = [one if isinstance(one, Mapping) else {} for one in data.get("tasks") or []]
    tasks = dict(zip(names, listed, strict=True))
    goals: dict[str, Any] = {}
    if any("metric" in one for one in listed):
        metrics = {name: str(one.get("metric", "acc,none")) for name, one in tasks.items()}
        goals["objectives"] = {
            name: {"task": name, "metric": metric.removesuffix(",none")}
            for name, metric in metrics.items()
        }
    if any("weight" in one for one in listed):
        # There a negative weight says that lower is better; here each metric knows it.
        weights = {name: abs(one.get("weight", 1.0)) for name, one in tasks.items()}
        goals["winner"] = {"rule": "weighted", "weights": weights}
    return goals


def layers_of(model: str, folder: Path, maps: Mapping[str, Path]) -> int | None:
    """How many layers a model has, None where it is not here; nothing is fetched."""
    name = parse_reference(model).path
    place = maps.get(model) or maps.get(name) or folder / name
    try:
        layers = read_json(member(place, "config.json")).get("num_hidden_layers")
    except SourceError:
        return None
    return layers if isinstance(layers, int) and layers > 0 else None


def _parameters(
    genome: Mapping[str, Any], models: int, known: set[str], layers: int | None
) -> dict[str, Any]:
    low = -1.0 if genome.get("allow_negative_weights") else 0.0
    weight = {"range": [low, 1.0], "start": round(1 / models, 6)}
    ranges = {"weight": weight} | ({"density": dict(DENSITY)} if "density" in known else {})
    along = _along(genome, layers)
    filters = [str(one) for one in genome.get("filters") or []]
    found: dict[str, Any] = {}
    for name, one in ranges.items():
        value = one | along
        listed = [{"filter": text, "value": dict(value)} for text in filters]
        found[name] = [*listed, {"value": dict(value)}] if filters else value
    return found


def _along(genome: Mapping[str, Any], layers: int | None) -> dict[str, int]:
    """How values change along depth.

    Its groups of layers as `blocks`, or `anchors` where it smooths.
    """
    granularity = genome.get("layer_granularity") or 0
    if not isinstance(granularity, int) or isinstance(granularity, bool) or granularity < 1:
        return {}
    if layers is None:
        return {"anchors": 4}
    groups = layers // granularity
    return {"anchors" if genome.get("smooth") else "blocks": groups} if groups > 1 else {}
