"""How much each parameter mattered for each objective: PED-ANOVA (Watanabe et al. 2023).

It asks how differently the better trials are distributed from all of them; it says nothing of
direction or interaction, and is noise under a few dozen trials.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .ledger import Candidate
from .objectives import Objective

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MIN_TRIALS = 10


def importances(
    trials: Sequence[Candidate],
    objectives: Sequence[Objective],
    distributions: Mapping[str, "BaseDistribution"],
) -> dict[str, dict[str, float]]:
    """Objective to parameter to share in [0, 1].

    Empty under MIN_TRIALS, or where nearly all scores are equal. Conditional parameters are left
    out.
    """
    done = [one for one in trials if one.standing is not None and one.values is not None]
    if len(done) < MIN_TRIALS:
        return {}
    return {
        objective.name: _of_one(done, index, objective, distributions)
        for index, objective in enumerate(objectives)
    }


def _of_one(
    done: Sequence[Candidate],
    index: int,
    objective: Objective,
    distributions: Mapping[str, "BaseDistribution"],
) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shared = [
        name
        for name in distributions
        if all(one.values is not None and name in one.values for one in done)
    ]
    study = optuna.create_study(direction="maximize" if objective.higher_is_better else "minimize")
    for one in done:
        study.add_trial(
            optuna.trial.create_trial(
                value=(one.standing or ())[index],
                params={name: (one.values or {})[name] for name in shared},
                distributions={name: distributions[name] for name in shared},
            )
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "error", message="Target and region quantiles", category=UserWarning
        )
        try:
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except UserWarning:
            return {}  # too many equal scores to tell the better trials from all of them
    return {name: float(share) for name, share in found.items()}
