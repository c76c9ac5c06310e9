"""The merge methods: one explicit table of parameters, ranges, defaults, papers and functions.

Recipes are checked against it, search spaces are bounded by it, `explain` and docs print it, and
`merge_tensor` calls it; nobody repeats it. Defaults and meanings are mergekit's. Importing it
costs no torch: the functions only turn numbers into a formula, which an engine (`merging.kernels`)
evaluates.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from ..errors import MergeError
from . import span, task_vectors
from .elementwise import arcee_fusion, nearswap, passthrough, ram, ramplus_tl, sce
from .formula import Formula, Numbers
from .linear import linear
from .method import Method
from .parameters import Parameter, count, number, switch

_WEIGHT = number("weight", "what the expert is multiplied by", default=None)
_DENSITY = number(
    "density", "the share of the delta that is kept", default=1.0, low=0.0, high=1.0, low_open=True
)
_EPSILON = number(
    "epsilon",
    "half the width of the keep probability from the smallest to the largest of a row",
    default=0.15,
    low=0.0,
    high=0.5,
    high_open=True,
)
_GAMMA = number(
    "gamma",
    "the share of largest elements that is dropped",
    default=0.01,
    low=0.0,
    high=1.0,
    high_open=True,
)
_LAMBDA = number("lambda", "what the merged delta is multiplied by", default=1.0, scope="global")
_INT8_MASK = switch("int8_mask", "mergekit's memory saver; changes no value", default=False)
_THRESHOLD = number(
    "epsilon",
    "up to which a difference counts as none",
    default=1e-5,
    scope="global",
    low=0.0,
)


def _t(meaning: str, low: float) -> Parameter:
    return number("t", meaning, default=None, scope="global", low=low)


def _normalize(default: bool) -> Parameter:
    return switch("normalize", "divide by the sum of the weights that count", default=default)


def _rescale(default: bool) -> Parameter:
    return switch("rescale", "give the masked delta the L1 norm of the whole", default=default)


def _sparse(normalize: bool, rescale: bool, *own: Parameter) -> tuple[Parameter, ...]:
    return (_WEIGHT, _DENSITY, *own, _LAMBDA, _normalize(normalize), _rescale(rescale), _INT8_MASK)


def _deltas(
    name: str,
    parameters: tuple[Parameter, ...],
    paper: str,
    merge: Callable[[Numbers], Formula],
    *,
    experts: tuple[int, int | None] = (1, None),
    random: bool = False,
) -> Method:
    """A method of a base and the experts' differences from it."""
    return Method(name, parameters, "required", experts, random, paper, merge)


_SOUPS = "https://arxiv.org/abs/2203.05482"
_TASK_ARITHMETIC = "https://arxiv.org/abs/2212.04089"
_TIES = "https://arxiv.org/abs/2306.01708"
_DARE = "https://arxiv.org/abs/2311.03099"
_BREADCRUMBS = "https://arxiv.org/abs/2312.06795"
_DELLA = "https://arxiv.org/abs/2406.11617"
_SLERP = "https://doi.org/10.1145/325334.325242"
_MULTISLERP = "https://goddard.blog/posts/multislerp-wow-what-a-cool-idea"
_KARCHER = "https://arxiv.org/abs/2603.04972"
_STOCK = "https://arxiv.org/abs/2403.19522"
_SCE = "https://arxiv.org/abs/2408.07990"
_RAM = "https://arxiv.org/abs/2601.13572"
_NEARSWAP = "https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001"
_FUSION = "https://arcee.ai"

_AVERAGES = (
    Method("linear", (_WEIGHT, _normalize(True)), "listed", (1, None), False, _SOUPS, linear),
    _deltas(
        "slerp",
        (_t("0 is the base, 1 the other model", -float("inf")),),
        _SLERP,
        span.slerp,
        experts=(1, 1),
    ),
    Method(
        "nuslerp",
        (
            _WEIGHT,
            switch("nuslerp_flatten", "one angle for the whole tensor", default=True),
            switch(
                "nuslerp_row_wise", "without flatten: an angle along dimension 0", default=False
            ),
        ),
        "optional",
        (2, 2),
        False,
        _SLERP,
        span.nuslerp,
        scale_free=True,
    ),
    Method(
        "multislerp",
        (
            _WEIGHT,
            switch("normalize_weights", "divide the weights by their sum", default=True),
            number("eps", "added to norms", default=1e-8, scope="global", low=0.0),
        ),
        "optional",
        (1, None),
        False,
        _MULTISLERP,
        span.multislerp,
    ),
    Method(
        "karcher",
        (
            count("max_iter", "steps at most", default=10, high=10_000),
            number("tol", "the step that ends it", default=1e-5, scope="global", low=0.0),
        ),
        "listed",
        (1, None),
        False,
        _KARCHER,
        span.karcher,
    ),
    _deltas(
        "model_stock",
        (switch("filter_wise", "a ratio for each row", default=False),),
        _STOCK,
        span.model_stock,
        experts=(2, None),
    ),
)
_TASK_VECTORS = (
    _deltas(
        "task_arithmetic",
        (_WEIGHT, _LAMBDA, _normalize(False), _INT8_MASK),
        _TASK_ARITHMETIC,
        task_vectors.task_arithmetic,
    ),
    _deltas("ties", _sparse(True, False), _TIES, task_vectors.ties),
    _deltas("dare_linear", _sparse(False, True), _DARE, task_vectors.dare_linear, random=True),
    _deltas("dare_ties", _sparse(False, True), _DARE, task_vectors.dare_ties, random=True),
    _deltas("breadcrumbs", _sparse(False, False, _GAMMA), _BREADCRUMBS, task_vectors.breadcrumbs),
    _deltas(
        "breadcrumbs_ties",
        _sparse(False, False, _GAMMA),
        _BREADCRUMBS,
        task_vectors.breadcrumbs_ties,
    ),
    _deltas(
        "della_linear",
        _sparse(False, True, _EPSILON),
        _DELLA,
        task_vectors.della_linear,
        random=True,
    ),
    _deltas("della", _sparse(True, True, _EPSILON), _DELLA, task_vectors.della, random=True),
)
_OTHERS = (
    _deltas(
        "sce",
        (
            number(
                "select_topk",
                "the share of elements, where the experts vary most, that is merged",
                default=1.0,
                scope="global",
                low=0.0,
                high=1.0,
                low_open=True,
            ),
            _INT8_MASK,
        ),
        _SCE,
        sce,
    ),
    _deltas("ram", (_THRESHOLD,), _RAM, ram),
    _deltas(
        "ramplus_tl",
        (
            number("r", "how much shared elements raise the others", default=0.1, scope="global"),
            number(
                "alpha",
                "the ratio of shared to unique that counts at most",
                default=0.2,
                scope="global",
                low=0.0,
            ),
            _THRESHOLD,
        ),
        _RAM,
        ramplus_tl,
    ),
    _deltas(
        "nearswap",
        (_t("the difference up to which the other model is taken", 0.0),),
        _NEARSWAP,
        nearswap,
        experts=(1, 1),
    ),
    _deltas("arcee_fusion", (), _FUSION, arcee_fusion, experts=(1, 1)),
    Method(
        "passthrough",
        (number("scale", "what the tensor is multiplied by", default=1.0),),
        "listed",
        (1, 1),
        False,
        "",
        passthrough,
    ),
)

_KNOWN = {method.name: method for method in (*_AVERAGES, *_TASK_VECTORS, *_OTHERS)}
METHODS: Mapping[str, Method] = MappingProxyType(_KNOWN)


def add_methods(methods: Iterable[Method]) -> None:
    """Adds a user's own methods, for this process: what the command line names, it names once.

    The one thing that changes the table. Everything reads methods by name, so a parameter passed
    through everything would say no more.

    Raises:
        MergeError: the name is another method's.
    """
    for method in methods:
        known = _KNOWN.get(method.name)
        if known is not None and known.origin != method.origin:
            raise MergeError(
                f"a merge method {method.name!r} exists already; give yours another name"
            )
        _KNOWN[method.name] = method


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        MergeError: nobody has it; the message names the nearest.
    """
    if name in METHODS:
        return METHODS[name]
    nearest = get_close_matches(name, METHODS, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise MergeError(
        f"unknown merge_method {name!r}{hint} (known: {', '.join(METHODS)}; one of your own needs "
        "--methods FILE)"
    )
