"""What samplers keep of a trial between proposals, as JSON values: the one state they have.

Two ways. The evolutionary ones of Optuna keep a generation, a number under one name (`tag`).
Others may keep whatever is JSON: the attributes that they set on the trial asked for, and on the
study, system and user attributes alike. It comes back with the trial, and the study's with the
last trial before.

Nothing pickled goes in or out, since a sampler would unpickle what a database of a stranger's
says: samplers that pickle their state (CMA-ES of Optuna, and what is made from it) are refused.
A sampler of the user's own that joins a pickle from pieces is not found out.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import SamplerError

if TYPE_CHECKING:
    from optuna import Study

Kept = Mapping[str, Any]
"""JSON values by name."""

TRIAL = ("system_attrs", "user_attrs")
STUDY = ("study_system_attrs", "study_user_attrs")
MAX_BYTES = 2**17
"""Of what a sampler keeps of one trial: it is stored with every trial."""

_PICKLED_KEYS = ("cma:", "sepcma:", "cmawm:")
_PICKLED_TEXT = re.compile(r"80(02|03|04|05)[0-9a-f]{12}|gA[I-X][A-Za-z0-9+/]{13}|\x80[\x02-\x05]")
_PARENTS = ":parent:"
"""Of `BaseGASampler`: trials by their place in the study; chosen anew from the trials instead."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What of a trial, and of the study, one sampler keeps."""

    tag: str | None = None
    """The system attribute with a trial's generation; trials without one are of the first."""
    trial: bool = False
    study: bool = False


NOTHING = Keeping()
EVERYTHING = Keeping(trial=True, study=True)


def told_attributes(kept: Kept, keeping: Keeping) -> tuple[dict[str, Any], dict[str, Any]]:
    """The system and the user attributes of a trial that a sampler is told of."""
    if keeping.tag is not None:
        return {keeping.tag: kept.get("generation") or 0}, {}
    if not keeping.trial:
        return {}, {}
    system, user = (_unpickled(dict(kept.get(name) or {})) for name in TRIAL)
    return system, user


def told_study(study: "Study", kept: Kept, keeping: Keeping) -> None:
    """Sets what the sampler kept of the study."""
    if not keeping.study:
        return
    storage, number = study._storage, study._study_id
    for name, value in _unpickled(dict(kept.get(STUDY[0]) or {})).items():
        storage.set_study_system_attr(number, name, value)
    for name, value in _unpickled(dict(kept.get(STUDY[1]) or {})).items():
        study.set_user_attr(name, value)


def kept_of(study: "Study", keeping: Keeping) -> dict[str, Any]:
    """What the sampler set on the last trial of the study, and on the study.

    Raises:
        SamplerError: it is no JSON, pickled, or too much to store with every trial.
    """
    trial = study.get_trials(deepcopy=False)[-1]
    if keeping.tag is not None:
        return {"generation": trial.system_attrs.get(keeping.tag)}
    found: dict[str, Any] = {}
    if keeping.trial:
        found |= dict(zip(TRIAL, (trial.system_attrs, trial.user_attrs), strict=True))
    if keeping.study:
        of_study = dict(study._storage.get_study_system_attrs(study._study_id))
        system = {name: one for name, one in of_study.items() if _PARENTS not in name}
        found |= dict(zip(STUDY, (system, study.user_attrs), strict=True))
    return {name: _plain(attributes) for name, attributes in found.items() if attributes}


def _plain(attributes: Mapping[str, Any]) -> Any:
    """The attributes as they will come back from the ledger."""
    for name, value in attributes.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise SamplerError(
                f"keeps {name!r} with a trial, which is not JSON ({error}); only what is can be "
                "stored with a run"
            ) from None
    text = json.dumps(dict(attributes))
    if len(text) > MAX_BYTES:
        raise SamplerError(f"keeps {len(text):,} bytes with a trial, more than {MAX_BYTES:,}")
    return _unpickled(json.loads(text))


def _unpickled(attributes: dict[str, Any]) -> dict[str, Any]:
    """The same; refuses what a sampler might unpickle."""
    for name, value in attributes.items():
        if name.startswith(_PICKLED_KEYS) or _has_pickle(value):
            raise SamplerError(
                f"keeps {name!r} pickled with a trial; pickles are neither stored nor read, since "
                "a run's database may be a stranger's. `cmaes` is a CMA-ES that keeps none"
            )
    return attributes


def _has_pickle(value: Any) -> bool:
    if isinstance(value, str):
        return _PICKLED_TEXT.match(value) is not None
    if isinstance(value, Mapping):
        return any(_has_pickle(one) for one in value.values())
    return isinstance(value, list) and any(_has_pickle(one) for one in value)
