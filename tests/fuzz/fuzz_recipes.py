"""Recipes and studies made by chance: a grammar over everything such a file can say.

A file is a function of its `random.Random` alone. Methods and their parameters come from the
table, so a new method is drawn without a change here. Most files are nearly right, so that the
deep checks are reached; how much of one is spoiled is drawn for each file. `modules`, `tokenizer`
sections and several documents are drawn too.
"""

import math
import re
from collections.abc import Callable

import yaml
from fuzz_texts import ATOMS, MONSTERS, TEXTS, Chance

from merging.methods.method import Method
from merging.methods.parameters import Parameter
from merging.methods.table import METHODS

MODELS = ("base", "alpha", "beta", "tall")
"""What a recipe names: three models that fit together, one of another depth."""

FILTERS = ("self_attn", "mlp", "embed_tokens", "norm", "layers.1.", "*", "", "q_proj", "[", "é")
NUMBERS = (0, 1, -1, 2, 0.5, 1.5, -0.25, 1e-9, 1e9, 1e308, -1e308, 5e-324, 2**31, 2**53 + 1, 2**64)

DTYPES, ODD_DTYPES = ("float32", "bfloat16", "float16"), ("float64", "int8", "auto", "torch.x")


class Raw(str):
    """A text that stands in the file as it is, quoted by nobody."""


def recipe_text(chance: Chance) -> str:
    """A recipe, or something that could be mistaken for one."""
    if chance.random() < 0.02:
        return chance.choice(MONSTERS)(chance)
    documents = 1 if chance.random() < 0.96 else chance.randint(2, 4)
    return "---\n".join(dump(chance, recipe(chance, spoiling(chance))) for _ in range(documents))


def study_text(chance: Chance) -> str:
    """A study over the bench's models and tasks, some numbers of its recipe being ranges."""
    if chance.random() < 0.01:
        return chance.choice(MONSTERS)(chance)
    data = recipe(chance, 0.0, ranges=chance.choice((0.3, 0.8, 1.0)))
    study: dict[object, object] = {
        "name": "fuzz",
        "recipe": data,
        "tasks": [sums(chance), lines(chance)],
        "budget": {
            chance.choice(("trials", "items", "minutes")): chance.choice((5, 60, 5000, 5000))
        },
    }
    parts: dict[str, Callable[[], object]] = {
        "sampler": lambda: chance.choice(("auto", "gp", "tpe", "nsgaii", "random", "cmaes")),
        "seed": lambda: chance.choice((0, 7, 2**63)),
        "split": lambda: {"calibration": 0, "search": 0.4, "select": 0.3, "test": 0.3},
        "constraints": lambda: [{"task": "sums", "metric": "acc", "max_drop": 0.1}],
        "objectives": lambda: {"one": {"task": "sums"}, "two": {"mean": [{"task": "lines"}]}},
        "winner": lambda: {"rule": chance.choice(("maximin",) * 9 + ("task",))},
    }
    study |= {key: part() for key, part in parts.items() if chance.random() < 0.4}
    return dump(chance, spoiled(chance, study, spoiling(chance)))


def sums(chance: Chance) -> dict[object, object]:
    """A task of questions, with templates and expressions that may be hostile."""
    data: dict[object, object] = {
        "name": "sums",
        "file": "sums.jsonl",
        "type": "multiple_choice",
        "prompt": TEMPLATES[0] if chance.random() < 0.9 else chance.choice(TEMPLATES),
        "answer": "answer",
        "choices": "choices",
    }
    if chance.random() < 0.1:
        data |= {"type": "generate", "target": "question"}
        del data["choices"], data["answer"]
    if chance.random() < 0.1:
        data |= {"extract": chance.choice(("(a+)+$", "(", "[0-9]+", "(?P<x>.)"))}
    if chance.random() < 0.1:
        data |= {"fewshot": chance.choice((0, 3, 10**9, {"n": 1}))}
    return data


def lines(chance: Chance) -> dict[object, object]:
    """A task of plain text."""
    data: dict[object, object] = {
        "name": "lines",
        "file": "lines.jsonl",
        "type": "loglikelihood",
        "target": "text",
    }
    if chance.random() < 0.1:
        data[chance.choice(("group", "stratum", "system"))] = "text"
    return data


TEMPLATES = (
    "{{question}}",
    "Question: {{question}}\nAnswer:",
    "{{question",
    "{{ nobody }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{{ 'x' * 10**9 }}",
    "{{ ().__class__.__mro__ }}",
    "{% include '/etc/passwd' %}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
)


def recipe(chance: Chance, share: float, ranges: float = 0.0) -> dict[object, object]:
    """One recipe as data, a share of it spoiled; in a study a share of its numbers is ranges."""
    method = METHODS[chance.choice(list(METHODS))]
    name = method.name if chance.random() < 0.95 else chance.choice(["tise", "", "é"])
    models = list(MODELS[: chance.choice((3, 3, 3, 3, 3, 3, 3, 4, 2))])
    data: dict[object, object] = {"merge_method": name}
    if method.base == "required" or chance.random() < 0.3:
        data["base_model"] = "base"
    slices = 1 if ranges else 3  # a study's slices must keep all layers, which few do by chance
    form = chance.choices(("models", "slices", "modules", "none"), (9, slices, 0.2, 0.1))[0]
    if form == "models":
        if "base_model" in data and chance.random() < (0.95 if ranges else 0.7):
            models.remove("base")
        data["models"] = [source(chance, method, one, ranges) for one in models]
    elif form != "none":
        many = range(chance.randint(1, 3))
        data["slices"] = [_slice(chance, method, models, ranges) for _ in many]
        if form == "modules":
            data["modules"] = {"default": {"slices": data.pop("slices")}}
    if chance.random() < 0.5:
        data["parameters"] = parameters(chance, method, "global", ranges)
    extras: dict[str, Callable[[], object]] = {
        "dtype": lambda: chance.choice(DTYPES if chance.random() < 0.9 else ODD_DTYPES),
        "out_dtype": lambda: chance.choice(DTYPES),
        "tokenizer_source": lambda: chance.choice(("union", "base", "alpha", 3)),
        "tokenizer": lambda: {"source": "union", "tokens": {"<s>": {"source": "base"}}},
        "chat_template": lambda: chance.choice(("auto", "{{ x }}")),
        "eutectic": lambda: {"mask_seed": chance.choice(NUMBERS)},
        "name": lambda: "x",
    }
    for key, value in extras.items():
        if chance.random() < (0.5 if key == "dtype" else 0.01):
            data[key] = value()
    return shuffled(chance, spoiled(chance, data, share))


def _slice(
    chance: Chance, method: Method, models: list[str], ranges: float
) -> dict[object, object]:
    first = chance.randint(0, 2)
    layers = [first, chance.randint(min(first + chance.choice((0, 1, 1, 1)), 3), 3)]
    data: dict[object, object] = {
        "sources": [
            {**source(chance, method, one, ranges), "layer_range": list(layers)} for one in models
        ]
    }
    if chance.random() < 0.1:
        data["base_model"] = chance.choice(models)
    if chance.random() < 0.3:
        data["parameters"] = parameters(chance, method, "global", ranges)
    return data


def source(chance: Chance, method: Method, model: str, ranges: float) -> dict[object, object]:
    """An entry of `models` or of a slice's `sources`."""
    data: dict[object, object] = {"model": model}
    data["parameters"] = parameters(chance, method, "model", ranges)
    return data


def parameters(chance: Chance, method: Method, scope: str, ranges: float) -> dict[object, object]:
    """A `parameters:` mapping: the required ones, some of the others, rarely another method's."""
    found: dict[object, object] = {}
    for one in method.parameters:
        if one.scope == scope and (one.default is None or chance.random() < 0.5):
            found[one.name] = setting(chance, one, ranges)
    if chance.random() < 0.05:
        every = [one for method in METHODS.values() for one in method.parameters]
        other = chance.choice(every)
        found[other.name] = setting(chance, other, ranges)
    return found


def setting(chance: Chance, parameter: Parameter, ranges: float) -> object:
    """A number, a gradient, filters, or (in a study) a range."""
    form = chance.choices(("value", "gradient", "filters"), (6, 2, 2))[0]
    if form == "gradient" and parameter.kind == "float":
        return [value(chance, parameter, 0) for _ in range(chance.choice((1, 2, 3, 7)))]
    if form == "filters":
        chosen = chance.sample(FILTERS, chance.randint(0, 3))
        entries = [{"filter": one, "value": value(chance, parameter, ranges)} for one in chosen]
        return [*entries, {"value": value(chance, parameter, ranges)}]
    return value(chance, parameter, ranges)


def value(chance: Chance, parameter: Parameter, ranges: float) -> object:
    """A value in the parameter's range; in a study perhaps a range."""
    if parameter.kind == "bool":
        return chance.random() < 0.5
    low = parameter.low if math.isfinite(parameter.low) else -0.5
    high = parameter.high if math.isfinite(parameter.high) else 1.5
    one, other = sorted(round(chance.uniform(low, high), 3) for _ in range(2))
    if chance.random() >= ranges:
        return other
    found: dict[object, object] = {"range": [one, other]}
    extras: dict[str, Callable[[], object]] = {
        "anchors": lambda: chance.choice((1, 2, 3, "layers", "auto", 999)),
        "blocks": lambda: chance.choice((1, 2, 3, 99)),
        "log": lambda: one > 0 or chance.random() < 0.1,
        "step": lambda: chance.choice((other - one, 1e-9, 0, -1)),
        "start": lambda: chance.choice((one, other, 9.0)),
    }
    found |= {key: make() for key, make in extras.items() if chance.random() < 0.07}
    if chance.random() < 0.95:
        return found
    return {"choice": [one, other, "x"][: chance.choice((0, 1, 2, 2, 2, 3))]}


def spoiling(chance: Chance) -> float:
    """The share of a file's values that are spoiled."""
    return chance.choice((0.0, 0.0, 0.01, 0.01, 0.05))


def spoiled(chance: Chance, data: object, share: float) -> object:
    """The same data with junk in the place of some values, and keys lost, misspelt or added."""
    if chance.random() < share:
        return junk(chance)
    if isinstance(data, list):
        return [spoiled(chance, one, share) for one in data]
    if not isinstance(data, dict):
        return data
    found: dict[object, object] = {}
    for key, one in data.items():
        if chance.random() < share:
            key = chance.choice((str(key)[:-1], str(key).upper(), Raw(chance.choice(ATOMS)), "é"))
        if chance.random() >= share / 2:
            found[key] = spoiled(chance, one, share)
    return found


def junk(chance: Chance, depth: int = 0) -> object:
    """Anything."""
    kind = chance.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return [junk(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    if kind == 6:
        return {chance.choice(TEXTS): junk(chance, depth + 1) for _ in range(chance.randint(0, 3))}
    pools: tuple[tuple[object, ...], ...] = (
        tuple(Raw(one) for one in ATOMS),
        TEXTS,
        NUMBERS,
        NUMBERS,
        (None, True, False, [], {}, "", [[]], [{}]),
    )
    return chance.choice(pools[kind])


def shuffled(chance: Chance, data: object) -> dict[object, object]:
    """A mapping with its keys in another order; what is none is put under a key."""
    if not isinstance(data, dict):
        return {"merge_method": data}
    keys = list(data)
    chance.shuffle(keys)
    return {key: data[key] for key in keys}


class Dumper(yaml.SafeDumper):
    """YAML with the raw texts marked, so that they can be put in unquoted."""


def _marked(dumper: yaml.SafeDumper, text: Raw) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", f"RAW{text.encode().hex()}")


Dumper.add_representer(Raw, _marked)


def dump(chance: Chance, data: object) -> str:
    """The data as YAML in one of the usual styles; equal parts become anchors and aliases."""
    text: str = yaml.dump(
        data,
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=chance.random() < 0.7,
        default_flow_style=chance.choice((None, False, False, True)),
        indent=chance.choice((None, 2, 4, 8)),
        width=chance.choice((80, 2**16)),
        explicit_start=chance.random() < 0.1,
    )
    return re.sub(r"RAW([0-9a-f]*)", lambda found: bytes.fromhex(found[1]).decode(), text)
