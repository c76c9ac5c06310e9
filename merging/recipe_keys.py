"""The keys of a recipe, mapping by mapping: the form of their values, what they mean, an example.

The readers of recipes take a key if it stands here; the reference of the study file and its JSON
schema print it. Parameters are not here: they are those of the table of methods.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .chat_templates import BUILT_IN


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the form of its value in words, what it means, and an example in YAML."""

    form: str
    meaning: str
    example: str


Keys = Mapping[str, Key]

_MODEL = Key(
    "a folder or a hub name",
    "Whose weights: `path`, `path@revision`, `path+adapter` (a PEFT LoRA).",
    "./math",
)
_PARAMETERS = "numbers by name"

RECIPE_KEYS: Keys = MappingProxyType(
    {
        "merge_method": Key(
            "a name, or a choice of names", "How the models are merged.", "dare_ties"
        ),
        "base_model": Key(
            "a model",
            "What task vectors start from; it gives config and tokenizer.",
            "./base",
        ),
        "models": Key(
            "a list", "The models that are merged, over all layers.", "[{model: ./math}]"
        ),
        "slices": Key(
            "a list",
            "Runs of layers, stacked one on the other, in the place of `models`.",
            "[{sources: [{model: ./math, layer_range: [0, 8]}]}]",
        ),
        "modules": Key(
            "a mapping",
            "Parts of a model by name, in the place of `models`. `merge`, `explain` and "
            "`evaluate` take them; a study is refused.",
            "{text_model: {models: [{model: ./math}]}}",
        ),
        "parameters": Key(
            _PARAMETERS,
            "Numbers of the output, and those that all models share.",
            "{normalize: true}",
        ),
        "dtype": Key(
            "float32, bfloat16 or float16", "What weights are rounded to, once.", "bfloat16"
        ),
        "out_dtype": Key(
            "float32, bfloat16 or float16", "What is stored, where it is another.", "float16"
        ),
        "tokenizer": Key(
            "a mapping", "The vocabulary of the output, and its rows.", "{source: union}"
        ),
        "tokenizer_source": Key(
            "union, base or a model", "`tokenizer: {source: ...}` in short.", "union"
        ),
        "chat_template": Key(
            "auto, a name or a Jinja text",
            "The chat template of the output: `auto` (what most of the models have), "
            f"{', '.join(BUILT_IN)}, or a template.",
            "chatml",
        ),
        "eutectic": Key(
            "a mapping", "What only eutectic reads; mergekit ignores it.", "{mask_seed: 7}"
        ),
        "name": Key(
            "a name",
            "What other recipes of the same file call the result; only `merge`, `explain` and "
            "`evaluate` read it.",
            "first",
        ),
    }
)
SOURCE_KEYS: Keys = MappingProxyType(
    {
        "model": _MODEL,
        "parameters": Key(_PARAMETERS, "Numbers of this model.", "{weight: 0.5}"),
    }
)
LAYER_RANGE = Key(
    "[first, end]",
    "Its layers, from 0, the end not in. Either end may be a range of whole numbers.",
    "[0, 12]",
)
SLICE_SOURCE_KEYS: Keys = MappingProxyType({**SOURCE_KEYS, "layer_range": LAYER_RANGE})
SLICE_KEYS: Keys = MappingProxyType(
    {
        "sources": Key(
            "a list",
            "The models of this run of layers, each with as many layers.",
            "[{model: ./math, layer_range: [0, 8]}]",
        ),
        "base_model": Key("a model", "Another base for this slice.", "./other"),
        "parameters": Key(
            _PARAMETERS, "Numbers of this slice, before those of the recipe.", "{t: 0.5}"
        ),
    }
)
MODULE_KEYS: Keys = MappingProxyType(
    {
        "models": RECIPE_KEYS["models"],
        "slices": RECIPE_KEYS["slices"],
        "parameters": Key(
            _PARAMETERS, "Numbers of this module, before those of the recipe.", "{t: 0.5}"
        ),
    }
)
OWN_KEYS: Keys = MappingProxyType(
    {
        "mask_seed": Key(
            "a whole number from 0", "Decides the masks of DARE and DELLA; 0 by default.", "7"
        ),
        "exact": Key(
            "true or false",
            "Takes mergekit's side of every difference, `--mergekit-exact`; false by default.",
            "true",
        ),
    }
)
TOKENIZER_KEYS: Keys = MappingProxyType(
    {
        "source": Key(
            "union, base or a model",
            "All models' tokens (the default), the base's, or one model's.",
            "union",
        ),
        "tokens": Key(
            "a mapping by token",
            "Where the rows of single tokens come from.",
            '{"<|im_end|>": {source: ./chat}}',
        ),
        "pad_to_multiple_of": Key("a whole number", "Adds rows up to a multiple of it.", "64"),
    }
)
TOKEN_KEYS: Keys = MappingProxyType(
    {
        "source": Key(
            "a model, or a mapping with `kind`",
            "Whose row models take that lack the token.",
            "{kind: zero}",
        ),
        "force": Key("true or false", "All models take it, those that have one too.", "true"),
    }
)
ROW_KEYS: Keys = MappingProxyType(
    {
        "kind": Key(
            "model_token or zero",
            "`model_token`: the row of another token; `zero`: zeros, with no other key.",
            "model_token",
        ),
        "model": _MODEL,
        "token": Key("a token", "Which token's row; or `token_id`.", '"<unk>"'),
        "token_id": Key("a whole number from 0", "Which token's row, by its id.", "3"),
    }
)
FILTER_KEYS: Keys = MappingProxyType(
    {
        "filter": Key(
            "a text",
            "Tensors whose name contains it; without one, or with `*`, all that are left.",
            "self_attn",
        ),
        "value": Key("a number, a gradient or a range", "What they take.", "0.7"),
    }
)
