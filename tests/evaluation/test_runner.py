"""Log-likelihoods of the live model: equal to lm-eval's, whatever the batches."""

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from evaluation.errors import EvaluationError, NonFiniteError
from evaluation.head import Head
from evaluation.layout import Layout
from evaluation.runner import Runner, Settings
from evaluation.task import Request

WORDS = (
    "the cat sat on a mat, and then 42 dogs ran\nfar away. why? no one knew (not even me)".split()
)


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def pairs() -> list[tuple[str, str]]:
    rng = random.Random(0)
    found = [(words(rng, k % 7 + 1), " " + words(rng, k % 3 + 1)) for k in range(14)]
    found += [
        ("", "no context"),
        ("", "<s>after bos"),
        ("trailing  ", " spaces"),
        ("line:\n", "x"),
    ]
    found += [(words(rng, 40), " too long"), ("same", " a"), ("same", " b"), found[0]]
    return found


def texts() -> list[str]:
    rng = random.Random(1)
    return ["a", *(words(rng, 60)[:n] for n in (3, 63, 64, 65, 66, 128, 129, 200))]


def lm_eval_answers(pico: Any, kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What lm-eval's HFLM says, window 64."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=pico.model, tokenizer=pico.tokenizer, batch_size=3, max_length=64, device="cpu"
    )
    requests = [Instance(kind, {}, one, k) for k, one in enumerate(arguments)]
    answers: list[Any] = getattr(model, kind)(requests, disable_tqdm=True)
    return answers


@pytest.mark.parametrize("budget", [1, 200, 4096])
def test_loglikelihoods_are_lm_evals(pico: Any, budget: int) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(token_budget=budget, max_length=64))
    assert runner.head == Head(True)
    want = lm_eval_answers(pico, "loglikelihood", pairs())
    got = runner.run(runner.prepare([Request("loglikelihood", *pair) for pair in pairs()]))
    assert [r.loglikelihood for r in got] == pytest.approx([ll for ll, _ in want], abs=1e-4)
    assert [r.greedy for r in got] == [greedy for _, greedy in want]


def test_rolling_loglikelihoods_are_lm_evals_in_windows(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(max_length=64))
    want = lm_eval_answers(pico, "loglikelihood_rolling", [(text,) for text in texts()])
    got = runner.run(runner.prepare([Request("rolling", text) for text in texts()]))
    assert [r.loglikelihood for r in got] == pytest.approx(want, rel=1e-6, abs=1e-4)


def test_the_same_plan_gives_the_same_bits_and_any_order_the_same_answers(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(token_budget=150))
    requests = [Request("loglikelihood", *pair) for pair in pairs()]
    prepared = runner.prepare(requests)
    first = runner.run(prepared)
    assert runner.run(prepared) == first
    again = runner.run(runner.prepare(requests[::-1]))[::-1]
    assert [r.loglikelihood for r in again] == [r.loglikelihood for r in first]


def test_threads_are_set_while_running_and_put_back(pico: Any) -> None:
    before = torch.get_num_threads()
    seen = []
    hook = pico.model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    try:
        runner = Runner(pico.model, pico.tokenizer, Settings(threads=before + 1))
        runner.run(runner.prepare([Request("rolling", "abc")]))
    finally:
        hook.remove()
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_repeated_requests_cost_nothing(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings())
    once = runner.prepare([Request("loglikelihood", "abc", " d")])
    thrice = runner.prepare([Request("loglikelihood", "abc", " d")] * 3)
    assert thrice.tokens == once.tokens == 4
    answers = runner.run(thrice)
    assert answers[0] == answers[1] == answers[2]


def test_gathering_respects_a_models_own_capping_of_logits(pico: Any) -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, final_logit_softcapping=0.5,
        initializer_range=1.0, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config).eval()
    runner = Runner(model, pico.tokenizer, Settings(token_budget=64))
    assert runner.head.gathered
    (answer,) = runner.run(runner.prepare([Request("loglikelihood", "abc", "de")]))
    ids = torch.tensor([pico.tokenizer.encode("abcde")])
    with torch.no_grad():
        logp = torch.log_softmax(model(ids).logits[0].float(), -1)
    want = logp[2, ids[0, 3]] + logp[3, ids[0, 4]]
    assert answer.loglikelihood == pytest.approx(float(want), abs=1e-5)


def test_a_model_that_reads_its_hidden_states_after_the_head_falls_back(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    plain = model.forward

    def forward(input_ids: torch.Tensor, use_cache: bool = False) -> Any:
        output = plain(input_ids=input_ids, use_cache=use_cache)
        # Adds to each position what stood at the one before: no function of one position.
        output.logits = output.logits + torch.roll(output.logits, 1, dims=1)
        return output

    model.forward = forward
    runner = Runner(model, pico.tokenizer, Settings(token_budget=64))
    assert not runner.head.gathered
    assert "moves logits" in runner.head.reason
    (answer,) = runner.run(runner.prepare([Request("loglikelihood", "abc", "d")]))
    ids = torch.tensor([pico.tokenizer.encode("abc")])
    with torch.no_grad():
        logp = torch.log_softmax(model(ids).logits[0, -1], -1)
    want = float(logp[pico.tokenizer.encode("d")[0]])
    assert answer.loglikelihood == pytest.approx(want, abs=1e-5)


def test_nan_is_told_with_the_name_of_the_first_request(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    runner = Runner(model, pico.tokenizer, Settings())
    requests = [Request("rolling", "a"), Request("loglikelihood", "ab", " c")]
    scored = runner.prepare(requests, ["first", "second"])
    written = runner.prepare([Request("generate", "ab", max_new_tokens=2)], ["third"])
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(NonFiniteError, match="^first: .*NaN"):
        runner.run(scored)
    with pytest.raises(NonFiniteError, match="^third: .*NaN.*, beginning in model.norm"):
        runner.run(written)


def test_only_what_an_item_asks_for_must_be_finite(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    runner = Runner(model, pico.tokenizer, Settings(token_budget=8))
    prepared = runner.prepare([Request("loglikelihood", "ab", "c")])
    with torch.no_grad():
        model.get_input_embeddings().weight[pico.tokenizer.encode("z")[0]] = 0.0
    assert len(runner.run(prepared)) == 1


def test_faulty_requests_are_told_before_any_arithmetic(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(max_length=8))
    with pytest.raises(EvaluationError, match="^request 0: .* adds no token"):
        runner.prepare([Request("loglikelihood", "abc", "")])
    with pytest.raises(EvaluationError, match="^mine: .* 9 tokens, more than the model's window"):
        runner.prepare([Request("loglikelihood", "abc", "x" * 9)], ["mine"])
    with pytest.raises(EvaluationError, match="max_new_tokens: expected fewer"):
        runner.prepare([Request("generate", "abc", max_new_tokens=8)])


def test_settings_that_do_not_fit_the_model_are_refused(pico: Any) -> None:
    with pytest.raises(EvaluationError, match="settings say bfloat16, the model is in float32"):
        Runner(pico.model, pico.tokenizer, Settings(dtype="torch.bfloat16"))
    with pytest.raises(EvaluationError, match="settings say cuda"):
        Runner(pico.model, pico.tokenizer, Settings(device="cuda:0"))
    with pytest.raises(ValueError, match="token_budget"):
        Settings(token_budget=0)


def test_a_tokenizer_without_bos_and_eos_is_refused(pico: Any) -> None:
    tokenizer = copy.deepcopy(pico.tokenizer)
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(EvaluationError, match="neither a BOS nor an EOS"):
        Runner(pico.model, tokenizer, Settings())


def test_every_setting_is_in_the_fingerprint() -> None:
    base = Settings().fingerprint()
    others = [
        Settings(device="cuda"),
        Settings(dtype="bfloat16"),
        Settings(token_budget=7),
        Settings(threads=3),
        Settings(max_length=9),
    ]
    assert all(other.fingerprint() != base for other in others)
    assert Settings(dtype="torch.float32").fingerprint() == base


def test_a_context_of_which_nothing_is_left_is_an_empty_one(pico: Any) -> None:
    from tokenizers import normalizers

    tokenizer = copy.deepcopy(pico.tokenizer)
    tokenizer._tokenizer.normalizer = normalizers.Replace("z", "")
    runner = Runner(pico.model, tokenizer, Settings())
    gone = Request("loglikelihood", "zz", " abc")
    empty = Request("loglikelihood", "", " abc")
    first, second = runner.run(runner.prepare([gone, empty]))
    assert first == second


def test_the_fingerprint_knows_tokenizer_layout_and_window(pico: Any) -> None:
    def fingerprint(tokenizer: Any = pico.tokenizer, **settings: Any) -> Mapping[str, object]:
        runner = Runner(pico.model, tokenizer, Settings(**settings))
        runner.settle([])
        return runner.fingerprint()

    other = copy.deepcopy(pico.tokenizer)
    other.add_tokens(["cat"])
    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint(other)
    assert fingerprint() != fingerprint(max_length=64)
    rows = Runner(pico.model, pico.tokenizer, Settings())
    rows.layout = Layout(False, "for once")
    assert rows.fingerprint() != fingerprint()
    before, rows.layout = rows.fingerprint(), Layout(False, "by 0.21 nats")
    assert rows.fingerprint() == before and rows.reasons() == {"layout": "by 0.21 nats"}
    norms = copy.deepcopy(pico.model)
    norms.config.rms_norm_eps = 0.5
    assert Runner(norms, pico.tokenizer, Settings()).fingerprint()["config"] != before["config"]
    cut = copy.deepcopy(pico.tokenizer)
    cut.backend_tokenizer.enable_truncation(7)
    assert fingerprint(cut) == fingerprint()


def test_nan_is_told_with_the_layer_where_it_began(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    runner = Runner(model, pico.tokenizer, Settings())
    prepared = runner.prepare([Request("loglikelihood", "ab", " c")])
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = float("inf")
    told = "beginning in model.layers.1.mlp.down_proj .its weight holds NaN or Inf"
    with pytest.raises(NonFiniteError, match=told):
        runner.run(prepared)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = 0.0
        model.model.layers[2].mlp.up_proj.weight.fill_(1e38)
    with pytest.raises(NonFiniteError, match=r"beginning in model\.layers\.2\.mlp\.\w+$"):
        runner.run(prepared)


def test_of_equally_likely_tokens_greedy_takes_the_first(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    with torch.no_grad():
        model.model.norm.weight.zero_()  # every logit is 0
    runner = Runner(model, pico.tokenizer, Settings())
    first = pico.tokenizer.decode([0])
    requests = [Request("loglikelihood", "ab", "c"), Request("loglikelihood", "ab", first)]
    assert [answer.greedy for answer in runner.run(runner.prepare(requests))] == [False, True]
