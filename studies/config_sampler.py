"""`sampler:` of a study file, and `--sampler`: a name, or a mapping of a name and arguments."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from merging.document import Document, parse_document
from search.sampler_spec import SamplerSpec

from .config_tasks import fault_at


def read_sampler(document: Document, form: str | Mapping[str, object]) -> SamplerSpec:
    """The sampler as written; whether there is such a one is told when the study is checked.

    Raises:
        StudyError: a mapping without a name.
    """
    if isinstance(form, str):
        return SamplerSpec(form)
    name = form.get("name")
    if not isinstance(name, str) or not name:
        fault_at(
            document,
            ("sampler",),
            "expected a name, or a mapping like {name: TPESampler, n_ei_candidates: 48}",
        )
    return SamplerSpec(name, {key: value for key, value in form.items() if key != "name"})


def sampler_option(text: str) -> SamplerSpec:
    """`--sampler`: a name, or a mapping in braces; a file starts in the working folder.

    Raises:
        RecipeError, StudyError: braces that are no mapping with a name.
    """
    spec = SamplerSpec(text)
    if text.startswith("{"):
        document = parse_document(f"sampler: {text}", "--sampler")
        found: Any = document.data
        spec = read_sampler(document, found["sampler"])
    if not spec.is_file:
        return spec
    file, _, target = spec.name.rpartition(":")
    return replace(spec, name=f"{Path(file).resolve()}:{target}")
