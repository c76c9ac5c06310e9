"""Which models the greedy loop fits: by facts, and by a probe of the live model.

Facts: a decoder with an ordinary cache, whose generation config asks for nothing that the loop
does not know. The probe writes a few tokens for three prompts, read in two ways, with a row that
leaves on the way, and compares the logits with those of a plain pass without cache: they may be
a few times as far off as those of transformers' own `generate`, not more. What does not fit is
written by `generate`, with the reason at hand; where padding moves even its logits (recurrent
models that read it), by batches without any.
"""

import inspect
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from .batches import Ints
from .budget import memory_ran_out
from .generation import configured
from .greedy import Rows
from .greedy_cache import unfit_layers
from .head import vocabulary_size
from .prompts import Decoding, Prompts, Reading
from .rope import OF_LENGTH, rope_kinds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEEDED = ("input_ids", "attention_mask", "past_key_values", "use_cache", "logits_to_keep")
UNKNOWN = (
    "bad_words_ids begin_suppress_tokens sequence_bias min_length min_new_tokens "
    "forced_bos_token_id forced_eos_token_id exponential_decay_length_penalty"
).split()
"""What a generation config may say of greedy decoding that the loop leaves to `generate`."""
LENGTHS, SHARED, NEW = (14, 11, 11), 5, 3
"""The probe's prompts: their lengths, what they all begin with, and the tokens written."""
READINGS = (Reading(0, ((0, 2), (2, 3))), Reading(SHARED, ((0, 1), (1, 3))))
TIMES, EPSILONS, MOST = 4.0, 4.0, 0.25
"""The loop may be off by so many times what `generate` is and so many roundings more. Who is off
by more than this part of the logits' spread reads something else: no dtype rounds like that."""


@torch.inference_mode()
def choose_decoding(model: "PreTrainedModel") -> Decoding:
    """How this model's text is written.

    Where the live weights give no numbers, facts alone decide, and against padding.
    """
    prompts = probe_prompts(vocabulary_size(model))
    try:
        theirs, tokens = generated(model, prompts)
        truth = plain(model, prompts, tokens)
    except Exception as fault:  # what such a model says of a real prompt is for the run to tell
        if memory_ran_out(fault):
            raise
        return Decoding(False, f"the probe fails: {type(fault).__name__}: {fault}", padded=False)
    spread = distance(truth, truth.mean())
    padded = 0 < spread and distance(theirs, truth) <= MOST * spread
    bound = TIMES * distance(theirs, truth) + EPSILONS * torch.finfo(model.dtype).eps * spread
    try:
        if reason := misfit(model):
            return Decoding(False, reason, padded)
        gap = max(distance(looped(model, prompts, how, tokens), truth) for how in READINGS)
    except Exception as fault:  # any model code may stand between the loop and its cache
        if memory_ran_out(fault):
            raise
        return Decoding(False, f"the loop fails: {type(fault).__name__}: {fault}", padded)
    if gap <= min(bound, MOST * spread):
        return Decoding(True)
    return Decoding(
        False, f"the loop moves logits by {gap:.3g}, at most {bound:.3g} is rounding", padded
    )


def misfit(model: "PreTrainedModel") -> str:
    """Why the loop cannot write this model's text; empty if nothing speaks against it."""
    missing = [name for name in NEEDED if name not in inspect.signature(model.forward).parameters]
    if missing:
        return f"the model's forward takes no {missing[0]}"
    if model.config.is_encoder_decoder or getattr(model, "_is_stateful", False):
        return "the model keeps more than keys and values of a decoder"
    if kinds := unfit_layers(model.config):
        return f"the model's cache has layers of the kind {kinds[0]}"
    ropes = {kind for kind, _ in rope_kinds(model.config.to_dict())} & set(OF_LENGTH)
    if ropes:
        return f"positions are rotated by {min(ropes)}, which depends on the whole pass"
    for name in UNKNOWN:
        value = getattr(model.generation_config, name, None)
        if value is not None and not (name.startswith("min_") and value == 0):
            return f"the generation config has {name}"
    return ""


def probe_prompts(vocabulary: int) -> Prompts:
    """Prompts of arbitrary tokens with a common start."""
    width = LENGTHS[0]
    tokens = (np.arange(len(LENGTHS) * width).reshape(-1, width) * 7 + 3) % vocabulary
    for row, length in enumerate(LENGTHS):
        tokens[row, width - length : width - length + SHARED] = tokens[0, :SHARED]
    owners = tuple((row,) for row in range(len(LENGTHS)))
    return Prompts(tokens, np.array(LENGTHS), owners, (), NEW, None)


def generated(model: "PreTrainedModel", prompts: Prompts) -> tuple[Tensor, Ints]:
    """Logits (rows, new, vocabulary) of `generate`, and the tokens (rows, new) it chose."""
    width = prompts.tokens.shape[1]
    config = GenerationConfig(do_sample=False, max_new_tokens=NEW, pad_token_id=0)  # type: ignore[no-untyped-call]
    config.return_dict_in_generate = config.output_logits = True
    mask = np.arange(width)[None, :] >= width - prompts.lengths[:, None]
    with configured(model, config):
        output = model.generate(  # type: ignore[operator]
            input_ids=torch.from_numpy(prompts.tokens).to(model.device),
            attention_mask=torch.from_numpy(mask.astype(np.int64)).to(model.device),
            generation_config=config,
        )
    return torch.stack(output.logits, dim=1), output.sequences[:, width:].cpu().numpy()


def plain(model: "PreTrainedModel", prompts: Prompts, tokens: Ints) -> Tensor:
    """The same logits in one pass; padding stands on the right, where nothing looks."""
    width = prompts.tokens.shape[1]
    rows = np.zeros((len(prompts.lengths), width + NEW - 1), dtype=np.int64)
    for row, length in enumerate(prompts.lengths):
        rows[row, :length] = prompts.tokens[row, width - length :]
        rows[row, length : length + NEW - 1] = tokens[row, :-1]
    logits = model(input_ids=torch.from_numpy(rows).to(model.device), use_cache=False).logits
    return torch.stack([one[n - 1 : n - 1 + NEW] for one, n in zip(logits, LENGTHS, strict=True)])


def looped(model: "PreTrainedModel", prompts: Prompts, reading: Reading, tokens: Ints) -> Tensor:
    """The same logits by the loop. Row 0 leaves before the last token: there it has `nan`."""
    rows = Rows(model, prompts, reading)
    logits = [rows.read()]
    for step in range(NEW - 1):
        rows.put([int(tokens[row, step]) for row in rows.order])
        rows.keep([row > 0 or step == 0 for row in rows.order])
        found = torch.full_like(logits[0], torch.nan)
        found[rows.order] = rows.step()
        logits.append(found)
    return torch.stack(logits, dim=1)


def distance(one: Tensor, other: Tensor) -> float:
    """Root of the mean square of what differs; what is NaN in either does not."""
    gap = one.double() - other.double()
    return float(gap[torch.isfinite(gap)].square().mean().nan_to_num().sqrt())
