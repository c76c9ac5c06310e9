"""Where padded rows are cut: no other cuts cost less."""

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.padding import PASSES, best_cuts


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 40),
)
def test_no_other_cuts_cost_less(lengths: list[int], budget: int) -> None:
    lengths = sorted(lengths, reverse=True)
    asked = [1] * len(lengths)

    def cost(cuts: tuple[int, ...]) -> float:
        total = 0
        for low, high in pairwise((0, *cuts, len(lengths))):
            padded = (high - low) * lengths[low]
            if high - low > 1 and padded > budget:
                return float("inf")
            total += padded + budget // PASSES
        return total

    middles = range(1, len(lengths))
    every = [cuts for k in range(len(lengths)) for cuts in combinations(middles, k)]
    found = tuple(best_cuts(lengths, asked, budget, 100)[1:-1])
    assert cost(found) == min(map(cost, every))
