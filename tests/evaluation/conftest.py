"""Shared by the tests of scoring: the pico model in float32, task files, and lm-eval itself."""

import contextlib
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evaluation.task import Request, Response, Task, result_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WriteRows = Callable[..., Path]
MakeChain = Callable[[int, Mapping[int, int]], "PreTrainedModel"]


@dataclass(frozen=True, slots=True)
class Pico:
    """A live model with its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


@pytest.fixture(scope="session")
def pico(pico_family_float32: Any) -> Pico:
    """The family's base: one token a character, so texts of n characters have n tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = pico_family_float32.base
    model = AutoModelForCausalLM.from_pretrained(base)
    return Pico(model.eval(), AutoTokenizer.from_pretrained(base))


@pytest.fixture(scope="session")
def make_chain() -> MakeChain:
    """`make(vocabulary, follower)`: a Llama that writes `follower[k]` behind token k, else 0."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(vocabulary: int, follower: Mapping[int, int]) -> "PreTrainedModel":
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=vocabulary,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=vocabulary // 4,
            num_key_value_heads=vocabulary // 8,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        model = LlamaForCausalLM(config).eval()
        with torch.no_grad():
            model.model.embed_tokens.weight.copy_(torch.eye(vocabulary))
            for layer in model.model.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            model.lm_head.weight.zero_()
            for token in range(vocabulary):
                model.lm_head.weight[follower.get(token, 0), token] = 1.0
        return model

    return make


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """`write(rows, name="rows.jsonl")`: a JSONL file of these rows."""

    def write(rows: Sequence[object], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


class LmEval:
    """What lm-eval itself reports, of a model or of made-up answers."""

    def answer(self, request: Request) -> Response:
        """Made up, and the same in every run: from the request's own text."""
        rng = random.Random(f"{request.context}|{request.continuation}")
        words = ["Paris", " rome!", "oslo, of course", "", "x1 Tokyo"]
        return Response(-20 * rng.random(), rng.random() < 0.3, rng.choice(words))

    def answers(self, task: Task) -> list[list[Response]]:
        """Made-up answers to every item."""
        return [[self.answer(request) for request in item.requests] for item in task.items]

    def values(self, task: Task, answers: Sequence[Sequence[Response]]) -> dict[str, float]:
        """Our figures for all items."""
        results = [task.score(*pair) for pair in zip(task.items, answers, strict=True)]
        return {
            name: metric.aggregate(result_rows(results, name))
            for name, metric in task.metrics.items()
        }

    def evaluate(
        self, folder: Path, tasks: str | Sequence[str], model: Any = None, **keys: Any
    ) -> Mapping[str, Any]:
        """`lm_eval.simple_evaluate` on tasks and groups of a folder, results of items included.

        Without a model the answers are `answer`'s.
        """
        from lm_eval import evaluator
        from lm_eval.tasks import TaskManager

        from evaluation.lm_eval_tasks_guard import quiet

        with quiet(), contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
            # lm-eval looks for data files where it runs, and add_env_info runs pip: 2 s
            patch.setattr(evaluator, "add_env_info", lambda results: None)
            found = evaluator.simple_evaluate(
                model=self._replay() if model is None else model,
                tasks=[tasks] if isinstance(tasks, str) else list(tasks),
                task_manager=TaskManager(include_defaults=False, include_path=str(folder)),
                bootstrap_iters=0,
                **keys,
            )
        return dict(found)

    def _replay(self) -> Any:
        from lm_eval.api.model import LM

        answer = self.answer

        class Replay(LM):  # type: ignore[misc]
            """lm-eval's model that gives the made-up answers."""

            def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
                """Of each continuation."""
                found = [answer(Request("loglikelihood", *r.args)) for r in requests]
                return [(response.loglikelihood, response.greedy) for response in found]

            def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
                """Of each text."""
                return [answer(Request("rolling", r.args[0])).loglikelihood for r in requests]

            def generate_until(self, requests: Sequence[Any]) -> list[str]:
                """A text for each prompt."""
                return [answer(Request("generate", r.args[0])).text for r in requests]

        return Replay()


@pytest.fixture(scope="session")
def lm_eval(datasets_cache: None) -> LmEval:
    """lm-eval to compare with."""
    return LmEval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the lm-eval tasks, to be changed."""
    source = Path(__file__).parents[1] / "data" / "lm_eval"
    return Path(shutil.copytree(source, tmp_path / "tasks"))


@pytest.fixture(scope="session")
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted data files are kept in a folder of this session."""
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield
