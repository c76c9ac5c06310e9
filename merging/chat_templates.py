"""Chat templates: the well-known public formats by name, and the one most of the models use.

Each text is a Jinja template over `messages` and `add_generation_prompt`, as transformers renders
it. The formats are those that their makers document: ChatML (OpenAI), Alpaca (Stanford), Llama 3
(Meta), Mistral's instruct models, EXAONE (LG).
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from .errors import SourceError
from .headers import member, read_json

MAX_TEMPLATE = 1 << 20
FILE = "chat_template.jinja"
CONFIG = "tokenizer_config.json"
OLD = "chat_template.json"

_CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""

_ALPACA = """\
{%- for message in messages -%}
{%- set text = message['content'] | trim -%}
{%- if message['role'] == 'system' -%}
{{ text + '\\n\\n' }}
{%- elif message['role'] == 'assistant' -%}
{{ '### Response:\\n' + text + '\\n\\n' }}
{%- else -%}
{{ '### Instruction:\\n' + text + '\\n\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '### Response:\\n' }}
{%- endif -%}
"""

_LLAMA3 = """\
{{- bos_token if bos_token is defined and bos_token else '' -}}
{%- for message in messages -%}
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif -%}
"""

_MISTRAL = """\
{{- bos_token if bos_token is defined and bos_token else '' -}}
{%- set spoken = namespace(system='') -%}
{%- for message in messages -%}
{%- set text = message['content'] | trim -%}
{%- if message['role'] == 'system' -%}
{%- set spoken.system = text + '\\n\\n' -%}
{%- elif message['role'] == 'assistant' -%}
{{ ' ' + text + (eos_token if eos_token is defined and eos_token else '') }}
{%- else -%}
{{ '[INST] ' + spoken.system + text + ' [/INST]' }}
{%- set spoken.system = '' -%}
{%- endif -%}
{%- endfor -%}
"""

_EXAONE = """\
{%- if messages and messages[0]['role'] != 'system' -%}
{{ '[|system|][|endofturn|]\\n' }}
{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{ '[|user|]' + message['content'] | trim + '\\n' }}
{%- else -%}
{{ '[|' + message['role'] + '|]' + message['content'] | trim + '[|endofturn|]\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '[|assistant|]' }}
{%- endif -%}
"""

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "alpaca": _ALPACA,
        "chatml": _CHATML,
        "exaone": _EXAONE,
        "llama3": _LLAMA3,
        "mistral": _MISTRAL,
    }
)
"""Names that `chat_template` takes besides `auto`, and their templates."""


def chosen_template(written: str, folders: Iterable[Path]) -> str | None:
    """The template that a recipe's `chat_template` means.

    Args:
        written: `auto`, a name of `BUILT_IN`, or a template.
        folders: the models' folders in the order of the recipe. `auto` takes the template that
            most of them have, the first such where several are as frequent.

    Returns:
        The template; None for `auto` where no model has one.

    Raises:
        SourceError: a model's template cannot be read.
    """
    if written != "auto":
        return BUILT_IN.get(written, written)
    own = [text.strip() for folder in folders if (text := own_template(folder))]
    return Counter(own).most_common(1)[0][0] if own else None


def own_template(folder: Path) -> str | None:
    """A model's default chat template: its own file, else as tokenizer_config.json has it.

    Raises:
        SourceError: a file that cannot be read.
    """
    file = member(folder, FILE)
    if file.is_file():
        return _text(file)
    for name in (OLD, CONFIG):
        file = member(folder, name)
        found = read_json(file).get("chat_template") if file.is_file() else None
        if isinstance(found, list):  # several, each with a name
            named = {
                one.get("name"): one.get("template") for one in found if isinstance(one, dict)
            }
            found = named.get("default")
        if isinstance(found, str) and found:
            return found
    return None


def write_template(folder: Path, template: str) -> None:
    """Makes a template the only one of a folder that has a tokenizer."""
    (folder / FILE).write_text(template, encoding="utf-8")
    (folder / OLD).unlink(missing_ok=True)
    config = folder / CONFIG
    if config.is_file():
        data = read_json(config)
        if data.pop("chat_template", None) is not None:
            text = json.dumps(data, indent=2, ensure_ascii=False)
            config.write_text(text + "\n", encoding="utf-8")


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_TEMPLATE + 1)
        if len(content) > MAX_TEMPLATE:
            raise SourceError(f"{file}: larger than {MAX_TEMPLATE >> 20} MiB, no chat template")
        return content.decode("utf-8")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: expected a text in UTF-8") from error
