"""A candidate in the live model is the checkpoint that the writer would write."""

from dataclasses import replace

import pytest
import torch

from merging.candidate import build_candidate, live_model, load_model, load_tokenizer
from merging.depth import moved_layers
from merging.errors import MergeError, SourceError, UnsupportedError
from merging.hashing import cache_folder
from merging.recipe import ModelReference
from merging.sources import open_checkpoint
from merging.stored import open_folder
from merging.writer import write_merged

TEXT = "Question: what is 1 + 1?\nAnswer:"


def open_here(folder):
    return open_folder(folder, allow_pickle=False, cache=cache_folder())


def logits(model, tokenizer):
    with torch.no_grad():
        return model(**tokenizer(TEXT, return_tensors="pt")).logits


def save_tiny(config, folder):
    """A random model of a config, saved; tensors that are constant get values of their own."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return open_here(folder)


@pytest.mark.parametrize("method", ["task_arithmetic", "linear", "ties", "dare_ties"])
def test_candidate_equals_the_written_checkpoint(
    pico_family, open_family, make_jobs, tensors_of, tmp_path, method
):
    checkpoints = open_family(pico_family)
    base = checkpoints[ModelReference("base")]
    jobs = make_jobs(
        checkpoints, method, {"weight": 0.4, "density": 0.5} if "ties" in method else None
    )
    live = live_model(load_model(base), base)
    before = logits(live.model, load_tokenizer(base))

    build_candidate(live, jobs, tensors_of(checkpoints), 7, threads=2)
    write_merged(tmp_path / "out", jobs, checkpoints, 7, donor=base, recipe_text="x: 1\n")

    written = load_model(open_here(tmp_path / "out"))
    ours = live.model.state_dict()
    theirs = written.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    after = logits(live.model, load_tokenizer(base))
    assert torch.equal(after, logits(written, load_tokenizer(base)))
    assert not torch.equal(after, before)


def test_building_again_forgets_the_last_candidate(
    pico_family, open_family, make_jobs, tensors_of
):
    checkpoints = open_family(pico_family)
    base = checkpoints[ModelReference("base")]
    live = live_model(load_model(base), base)
    build_candidate(live, make_jobs(checkpoints), tensors_of(checkpoints), 0)
    build_candidate(
        live,
        make_jobs(checkpoints, "task_arithmetic", {"weight": 0.0}),
        tensors_of(checkpoints),
        0,
    )
    for name, tensor in live.destinations.items():
        assert torch.equal(tensor, base.tensor(name))


def test_threads_that_round_at_every_step_hold_torch_to_one_thread_together(
    pico_family, open_family, make_jobs, tensors_of
):
    checkpoints = open_family(pico_family)
    base = checkpoints[ModelReference("base")]
    live = live_model(load_model(base), base)
    jobs = [replace(job, stepwise="bfloat16") for job in make_jobs(checkpoints)]
    seen = set()

    def read(model, name):
        seen.add(torch.get_num_threads())
        return tensors_of(checkpoints)(model, name)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        build_candidate(live, jobs, read, 0, threads=4)
        assert (seen, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


def test_parameters_are_written_in_place(pico_family, open_family, make_jobs, tensors_of):
    checkpoints = open_family(pico_family)
    base = checkpoints[ModelReference("base")]
    model = load_model(base)
    places = {name: tensor.data_ptr() for name, tensor in model.named_parameters()}
    build_candidate(live_model(model, base), make_jobs(checkpoints), tensors_of(checkpoints), 0)
    assert places == {name: tensor.data_ptr() for name, tensor in model.named_parameters()}
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_float32_model_holds_what_a_bfloat16_export_holds(
    pico_family, open_family, make_jobs, tensors_of
):
    checkpoints = open_family(pico_family)
    base = checkpoints[ModelReference("base")]
    coarse, fine = (live_model(load_model(base, dtype=dtype), base) for dtype in (None, "float32"))
    for live in (coarse, fine):
        build_candidate(live, make_jobs(checkpoints), tensors_of(checkpoints), 0)
    assert fine.model.dtype == torch.float32
    for name, tensor in coarse.destinations.items():
        assert torch.equal(tensor.float(), fine.destinations[name])


def test_stacked_layers(pico_family, open_family, make_jobs, tensors_of, tmp_path):
    checkpoints = open_family(pico_family)
    base = checkpoints[ModelReference("base")]
    jobs = make_jobs(checkpoints, order=(0, 1, 1, 2, 2))
    order = moved_layers(jobs, base)
    assert order == {"model.layers": (0, 1, 1, 2, 2)}
    assert moved_layers(make_jobs(checkpoints), base) is None

    live = live_model(load_model(base, order=order), base, [job.name for job in jobs])
    build_candidate(live, jobs, tensors_of(checkpoints), 0)
    write_merged(tmp_path / "out", jobs, checkpoints, 0, donor=base, recipe_text="")

    written = load_model(open_here(tmp_path / "out"))
    assert written.config.num_hidden_layers == 5
    tokenizer = load_tokenizer(base)
    assert torch.equal(logits(live.model, tokenizer), logits(written, tokenizer))


def test_layers_keep_their_kind_when_they_move(tmp_path):
    from transformers import Gemma2Config

    config = Gemma2Config(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
    )
    donor = save_tiny(config, tmp_path / "gemma")
    kinds = load_model(donor, order={"model.layers": (0, 0, 2, 3, 3)}).config.layer_types
    assert kinds == [config.layer_types[index] for index in (0, 0, 2, 3, 3)]
    assert len(set(kinds)) == 2


def test_another_model_than_the_checkpoint_is_found_out(pico_family, open_family):
    checkpoints = open_family(pico_family)
    model = load_model(checkpoints[ModelReference("alpha")])
    with pytest.raises(UnsupportedError, match="stored otherwise"):
        live_model(model, checkpoints[ModelReference("base")])


def test_jobs_of_another_layout_are_refused(pico_family, open_family, make_jobs, tensors_of):
    checkpoints = open_family(pico_family)
    base = checkpoints[ModelReference("base")]
    live = live_model(load_model(base), base)
    jobs = make_jobs(checkpoints)
    with pytest.raises(MergeError, match="only the model has this tensor"):
        build_candidate(live, jobs[1:], tensors_of(checkpoints), 0)
    with pytest.raises(MergeError, match="only the recipe has this tensor"):
        build_candidate(
            live, make_jobs(checkpoints, order=(0, 1, 2, 2)), tensors_of(checkpoints), 0
        )


def test_code_from_the_folder_does_not_run(pico_family, tmp_path, copy_checkpoint):
    folder = copy_checkpoint(
        pico_family.base,
        config={"model_type": "own_kind", "auto_map": {"AutoModelForCausalLM": "modeling.Own"}},
    )
    mark = tmp_path / "ran"
    (folder / "modeling.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    checkpoint = open_here(folder)
    with pytest.raises(SourceError, match="--trust-remote-code"):
        load_model(checkpoint)
    assert not mark.exists()


def test_weights_that_lack_a_tensor(pico_family, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base, drop=["model.norm.weight"])
    with pytest.raises(SourceError, match="lack model.norm.weight"):
        load_model(open_here(folder))


def test_a_folder_without_a_tokenizer(pico_family, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(SourceError, match="transformers cannot load it"):
        load_tokenizer(open_here(folder))


def test_an_adapter_is_in_the_loaded_model(pico_family, pico_adapter):
    reference = ModelReference("base", adapter=str(pico_adapter()))
    checkpoint = open_checkpoint(reference, folder=pico_family.root)
    live = live_model(load_model(checkpoint), checkpoint)
    assert checkpoint.changed
    plain = open_here(pico_family.base)
    assert any(
        not torch.equal(live.destinations[name], plain.tensor(name)) for name in checkpoint.changed
    )


def test_an_adapter_beside_the_weights_is_refused(pico_family, copy_checkpoint, opened):
    folder = copy_checkpoint(pico_family.base)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(SourceError, match="lies beside the model's weights"):
        load_model(opened(folder))
