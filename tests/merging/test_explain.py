"""Effective values as rows and as a table that groups what agrees."""

from merging.explain import ExplainRow, SummaryRow, explain_rows, explain_summary
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference, Scalar

A, B = ModelReference("a"), ModelReference("b")
KINDS = ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "mlp.up_proj.weight", "norm.weight")


def job(name: str, layer: int | None, *weights: Scalar, lambda_: float = 1.0) -> TensorJob:
    sources = tuple(
        TensorSource(model, name, {"weight": weight})
        for model, weight in zip((A, B), weights, strict=False)
    )
    return TensorJob(name, "ties", None, sources, {"lambda": lambda_}, layer, "bfloat16")


def model(layers: int, *weights: Scalar) -> list[TensorJob]:
    inside = [
        job(f"model.layers.{index}.{kind}", index, *weights)
        for index in range(layers)
        for kind in KINDS
    ]
    return [job("embed.weight", None, *weights), *inside, job("head.weight", None, *weights)]


def test_rows_have_every_value_of_every_tensor() -> None:
    assert explain_rows([job("model.layers.3.norm.weight", 3, 0.5, 0.25)]) == (
        ExplainRow("model.layers.3.norm.weight", 3, A, "weight", 0.5),
        ExplainRow("model.layers.3.norm.weight", 3, B, "weight", 0.25),
        ExplainRow("model.layers.3.norm.weight", 3, None, "lambda", 1.0),
    )


def test_a_model_that_agrees_is_two_rows() -> None:
    summary = explain_summary(model(32, 0.5, 0.25))
    assert summary.columns == ((A, "weight"), (B, "weight"), (None, "lambda"))
    assert summary.rows == (
        SummaryRow("", "embed.weight, head.weight", 2, (0.5, 0.25, 1.0)),
        SummaryRow("0-31", "all", 128, (0.5, 0.25, 1.0)),
    )


def test_a_gradient_on_some_tensors_leaves_the_others_in_one_row() -> None:
    jobs = [
        job(one.name, one.layer, one.layer / 10)
        if one.layer is not None and "self_attn" in one.name
        else one
        for one in model(3, 0.5)
    ]
    rows = explain_summary(jobs).rows
    assert [(row.layers, row.tensors, row.values[0]) for row in rows] == [
        ("", "embed.weight, head.weight", 0.5),
        ("0", "self_attn.*", 0.0),
        ("0-2", "mlp.up_proj.weight, norm.weight", 0.5),
        ("1", "self_attn.*", 0.1),
        ("2", "self_attn.*", 0.2),
    ]


def test_runs_of_equal_layers_are_put_together() -> None:
    jobs = [
        job(one.name, one.layer, 0.1 if one.layer < 4 else 0.9)
        for one in model(10, 0.0)
        if one.layer is not None
    ]
    rows = explain_summary(jobs).rows
    assert [(row.layers, row.count) for row in rows] == [("0-3", 16), ("4-9", 24)]


def test_a_model_without_part_in_a_tensor_has_no_value_there() -> None:
    jobs = [*model(2, 0.5)[:-1], job("model.layers.2.norm.weight", 2, 0.5, 0.7)]
    jobs.append(job("head.weight", None, 0.5, 0.9))
    summary = explain_summary(jobs)
    assert summary.columns == ((A, "weight"), (B, "weight"), (None, "lambda"))
    assert [row.values[1] for row in summary.rows] == [None, None, None, 0.7, 0.9]
    assert summary.rows[-1].tensors == "head.weight"


def test_no_value_is_lost_in_the_table() -> None:
    jobs = [job(one.name, one.layer, (one.layer or 0) % 3, 0.1) for one in model(12, 0.0)]
    summary = explain_summary(jobs)
    assert sum(row.count for row in summary.rows) == len(jobs)


def test_stacks_of_one_model_are_kept_apart() -> None:
    jobs = [job(f"text.layers.{i}.w", i, 1.0) for i in range(2)]
    jobs += [job(f"image.layers.{i}.w", i, 1.0 + i) for i in range(2)]
    rows = explain_summary(jobs).rows
    assert [(row.layers, row.tensors) for row in rows] == [
        ("0-1", "text.layers.w"),
        ("0", "image.layers.w"),
        ("1", "image.layers.w"),
    ]


def test_nothing_is_an_empty_table() -> None:
    assert explain_summary([]).rows == ()
