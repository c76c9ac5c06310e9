"""What a fork server has done before it forks: imports, and tables that take long to make.

Nothing here starts a thread: none would live on in the processes that are forked.
"""

import importlib

MODULES = (
    "alembic.command evaluation.harness evaluation.native merging.adapters merging.candidate "
    "merging.kernels.cpu merging.live_slopes narwhals.stable.v1 numba numba.typed optuna "
    "optuna.importance._fanova optuna.storages._rdb.models pandas pygments.lexers.python "
    "rich.table search.proposals sklearn.ensemble sqlalchemy.orm sqlalchemy.dialects.sqlite "
    "studies.cli studies.conduct studies.report studies.summary torch "
    "transformers.convert_slow_tokenizer transformers.models.llama.modeling_llama"
).split()

for name in MODULES:
    importlib.import_module(name)

from plotly.graph_objects import Bar, Figure  # noqa: E402

from evaluation.duplicates import normalised  # noqa: E402

for text in ("words", "1 + 1 = 2"):
    normalised(text)  # makes a table of every letter
Figure(Bar(x=[1], y=[1])).to_json()
