"""Rules that a person, a program or a damaged row spoils: each is refused whole, and all others go on as before."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts import strict_json
from alerts.engine import Engine
from alerts.rules.config import EmbeddedRule
from alerts.rules.registry import RULES, rule_kind
from tests.alerts.actors import of
from tests.alerts.histories import fold, rule
from tests.alerts.test_engine import history_of
from tests.alerts.test_kinds import each_kind

BAD = UUID(int=666)
EVALUATION_S = 0.010
"""Of one rule on one picture."""
READING_S = 0.5

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "(a+)+$", "\x00", "1e999", str(UUID(int=70)), "presence", "25:00"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
walked = history_of([("walk", 0.3, 2.0), ("nobody", 0.0, 1.0), ("blind", 0.0, 1.0), ("walk", 0.4, 1.0)])
good = rule()
told_alone = fold(Engine([good]), walked).events


def fields_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Settings of ``kind`` with anything in them, and now and then one that there is not."""
    names = st.sampled_from(rule_kind(kind).__struct_fields__) | st.text(max_size=8)
    return st.dictionaries(names, values, max_size=4)


@pytest.mark.parametrize("kind", sorted(RULES))
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_rule_with_anything_in_it_is_refused_or_runs_and_disturbs_no_other(kind: str, data: st.DataObject) -> None:
    bad = msgspec.structs.replace(of(kind, version=BAD), config=data.draw(fields_of(kind)))
    engine = Engine([good, bad])
    events = fold(engine, walked).events
    assert set(engine.broken) <= {BAD}
    assert all(engine.broken.values()), "a reason is given"
    assert [event for event in events if event.rule_version != BAD] == told_alone


def test_the_rule_beside_the_bad_ones_fires() -> None:
    assert told_alone, "otherwise nothing was shown to be undisturbed"


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(EmbeddedRule.__struct_fields__), values, max_size=3))
def test_a_stored_version_with_anything_in_it_is_read_or_refused(changes: dict[str, Any]) -> None:
    stored = {**msgspec.to_builtins(good), **changes}
    try:
        read = msgspec.convert(stored, EmbeddedRule)
    except msgspec.ValidationError:
        return
    engine = Engine([read])
    fold(engine, walked[:8])
    assert set(engine.broken) <= {read.version}


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='[]{}",:0123456789.eE-+ntfalsrueNIy\\\x00 ', max_size=60) | st.text(max_size=60))
def test_any_text_is_read_as_json_or_refused_with_a_sentence(text: str) -> None:
    try:
        strict_json.read(text)
    except ValidationError as refused:
        assert refused.messages[0].endswith(".")


@pytest.mark.parametrize(
    "text",
    ["[" * 199_000, '{"a":' * 30_000, '"' + "\\" * 199_000, "9" * 199_000, "[" + "1e5," * 49_000 + "1]"],
    ids=["lists", "objects", "backslashes", "digits", "numbers"],
)
def test_a_long_text_takes_no_long_time(text: str) -> None:
    began_s = time.thread_time()
    try:
        strict_json.read(text)
    except ValidationError as refused:
        assert refused.messages[0].endswith(".")
    assert time.thread_time() - began_s <= READING_S


def test_no_rule_takes_longer_than_ten_milliseconds_for_a_picture() -> None:
    rules = each_kind()
    engine, slowest_s = Engine(rules), 0.0
    for observation in walked:
        began_s = time.thread_time()
        engine.step(observation)
        slowest_s = max(slowest_s, time.thread_time() - began_s)
    assert slowest_s / len(rules) <= EVALUATION_S
