r"""The mask generator: which elements of a delta a random method keeps.

A mask is a function of (mask seed, checkpoint tensor name, position of the model without the base,
element index) and of nothing else: not threads, chunks, devices, other tensors or other numbers.
Raising a keep probability only adds elements (common random numbers). This is part of the format
of a recipe:

    k0, k1 = the first 8 bytes, little-endian, of BLAKE2b(seed \0 name \0 position) x = i ^ k0 x ^=
    x >> 16;  x *= 0x7feb352d x ^= x >> 15;  x += k1;  x *= 0x846ca68b x ^= x >> 16
    all in 32 bits, i the element index in row-major order kept where x >> 8 < round(p 2^24)

`seed` and `position` are written in decimal, the text is UTF-8, BLAKE2b has its full 64 bytes of
output. From element 2^32 on, the high word of the index, in decimal, joins the text as a fourth
field (seed \0 name \0 position \0 high), so each run of 2^32 elements has a key of its own; i is
then the low word.

The mixing constants are those of Chris Wellons' hash prospector (lowbias32). The compiled copy of
the mixing is `draw` in `merging.kernels.primitives`; this module has the keys and the torch copy.
"""

from hashlib import blake2b

import torch

WORD = 1 << 32


def mask_key(seed: int, name: str, position: int, high: int = 0) -> tuple[int, int]:
    """The key (k0, k1) of a model's mask of a tensor, from element high 2^32 for 2^32 elements."""
    fields = [str(seed), name, str(position)] + ([str(high)] if high else [])
    digest = blake2b("\0".join(fields).encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def mask_keys(seed: int, name: str, position: int, elements: int) -> tuple[tuple[int, int], ...]:
    """The keys of a tensor of so many elements: one for each run of 2^32."""
    runs = max(1, -(-elements // WORD))
    return tuple(mask_key(seed, name, position, high) for high in range(runs))


def threshold(probability: float) -> int:
    """The 24-bit number below which a draw is kept; `probability` in [0, 1]."""
    return round(probability * (1 << 24))


def draws(
    keys: tuple[tuple[int, int], ...], start: int, stop: int, device: torch.device
) -> torch.Tensor:
    """The 24-bit draws of elements [start, stop): int32 [stop - start], each in [0, 2^24)."""
    parts = []
    while start < stop:
        high = start // WORD
        end = min(stop, (high + 1) * WORD)
        index = torch.arange(start - high * WORD, end - high * WORD, device=device)
        parts.append(_mix(index, *keys[high]))
        start = end
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int32, device=device)


def _mix(index: torch.Tensor, k0: int, k1: int) -> torch.Tensor:
    """The mixing on signed words: sums and products wrap, shifts are masked to be logical."""
    x = _signed(index) ^ _signed_word(k0)
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * _signed_word(0x7FEB352D)
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x + _signed_word(k1)
    x = x * _signed_word(0x846CA68B)
    x = x ^ ((x >> 16) & 0xFFFF)
    return (x >> 8) & 0xFFFFFF


def _signed(word: torch.Tensor) -> torch.Tensor:
    """Words in [0, 2^32) as int32 of the same bits, whatever a cast does on overflow."""
    return torch.where(word >= WORD // 2, word - WORD, word).to(torch.int32)


def _signed_word(word: int) -> int:
    return word - WORD if word >= WORD // 2 else word
