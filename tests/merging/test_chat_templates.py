"""The formats that their makers document, and the template that most models have."""

import json

import pytest

from merging.chat_templates import BUILT_IN, chosen_template, own_template, write_template
from merging.errors import SourceError

TALK = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello."), ("user", " Bye"))
PROMPTS = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\n Bye<|im_end|>\n"
    "<|im_start|>assistant\n",
    "alpaca": "Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello.\n\n"
    "### Instruction:\nBye\n\n### Response:\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s>[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] Bye [/INST]",
    "exaone": "[|system|]Be brief.[|endofturn|]\n[|user|]Hi\n[|assistant|]Hello.[|endofturn|]\n"
    "[|user|]Bye\n[|assistant|]",
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_format(pico_family, name: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pico_family.base)
    tokenizer.chat_template = chosen_template(name, [])
    talk = [{"role": role, "content": content} for role, content in TALK]
    found = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert found == PROMPTS[name]
    short = tokenizer.apply_chat_template(talk[1:2], tokenize=False)
    assert "Hi" in short and "Be brief." not in short


def test_auto_is_what_most_models_have(tmp_path) -> None:
    def model(name: str, file: str, text: str):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
        return tmp_path / name

    many = [{"name": "tool_use", "template": "{T}"}, {"name": "default", "template": " {A}\n"}]
    folders = [
        model("a", "chat_template.jinja", "{B}"),
        model("b", "tokenizer_config.json", json.dumps({"chat_template": many})),
        model("c", "chat_template.json", json.dumps({"chat_template": "{A}"})),
        model("d", "tokenizer_config.json", "{}"),
    ]
    assert [own_template(one) for one in folders] == ["{B}", " {A}\n", "{A}", None]
    assert chosen_template("auto", folders) == "{A}"
    assert chosen_template("auto", folders[:2]) == "{B}"
    assert chosen_template("auto", folders[3:]) is None
    assert chosen_template("{x}", folders) == "{x}"


def test_a_template_takes_the_place_of_every_other(tmp_path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{A}", "bos_token": "é"}')
    (tmp_path / "chat_template.json").write_text('{"chat_template": "{B}"}')
    write_template(tmp_path, "{C}")
    assert own_template(tmp_path) == "{C}"
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {"bos_token": "é"}
    assert not (tmp_path / "chat_template.json").exists()


def test_a_template_that_is_no_text(tmp_path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="expected a text in UTF-8"):
        own_template(tmp_path)
