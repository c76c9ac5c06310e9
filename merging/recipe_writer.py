"""A recipe as plain mergekit YAML: what `recipe_reader` reads back without a difference.

Numbers keep every bit. PyYAML writes 1e-05 as `1.0e-05`, the form that YAML 1.1 (mergekit's) reads
as a number; texts that would be read as numbers are quoted. mergekit ignores the key `eutectic`.
"""

from typing import Any

import yaml

from .methods.table import METHODS
from .recipe import (
    Conditional,
    Module,
    Parameters,
    Recipe,
    Setting,
    Slice,
    Source,
    TokenizerSection,
    TokenRow,
    TokenRule,
)
from .yaml_nodes import reads_as_number


def recipe_data(recipe: Recipe) -> dict[str, object]:
    """The recipe as plain data, keys in the order in which people write them."""
    data: dict[str, object] = {"merge_method": recipe.merge_method}
    if recipe.base_model is not None:
        data["base_model"] = str(recipe.base_model)
    if recipe.models:
        data["models"] = [_source(source) for source in recipe.models]
    if recipe.slices:
        data["slices"] = [_slice(one) for one in recipe.slices]
    if recipe.modules:
        data["modules"] = {one.name: _module(one) for one in recipe.modules}
    data |= _parameters(recipe.parameters)
    if recipe.dtype is not None:
        data["dtype"] = recipe.dtype
    if recipe.out_dtype is not None:
        data["out_dtype"] = recipe.out_dtype
    if recipe.tokenizer is not None:
        data["tokenizer"] = _tokenizer(recipe.tokenizer)
    if recipe.chat_template is not None:
        data["chat_template"] = recipe.chat_template
    if recipe.exact:
        data["eutectic"] = {"mask_seed": recipe.mask_seed, "exact": True}
    elif recipe.mask_seed or METHODS[recipe.merge_method].random:
        data["eutectic"] = {"mask_seed": recipe.mask_seed}
    return data


def recipe_yaml(recipe: Recipe) -> str:
    """The recipe as YAML; `read_recipe` of it is the recipe again."""
    return yaml.dump(
        recipe_data(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16
    )


def _source(source: Source) -> dict[str, object]:
    data: dict[str, object] = {"model": str(source.model)}
    if source.layer_range is not None:
        data["layer_range"] = list(source.layer_range)
    return data | _parameters(source.parameters)


def _module(one: Module) -> dict[str, object]:
    data: dict[str, object] = {}
    if one.models:
        data["models"] = [_source(source) for source in one.models]
    if one.slices:
        data["slices"] = [_slice(part) for part in one.slices]
    return data | _parameters(one.parameters)


def _slice(one: Slice) -> dict[str, object]:
    data: dict[str, object] = {"sources": [_source(source) for source in one.sources]}
    if one.base_model is not None:
        data["base_model"] = str(one.base_model)
    return data | _parameters(one.parameters)


def _tokenizer(section: TokenizerSection) -> dict[str, object]:
    data: dict[str, object] = {"source": str(section.source)}
    if section.tokens:
        data["tokens"] = {token: _rule(rule) for token, rule in section.tokens.items()}
    if section.pad_to_multiple_of is not None:
        data["pad_to_multiple_of"] = section.pad_to_multiple_of
    return data


def _rule(rule: TokenRule) -> dict[str, object]:
    data: dict[str, object] = {} if rule.source is None else {"source": _row(rule.source)}
    return data | ({"force": True} if rule.force else {})


def _row(row: TokenRow) -> object:
    if row.model is None:
        return {"kind": "zero"}
    if row.token is None and row.token_id is None:
        return str(row.model)
    other = {"token_id": row.token_id} if row.token is None else {"token": row.token}
    return {"kind": "model_token", "model": str(row.model), **other}


def _parameters(parameters: Parameters) -> dict[str, object]:
    if not parameters:
        return {}
    return {"parameters": {name: _setting(setting) for name, setting in parameters.items()}}


def _setting(setting: Setting) -> object:
    if isinstance(setting, tuple):
        return [_entry(item) if isinstance(item, Conditional) else item for item in setting]
    return setting


def _entry(entry: Conditional) -> dict[str, object]:
    value = list(entry.value) if isinstance(entry.value, tuple) else entry.value
    return {"value": value} if entry.filter is None else {"filter": entry.filter, "value": value}


class _Dumper(yaml.SafeDumper):
    """Lists of numbers on one line, everything else one item a line; no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indents lists below their key, as people do."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """Never writes `&id001`: equal values are written twice."""
        return True

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        """A gradient or a layer range in brackets."""
        numbers = all(isinstance(item, int | float) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=numbers)

    def represent_mapping(
        self, tag: str, mapping: Any, flow_style: bool | None = None
    ) -> yaml.MappingNode:
        """A filter entry in braces, other mappings key by key."""
        entry = "value" in mapping and set(mapping) <= {"filter", "value"}
        return super().represent_mapping(tag, mapping, flow_style=entry)

    def represent_scalar(self, tag: str, value: str, style: str | None = None) -> yaml.ScalarNode:
        """A text that looks like a number to `yaml_nodes` is quoted."""
        text = tag == "tag:yaml.org,2002:str" and style is None and reads_as_number(value)
        return super().represent_scalar(tag, value, style="'" if text else style)
