"""A study in Python: `Study` does what `init`, `check`, `search`, `evaluate` and `demo` do.

Thin: every method calls what the command calls, with the same options, defaults and messages.
Faults are raised as StudyError, MergeError, EvaluationError, SearchError or OSError. torch, Optuna
and the like are imported by the method that needs them.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from .api_options import (
    PathLike,
    as_path,
    checked_maps,
    hardware_of,
    let_threads_sleep,
    mode_of,
    one_of,
    refuse_less,
    sampler_text,
    storage_of,
    written,
)
from .api_run import Run
from .errors import StudyError
from .live.modes import Mode

if TYPE_CHECKING:
    import pandas as pd

    from .checkup import Checkup
    from .preflight import Permissions


class Study:
    """A study file, ready to be checked and searched.

    Nothing is read before a method is called, so the file may change in between.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        maps: Mapping[str, PathLike] | None = None,
        methods: Iterable[PathLike] = (),
        allow_pickle: bool = False,
        trust_remote_code: bool = False,
        trust_task_code: bool = False,
        allow_benchmark_test: bool = False,
        allow_code: Iterable[PathLike] = (),
        exact: bool = False,
    ) -> None:
        """What the command line allows and maps holds for everything that is done with the study.

        Args:
            path: The study file; or a run's study.yaml.
            maps: Local paths in the place of models' names, as `--map NAME=PATH`.
            methods: Files with merge methods of your own; they are run, and stay for this process.
            allow_pickle: Read pickle checkpoints.
            trust_remote_code: Run the modelling code that a model brings along.
            trust_task_code: Run the code in every own lm-eval YAML of the study.
            allow_benchmark_test: Search on an official test split where a task has no other.
            allow_code: Files that may be run: scorers, samplers, lm-eval YAMLs.
            exact: Round at every step and read recipes as mergekit does.
        """
        let_threads_sleep()
        self.path = Path(path)
        self.exact = exact
        self._maps = dict(maps or {})
        self._allowed: dict[str, Any] = {
            "allow_pickle": allow_pickle,
            "trust_remote_code": trust_remote_code,
            "trust_task_code": trust_task_code,
            "allow_benchmark_test": allow_benchmark_test,
            "allow_code": frozenset(Path(one).resolve() for one in allow_code),
        }
        self._methods = tuple(Path(one) for one in methods)
        if self._methods:
            from merging.methods.own import load_methods
            from merging.methods.table import add_methods

            for file in self._methods:
                add_methods(load_methods(file))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: PathLike = "study.yaml") -> Self:
        """Writes a study given as plain data to a file: its names start there.

        Args:
            data: What the file says: `recipe`, `tasks`, ...
            path: The file. One that says the same already is left as it is.

        Raises:
            StudyError: another file is there, or the data are not plain.
        """
        try:
            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=99)
        except yaml.YAMLError as error:
            raise StudyError(f"{path}: {error}; a study is made of plain data") from None
        return cls(written(Path(path), text))

    @classmethod
    def init(
        cls,
        recipe: PathLike | None = None,
        tasks: Sequence[PathLike] = (),
        path: PathLike = "study.yaml",
        *,
        base: str | None = None,
        experts: Sequence[str] = (),
        method: str | None = None,
        maps: Mapping[str, PathLike] | None = None,
    ) -> Self:
        """Makes a study of a recipe, or of models and questions alone, as `eutectic init` does.

        Args:
            recipe: A recipe, or a mergekit-evolve file; None where models are given.
            tasks: Files of questions (JSONL, CSV, Parquet), `NAME=FILE`, or tasks of lm-eval's.
            path: Where the study is written; an existing file that says something else stays.
            base: The model that the experts were trained from.
            experts: Fine-tuned models, or adapters of the base.
            method: The merge method for these; None chooses.
            maps: As for `Study`.
        """
        from .starting import Wanted, study_text

        target, asked = Path(path), [str(one) for one in tasks]
        source = None if recipe is None else Path(recipe)
        wanted = Wanted(source, base, experts, method, asked, target, checked_maps(maps or {}))
        return cls(written(target, study_text(wanted)), maps=maps)

    @classmethod
    def demo(cls) -> Self:
        """The study of the small embedded model family, trained first where it is not there yet.

        That takes a few minutes, once; it lies in EUTECTIC_CACHE or the user's cache folder.
        """
        let_threads_sleep()
        from merging.hashing import cache_folder

        from .demo.family import ensure_family
        from .progress import training_display

        with training_display(Mode.auto) as show:
            return cls(ensure_family(cache_folder(), progress=show).study)

    def check(self) -> "Checkup":
        """Facts (`.data`) and warnings (`.warnings`); the first fault is raised."""
        from .checkup import Asked, check_file

        asked = Asked(self.maps, self.permissions, self.exact, raising=True)
        return check_file(self.path, asked)

    def search(
        self,
        *,
        trials: int | None = None,
        items: int | None = None,
        minutes: float | None = None,
        sampler: str | Mapping[str, Any] | None = None,
        seed: int | None = None,
        out: PathLike | None = None,
        fresh: bool = False,
        source: "PathLike | Run | None" = None,
        storage: str | None = None,
        beside: str | None = None,
        max_failed: float = 0.2,
        device: str | None = None,
        dtype: str | None = None,
        token_budget: int | None = None,
        threads: int | None = None,
        quiet: bool = False,
        progress: str | None = None,
    ) -> Run:
        """Searches, or goes on where the run stopped.

        Args:
            trials: Trials in all, resumes included; the study's own where None.
            items: Item evaluations in all.
            minutes: Minutes in all.
            sampler: A name, or a mapping with `name` and options.
            seed: Instead of the study's own.
            out: Run folder; `runs/NAME` by default.
            fresh: Delete the run and start anew.
            source: Another run whose results are reused, as `--from`.
            storage: URL of a database server that is to keep the run; by default
                EUTECTIC_STORAGE, else the run folder.
            beside: `random`: then search at random with as many items, to compare.
            max_failed: Share of failed trials from which on NoWinnerError is raised.
            device: Where to score: cpu, cuda, ...
            dtype: Dtype to score in.
            token_budget: Tokens in one batch.
            threads: CPU threads; all cores by default.
            quiet: No progress.
            progress: auto, live, plain, json or none.

        Raises:
            NoWinnerError: nothing usable came out.
            KeyboardInterrupt: interrupted; the run is saved, the same call goes on with it.
        """
        from .conduct import conduct
        from .summary import refuse_unusable
        from .terms import SearchOptions

        refuse_less(1, trials=trials, items=items, token_budget=token_budget, threads=threads)
        refuse_less(0.01, minutes=minutes)
        refuse_less(0, seed=seed, max_failed=max_failed)
        if max_failed > 1:
            raise StudyError(f"max_failed={max_failed}: expected at most 1")
        options = SearchOptions(
            trials=trials,
            items=items,
            minutes=minutes,
            sampler=sampler_text(sampler),
            seed=seed,
            out=None if out is None else Path(out),
            fresh=fresh,
            source=source.path if isinstance(source, Run) else as_path(source),
            storage=storage_of(storage),
            beside=one_of("beside", beside, ("random",)),
            max_failed=max_failed,
            quiet=quiet,
            progress=mode_of(progress, quiet),
            exact=self.exact,
            maps=self.maps,
            hardware=hardware_of(device, dtype, token_budget, threads),
            permissions=self.permissions,
        )
        outcome = conduct(self.path, options)
        run = outcome.run.path
        if outcome.reached == "interrupted":
            raise KeyboardInterrupt(f"{run} is saved, the same call goes on with it")
        refuse_unusable(outcome, max_failed)
        return Run(run, storage=storage)

    def evaluate(
        self,
        model: PathLike,
        split: str | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        token_budget: int | None = None,
        threads: int | None = None,
    ) -> "pd.DataFrame":
        """Scores a model or a recipe on the study's tasks; feeds no search.

        Returns:
            A row a task and metric: `task`, `metric`, `value`, `stderr`, `items`. All items
            unless `split` is calibration, search, select or test.
        """
        import pandas as pd

        from .measure import evaluate_model

        hardware = hardware_of(device, dtype, token_budget, threads or os.cpu_count())
        found = evaluate_model(
            os.fspath(model),
            self.path,
            split,
            self.maps,
            hardware,
            self.permissions,
            exact=self.exact,
        )
        rows = [
            {"task": task, "metric": metric, **one}
            for task, metrics in found["tasks"].items()
            for metric, one in metrics.items()
        ]
        return pd.DataFrame(rows, columns=["task", "metric", "value", "stderr", "items"])

    @property
    def text(self) -> str:
        """The file as it stands."""
        return self.path.read_text(encoding="utf-8")

    @property
    def maps(self) -> Mapping[str, Path]:
        """Local paths in the place of models' names; each must exist."""
        return checked_maps(self._maps)

    @property
    def permissions(self) -> "Permissions":
        """What may be run or read."""
        from .preflight import Permissions

        return Permissions(**self._allowed)

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r})"
