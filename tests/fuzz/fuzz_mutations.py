"""Real files damaged by chance, as editors, web pages, downloads and tired people damage them."""

import random
from collections.abc import Callable, Sequence

from fuzz_texts import ATOMS, Chance

Mutation = Callable[[Chance, bytes], bytes]


def mutated(chance: Chance, content: bytes) -> bytes:
    """One to four damages, one after the other."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(MUTATIONS)(chance, content)
    return content


def _lines(change: Callable[[Chance, list[bytes]], Sequence[bytes]]) -> Mutation:
    def mutate(chance: Chance, content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        return b"".join(change(chance, lines)) if len(lines) > 1 else content

    return mutate


def _two(chance: Chance, lines: Sequence[bytes]) -> tuple[int, int]:
    one, other = sorted(chance.sample(range(len(lines)), 2))
    return one, other


def _delete(chance: Chance, lines: list[bytes]) -> list[bytes]:
    one, other = _two(chance, lines)
    return lines[:one] + lines[min(other, one + 3) :]


def _repeat(chance: Chance, lines: list[bytes]) -> list[bytes]:
    one, other = _two(chance, lines)
    return lines[:other] + lines[one:]


def _swap(chance: Chance, lines: list[bytes]) -> list[bytes]:
    one, other = _two(chance, lines)
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def _dedent(chance: Chance, lines: list[bytes]) -> list[bytes]:
    one, other = _two(chance, lines)
    return [line.lstrip(b" ") if one <= at <= other else line for at, line in enumerate(lines)]


def _shift(chance: Chance, lines: list[bytes]) -> list[bytes]:
    one, _ = _two(chance, lines)
    pad = chance.choice((b" ", b"  ", b"\t", b"\xc2\xa0"))
    lines[one] = pad + lines[one]
    return lines


def _swap_values(chance: Chance, lines: list[bytes]) -> list[bytes]:
    """What stands behind the colons of two lines changes places."""
    one, other = _two(chance, lines)
    (key, a, mine), (name, b, yours) = (lines[at].partition(b": ") for at in (one, other))
    lines[one], lines[other] = key + a + yours, name + b + mine
    return lines


def _set_value(chance: Chance, lines: list[bytes]) -> list[bytes]:
    one, _ = _two(chance, lines)
    key, colon, _ = lines[one].partition(b": ")
    lines[one] = key + colon + chance.choice(ATOMS).encode() + b"\n"
    return lines


def _flip(chance: Chance, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 3))):
        if damaged:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _insert(chance: Chance, content: bytes) -> bytes:
    at = chance.randrange(len(content) + 1)
    what = chance.choice(
        (*(one.encode() for one in ATOMS), b"\0", b"\xff", b"\xed\xa0\x80", b"\r")
    )
    return content[:at] + what + content[at:]


def _cut(chance: Chance, content: bytes) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] if chance.random() < 0.7 else content[at:]


def _token(chance: Chance, content: bytes) -> bytes:
    """One word in the place of another."""
    words = content.split(b" ")
    words[chance.randrange(len(words))] = words[chance.randrange(len(words))]
    return b" ".join(words)


MUTATIONS: tuple[Mutation, ...] = (
    *map(_lines, (_delete, _repeat, _swap, _dedent, _shift, _swap_values, _set_value)),
    _flip,
    _insert,
    _cut,
    _token,
    lambda chance, content: content.replace(b"\n", b"\r\n"),
    lambda chance, content: content.replace(b"\n", b"\r"),
    lambda chance, content: content.replace(b"  ", b"\t"),
    lambda chance, content: b"\xef\xbb\xbf" + content,
    lambda chance, content: content.decode("utf-8", "replace").encode("utf-16"),
    lambda chance, content: content + b"---\n" + content,
    lambda chance, content: content + content,
    lambda chance, content: content.replace(b": ", b":", chance.randint(1, 3)),
    lambda chance, content: content.replace(b"0.", b"."),
)


def json_mutated(chance: Chance, data: object, share: float = 0.08) -> object:
    """JSON data with some values of another type, size or place: what a lying file says."""
    if chance.random() < share:
        return chance.choice(LIES)
    if isinstance(data, list):
        return [json_mutated(chance, one, share) for one in data]
    if isinstance(data, dict):
        kept = {key: one for key, one in data.items() if chance.random() >= share / 3}
        return {key: json_mutated(chance, one, share) for key, one in kept.items()}
    return data


LIES: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    7,
    2**31,
    2**63,
    10**12,
    10**30,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../etc/passwd",
    "/dev/zero",
    "a\nb\x1b[31m",
    "\ud800",
    "F32",
    "BF16",
    "llama",
    "encoder-decoder",
    "x" * 5000,
    [],
    {},
    [[]],
    [0, 0],
    [1, 2, 3],
    [2**62, 0],
    [2**40, 2**40],
    {"x": 1},
    [None],
)
"""Values that a JSON file may hold in the place of any other."""


def draw(seed: int, number: int) -> random.Random:
    """The chance of one case: a function of the run's seed and the case's number."""
    return random.Random(f"{seed}:{number}")
