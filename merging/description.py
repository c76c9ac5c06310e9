"""What a merged checkpoint is besides its weights: their layout, config, tokenizer, the recipe."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .chat_templates import write_template
from .checkpoint import Checkpoint, TensorInfo
from .consistency import HEADS, is_tied
from .depth import moved_layers, resized_config
from .errors import MergeError
from .headers import member, read_json
from .plan import TensorJob
from .recipe import ModelReference
from .speech import Speech, renumbered, speech_of
from .stored import TOKENIZER_FILES
from .tokenizer_edits import save_tokenizer

GENERATION = "generation_config.json"
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
RECIPE = "mergekit_config.yml"


def merged_layout(
    jobs: Iterable[TensorJob], checkpoints: Mapping[ModelReference, Checkpoint]
) -> dict[str, TensorInfo]:
    """Shape and dtype of each tensor of the output; buffers of integers keep their dtype.

    Raises:
        MergeError: two jobs of one name.
    """
    layout: dict[str, TensorInfo] = {}
    for job in jobs:
        if job.name in layout:
            raise MergeError(f"{job.name}: two jobs make this tensor")
        source = job.base or job.sources[0]
        info = checkpoints[source.model].tensors[source.name]
        floating = info.dtype.startswith(("float", "bfloat"))
        layout[job.name] = TensorInfo(info.shape, job.dtype if floating else info.dtype)
    return layout


def merged_config(
    jobs: Sequence[TensorJob], donor: Checkpoint, *, trust_remote_code: bool = False
) -> dict[str, object]:
    """The donor's config.json with the output's dtype and layers, without its old place.

    Raises:
        SourceError: transformers cannot read the config of a model whose layers move.
        UnsupportedError: layers that cannot be moved so.
    """
    config = dict(donor.config)
    if order := moved_layers(jobs, donor):
        resized = resized_config(donor, order, trust_remote_code=trust_remote_code)
        config = json.loads(resized.to_json_string())
    config.pop("_name_or_path", None)
    names = {job.name for job in jobs}
    if is_tied(config) and any(name.endswith(HEADS) for name in names):
        config["tie_word_embeddings"] = False  # a head that is stored is its own
    dtype = Counter(job.dtype for job in jobs).most_common(1)[0][0]
    config["dtype"] = dtype
    if "torch_dtype" in config:  # as transformers 4 reads it
        config["torch_dtype"] = dtype
    return config


def describe(
    folder: Path,
    jobs: Sequence[TensorJob],
    donor: Checkpoint,
    recipe_text: str,
    trust_remote_code: bool,
) -> None:
    """Writes everything but the weights of a checkpoint.

    Raises:
        MergeError: as `merged_config`.
        OSError: the folder cannot be written to.
    """
    config = merged_config(jobs, donor, trust_remote_code=trust_remote_code)
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    (folder / RECIPE).write_text(recipe_text, encoding="utf-8")
    code = [file.name for file in donor.folder.glob("*.py")] if "auto_map" in config else []
    _copy(donor.folder, folder, (GENERATION, *PROCESSOR_FILES, *code))
    speech = speech_of(donor)
    if speech is not None and speech.tokenizer is not None:
        save_tokenizer(speech.tokenizer, folder)
    else:
        _copy(speech.folder if speech else donor.folder, folder, TOKENIZER_FILES)
    if speech is not None:
        _respeak(folder, speech)


def _copy(source: Path, folder: Path, names: Iterable[str]) -> None:
    for name in names:
        file = member(source, name)
        if file.is_file():
            shutil.copyfile(file, folder / name)


def _respeak(folder: Path, speech: Speech) -> None:
    """Makes the copied files say what the output speaks: its chat template, its token ids."""
    if speech.chat_template is not None:
        write_template(folder, speech.chat_template)
    if speech.ids is not None and (folder / GENERATION).is_file():
        data = renumbered(read_json(folder / GENERATION), speech.ids)
        text = json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True)
        (folder / GENERATION).write_text(text + "\n", encoding="utf-8")
