"""Texts that are meant to confuse or exhaust a reader of YAML: scalars, names, whole files."""

import random
from collections.abc import Callable

Chance = random.Random

RAW = (
    "010 1:30 0x1f 0o17 0b101 1_000 1e3 1e-3 +1.5 .5 5. 1e999 -1e999 1e-999 .inf -.inf .nan "
    "~ null yes off y on NO 2024-01-01 2024-01-01T10:00:00Z <<: = ! !!str !!int !!float·x "
    "!!binary·aGk= !!python/object/apply:os.system·[x] !!set·{a} !!omap·[a:1] !thing·x "
    "!!bool·maybe &a *a *nobody | > |2 >-3 % @ ` ? - : , [ ] { } [} {] '' \"\" ' \" # #x --- ... "
    '%YAML·1.2 \t \\ a:b a#b a·#b "\\0" "\\ud800" "\\U00110000" "\\x1b[31m" "\\N" "\\L" -0 -0.0 '
    "9999999999999999999999 1.7976931348623157e+308 1e308 5e-324 18446744073709551616"
)
ATOMS = tuple(one.replace("·", " ") for one in RAW.split(" "))
"""Scalars that YAML 1.1 reads in ways that few people mean, and signs in the wrong place."""
TEXTS = (
    "base",
    "alpha@main",
    "alpha+adapter",
    "a+b+c",
    "a@b@c",
    "+",
    "@",
    "../..",
    "/",
    "/dev/zero",
    "org/name",
    "x" * 300,
    "y/" * 900 + "z",
    "\u202etxt",
    "模型",
    "🦙" * 9,
    "\u0085",
    "\u2028",
    "\ufeff",
    "\x7f",
    "a b",
    " lead",
    "tail ",
    "NaN",
    "1e5",
    "0.5",
    "true",
    "{{7*7}}",
    "$(id)",
    "%s%n",
)


def _bomb(form: str, first: str) -> Callable[[Chance], str]:
    def text(chance: Chance) -> str:
        width, height = chance.randint(2, 12), chance.randint(3, 60)
        lines = [first]
        for level in range(1, height):
            many = ", ".join([f"*a{level - 1}"] * width)
            lines.append(form.format(level, level, many))
        return "\n".join(lines) + "\nmerge_method: linear\n"

    return text


def _size(chance: Chance) -> int:
    return chance.choice((10, 500, 40_000, 2**18, 2**20 - 20, 2**20 + 1))


MONSTERS: tuple[Callable[[Chance], str], ...] = (
    _bomb("a{}: &a{} [{}]", "a0: &a0 [x]"),
    _bomb("a{}: &a{} {{<<: [{}]}}", "a0: &a0 {x: 1}"),
    _bomb("a{}: &a{}\n  <<: [{}]\n  k: 1", "a0: &a0 {x: 1}"),
    lambda chance: chance.choice("[{") * _size(chance),
    lambda chance: "- " * _size(chance),
    lambda chance: "a: " + "[" * 31 + "]" * 31,
    lambda chance: "".join(f"{' ' * level}a:\n" for level in range(chance.choice((20, 40, 400)))),
    lambda chance: "x" * _size(chance),
    lambda chance: '"' + "\\u00e9" * (_size(chance) // 6),
    lambda chance: "k: |\n" + " x\n" * (_size(chance) // 3),
    lambda chance: "".join(f"k{n}: {n}\n" for n in range(_size(chance) // 12)),
    lambda chance: "models: [" + "{model: a}, " * (_size(chance) // 12) + "]",
    lambda chance: "\n" * _size(chance) + "a: \t1",
    lambda chance: "? " * min(_size(chance), 2**18),
    lambda chance: "&a " * min(_size(chance), 2**18),
    lambda chance: "a: &x [*x]",
    lambda chance: "&x merge_method: *x\nmodels: &y\n  - model: *y\n",
    lambda chance: "#" * _size(chance),
    lambda chance: "{a: 1," * min(_size(chance), 2**16),
    lambda chance: "merge_method: " + "9" * _size(chance),
    lambda chance: (
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: ["
        + "0.5, " * (_size(chance) // 5)
        + "1]}}]\n"
    ),
    lambda chance: "!" * _size(chance) + " a",
    lambda chance: "%TAG ! " + "x" * min(_size(chance), 2**16) + "\n--- a",
    lambda chance: "--- a\n" * (_size(chance) // 6),
)
"""Files that are meant to exhaust a reader."""
