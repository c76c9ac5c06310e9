"""Which sampler proposes for a study, and its proposals."""


from .preflight import Preflight


def sampler_of(preflight: Preflight) -> tuple[str, str]:
    """(name, why) of the sampler; raises SamplerError for one that cannot search this space."""
    study = preflight.study
    raise NotImplementedError
