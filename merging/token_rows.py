"""Which row of which model becomes each row of a vocabulary tensor, for every model of a merge.

The rules are mergekit's. A token keeps the model's own row. Where the model lacks the token, or
the recipe forces it, the row is the one that the recipe names, else the only donor's, else the
base's, else the mean of those that have it, else zero. Rows that no token has (padding) become
the mean of the rows that have one. Embeddings are not read here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .document import Document, Path
from .errors import SourceError
from .recipe import ModelReference, TokenRow, TokenRule

Row = tuple[ModelReference, int]
Tokens = Mapping[str, int]
"""Token to row of the embedding."""


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """The vocabularies of a merge's models and of its output.

    `size` is the number of rows of the output, padding included; every token's row is below it,
    and the output's tokens stand in the order of their rows.
    """

    output: Tokens
    size: int
    models: Mapping[ModelReference, Tokens]
    rows: Mapping[ModelReference, int]


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How one model's tensor gets the rows of the output.

    `taken`: of each donor the output rows and, beside them, the donor's rows. `means`: output rows
    that are the mean of several. `padding`: output rows without a token. Others are zero.
    """

    size: int
    taken: Mapping[ModelReference, tuple[tuple[int, ...], tuple[int, ...]]]
    means: Mapping[int, tuple[Row, ...]]
    padding: tuple[int, ...]

    def keeps(self, model: ModelReference, rows: int) -> bool:
        """Whether the tensor is `model`'s own of that many rows, row by row."""
        same = tuple(range(rows))
        return self.size == rows and self.taken == {model: (same, same)}


def plan_rows(
    vocabularies: Vocabularies,
    group: Sequence[ModelReference],
    base: ModelReference | None,
    rules: Mapping[str, TokenRule],
    document: Document | None = None,
) -> dict[ModelReference, RowPlan]:
    """A plan for every model.

    Args:
        vocabularies: of the models and of the output.
        group: the models whose tensors are merged with each other, in recipe order: the donors.
        base: the base among them, if there is one.
        rules: the recipe's own rules, by token.
        document: the recipe's text, for places in messages.

    Raises:
        SourceError: a rule names a row that its model does not have.
    """
    given = {
        token: _named(vocabularies, group, token, rule.source, document)
        for token, rule in rules.items()
        if rule.source is not None
    }
    donors = {
        token: given[token] if token in given else _usual(vocabularies, group, base, token)
        for token in vocabularies.output
    }
    forced = {token for token, rule in rules.items() if rule.force}
    return {model: _plan(vocabularies, model, donors, forced) for model in vocabularies.models}


def unknown_tokens(vocabularies: Vocabularies, rules: Mapping[str, TokenRule]) -> tuple[str, ...]:
    """Tokens of the output that no model has and no rule speaks of: their rows are zero."""
    known = {token for tokens in vocabularies.models.values() for token in tokens}
    ruled = {token for token, rule in rules.items() if rule.source is not None}
    return tuple(one for one in vocabularies.output if one not in known and one not in ruled)


def _named(
    vocabularies: Vocabularies,
    group: Sequence[ModelReference],
    token: str,
    source: TokenRow,
    document: Document | None,
) -> tuple[Row, ...]:
    """The row that a rule names; none for zeros."""
    model = source.model
    if model is None:
        return ()
    path: Path = ("tokenizer", "tokens", token, "source")
    tokens, rows = vocabularies.models[model], vocabularies.rows[model]
    wanted = source.token or token
    row = tokens.get(wanted) if source.token_id is None else source.token_id
    if model not in group:
        fault = f"{str(model)!r} has no part in this slice, so no row can be taken from it"
    elif row is None:
        fault = f"{str(model)!r} has no token {wanted!r}; take another model, or {{kind: zero}}"
    elif row >= rows:
        fault = f"{str(model)!r} has {rows} rows, there is no row {row}"
    else:
        return ((model, row),)
    raise SourceError(document.message(path, fault) if document else f"token {token!r}: {fault}")


def _usual(
    vocabularies: Vocabularies,
    group: Sequence[ModelReference],
    base: ModelReference | None,
    token: str,
) -> tuple[Row, ...]:
    """The rows whose mean a model without the token gets: one, several, or none (zeros)."""
    found = [
        (model, row)
        for model in group
        if (row := vocabularies.models[model].get(token)) is not None
    ]
    of_base = [one for one in found if one[0] == base]
    return tuple(of_base or found)


def _plan(
    vocabularies: Vocabularies,
    model: ModelReference,
    donors: Mapping[str, tuple[Row, ...]],
    forced: set[str],
) -> RowPlan:
    own = vocabularies.models[model]
    taken: dict[ModelReference, dict[int, int]] = {}
    means: dict[int, tuple[Row, ...]] = {}
    for token, to in vocabularies.output.items():
        row = None if token in forced else own.get(token)
        rows = donors[token] if row is None else ((model, row),)
        if len(rows) > 1:
            means[to] = rows
        elif rows:
            taken.setdefault(rows[0][0], {})[to] = rows[0][1]
    spoken = set(vocabularies.output.values())
    return RowPlan(
        size=vocabularies.size,
        taken={one: (tuple(rows), tuple(rows.values())) for one, rows in taken.items()},
        means=means,
        padding=tuple(row for row in range(vocabularies.size) if row not in spoken),
    )
