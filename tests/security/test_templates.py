"""Jinja2 from strangers: in its sandbox, and bounded; regular expressions have their time."""

import json
import time

import pytest

ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ question.__class__ }}",
    "{{ question['__class__'] }}",
    "{{ question|attr('__class__') }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ '{0.__class__}'.format(question) }}",
    "{{ question.format_map(x) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('touch CANARY') }}",
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "{% set x = question.__init__ %}{{ x }}",
    "{{ choices.append(1) }}",
)
BOMBS = (
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% for i in range(999) %}{% for j in range(999) %}{% for k in range(999) %}x{% endfor %}"
    "{% endfor %}{% endfor %}",
    "{{ 'x' * 10000000000 }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ 'x'.ljust(9999999999) }}",
    "{{ 'x'.center(9999999999) }}",
    "{{ range(999999999)|list }}",
    "{{ question.replace('', question * 9999) }}",
    "{{ 9**9**9**9 }}",
    "{{ question|indent(99999999) }}",
    "{{ 1|round(999999999) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for i in range(999) recursive %}{{ loop(range(999)) }}{% endfor %}",
    "{{ (" * 3000 + "1" + ")" * 3000 + " }}",
)


@pytest.mark.parametrize("template", [*ESCAPES, *BOMBS])
@pytest.mark.parametrize("key", ["prompt", "description"])
def test_a_template_of_a_study(bench, canary, refused, key, template) -> None:
    written = json.dumps(template.replace("CANARY", str(canary)))
    bench.change(('prompt: "{{question}}"', f"{key}: {written}"))
    start = time.perf_counter()
    refused(bench.call("check", bench.study), "sums")
    assert time.perf_counter() - start < 10 and not canary.exists()


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
        "{{ lipsum.__globals__['os'].system('touch CANARY') }}",
        "{% include '/etc/passwd' %}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_chat_template_of_a_model(bench, own, canary, refused, template) -> None:
    folder = own("base")
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=name != "tokenizer_config.json")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    (folder / "chat_template.jinja").write_text(template.replace("CANARY", str(canary)))
    bench.change(("    answer: answer", "    answer: answer\n    chat_template: true"))
    refused(bench.call("check", bench.study), "chat_template: the tokenizer's template")
    assert not canary.exists()


def test_a_pattern_that_backtracks_without_end(bench, refused) -> None:
    rows = [{"question": "a" * 40, "answer": "b" + str(n)} for n in range(50)]
    (bench.folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench.change(
        ("type: multiple_choice", "type: generate"),
        ("    choices: choices\n    answer: answer\n", "    target: answer\n    EXTRACT\n"),
        ("EXTRACT", "extract: '(a{1,999}){1,999}$'"),
    )
    refused(bench.call("check", bench.study), "extract")
