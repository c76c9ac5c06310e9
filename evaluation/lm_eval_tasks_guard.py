"""What surrounds lm-eval at work: silence, its seeds, no waiting for a network, no waste.

Each touches the state of a library or of the process and puts it back. All but `compiled_once`
are for loading, in the main thread.
"""

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache

import datasets
import jinja2
import lm_eval.utils
import numpy as np
from huggingface_hub import constants as hub
from huggingface_hub import get_session

_LOUD = ("lm_eval", "lm-eval", "datasets", "huggingface_hub", "httpx", "filelock", "fsspec")
Compile = Callable[[str], jinja2.Template]
"""From a template's text to the template."""
_SECONDS = 3.0
"""How long the hub may take to answer before it counts as out of reach."""


def silence_warnings() -> None:
    """Keeps what lm-eval logs while it scores off the terminal, where nobody asked for logging.

    A logger without a handler of its own writes to standard error as Python's last resort.
    """
    for name in ("lm_eval", "sacrebleu"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Logging, warnings, prints and progress bars of the libraries go nowhere."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def lm_eval_seeds() -> Iterator[None]:
    """The global seeds that `lm_eval.simple_evaluate` sets: some tasks shuffle choices by them."""
    python, legacy = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(1234)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


@contextlib.contextmanager
def offline_if_unreachable(needs_hub: bool) -> Iterator[None]:
    """Offline mode where the hub does not answer: the cache at once instead of 25 s of retries."""
    before = hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if needs_hub and not any(before) and not _hub_answers():
        hub.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def template_cache() -> Compile:
    """lm-eval's own way to compile a template, but each text once."""
    return lru_cache(maxsize=256)(lm_eval.utils.env.from_string)


@contextlib.contextmanager
def compiled_once(cache: Compile) -> Iterator[None]:
    """Templates come from the cache: lm-eval compiles them for each document (0.7 ms of 0.8)."""
    before = lm_eval.utils.env.from_string
    lm_eval.utils.env.from_string = cache
    try:
        yield
    finally:
        lm_eval.utils.env.from_string = before


def _hub_answers() -> bool:
    try:
        get_session().head(hub.ENDPOINT, timeout=_SECONDS)
    except Exception:  # each version of the hub's library has its own HTTP client and errors
        return False
    return True
