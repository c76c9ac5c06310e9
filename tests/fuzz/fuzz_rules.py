"""What must hold for any input: a result, or one message with its place; bounded time and memory.

Each `examine_*` gives the outcome in a word (how far the input came) or raises `Broken`. Time is
bounded by two timers (the processor's, so that a busy machine breaks no rule, and the wall's),
memory by the growth of the process's highest resident size.
"""

import json
import re
import resource
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fuzz_models import stretched, write_adapter, write_model, write_shards, write_tokenizer
from fuzz_mutations import Chance, draw, json_mutated, mutated
from fuzz_recipes import MODELS, recipe_text, study_text

from evaluation.errors import EvaluationError
from merging.checkpoint import Checkpoint
from merging.document import Document, parse_document, read_document
from merging.errors import MergeError, RecipeError, SourceError
from merging.merge import merge_tensor
from merging.methods.table import METHODS
from merging.plan import TensorJob, TensorSource, plan_recipe
from merging.recipe import ModelReference, Recipe, models_of
from merging.recipe_reader import read_recipe
from merging.recipe_writer import recipe_yaml
from merging.sources import open_checkpoint
from search.errors import SearchError
from studies.errors import StudyError

RECIPES = sorted((Path(__file__).parent.parent / "data" / "recipes").glob("*.yml"))
NORM = "model.norm.weight"
SECONDS = 2.0
MEGABYTES = 256
FAULTS = (MergeError, EvaluationError, SearchError, StudyError)


class Broken(Exception):
    """An input for which a rule does not hold."""


class Late(BaseException):
    """Raised by the timer; no `except Exception` swallows it."""


def _late(_number: int, _frame: object) -> None:
    raise Late


@contextmanager
def bounded(seconds: float = SECONDS, megabytes: int = MEGABYTES) -> Iterator[None]:
    """Turns too much time or memory, and any error that is no fault of the input, to `Broken`."""
    before = {one: signal.signal(one, _late) for one in (signal.SIGPROF, signal.SIGALRM)}
    high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 15 * seconds)
    try:
        yield
    except Late:
        raise Broken(f"took more than {seconds:g} seconds") from None
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"{type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in before.items():
            signal.signal(one, handler)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - high) // 1024
    if grown > megabytes:
        raise Broken(f"took {grown} MB more memory")


def one_message(error: Exception, file: Path | None = None) -> None:
    """A fault is one line that a terminal can show, and opens with its place in the file."""
    text = str(error)
    if not text.strip() or any(ord(one) < 32 or one in "\x7f\x85\u2028\u2029" for one in text):
        raise Broken(f"not one line of text: {text!r}")
    if len(text) > 10_000:  # two paths of 4096 characters and some words
        raise Broken(f"a message of {len(text)} characters: {text[:200]!r}")
    if file is not None and not _placed(text, file):
        raise Broken(f"a message without its place: {text!r}")


def _placed(text: str, file: Path) -> bool:
    if text == f"{file}: larger than 1 MiB, no recipe or study":
        return True
    found = re.match(re.escape(str(file)) + r":(\d+):(\d+) .", text)
    if not found:
        return False
    content = file.read_bytes().decode("utf-8", "replace")
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", content)
    return 1 <= int(found[1]) <= max(1, len(lines)) and 1 <= int(found[2]) <= len(content) + 1


def recipe_case(folder: Path, seed: int, number: int) -> Path:
    """Writes the recipe of a case: a generated one, or one that was damaged."""
    chance = draw(seed, number)
    content = recipe_text(chance).encode("utf-8", "surrogatepass")
    if chance.random() < 0.2:
        content = mutated(chance, chance.choice(RECIPES).read_bytes())
    elif chance.random() < 0.3:
        content = mutated(chance, content)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yml"
    file.write_bytes(content)
    return file


def study_case(folder: Path, seed: int, number: int) -> Path:
    """Writes the study of a case beside the models of `write_bench`."""
    chance = draw(seed, number)
    content = study_text(chance).encode("utf-8", "surrogatepass")
    if chance.random() < 0.3:
        content = mutated(chance, content)
    file = folder / "study.yaml"
    file.write_bytes(content)
    return file


def open_zoo(folder: Path) -> dict[str, Checkpoint]:
    """The models of `write_zoo` by name, every method's kernel compiled: that takes seconds."""
    zoo = {name: open_checkpoint(ModelReference(name), folder=folder) for name in MODELS}
    for name, method in METHODS.items():
        numbers, output = (
            {
                one.name: 0.1 if one.default is None else one.default
                for one in method.parameters
                if one.scope == scope
            }
            for scope in ("model", "global")
        )
        models = MODELS[1:3][: method.experts[1]]
        sources = tuple(TensorSource(ModelReference(one), NORM, numbers) for one in models)
        base = TensorSource(ModelReference("base"), NORM, {}) if method.base_apart else None
        for dtype in ("float32", "bfloat16", "float16"):
            job = TensorJob(NORM, name, base, sources, output, None, dtype)
            merge_tensor(job, lambda model, tensor: zoo[model.path].tensor(tensor), 0)
    return zoo


def examine_recipe(file: Path, zoo: Mapping[str, Checkpoint]) -> str:
    """Reads, writes back, plans and merges a recipe file; models come from `zoo` by name."""
    with bounded():
        try:
            document = read_document(file)
        except MergeError as error:
            one_message(error, file)
            return "refused by the parser"
        recipe = _read(document, file)
        if recipe is None:
            return "refused by the reader"
        _same_again(recipe)
        return _planned(recipe, document, file, zoo)


def _read(document: Document, file: Path) -> Recipe | None:
    """The recipe; what is refused where nothing is strict is refused where it is."""
    found: dict[bool, Recipe | None] = {}
    for strict in (False, True):
        try:
            recipe, notices = read_recipe(document, strict=strict)
        except MergeError as error:
            one_message(error, file)
            found[strict] = None
        else:
            found[strict] = recipe
            for notice in notices:
                one_message(RecipeError(str(notice)), file)
    if found[True] not in (None, found[False]):
        raise Broken("strict reading gives another recipe")
    return found[False]


def _same_again(recipe: Recipe) -> None:
    text = recipe_yaml(recipe)
    try:
        again, notices = read_recipe(parse_document(text, "again.yml"), strict=True)
    except MergeError as error:
        # Notices are not lost by writing; only what strict reading refuses may be refused.
        again, notices = read_recipe(parse_document(text, "again.yml"), strict=False)
        if not notices:
            raise Broken(f"written back, it is refused: {error}") from error
    if again != recipe:
        raise Broken(f"written back, it is another recipe: {text}")


def _planned(recipe: Recipe, document: Document, file: Path, zoo: Mapping[str, Checkpoint]) -> str:
    names = list(zoo)
    checkpoints = {
        model: zoo.get(model.path) or zoo[names[len(str(model)) % len(names)]]
        for model in models_of(recipe)
    }
    try:
        jobs = plan_recipe(recipe, checkpoints, document=document)
    except RecipeError as error:
        one_message(error, file)
        return "refused by the plan"
    except MergeError as error:
        one_message(error)
        return "refused by the plan"
    for job in jobs[:: max(1, len(jobs) // 4)]:
        try:
            merge_tensor(job, lambda model, name: checkpoints[model].tensor(name), 1)
        except MergeError as error:
            one_message(error)
            return "refused by the merge"
    return "merged"


def examine_study(file: Path) -> str:
    """`eutectic check` of a study file in a folder with models and tasks."""
    from studies.checkup import Asked, check_file
    from studies.preflight import Permissions

    asked = Asked({}, Permissions())
    with bounded(seconds=20):
        try:
            check_file(file, replace(asked, raising=True))
        except SourceError as error:
            one_message(error)
            outcome = "refused for a model"
        except FAULTS as error:
            one_message(error, file)
            outcome = "refused"
        else:
            return "no fault found"
    with bounded(seconds=20):
        for fault in check_file(file, asked).faults:
            one_message(StudyError(fault))
    return outcome


def examine_model(chance: Chance | None, folder: Path) -> str:
    """Opens, plans and merges with a model, one of whose files was damaged by chance (if any)."""
    write_model(folder / "base", 1)
    kind = chance.choice(("single", "shards", "adapter")) if chance else "shards"
    victim = folder / ("adapter" if kind == "adapter" else "other")
    if kind == "adapter":
        write_adapter(victim, 2)
    else:
        (write_model if kind == "single" else write_shards)(victim, 2)
        write_tokenizer(victim)
    if chance is not None:
        damage(chance, chance.choice(sorted(victim.iterdir())))
    named = "base+adapter" if kind == "adapter" else "other"
    with bounded(SECONDS if chance else 60):
        try:
            return _merged_with(named, folder)
        except SourceError as error:
            one_message(error)
            return "refused as a source"
        except MergeError as error:
            one_message(error)
            return "refused"


def damage(chance: Chance, file: Path) -> None:
    """Changes a JSON's values, a header's, or any bytes of a file."""
    content = file.read_bytes()
    if chance.random() < 0.2:
        file.write_bytes(mutated(chance, content))
    elif file.suffix == ".json":
        data = json_mutated(chance, json.loads(content))
        file.write_text(json.dumps(data), encoding="utf-8")
    else:
        length = int.from_bytes(content[:8], "little")
        stretched(file, json_mutated(chance, json.loads(content[8 : 8 + length]), 0.02), chance)


def _merged_with(named: str, folder: Path) -> str:
    from merging.writer import write_merged

    text = (
        "merge_method: task_arithmetic\nbase_model: base\n"
        f"models: [{{model: {named}, parameters: {{weight: 0.5}}}}]\n"
    )
    recipe, _ = read_recipe(parse_document(text, "recipe.yml"), strict=True)
    cache = folder / "cache"
    checkpoints = {
        model: open_checkpoint(model, folder=folder, cache=cache) for model in models_of(recipe)
    }
    jobs = plan_recipe(recipe, checkpoints)
    out = folder / "out"
    try:
        donor = checkpoints[ModelReference("base") if named != "other" else ModelReference(named)]
        write_merged(
            out,
            jobs,
            checkpoints,
            0,
            donor=donor,
            recipe_text=text,
        )
    except MergeError:
        if out.exists():
            raise Broken("a refused merge left its folder") from None
        raise
    shutil.rmtree(out)
    return "merged"
