"""The dtypes of a job: what its output is rounded to, and what its steps are."""

from collections.abc import Sequence

from .methods.table import find_method
from .recipe import Recipe

ENDS_IN_FLOAT32 = frozenset({"arcee_fusion", "ramplus_tl"})
"""Methods that give float32 in mergekit whatever `dtype` says, unless `out_dtype` says more."""


def dtypes_of(recipe: Recipe, stored: str, inputs: Sequence[str]) -> tuple[str, str | None]:
    """The dtype of the output, and that of every step of an exact recipe (else None).

    Args:
        recipe: its `dtype` and `out_dtype` come first.
        stored: the dtype of the tensor in the model that gives names and shapes.
        inputs: the dtypes of all models' tensors.
    """
    if not recipe.exact or find_method(recipe.merge_method).origin:
        return recipe.out_dtype or recipe.dtype or stored, None
    steps = recipe.dtype or _promoted(inputs)
    ends = "float32" if recipe.merge_method in ENDS_IN_FLOAT32 else steps
    return recipe.out_dtype or ends, steps


def _promoted(dtypes: Sequence[str]) -> str:
    """The dtype that torch gives two of these: themselves, or float32."""
    return dtypes[0] if len(set(dtypes)) == 1 else "float32"
