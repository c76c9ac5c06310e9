"""Where eutectic differs from mergekit 0.1.5 on purpose: one table.

docs/mergekit.md shows it, held equal by `tests/test_readme.py`. `--mergekit-exact`, or `eutectic:
{exact: true}` in a recipe, takes mergekit's side where `exact` says so; `where` names the module
that decides. Each line was found by running mergekit. What both refuse (a model listed twice, a
slice without its base, DELLA's epsilon beyond its density) is no difference and is not here.
"""

from .difference import Difference
from .differences_structure import STRUCTURE, VOCABULARIES

_ARITHMETIC = (
    Difference(
        "rounding",
        "rounding",
        "at every step, in `dtype`",
        "once, at the end; arithmetic in float32",
        "yes",
        "merging.stepwise.engine",
    ),
    Difference(
        "threads",
        "long sums (norms)",
        "the last place depends on the number of threads",
        "the same for any number",
        "no: what mergekit gives on one thread",
        "merging.stepwise.engine",
    ),
    Difference(
        "ties",
        "equal magnitudes at a threshold, or in DELLA's ranks",
        "in the order of an unstable sort",
        "in element order",
        "yes",
        "merging.stepwise.sparsity",
    ),
    Difference(
        "rank-steps",
        "DELLA's ranks in rows of more than 255",
        "exact, one number an element",
        "in steps of 1/254, one byte an element; magnitudes compared as bfloat16 numbers",
        "yes",
        "merging.kernels.ranks",
    ),
    Difference(
        "masks",
        "random masks",
        "torch's generator: others in every run, or by `--random-seed`",
        "a counter-based one: the same on every machine, for any number of threads",
        "no: torch's depend on version, device and order",
        "merging.kernels.masks",
    ),
    Difference(
        "quartiles",
        "`arcee_fusion` of more than a million elements",
        "quartiles of a million drawn at random",
        "of all",
        "no: nobody could draw them again",
        "merging.stepwise.elementwise",
    ),
    Difference(
        "row-of-one",
        "DELLA on a row of one element",
        "fails while merging",
        "rank 0.5",
        "yes",
        "merging.stepwise.sparsity",
    ),
    Difference(
        "float32-output",
        "`arcee_fusion`, `ramplus_tl`",
        "store float32 unless `out_dtype` is given",
        "store `dtype`",
        "yes",
        "merging.dtypes",
    ),
    Difference(
        "mixed-dtypes",
        "models of several dtypes without `dtype`",
        "the widest",
        "the base's",
        "yes",
        "merging.dtypes",
    ),
    Difference(
        "integers",
        "tensors of integers",
        "refused where models differ",
        "taken from the base",
        "yes",
        "merging.stepwise.job",
    ),
    Difference(
        "adapters",
        "LoRA adapters",
        "applied by PEFT, rounded at every step",
        "rounded once",
        "no: bring models with adapters merged",
        "merging.lora",
    ),
)
_NUMBERS = (
    Difference(
        "ranges",
        "numbers out of range: a density of 0 or above 1, a negative epsilon",
        "taken: a density from 1 keeps all, of 0 nothing",
        "refused, with the place",
        "yes",
        "merging.methods.method",
    ),
    Difference(
        "cancelling-weights",
        "weights that cancel (`linear`, `multislerp`)",
        "Inf and NaN",
        "refused, with the place",
        "yes, with a warning",
        "merging.recipe_rules",
    ),
    Difference(
        "not-finite",
        "`.nan` and `.inf`; models with NaN or Inf in them",
        "merged",
        "refused (models: by `check` and `search`)",
        "no: nothing could be done with the result",
        "merging.recipe_values",
    ),
    Difference(
        "float64",
        "`dtype: float64`",
        "taken",
        "refused",
        "no: there are no kernels for it",
        "merging.recipe_reader",
    ),
    Difference(
        "unlisted-base",
        "`linear` with a base model that has no weight",
        "fails: it is one of the models",
        "it lends config and tokenizer",
        "yes",
        "merging.recipe_rules",
    ),
    Difference(
        "only-base",
        "only the base is listed",
        "copied",
        "refused",
        "no: nothing is merged",
        "merging.recipe_rules",
    ),
)
_TEXT = (
    Difference(
        "unknown-keys",
        "unknown keys",
        "silently accepted",
        "refused in a study, warned of in a recipe",
        "yes, with a warning",
        "merging.recipe_values",
    ),
    Difference(
        "key-twice",
        "a key given twice",
        "the last one counts",
        "refused, with both lines",
        "yes, in recipes, with a warning",
        "merging.yaml_nodes",
    ),
    Difference(
        "yaml-numbers",
        "`010`, `0x1F`, `1:30`",
        "8, 31, 90",
        "refused",
        "yes, in recipes, with a warning",
        "merging.yaml_nodes",
    ),
    Difference(
        "quoted-numbers",
        "quoted numbers, `yes` for 1",
        "read as numbers",
        "refused",
        "yes",
        "merging.recipe_values",
    ),
    Difference(
        "empty-gradient",
        "an empty gradient, `weight: []`",
        "as if not given",
        "refused",
        "yes",
        "merging.recipe_values",
    ),
    Difference(
        "empty-parameter",
        "an empty parameter, `weight:`",
        "refused",
        "as if not given",
        "yes",
        "merging.recipe_values",
    ),
    Difference(
        "truth-gradient",
        "a gradient of truth values, `normalize: [true, false]`",
        "one of them by depth",
        "refused",
        "no: use filters or slices",
        "merging.recipe_values",
    ),
)

DIFFERENCES: tuple[Difference, ...] = (
    *_ARITHMETIC,
    *_NUMBERS,
    *STRUCTURE,
    *VOCABULARIES,
    *_TEXT,
)
