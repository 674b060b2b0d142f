"""What a person types as JSON is read strictly, and refused with the reason."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from alerts.models import Zone
from alerts.strict_json import DEEPEST, StrictJsonField, read
from tests.town import build_town

REFUSED = {
    "nested": ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested deeper than 8 levels"),
    "nested without end": ("[" * 100_000, "nested deeper"),
    "a key twice": ('{"a": 1, "b": 2, "a": 3}', "“a” stands there twice"),
    "NaN": ("[[NaN, 0.1]]", "“NaN” is no ordinary number"),
    "infinity": ("[-Infinity]", "“-Infinity” is no ordinary number"),
    "out of range": ("[1e999]", "“1e999” is no ordinary number"),
    "huge": ("[1" + "0" * 20 + "]", "is no ordinary number"),
    "no JSON": ("[0.1, 0.2", "line 1, column"),
    "too long": ("[" + "0," * 200_000 + "0]", "200000 are allowed"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        StrictJsonField().clean(text)
    assert words in refused.value.messages[0]
    assert StrictJsonField().bound_data(text, None) == text


def test_what_is_plain_is_read() -> None:
    assert read('[[0.25, 1], [-1e-3, 0], "[[[[[[[[[[", {"a": null}]') == [[0.25, 1], [-0.001, 0], "[" * 10, {"a": None}]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("[" * 50_000, "nested deeper"),
        ("[[NaN, 0], [1, 0], [1, 1]]", "no ordinary number"),
        ("[[2, 0], [1, 0], [1, 1]]", "outside"),
    ],
)
def test_a_zone_typed_at_the_administrators_page_is_refused_there(points: str, words: str) -> None:
    town = build_town()
    client = Client()
    client.force_login(town.ada)
    typed = {"view": town.zone.view.pk, "name": "Lane", "shape": "polygon", "points": points}
    page = client.post(f"/admin/alerts/zone/{town.zone.pk}/change/", typed).content.decode()
    assert words in page
    assert Zone.objects.get().points == town.zone.points
