"""A proposed change is counted by rehearsing it around each alarm, over a real archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from alerts.archive_rows import Batch
from alerts.events import Event
from alerts.incidents import record, resolve
from alerts.models import Event as EventRow
from alerts.models import Incident, Rule, RuleVersion
from alerts.proposing import Proposed, propose_for
from alerts.rules.config import EmbeddedRule
from detectors.models import Model
from streams.models import Camera
from streams.observations import Detections, Observation
from tests.alerts.histories import GATE, VERSION, at, nobody, rule, seen, walk, walker
from tests.alerts.sequenced import LEFT_LANE, RIGHT_LANE, YARD, alarm, beside, lane, sequences_of
from tests.alerts.test_rehearsal import fold_and_keep, reader
from tests.alerts.town import Town

pytestmark = pytest.mark.django_db
APART_S = 200.0


def walks(n: int, *, score: float = 0.8, every: int = 1, x: float = 0.42, step: float = 0.01) -> list[Detections]:
    """The ``n``-th alarm: somebody crosses a part of the lane, five pictures a second; seen in each ``every``-th."""
    start = n * APART_S
    steps = [(start + i / 5, walker(x + step * i, score=score)) for i in range(30)]
    empty = [seen(start + s) for s in (-2.0, -1.0, *(7 + 5 * i for i in range(36)))]
    pictures = [seen(round(s, 3), *([box] if not i % every else [])) for i, (s, box) in enumerate(steps)]
    return sorted([*pictures, *empty], key=lambda one: one.captured_at)


def version_row(town: Town, embedded: EmbeddedRule, number: int = 2) -> RuleVersion:
    town.rule.versions.update(active_until_at=at(-1))
    return keep_version(town.rule, embedded, number)


def keep_version(row: Rule, embedded: EmbeddedRule, number: int) -> RuleVersion:
    return RuleVersion.objects.create(
        uid=embedded.version, rule=row, number=number, kind=embedded.kind, severity="high",
        deployment=embedded.deployment, embedded=msgspec.to_builtins(embedded), active_from_at=at(-86_400),
    )  # fmt: skip


@pytest.fixture
def gate(town: Town) -> Camera:
    Camera.objects.filter(pk=town.gate.pk).update(uid=GATE)
    town.gate.refresh_from_db()
    return town.gate


def happened(town: Town, root: Path, log: Sequence[Detections], **config: Any) -> list[Incident]:
    """Fold ``log`` with the lane's rule beside an archive; an incident for each event, in order."""
    version = rule(**config)
    version_row(town, version)
    return [judge(town, event, "") for event in fold_and_keep(root, log, [version])]


def judge(town: Town, event: Event, disposition: str) -> Incident:
    record([event], now=event.happened_at + timedelta(seconds=1))
    incident = Incident.objects.get(events__uid=event.uid)
    resolve(
        incident.uid, by=town.alice, disposition=disposition or "test", note="", through="screen",
        now=event.happened_at + timedelta(seconds=2),
    )  # fmt: skip
    return Incident.objects.get(pk=incident.pk)


def said(incidents: Sequence[Incident], disposition: str) -> None:
    Incident.objects.filter(pk__in=[one.pk for one in incidents]).update(disposition=disposition)


def asked(incident: Incident, root: Path, **more: Any) -> Proposed:
    incident.refresh_from_db()
    return propose_for(incident, **{"read": reader(root), "limit_s": 60, **more})


def test_a_higher_confidence_with_the_counts_of_its_rehearsal(town: Town, gate: Camera, tmp_path: Path) -> None:
    log = [one for n in range(6) for one in walks(n, score=0.5 if n % 2 else 0.8)]
    incidents = happened(town, tmp_path, log)
    assert len(incidents) == 6
    said(incidents[1::2], "false")
    said(incidents[::2], "confirmed")
    found = asked(incidents[5], tmp_path)
    assert found.proposal is not None and found.proposal.kind == "confidence"
    assert (found.false.removed, found.false.of, found.confirmed.removed, found.confirmed.of) == (3, 3, 0, 3)
    assert found.asked is True and found.cannot_tell == () and found.not_looked == 0
    assert found.proposal.rule.config["confidence"] == pytest.approx(0.56)
    assert found.before == rule()


def test_what_is_archived_no_more_is_named_and_not_counted(town: Town, gate: Camera, tmp_path: Path) -> None:
    log = [one for n in range(6) for one in walks(n, score=0.5 if n % 2 else 0.8)]
    incidents = happened(town, tmp_path / "whole", log)
    said(incidents[1::2], "false")
    said(incidents[::2], "confirmed")
    fold_and_keep(tmp_path / "rest", [one for one in log if one.captured_at > at(2.5 * APART_S)], [rule()])
    found = asked(incidents[5], tmp_path / "rest")
    assert (found.false.of, found.confirmed.of) == (2, 1)
    assert {one.pk for one in found.cannot_tell} == {one.pk for one in incidents[:3]}


def test_with_nothing_archived_nothing_is_proposed(town: Town, gate: Camera, tmp_path: Path) -> None:
    incidents = happened(town, tmp_path / "whole", walks(0, score=0.5))
    said(incidents, "false")
    found = asked(incidents[0], tmp_path / "empty")
    assert (found.reason, found.proposal, len(found.cannot_tell)) == ("not_archived", None, 1)


def test_nothing_helps_where_the_false_ones_look_like_the_confirmed_ones(
    town: Town, gate: Camera, tmp_path: Path
) -> None:
    incidents = happened(town, tmp_path, [one for n in range(4) for one in walks(n)])
    said(incidents[1::2], "false")
    said(incidents[::2], "confirmed")
    found = asked(incidents[3], tmp_path)
    assert (found.reason, found.proposal) == ("alike", None)


def test_what_the_rule_as_it_is_now_avoids_is_said(town: Town, gate: Camera, tmp_path: Path) -> None:
    incidents = happened(town, tmp_path, walks(0, score=0.5))
    said(incidents, "false")
    version_row(town, rule(version=UUID(int=70), confidence=0.7), number=3)
    found = asked(incidents[0], tmp_path)
    assert (found.reason, found.already, found.cannot_tell) == ("avoided", 1, ())


def test_what_the_model_of_that_time_did_not_look_for_cannot_be_told(town: Town, gate: Camera, tmp_path: Path) -> None:
    incidents = happened(town, tmp_path, walks(0, score=0.5))
    said(incidents, "false")
    version_row(town, rule(version=UUID(int=70), confidence=0.7), number=3)
    Model.objects.create(name="test", version="1", backend="openvino", labels=["car"])
    found = asked(incidents[0], tmp_path)
    assert (found.already, len(found.cannot_tell), found.reason) == (0, 1, "not_archived")


def test_a_change_whose_rehearsal_loses_a_confirmed_one_is_not_proposed(
    town: Town, gate: Camera, tmp_path: Path
) -> None:
    # By its event's own number the confirmed one is surer than it ever was on the archived pictures.
    incidents = happened(town, tmp_path, [*walks(0, score=0.5), *walks(1, score=0.5)])
    said(incidents[:1], "false")
    said(incidents[1:], "confirmed")
    row = incidents[1].events.get()
    for fact in row.content["facts"]:
        fact["value"] = 0.99 if fact["name"] == "confidence" else fact["value"]
    row.save()
    assert asked(incidents[0], tmp_path).proposal is None


def test_an_alarm_without_a_rule_has_nothing_to_change(town: Town, gate: Camera, tmp_path: Path) -> None:
    incidents = happened(town, tmp_path, walks(0))
    Incident.objects.update(rule=None)
    assert asked(incidents[0], tmp_path).reason == "no_rule"


def test_a_version_that_cannot_be_read_is_said(town: Town, gate: Camera, tmp_path: Path) -> None:
    incidents = happened(town, tmp_path, walks(0))
    RuleVersion.objects.filter(uid=VERSION).update(embedded={"zones": []})
    assert asked(incidents[0], tmp_path).reason == "unreadable"


def test_when_the_time_is_over_what_was_not_looked_at_is_named(town: Town, gate: Camera, tmp_path: Path) -> None:
    log = [one for n in range(6) for one in walks(n, score=0.5 if n % 2 else 0.8)]
    incidents = happened(town, tmp_path, log)
    said(incidents[1::2], "false")
    said(incidents[::2], "confirmed")
    found = asked(incidents[5], tmp_path, **slow_disk(tmp_path, each_s=8.0))
    assert found.proposal is not None
    assert (found.false.of + found.confirmed.of, found.not_looked) == (4, 2)


def slow_disk(root: Path, *, each_s: float) -> dict[str, Any]:
    """A reader, and a clock that goes on by ``each_s`` for each time that it is asked."""
    clock, quick = [0.0], reader(root)

    def read(*asked: Any) -> Iterable[Batch]:
        clock[0] += each_s
        return quick(*asked)

    return {"read": read, "monotonic": lambda: clock[0]}


def test_what_takes_too_long_to_look_at_is_not_said_to_be_gone(town: Town, gate: Camera, tmp_path: Path) -> None:
    incidents = happened(town, tmp_path, walks(0, score=0.5))
    said(incidents, "false")
    found = asked(incidents[0], tmp_path, **slow_disk(tmp_path, each_s=100.0))
    assert (found.reason, found.not_looked, found.cannot_tell) == ("no_time", 1, ())


def test_it_changes_nothing(town: Town, gate: Camera, tmp_path: Path) -> None:
    incidents = happened(town, tmp_path, [*walks(0), *walks(1, score=0.5)])
    said(incidents, "false")
    before = (Incident.objects.count(), RuleVersion.objects.count(), Rule.objects.values().get(pk=town.rule.pk))
    asked(incidents[0], tmp_path)
    assert (Incident.objects.count(), RuleVersion.objects.count(), Rule.objects.values().get(pk=town.rule.pk)) == before


def test_a_mask_is_rehearsed_like_any_change(town: Town, gate: Camera, tmp_path: Path) -> None:
    lamps = [one for n in range(3) for one in walks(n, x=0.7, step=0.002)]
    incidents = happened(town, tmp_path, [*lamps, *(one for n in range(3, 6) for one in walks(n))])
    said(incidents[:3], "false")
    said(incidents[3:], "confirmed")
    found = asked(incidents[0], tmp_path)
    assert found.proposal is not None and found.proposal.mask is not None
    assert (found.false.removed, found.false.of, found.confirmed.of) == (3, 3, 3)


def passes(n: int, after_s: float) -> list[Observation]:
    """The ``n``-th time: somebody in the gate's left lane, and ``after_s`` later in the yard's right one."""
    start = n * APART_S
    at_gate = [*nobody(start, start + 10, 1.0), *walk(start + 10, start + 14, 0.1, 0.3)]
    then_s = start + 10 + after_s
    at_yard = [*nobody(start, then_s, 1.0), *walk(then_s, then_s + 4, 0.7, 0.9)]
    return beside([*at_gate, *nobody(start + 14, start + 120, 1.0)], [*at_yard, *nobody(then_s + 4, start + 120, 1.0)])


@pytest.fixture
def yard(gate: Camera) -> Camera:
    Camera.objects.filter(site=gate.site, name="Yard").update(uid=YARD)
    return Camera.objects.get(uid=YARD)


def sequences_happened(town: Town, root: Path, *after_s: float, **config: Any) -> list[Incident]:
    """The alarm for who goes from the gate to the yard, each so long after; an incident for each, in order."""
    made_of, version = [LEFT_LANE, RIGHT_LANE], alarm(**config)
    for source in made_of:
        row = Rule.objects.create(uid=source.rule, name=source.name, kind=source.kind, deployment=town.rule.deployment)
        keep_version(row, source, number=1)
    Rule.objects.filter(pk=town.rule.pk).update(uid=version.rule, kind=version.kind)
    version_row(town, version)
    log = [one for n, gap_s in enumerate(after_s) for one in passes(n, gap_s)]
    fired = fold_and_keep(root, log, [*made_of, version])
    return [judge(town, event, "") for event in sequences_of(fired, [*made_of, version])]


def test_a_sequence_waits_less_long_where_the_false_ones_took_longer(town: Town, yard: Camera, tmp_path: Path) -> None:
    incidents = sequences_happened(town, tmp_path, 12.0, 45.0, 14.0, 50.0, 16.0)
    assert len(incidents) == 5
    said(incidents[1::2], "false")
    said(incidents[::2], "confirmed")
    found = asked(incidents[3], tmp_path)
    assert found.proposal is not None and found.proposal.kind == "within"
    assert (found.false.removed, found.false.of, found.confirmed.removed, found.confirmed.of) == (2, 2, 0, 3)
    assert (found.asked, found.cannot_tell, found.not_looked) == (True, (), 0)
    assert 16.5 < found.proposal.rule.config["within_s"] < 44.5


def test_where_a_sequences_false_ones_are_as_quick_nothing_helps(town: Town, yard: Camera, tmp_path: Path) -> None:
    incidents = sequences_happened(town, tmp_path, 20.0, 14.0, 20.0)
    said(incidents[1:2], "false")
    said(incidents[::2], "confirmed")
    assert asked(incidents[1], tmp_path).reason == "alike"


def test_of_a_sequence_that_is_archived_on_one_camera_only_nobody_can_tell(
    town: Town, yard: Camera, tmp_path: Path
) -> None:
    incidents = sequences_happened(town, tmp_path / "both", 45.0)
    said(incidents, "false")
    fold_and_keep(
        tmp_path / "yard", [one for one in passes(0, 45.0) if getattr(one, "camera", YARD) == YARD], [RIGHT_LANE]
    )
    found = asked(incidents[0], tmp_path / "yard")
    assert (found.reason, len(found.cannot_tell)) == ("not_archived", 1)


def test_what_a_sequence_is_no_longer_made_of_is_avoided(town: Town, yard: Camera, tmp_path: Path) -> None:
    incidents = sequences_happened(town, tmp_path, 45.0)
    said(incidents, "false")
    first = RuleVersion.objects.get(uid=LEFT_LANE.version)
    for cause in incidents[0].events.get().content["causes"]:
        EventRow.objects.create(
            uid=cause,
            kind="presence",
            severity="high",
            rule_version=first,
            happened_at=at(0),
            known_at=at(0),
            content={},
        )
    RuleVersion.objects.filter(pk=first.pk).update(active_until_at=at(0))
    keep_version(first.rule, lane(60, (0.0, 0.4), GATE, version=UUID(int=161), hold_s=100.0), number=2)
    found = asked(incidents[0], tmp_path)
    assert (found.reason, found.already, found.cannot_tell) == ("avoided", 1, ())


def test_of_a_sequence_whose_rule_is_off_it_says_so(town: Town, yard: Camera, tmp_path: Path) -> None:
    incidents = sequences_happened(town, tmp_path, 45.0)
    said(incidents, "false")
    RuleVersion.objects.filter(uid=LEFT_LANE.version).update(active_until_at=at(0))
    assert asked(incidents[0], tmp_path).reason == "incomplete"


def test_what_no_one_object_fired_is_compared_with_nothing(town: Town, gate: Camera, tmp_path: Path) -> None:
    log = [*walk(0, 4, 0.45, 0.6), *nobody(4, 40, 1.0)]
    incidents = happened(town, tmp_path, log, kind="absence", hold_s=10.0)
    assert len(incidents) == 1
    said(incidents, "false")
    assert asked(incidents[0], tmp_path).reason == "not_measured"
