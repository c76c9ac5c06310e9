"""The rules by which rows find their way, in closed form: no model, no tokenizer."""

import pytest

from merging.errors import SourceError
from merging.recipe import ModelReference, TokenRow, TokenRule
from merging.token_rows import RowPlan, Vocabularies, plan_rows, unknown_tokens

A, B, C = (ModelReference(name) for name in "abc")
VOCABULARIES = Vocabularies(
    output={"all": 0, "one": 1, "some": 2, "both": 3, "none": 4},
    size=7,
    models={
        A: {"all": 0, "some": 1},
        B: {"all": 2, "some": 0, "both": 1},
        C: {"one": 5, "both": 3, "all": 4},
    },
    rows={A: 2, B: 3, C: 6},
)


def rows(plan: RowPlan) -> dict[int, object]:
    """Output row to (model, row), to a tuple of several, to nothing."""
    found: dict[int, object] = dict.fromkeys(range(5), ())
    for model, (to, taken) in plan.taken.items():
        found |= {row: (model, own) for row, own in zip(to, taken, strict=True)}
    return found | dict(plan.means)


def plans(base=A, rules=None, group=(A, B, C), vocabularies=VOCABULARIES):
    return plan_rows(vocabularies, group, base, rules or {}, None)


def test_own_then_only_donor_then_base_then_mean_then_zero() -> None:
    found = plans()
    both = ((B, 1), (C, 3))
    assert rows(found[A]) == {0: (A, 0), 1: (C, 5), 2: (A, 1), 3: both, 4: ()}
    assert rows(found[B]) == {0: (B, 2), 1: (C, 5), 2: (B, 0), 3: (B, 1), 4: ()}
    assert rows(found[C]) == {0: (C, 4), 1: (C, 5), 2: (A, 1), 3: (C, 3), 4: ()}
    assert {plan.padding for plan in found.values()} == {(5, 6)}
    assert unknown_tokens(VOCABULARIES, {}) == ("none",)


def test_without_a_base_the_mean_takes_its_place() -> None:
    assert rows(plans(base=None)[C])[2] == ((A, 1), (B, 0))


def test_only_those_that_are_merged_with_each_other_lend_rows() -> None:
    found = plans(base=None, group=(A, B))
    assert rows(found[A]) == {0: (A, 0), 1: (), 2: (A, 1), 3: (B, 1), 4: ()}
    assert rows(found[C])[1] == (C, 5)


def test_a_source_counts_where_the_token_is_missing_and_everywhere_if_forced() -> None:
    rules = {
        "some": TokenRule(TokenRow(B), False),
        "all": TokenRule(TokenRow(C, token="one"), True),
        "both": TokenRule(TokenRow(None), True),
        "none": TokenRule(TokenRow(B, token_id=2), False),
    }
    found = plans(rules=rules)
    for model, some in ((A, (A, 1)), (B, (B, 0)), (C, (B, 0))):
        assert rows(found[model]) == {0: (C, 5), 1: (C, 5), 2: some, 3: (), 4: (B, 2)}
    assert unknown_tokens(VOCABULARIES, rules) == ()


def test_a_rule_without_a_source_changes_nothing() -> None:
    assert plans(rules={"one": TokenRule(None, False)}) == plans()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (TokenRow(A), "token 'one': 'a' has no token 'one'; take another model"),
        (TokenRow(B, token="x"), "'b' has no token 'x'"),
        (TokenRow(C, token_id=6), "'c' has 6 rows, there is no row 6"),
    ],
)
def test_a_row_that_nobody_has(row: TokenRow, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        plans(rules={"one": TokenRule(row, False)})
    assert message in str(caught.value)
    with pytest.raises(SourceError, match="'c' has no part in this slice"):
        plans(group=(A, B), rules={"one": TokenRule(TokenRow(C), False)})


def test_a_plan_that_changes_nothing_says_so() -> None:
    own = {"x": 0, "y": 1}
    one = Vocabularies(own, 2, {A: own, B: {"y": 0, "x": 1}}, {A: 2, B: 2})
    found = plans(group=(A, B), vocabularies=one)
    assert found[A].keeps(A, 2) and not found[B].keeps(B, 2)
    assert not found[A].keeps(A, 3)
