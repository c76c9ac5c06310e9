"""The run as data: frozen, and comparable, so that equal runs give equal reports."""

import dataclasses

import pytest

from studies import view as v


def test_views_are_frozen_and_equal_by_value(make_view):
    view = make_view()
    assert view == make_view() and view != make_view(3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.seed = 8


def test_optional_fields_are_empty_not_shared(make_view):
    fields = {f.name: getattr(make_view(), f.name) for f in dataclasses.fields(v.RunView)}
    for name in ("budget", "constraints", "provenance"):
        del fields[name]
    first, second = v.RunView(**fields), v.RunView(**fields)
    assert first.constraints == () and first.budget == "" and first.provenance == {}
    assert first.provenance is not second.provenance


def test_an_estimate_without_an_interval_has_no_ends():
    assert v.Estimate(0.5) == v.Estimate(0.5, None, None, 0)
