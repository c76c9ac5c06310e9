"""What a model answered, kept beside an item's numbers: for people to read, never for a score.

choices   the numbers of the likeliest request and of the likeliest one per character
generate  the first characters of the text
others    nothing: a log-likelihood is its own answer
"""

from collections.abc import Sequence

from .task import Item, ItemResult, Response

ANSWER = "answer:"
"""The answer's place among an item's metrics; no metric has this name."""
LONGEST = 160
"""Characters of a generated text that are kept."""


def answer(item: Item, responses: Sequence[Response]) -> ItemResult:
    """The answer to one item under `ANSWER`; empty where its numbers say all.

    Args:
        item: The item.
        responses: To its requests, in their order.
    """
    if item.requests[0].kind == "generate":
        # A lone surrogate is no text that could be written to a file.
        text = responses[0].text[:LONGEST].encode("utf-8", "replace").decode()
        return {ANSWER: (text,)}
    if len(responses) < 2:
        return {}
    sums = [one.loglikelihood for one in responses]
    lengths = [max(1, len(one.continuation.strip())) for one in item.requests]
    by_length = [one / length for one, length in zip(sums, lengths, strict=True)]
    return {ANSWER: (float(sums.index(max(sums))), float(by_length.index(max(by_length))))}
