"""The grid of golden values, continued: depth, filters, slices, dtypes, vocabularies, stages.

And mergekit's own published examples (its `examples/` and the stages of its documentation): their
keys and numbers, under the names of their models, which are mapped to pico models of 40 layers.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from golden_cases import TWO, Case, Recipe, make_case, recipe

LAYERS = ("embed_tokens", "model.norm", "input_layernorm", "k_proj", "lm_head")
DEEP = ("embed_tokens", "model.norm", "post_attention_layernorm", ".9.mlp.up_proj", ".39.mlp")
PUBLISHED = Path(__file__).resolve().parent.parent / "tests/data/recipes/mergekit"
BASES = ("Platypus2", "Mistral-7B-v0.1", "Llama-2-13B", "model_a")
"""Parts of the names that stand for the pico base: the others are its experts, in order."""


def structure_cases() -> Iterator[Case]:
    """Everything but the methods themselves."""
    groups = depth(), filters(), slices(), stacks(), dtypes()
    for name, made, folder in chain.from_iterable(groups):
        yield make_case(name, {"dtype": folder, **made}, folder, LAYERS)
    for name, made in vocabularies().items():
        yield make_case(f"vocabulary {name}", made, "vocabulary", ("embed", "lm_head", "q_proj"))
    yield make_case("stages", stages(), "float32", LAYERS)
    yield from mixed()
    yield from distributions()
    yield from published()


def depth() -> Iterator[tuple[str, Recipe, str]]:
    """Gradients of 2, 3 and 5 values."""
    bent = {"alpha": {"weight": [0.1, 0.4, 1.0]}, "beta": {"weight": [0.9, 0.2]}}
    five = {"alpha": {"weight": [1, 0.5, 0.7, 0.3, 0]}, "beta": {"weight": 0.5}}
    yield "gradient linear 2-3", recipe("linear", bent, None), "float32"
    yield "gradient linear 5", recipe("linear", five, None), "float32"
    yield "gradient one-value", recipe("linear", five, None, weight=[0.3]), "float32"
    steep = {"alpha": {"weight": 1, "density": [0.9, 0.2]}, "beta": {"weight": [0.2, 0.6]}}
    whole = {"density": 0.5, "lambda_": [0.5, 1.5, 1.0]}
    yield "gradient ties density lambda", recipe("ties", steep, **whole), "float32"
    yield "gradient dare_ties density", recipe("dare_ties", steep, **whole), "float32"
    bow = {"alpha": {"density": [0.4, 0.6, 0.5], "epsilon": [0.1, 0.3, 0.1]}}
    yield "gradient della epsilon", recipe("della", bow, weight=[0.5, 1]), "float32"
    yield "gradient slerp t", recipe("slerp", {"alpha": {}}, t=[0, 0.5, 0.3, 0.7, 1]), "float32"
    both = {"alpha": {"weight": 1.0, "density": 0.5}, "beta": {"weight": 1.0, "density": 0.5}}
    switches = {"normalize": [True, False], "rescale": [False, False, True]}
    yield "gradient of switches", recipe("ties", both, **switches), "float32"
    yield "gradient bfloat16", recipe("linear", bent, None), "bfloat16"
    text = {"alpha": {"weight": "3e-1"}, "beta": {"weight": ["1e-1", 0.7]}}  # texts in YAML 1.1
    yield "scientific notation", recipe("linear", text, None), "float32"


def filters() -> Iterator[tuple[str, Recipe, str]]:
    """Filter lists: the first match, `*`, falling through to the next level."""
    t = [
        {"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]},
        {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]},
        {"value": 0.5},
    ]
    yield "filter slerp", recipe("slerp", {"alpha": {}}, t=t), "float32"
    first = [{"filter": "*", "value": 0.3}, {"filter": "mlp", "value": 0.9}]
    yield "filter star-first", recipe("linear", {"alpha": {"weight": first}}, weight=1), "float32"
    layer = [{"filter": "layers.1.", "value": 0.1}, {"filter": "MLP", "value": 0.9}]
    through = {"alpha": {"weight": layer}, "beta": {"weight": [{"filter": "norm", "value": 2}]}}
    yield "filter falls-through", recipe("task_arithmetic", through, weight=0.5), "float32"
    bare = {"filter": "self_attn", "value": 0.2}
    yield "filter bare", recipe("linear", {"alpha": {"weight": bare}}, weight=0.6), "float32"
    own = {"alpha": {"weight": 1, "density": [{"filter": "q_proj", "value": 0.2}]}, "beta": {}}
    switch = [{"filter": "mlp", "value": False}, {"value": True}]
    made = recipe("ties", own, weight=0.5, density=0.7, normalize=switch)
    yield "filter ties density normalize", made, "float32"
    yield "filter dare_linear density", recipe("dare_linear", own, weight=0.5), "float32"
    strength = [{"filter": "mlp", "value": [0.5, 1.5]}, {"filter": "embed", "value": 0}]
    yield "filter lambda", recipe("task_arithmetic", own, weight=0.5, lambda_=strength), "float32"


def slices() -> Iterator[tuple[str, Recipe, str]]:
    """Slices: own parameters of slices and sources, own bases, moved layers, lengths 1 and 0."""
    pair = ("base", "alpha")
    plain = [_slice((0, 2), *pair), _slice((2, 4), "base", "beta", parameters={"weight": 0.2})]
    top = {"weight": [0.4, 0.8], "lambda": [{"filter": "mlp", "value": 0.5}]}
    yield "slices task_arithmetic", _sliced("task_arithmetic", plain, top), "float32"
    source = {"model": "alpha", "layer_range": [1, 3], "parameters": {"weight": [0.1, 0.9]}}
    own = {"sources": [{"model": "base", "layer_range": [0, 2]}, source]}
    own["parameters"] = {"weight": 0.3, "density": [{"filter": "mlp", "value": 0.5}]}
    moved = [own, _slice((2, 4), *pair)]
    yield "slices moved-layers ties", _sliced("ties", moved, {"weight": 1}), "float32"
    yield "slices dare_ties", _sliced("dare_ties", moved, {"weight": 1}), "float32"
    based = [_slice((0, 2), *pair), _slice((2, 4), "beta", "gamma", base_model="beta")]
    yield "slices own-base", _sliced("task_arithmetic", based, {"weight": 0.5}), "float32"
    yield "slices own-base slerp", _sliced("slerp", based, {"t": [0.2, 0.6]}), "float32"
    single = [_slice((0, 1), *pair), _slice((1, 4), *pair)]
    yield "slices one-layer", _sliced("task_arithmetic", single, {"weight": [0.1, 1]}), "float32"
    empty = [_slice((0, 4), *pair), _slice((4, 4), *pair, parameters={"weight": 0.9})]
    yield "slices zero-length", _sliced("task_arithmetic", empty, {"weight": 0.4}), "float32"
    fewer = [_slice((0, 2), *pair, "beta"), _slice((2, 4), *pair)]
    yield "slices fewer-sources", _sliced("task_arithmetic", fewer, {"weight": 0.4}), "float32"
    average = [_slice((0, 3), "alpha", "beta"), _slice((1, 4), "beta", "gamma")]
    yield "slices linear six", _sliced("linear", average, {"weight": [0.5, 1]}, None), "float32"
    modules = {"default": {"slices": plain, "parameters": {"weight": 0.7}}}
    made: Recipe = {"merge_method": "task_arithmetic", "base_model": "base", "modules": modules}
    yield "modules slices", made | {"parameters": {"lambda": 0.5}}, "float32"
    models = [{"model": "alpha", "parameters": {"weight": 0.4}}, {"model": "beta"}]
    modules = {"default": {"models": models, "parameters": {"weight": [0.7, 0.1]}}}
    made = {"merge_method": "ties", "base_model": "base", "modules": modules}
    yield "modules models", made | {"parameters": {"density": 0.5, "weight": 9}}, "float32"


def stacks() -> Iterator[tuple[str, Recipe, str]]:
    """Layers put on top of each other, scaled or not."""
    two = [_slice((0, 3), "alpha"), _slice((1, 4), "beta")]
    yield "stack passthrough", _sliced("passthrough", two, {}, None), "float32"
    yield "stack passthrough base", _sliced("passthrough", two, {}), "bfloat16"
    scale = [{"filter": "k_proj", "value": 0.5}, {"filter": "mlp", "value": [0.1, 1.0]}]
    scaled = [_slice((0, 3), "alpha"), _slice((2, 4), "alpha", parameters={"scale": scale})]
    yield "stack scale", _sliced("passthrough", scaled, {}, None), "float32"
    reverse = [_slice((index, index + 1), "gamma") for index in (3, 2, 1, 0, 1)]
    yield "stack reversed", _sliced("passthrough", reverse, {"scale": 0.7}, None), "float32"


def dtypes() -> Iterator[tuple[str, Recipe, str]]:
    """Arithmetic and stored dtypes that are not the checkpoint's."""
    experts = {"alpha": {"weight": 0.6, "density": 0.5}, "beta": {"weight": 0.3, "density": 0.4}}
    for method in ("linear", "task_arithmetic", "ties", "dare_ties", "della"):
        made = recipe(method, experts, None if method == "linear" else "base")
        up = {"dtype": "float32"}
        yield f"dtype {method} float32-of-bfloat16", made | up, "bfloat16"
        yield f"dtype {method} float16", made | {"dtype": "float16"}, "float32"
        yield f"dtype {method} out", made | up | {"out_dtype": "bfloat16"}, "float32"
        yield f"dtype {method} none", {**made, "dtype": None}, "bfloat16"
    whole = {"dtype": "bfloat16", "out_dtype": "float32"}
    made = recipe("task_arithmetic", experts)
    yield "dtype task_arithmetic bfloat16-out-float32", made | whole, "bfloat16"
    yield "dtype slerp float16", recipe("slerp", {"alpha": {}}, dtype="float16", t=0.3), "float32"
    fused = recipe("arcee_fusion", {"alpha": {}})
    yield "dtype arcee_fusion out", fused | {"out_dtype": "bfloat16"}, "bfloat16"


def mixed() -> Iterator[Case]:
    """Models of two dtypes in one merge."""
    folders = {"base": "bfloat16/base", "alpha": "float32/alpha", "beta": "bfloat16/beta"}
    for method in ("linear", "task_arithmetic"):
        made = recipe(method, TWO, None if method == "linear" else "base")
        whole = make_case(f"dtype mixed {method}", made, "float32", LAYERS)
        yield replace(whole, models=folders)


def distributions() -> Iterator[Case]:
    """Random methods with mergekit's own masks: they agree in distribution only."""
    experts = {"alpha": {"weight": 1.0, "density": 0.5, "epsilon": 0.25}}
    keep = ("embed", "lm_head", "q_proj", "down_proj")
    for method in ("dare_linear", "della_linear"):
        for rescale in (True, False):
            made = recipe(method, experts, dtype="float32", rescale=rescale)
            name = f"distribution {method} rescale-{'on' if rescale else 'off'}"
            yield replace(make_case(name, made, "float32", keep), own_masks=True)


def vocabularies() -> dict[str, Recipe]:
    """Models of different vocabularies: where each token's row comes from."""
    two = recipe("linear", {"base": {}, "other": {}}, weight=0.5)
    three = recipe("linear", {name: {} for name in ("base", "other", "third")}, weight=[0.5])
    baseless = recipe("linear", {"other": {"weight": 1}, "third": {"weight": 2}}, None)
    arithmetic = recipe("task_arithmetic", {"other": {"weight": 0.7}})
    forced = {"x": {"source": "other", "force": True}, "a": {"source": "base"}}
    kinds = {
        "new": {"source": {"kind": "model_token", "model": "other", "token": "y"}},
        "b": {"source": {"kind": "model_token", "model": "base", "token_id": 5}, "force": True},
        "z": {"source": {"kind": "zero"}},
        "e": {"source": {"kind": "zero"}, "force": True},
    }
    return {
        "union": two | {"tokenizer": {"source": "union"}},
        "union three": three | {"tokenizer": {"source": "union"}},
        "union task_arithmetic": arithmetic | {"tokenizer": {"source": "union"}},
        "base": two | {"tokenizer": {"source": "base"}},
        "base three": three | {"tokenizer": {"source": "base"}},
        "base slerp": recipe("slerp", {"other": {}}, t=0.3) | {"tokenizer": {"source": "base"}},
        "base ties": recipe("ties", {"other": {"weight": 1, "density": 0.5}})
        | {"tokenizer": {"source": "base"}},
        "of a model": three | {"tokenizer": {"source": "third"}},
        "of a model baseless": baseless | {"tokenizer": {"source": "third"}},
        "source union": two | {"tokenizer_source": "union"},
        "source base": two | {"tokenizer_source": "base"},
        "source of a model": two | {"tokenizer_source": "other"},
        "force": two | {"tokenizer": {"source": "union", "tokens": forced}},
        "token kinds": two | {"tokenizer": {"source": "union", "tokens": kinds}},
        "padded": two | {"tokenizer": {"source": "union", "pad_to_multiple_of": 16}},
        "padded base": arithmetic | {"tokenizer": {"source": "base", "pad_to_multiple_of": 8}},
    }


def stages() -> list[Recipe]:
    """One merge's result is another's model."""
    first = recipe("linear", {"alpha": {}, "beta": {}}, None, weight=0.5)
    second = recipe("slerp", {"gamma": {}}, "first", t=0.5)
    last = recipe("dare_ties", {"second": {"weight": 0.5}, "alpha": {"weight": 0.8}}, density=0.6)
    named = ({"name": "first", **first}, {"name": "second", **second}, last)
    return [{**one, "dtype": "float32"} for one in named]


def published() -> Iterator[Case]:
    """The examples, each in a file of its own, on 40 layers in float16."""
    for file in sorted(PUBLISHED.glob("*.yml")):
        text = file.read_text()
        names = sorted({word for line in text.splitlines() if (word := _model(line))})
        bases = [name for name in names if any(part in name for part in BASES)][:1]
        experts = iter(("alpha", "beta", "gamma"))
        chosen = {name: "base" if name in bases else next(experts) for name in names}
        folders = {name: f"deep/{folder}" for name, folder in chosen.items()}
        yield Case(f"published {file.stem}", text, folders, DEEP)


def _model(line: str) -> str | None:
    """The model that a line of a recipe names, if it is no earlier stage."""
    key, _, value = line.strip().removeprefix("- ").partition(": ")
    name = value.split("#")[0].strip()
    return name if key in ("model", "base_model") and "-merge" not in name else None


def _slice(layers: tuple[int, int], *models: str, **more: object) -> dict[str, object]:
    """The same layers of every model; `more`: the slice's own keys."""
    return {"sources": [{"model": name, "layer_range": [*layers]} for name in models], **more}


def _sliced(
    method: str, slices: list[dict[str, object]], top: dict[str, object], base: str | None = "base"
) -> Recipe:
    made: Recipe = {"merge_method": method, "slices": slices}
    if base is not None:
        made["base_model"] = base
    return made | ({"parameters": top} if top else {})
