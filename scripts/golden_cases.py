"""The grid of golden values: which recipes the real mergekit is asked to merge.

Methods with their parameters at two or three values, on float32 and on bfloat16 models. What
recipes say about depth, filters, slices, dtypes, vocabularies and stages is in
`golden_structure.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

Recipe = dict[str, object]
Numbers = Mapping[str, object]

FAMILY = ("base", "alpha", "beta", "gamma")
KEEP = (
    "embed_tokens",
    "model.norm",
    "layers.0.input_layernorm",
    "layers.0.self_attn.k_proj",
    "layers.3.mlp.down_proj",
)
"""What is stored of most cases: the first and last layer, vectors and matrices, and the rest."""


@dataclass(frozen=True, slots=True)
class Case:
    """One recipe.

    `models`: the folder of each name that it uses, below the pico models. `keep`: parts of the
    names of the tensors that are stored. `own_masks`: mergekit draws by itself, seeded.
    """

    id: str
    recipe: str
    models: Mapping[str, str]
    keep: Sequence[str]
    own_masks: bool = False


def make_case(
    id: str, recipe: Recipe | Sequence[Recipe], folder: str, keep: Sequence[str] = KEEP
) -> Case:
    """A case whose models are named as their folders; several recipes are several stages."""
    stages = [recipe] if isinstance(recipe, dict) else list(recipe)
    text = yaml.safe_dump_all(stages, sort_keys=False, default_flow_style=None, width=99)
    names = ("base", "other", "third") if folder == "vocabulary" else FAMILY
    return Case(id, text, {name: f"{folder}/{name}" for name in names}, keep)


def recipe(
    method: str,
    experts: Mapping[str, Numbers],
    base: str | None = "base",
    dtype: str | None = None,
    **settings: object,
) -> Recipe:
    """A recipe in the `models` form; `settings` are its global parameters (lambda_ is lambda)."""
    models = [
        {"model": name, "parameters": dict(numbers)} if numbers else {"model": name}
        for name, numbers in experts.items()
    ]
    made: Recipe = {"merge_method": method}
    if base is not None:
        made["base_model"] = base
    made["models"] = models
    if settings:
        made["parameters"] = {name.rstrip("_"): value for name, value in settings.items()}
    if dtype is not None:
        made["dtype"] = dtype
    return made


def method_cases() -> Iterator[Case]:
    """Every method with its parameters, on models of both dtypes."""
    for folder in ("float32", "bfloat16"):
        for name, made in methods().items():
            yield make_case(f"{name} {folder}", made | {"dtype": folder}, folder)


def methods() -> dict[str, Recipe]:
    """The recipes of the grid by what they exercise."""
    grid = {**linear(), **task_vectors(), **sparse(), **random(), **spherical(), **others()}
    return dict(grid)


TWO = {"alpha": {"weight": 0.6}, "beta": {"weight": 0.3}}
SIGNED = {"alpha": {"weight": 0.7}, "beta": {"weight": -0.4}, "gamma": {"weight": 1.1}}


def dense(density: float, **more: float) -> dict[str, Numbers]:
    """Three experts of different weights and one density."""
    weights = (("alpha", 0.5), ("beta", 0.3), ("gamma", 0.7))
    return {name: {"weight": weight, "density": density, **more} for name, weight in weights}


def linear() -> dict[str, Recipe]:
    """Averages."""
    one = {"alpha": {"weight": 0.3}}
    listed = {"base": {"weight": 0.2}, "alpha": {"weight": 0.5}, "gamma": {"weight": 0.5}}
    return {
        "linear": recipe("linear", TWO, None),
        "linear normalize-off": recipe("linear", TWO, None, normalize=False),
        "linear negative": recipe("linear", SIGNED, None),
        "linear negative normalize-off": recipe("linear", SIGNED, None, normalize=False),
        "linear one-model": recipe("linear", one, None, normalize=False),
        "linear base-listed": recipe("linear", listed),
        "linear base-unlisted": recipe("linear", {"alpha": {}, "beta": {}}, weight=0.5),
    }


def task_vectors() -> dict[str, Recipe]:
    """Task arithmetic."""
    listed = {"base": {"weight": 5.0}, **TWO}
    return {
        "task_arithmetic": recipe("task_arithmetic", TWO),
        "task_arithmetic one": recipe("task_arithmetic", {"alpha": {"weight": 1.0}}),
        "task_arithmetic lambda": recipe("task_arithmetic", SIGNED, lambda_=0.7),
        "task_arithmetic lambda-negative": recipe("task_arithmetic", TWO, lambda_=-0.5),
        "task_arithmetic normalize": recipe("task_arithmetic", SIGNED, normalize=True),
        "task_arithmetic zero-weight": recipe("task_arithmetic", {**TWO, "gamma": {"weight": 0}}),
        "task_arithmetic base-listed": recipe("task_arithmetic", listed),
        "task_arithmetic int8": recipe("task_arithmetic", TWO, int8_mask=True),
        "task_arithmetic weight-global": recipe(
            "task_arithmetic", {"alpha": {"weight": 0.9}, "beta": {}}, weight=0.25
        ),
    }


def sparse() -> dict[str, Recipe]:
    """TIES and breadcrumbs: which magnitudes stay."""
    signed = {name: {**own, "density": 0.4} for name, own in SIGNED.items()}
    wide = dense(0.6, gamma=0.1)
    grid = {
        "ties": recipe("ties", SIGNED),
        "ties density-0.2": recipe("ties", dense(0.2)),
        "ties density-0.5": recipe("ties", dense(0.5)),
        "ties density-0.001": recipe("ties", dense(0.001)),
        "ties negative": recipe("ties", signed),
        "ties normalize-off": recipe("ties", dense(0.5), normalize=False),
        "ties lambda": recipe("ties", dense(0.5), lambda_=1.5),
        "ties rescale": recipe("ties", dense(0.3), rescale=True),
        "ties int8": recipe("ties", dense(0.5), int8_mask=True),
    }
    for name in ("breadcrumbs", "breadcrumbs_ties"):
        grid |= {
            f"{name}": recipe(name, dense(0.9)),
            f"{name} density-0.3": recipe(name, dense(0.3)),
            f"{name} gamma-0.1": recipe(name, wide),
            f"{name} gamma-high": recipe(name, dense(0.7, gamma=0.5)),
            f"{name} normalize-rescale": recipe(name, wide, normalize=True, rescale=True),
            f"{name} lambda": recipe(name, wide, lambda_=0.5),
            f"{name} keep-all": recipe(name, SIGNED),
        }
    return grid


def random() -> dict[str, Recipe]:
    """DARE and DELLA, with eutectic's masks."""
    grid: dict[str, Recipe] = {}
    signed = {name: {**own, "density": 0.625} for name, own in SIGNED.items()}
    for name in ("dare_linear", "dare_ties", "della_linear", "della"):
        della = name.startswith("della")
        quarter = dense(0.25, epsilon=0.125) if della else dense(0.25)
        grid |= {
            f"{name}": recipe(name, dense(0.5)),
            f"{name} density-0.25": recipe(name, quarter),
            f"{name} density-0.8": recipe(name, dense(0.8)),
            f"{name} rescale-off": recipe(name, dense(0.5), rescale=False),
            f"{name} normalize-on": recipe(name, dense(0.75), normalize=True),
            f"{name} normalize-off": recipe(name, dense(0.5), normalize=False, lambda_=0.75),
            f"{name} negative": recipe(name, signed),
            f"{name} keep-all": recipe(name, SIGNED),
        }
        if della:
            grid[f"{name} epsilon-0"] = recipe(name, dense(0.5, epsilon=0.0))
            grid[f"{name} epsilon-0.4"] = recipe(name, dense(0.5, epsilon=0.4))
    grid["dare_ties int8"] = recipe("dare_ties", dense(0.5), int8_mask=True)
    return grid


def spherical() -> dict[str, Recipe]:
    """Angles: slerp, nuslerp, multislerp, karcher, model_stock."""
    pair: dict[str, Numbers] = {"base": {}, "alpha": {}}
    all_of: dict[str, Numbers] = {name: {} for name in FAMILY}
    grid = {f"slerp t-{t:g}": recipe("slerp", pair, t=t) for t in (0, 0.25, 0.5, 1)} | {
        "slerp base-second": recipe("slerp", {"alpha": {}, "base": {}}, t=0.3),
        "slerp base-unlisted": recipe("slerp", {"alpha": {}}, t=0.7),
        "slerp t-beyond": recipe("slerp", pair, t=1.3),
        "karcher": recipe("karcher", all_of, None),
        "karcher two": recipe("karcher", {"alpha": {}, "beta": {}}, None),
        "karcher max_iter-2": recipe("karcher", all_of, None, max_iter=2),
        "karcher tol-0.1": recipe("karcher", all_of, None, tol=0.1),
        "karcher base": recipe("karcher", {"alpha": {}, "beta": {}}),
        "model_stock": recipe("model_stock", {"alpha": {}, "beta": {}}),
        "model_stock three": recipe("model_stock", all_of),
        "model_stock filter_wise": recipe("model_stock", all_of, filter_wise=True),
    }
    for base in (None, "base"):
        where = "base" if base else "baseless"
        flat = {"nuslerp_flatten": False}
        grid |= {
            f"nuslerp {where}": recipe("nuslerp", TWO, base),
            f"nuslerp {where} columns": recipe("nuslerp", TWO, base, **flat),
            f"nuslerp {where} rows": recipe("nuslerp", TWO, base, **flat, nuslerp_row_wise=True),
            f"multislerp {where}": recipe("multislerp", TWO, base),
            f"multislerp {where} three": recipe("multislerp", dict(dense(1.0)), base),
            f"multislerp {where} normalize-off": recipe(
                "multislerp", TWO, base, normalize_weights=False
            ),
        }
    cancelled = {"alpha": {"weight": 0.5}, "beta": {"weight": -0.5}}
    grid["nuslerp cancelled"] = recipe("nuslerp", cancelled, None)
    grid["multislerp eps-0.01"] = recipe("multislerp", TWO, "base", eps=0.01)
    return grid


def others() -> dict[str, Recipe]:
    """What fits nowhere else."""
    experts: dict[str, Numbers] = {name: {} for name in FAMILY[1:]}
    grid = {
        "sce": recipe("sce", experts),
        "sce select_topk-0.5": recipe("sce", experts, select_topk=0.5),
        "sce select_topk-0.1": recipe("sce", experts, select_topk=0.1),
        "sce int8": recipe("sce", experts, select_topk=0.5, int8_mask=True),
        "nearswap t-0.0005": recipe("nearswap", {"alpha": {}}, t=0.0005),
        "nearswap t-0.004": recipe("nearswap", {"base": {}, "alpha": {}}, t=0.004),
        "arcee_fusion": recipe("arcee_fusion", {"base": {}, "alpha": {}}),
        "passthrough": recipe("passthrough", {"alpha": {}}, None),
        "passthrough scale": recipe("passthrough", {"alpha": {"scale": 0.3}}, None),
        "ramplus_tl r-0.5": recipe("ramplus_tl", experts, r=0.5, alpha=1.5, epsilon=0.004),
    }
    for name in ("ram", "ramplus_tl"):
        grid[name] = recipe(name, experts)
        grid[f"{name} epsilon-0.004"] = recipe(name, experts, epsilon=0.004)
    return grid
