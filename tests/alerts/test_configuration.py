"""All configuration as one text: there and back again, the difference first, refused whole with every error."""

from __future__ import annotations

from datetime import time
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import pytest
from django.core.management import CommandError, call_command

from alerts.configuration.bring_in import Outcome, bring_in
from alerts.configuration.entries import Channel
from alerts.configuration.export import read_rows
from alerts.configuration.said import problem_line
from alerts.configuration.text import BYTES_MOST, read, write
from alerts.editing import save_rule
from alerts.models import (
    Contact,
    EscalationPolicy,
    Recipient,
    Rota,
    RotaMember,
    Rule,
    RuleTemplate,
    Team,
    TemplateOverride,
    Zone,
)
from alerts.notifiers.registry import channels
from alerts.policies import StepDraft, save_policy
from detectors.models import Deployment, Model
from streams.credentials import seal, unseal
from streams.models import Camera, CameraGroup, SequenceCounter, Site, Source, View
from tests.town import NOW, Town, build_town, new_incident, new_rule

PASSWORD = "kanarie-password"


GROUND = {"points": [[0.1, 0.95], [0.9, 0.95], [0.7, 0.2], [0.3, 0.2]], "width_m": 6.0, "depth_m": 21.0}


def duty(bob: Recipient) -> EscalationPolicy:
    """A team, a rota and a policy of Bob's."""
    team = Team.objects.create(name="Night shift")
    team.members.add(bob)
    rota = Rota.objects.create(
        name="Night",
        weekday=6,
        hand_over_at=time(6, 30),
        starts_on=NOW.date(),
        holidays=["2026-12-25"],
        on_holidays=bob,
    )
    RotaMember.objects.create(rota=rota, recipient=bob, order=0)
    steps = [StepDraft(rotas=[rota], channels=["sms"], wait_s=60), StepDraft(recipients=[bob], teams=[team])]
    return save_policy(EscalationPolicy(name="At night", repeats=1), steps)


def furnish(town: Town) -> Rule:
    """Something of everything."""
    for role, address in (("detect", "rtsp://10.0.0.5:554/sub"), ("record", "rtsp://10.0.0.5:554/main")):
        Source.objects.create(camera=town.gate, role=role, address=address, credentials=seal("kanarie-user", PASSWORD))
    View.objects.filter(camera=town.gate).update(masks=[[[0, 0], [0.2, 0], [0.2, 0.25]]], ground=GROUND)
    Zone.objects.create(view=town.zone.view, name="Tree", shape="exclusion", points=[[0, 0], [0.1, 0], [0.1, 0.1]])
    Zone.objects.create(
        view=town.zone.view, name="Ker\u0062 \u201cA\u201d / \u9598\u53e3", shape="line", points=[[0, 0.5], [1, 0.5]]
    )
    bob = Recipient.objects.create(name="Bob", language="zh-hant", time_zone="Asia/Taipei", user=town.bob)
    for order, (channel, address) in enumerate((("email", "bob@example.org"), ("sms", "+886912345678"))):
        Contact.objects.create(recipient=bob, channel=channel, address=address, order=order, confirmed_at=NOW)
    bob.quiet_from, bob.quiet_until = time(22), time(7)
    bob.save()
    policy = duty(bob)
    town.deployment.cameras.add(town.yard)
    schedule = [{"days": [0, 1], "from": "22:00", "until": "06:00"}]
    words = 'Look.\nCall "the gate" at C:\\n and """wait""".\n\ttab \x7f\r'
    rule = new_rule(town, policy=policy, schedule=schedule, procedure=words, why_it_matters="The crane swings here.")
    save_rule(rule, zones=[town.zone], author=town.ada, now=NOW, recipients=[bob])
    template = RuleTemplate.objects.create(
        name="Lanes",
        kind="presence",
        zone_name="Lane",
        deployment=town.deployment,
        config={"labels": ["person"]},
        policy=policy,
    )
    template.cameras.set([town.gate, town.yard])
    template.recipients.set([bob])
    TemplateOverride.objects.create(template=template, site=town.site, changes={"severity": "high"})
    TemplateOverride.objects.create(
        template=template, camera=town.gate, changes={"config": {"hold_s": 5.0}, "recipients": [str(bob.uid)]}
    )
    return rule


def empty_but_for_the_model() -> None:
    for rows in (Rule, RuleTemplate, EscalationPolicy, Rota, Team, Deployment, Camera, Site, CameraGroup, Recipient):
        rows.objects.all().delete()


def bring(text: str, **more: Any) -> Outcome:
    return bring_in(text, author=None, now=NOW, **more)


def told(outcome: Outcome) -> list[str]:
    return [problem_line(problem) for problem in outcome.problems]


@pytest.fixture
def town(db: None) -> Town:
    return build_town()


def test_it_knows_every_channel_that_there_is() -> None:
    assert sorted(get_args(Channel)) == sorted(name for name, _said in channels())


def test_a_secret_address_stays_where_it_is_known_and_steps_may_go_by_it(town: Town) -> None:
    room = Recipient.objects.create(name="Control room")
    address = "https://hooks.example.org/secret-path"
    Contact.objects.create(recipient=room, channel="webhook", address=address, confirmed_at=NOW)
    save_policy(EscalationPolicy(name="Programs"), [StepDraft([room], channels=["webhook"])])
    before = write(read_rows(NOW))

    outcome = bring(before.replace("wait_s = 120", "wait_s = 180"))

    assert told(outcome) == [] and "secret-path" not in before
    assert room.contacts.get().reach == address and room.contacts.get().usable
    assert EscalationPolicy.objects.get().steps.get().channels == ["webhook"]


def test_there_and_back_again_is_the_same_text(town: Town) -> None:
    furnish(town)
    before = write(read_rows(NOW))
    empty_but_for_the_model()
    outcome = bring(before)
    assert told(outcome) == [] and {one.what for one in outcome.differences} == {"added"}
    assert write(read_rows(NOW)) == before
    rule = Rule.objects.get()
    assert rule.versions.get().active_until_at is None and rule.recipients.get().contacts.count() == 2
    assert {one.what for one in bring(before).differences} == {"same"}
    # A text confirms nothing: whoever it names says so on this installation.
    assert not Contact.objects.usable().exists()
    assert rule.policy is not None and rule.policy.steps.count() == 2


def test_no_log_in_is_ever_written_and_those_that_are_there_stay(town: Town) -> None:
    furnish(town)
    text = write(read_rows(NOW))
    assert PASSWORD not in text and "kanarie-user" not in text and "credentials" not in text
    outcome = bring(text.replace("10.0.0.5:554/sub", "10.0.0.5:554/small"))
    (changed,) = outcome.having("changed")
    assert [(one.title, one.after) for one in changed.changes] == [
        ("Address that is analysed", "rtsp://10.0.0.5:554/small")
    ]
    source = Source.objects.get(role="detect")
    assert source.address.endswith("/small") and unseal(source.credentials) == ("kanarie-user", PASSWORD)


def test_the_same_rows_are_the_same_text_whatever_their_order(town: Town) -> None:
    furnish(town)
    first = write(read_rows(NOW))
    entries = read(first).entries
    assert write({kind: dict(reversed(found.items())) for kind, found in entries.items()}) == first


def test_a_dry_run_says_what_would_change_and_changes_nothing(town: Town) -> None:
    rule = furnish(town)
    text = write(read_rows(NOW))
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    edited = text.replace("hold_s = 1.0", "hold_s = 3.5").replace("[0.6, 0.9]", "[0.7, 0.9]").replace(
        'name = "Elsewhere"', 'name = "Pier"').replace('group = "Elsewhere"', 'group = "Pier"')  # fmt: skip
    outcome = bring(edited, try_only=True)
    assert told(outcome) == []
    said = {
        (one.kind, one.key[-1], one.what): [
            change.title if not change.words else change.words[0].params["n"] for change in one.changes
        ]
        for one in outcome.differences
        if one.what != "same"
    }
    assert said == {
        ("camera_group", "Elsewhere", "missing"): [],
        ("camera_group", "Pier", "added"): [],
        ("camera", "Yard", "changed"): ["Camera group"],
        ("zone", "Lane", "changed"): [1],
        ("template", "Lanes", "changed"): ["In the zone for (s)"],
        ("rule", "Person in the lane", "changed"): ["In the zone for (s)"],
    }
    assert write(read_rows(NOW)) == text and rule.versions.count() == 1
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) == before


def test_a_policy_that_reaches_nobody_yet_is_brought_in_and_said(town: Town) -> None:
    furnish(town)
    text = write(read_rows(NOW)).replace("repeats = 1", "repeats = 2")
    assert bring(text, try_only=True).warnings == ()
    Contact.objects.update(confirmed_at=None)

    [warning] = bring(text).warnings
    assert warning.key == ("At night",) and problem_line(warning).endswith("choose somebody else.")
    assert EscalationPolicy.objects.get().repeats == 2


def test_a_policy_of_people_who_have_unsubscribed_is_refused(town: Town) -> None:
    furnish(town)
    text = write(read_rows(NOW)).replace("repeats = 1", "repeats = 2")
    Contact.objects.update(opted_out_at=NOW)
    assert "This would reach nobody" in told(bring(text))[0]


def test_it_is_done_in_one_version_a_rule(town: Town) -> None:
    rule = furnish(town)
    text = write(read_rows(NOW))
    edited = text.replace("hold_s = 1.0", "hold_s = 3.5").replace("[0.6, 0.9]", "[0.7, 0.9]")
    bring_in(edited, author=town.ada, now=NOW)
    first, second = rule.versions.order_by("number")
    assert second.author == town.ada and second.embedded["config"]["hold_s"] == 3.5
    assert second.embedded["zones"][0]["points"][2] == [0.7, 0.9]
    assert first.active_until_at == second.active_from_at
    assert write(read_rows(NOW)) == edited


def test_a_moved_zone_takes_the_rules_along_that_the_text_leaves(town: Town) -> None:
    rule = furnish(town)
    bring_in(write(read_rows(NOW)).replace("[0.6, 0.9]", "[0.7, 0.9]"), author=town.ada, now=NOW)
    assert rule.versions.count() == 2


def test_another_calibration_takes_the_rules_along_in_one_version(town: Town) -> None:
    rule = furnish(town)
    text = write(read_rows(NOW))
    outcome = bring(text.replace("depth_m = 21.0", "depth_m = 22.0").replace("hold_s = 1.0", "hold_s = 2.0"))
    assert told(outcome) == []
    (view,) = [one for one in outcome.having("changed") if one.kind == "view"]
    assert [[words.msgid for words in one.words] for one in view.changes] == [["its ground is calibrated anew"]]
    assert rule.versions.count() == 2
    assert rule.versions.get(number=2).embedded["zones"][0]["ground"]["depth_m"] == 22.0


def test_what_the_text_lacks_stays_unless_it_is_to_go(town: Town) -> None:
    rule = furnish(town)
    text = write(read_rows(NOW))
    extra = Camera.objects.create(name="Extra", site=town.site, group=town.gate.group)
    assert [one.key for one in bring(text).having("missing")] == [("Harbour", "Extra")]
    assert Camera.objects.filter(pk=extra.pk).exists()
    bring(text, remove=True)
    assert not Camera.objects.filter(pk=extra.pk).exists()
    new_incident(town.gate, town.site, rule=rule)
    head = text.partition("[[")[0]
    outcome = bring(head, remove=True)
    town.gate.refresh_from_db()
    rule.refresh_from_db()
    assert not town.gate.enabled and not rule.enabled
    assert outcome.kept["camera", ("Harbour", "Gate")] == "1 incidents happened there"
    assert not Camera.objects.filter(name="Yard").exists() and not RuleTemplate.objects.exists()


def test_what_changed_since_it_was_shown_is_looked_at_again(town: Town) -> None:
    furnish(town)
    text = write(read_rows(NOW))
    seen = bring(text, try_only=True).state
    town.gate.save()
    assert "since this was shown" in told(bring(text.replace("hz = 5.0", "hz = 4.0"), expected=seen))[0]
    assert Deployment.objects.get().hz == 5.0


WRONG: dict[str, tuple[tuple[str, str], str, str]] = {
    "a zone outside": (("[0.6, 0.9]", "[1.6, 0.9]"), "points = [[0.1, 0.1], [0.6, 0.1]", "it lies outside the picture"),
    "a zone that crosses itself": (
        ("[0.6, 0.1], [0.6, 0.9]", "[0.6, 0.9], [0.6, 0.1]"),
        "points = [[0.1, 0.1], [0.6, 0.9]",
        "crosses edge",
    ),
    "a ground nobody could measure": (
        ("depth_m = 21.0", "depth_m = 0.0"),
        "depth_m = 0.0",
        "from 0.1 to 1000 m, got 0",
    ),
    "a ground of three corners": (
        (", [0.3, 0.2]]\nwidth_m", "]\nwidth_m"),
        "points = [[0.1, 0.95]",
        "four corners, got 3",
    ),
    "a clock nobody has": (('"Asia/Taipei"', '"Asia/Tapei"'), 'time_zone = "Asia/Tapei"', "is not a time zone"),
    "NaN": (("hz = 5.0", "hz = nan"), "hz = nan", "ordinary number, got nan"),
    "infinity": (("hz = 5.0", "hz = -inf"), "hz = -inf", "ordinary number, got -inf"),
    "huge": (("hz = 5.0", "hz = 1e300"), "hz = 1e300", "ordinary number, got 1e300"),
    "a long whole number": (("hz = 5.0", f"hz = {'9' * 60}"), "hz = 99", "one of 60 digits"),
    "negative": (("hz = 5.0", "hz = -1.0"), "hz = -1.0", "hz: Expected `float` > 0"),
    "a setting nobody knows": (("hold_s = 1.0", "speed = 1.0"), "speed = 1.0", "speed"),
    "a setting beyond its bound": (("confidence = 0.45", "confidence = 4.5"), "confidence = 4.5", "<= 1.0"),
    "a field nobody knows": (("gated = true", "gaetd = true"), "gaetd = true", "unknown field `gaetd`"),
    "a kind nobody knows": (('kind = "presence"', 'kind = "telepathy"'), 'kind = "telepathy"', "telepathy"),
    "a name twice": (('name = "Yard"', 'name = "Gate"'), 'name = "Gate"\ngroup = "Elsewhere"', "stands in line"),
    "a key twice": (("gated = true", "gated = true\ngated = false"), "gated = false", "no TOML"),
    "a site that is not there": (
        ('site = "Harbour"\nname = "Gate"', 'site = "Hrbour"\nname = "Gate"'),
        '[[camera]]\nsite = "Hrbour"',
        "no site named “Hrbour”",
    ),
    "a group that is not there": (
        ('group = "Elsewhere"', 'group = "Nobody"'),
        '[[camera]]\nsite = "Harbour"\nname = "Yard"',
        "no camera group named “Nobody”",
    ),
    "a model that is not there": (
        ('model = "General"', 'model = "Genral"'),
        "[[deployment]]",
        "“Genral 1” is not in this installation (there are: General 1)",
    ),
    "a person who is not there": (('user = "bob"', 'user = "rob"'), "[[recipient]]", "logs in as “rob”"),
    "a number that is none": (("+886912345678", "0912"), "[[recipient]]", "with + and the country code"),
    "a language nobody speaks": (('"zh-hant"', '"tlh"'), "[[recipient]]", "no language of these screens"),
    "a label the model never gives": (
        ('labels = ["person"]\nconfidence = 0.45', 'labels = ["dog"]\nconfidence = 0.45'),
        "[[rule]]",
        "never reports “dog”",
    ),
    "an address of this machine": (
        ("10.0.0.5:554/sub", "127.0.0.1:554/sub"),
        '[[camera]]\nsite = "Harbour"\nname = "Gate"',
        "this machine itself",
    ),
    "an address with a password": (
        ("10.0.0.5:554/sub", "10.0.0.5:554/x?password=hush"),
        '[[camera]]\nsite = "Harbour"\nname = "Gate"',
        "contains a password",
    ),
    "an empty schedule": (("days = [0, 1]", "days = []"), "[[rule]]", "could never fire"),
    "an override of nothing": (
        ('[[template.overrides]]\nsite = "Harbour"', "[[template.overrides]]"),
        "[[template.overrides]]",
        "exactly one of",
    ),
    "an override of what is the template's own": (
        ('severity = "high"\n', 'kind = "line"\n'),
        "[[template.overrides]]",
        "cannot change “kind”",
    ),
    "an override that makes no rule": (
        ("hold_s = 5.0", "hold_s = -5.0"),
        "[[template.overrides]]",
        ">= 0",
    ),
    "another version": (("version = 1", "version = 2"), "", "Expected “version = 1”"),
    "another table": (("[[site]]", "[[place]]"), "", "got “place”"),
}


@pytest.mark.parametrize(("edit", "where", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_with_its_line_and_nothing_changes(
    town: Town, edit: tuple[str, str], where: str, words: str
) -> None:
    furnish(town)
    text = write(read_rows(NOW))
    assert edit[0] in text
    hurt = text.replace(edit[0], edit[1])
    outcome = bring(hurt)
    lines = [line for line in told(outcome) if words in line]
    assert lines, told(outcome)
    if where:
        numbers = {hurt[:at].count("\n") + 1 for at in range(len(hurt)) if hurt.startswith(where, at)}
        wanted = {int(line.removeprefix("line ").partition(",")[0].partition(":")[0]) for line in lines}
        # The very field, or the entry's first line where only the entry is known.
        assert any(0 <= got - number <= 3 for got in wanted for number in numbers), (wanted, numbers)
    assert "hush" not in " ".join(told(outcome))
    assert write(read_rows(NOW)) == text


def test_every_error_is_told_and_not_only_the_first(town: Town) -> None:
    furnish(town)
    text = write(read_rows(NOW))
    hurt = (
        text.replace("hz = 5.0", "hz = -1.0")
        .replace("[0.6, 0.9]", "[1.6, 0.9]")
        .replace("hold_s = 1.0", "hold_s = -1.0")
    )
    said = told(bring(hurt))
    assert len(said) == 4 and said == sorted(said, key=lambda line: int(line.split(",")[0].removeprefix("line ")))


HOSTILE = {
    "ten megabytes": "version = 1\n" + "#" * 10_000_000,
    "nested lists": "version = 1\nx = " + "[" * 500_000,
    "nested tables": "version = 1\nx = " + "{a=" * 300_000,
    "a name of a million parts": "version = 1\n" + "a." * 900_000 + "b = 1",
    "a header of a million parts": "version = 1\n[" + "a." * 900_000 + "b]",
    "quoted parts": "version = 1\n" + '"a".' * 400_000 + '"b" = 1',
    "a number without end": "version = 1\nx = " + "9" * 1_900_000,
    "strings that never end": "version = 1\nx = " + '\\"""' * 400_000,
    "quotation marks": "version = 1\n" + '"' * 1_900_000,
    "sites without end": "version = 1\n" + "[[site]]\n" * 200_000,
    "what YAML would unfold": "a: &a [x,x]\nb: &b [*a,*a]\n" * 10_000,
    "nothing": "",
    "zeros": "\0" * 1_000_000,
    "carriage returns": "\r" * 1_000_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.timeout(20)
def test_what_is_hostile_is_refused(text: str) -> None:
    found = read(text)
    assert len(found.problems) == 1 and not any(found.entries.values())


def test_the_command_writes_and_reads_files(town: Town, tmp_path: Path) -> None:
    furnish(town)
    file = tmp_path / "town.toml"
    call_command("configuration", "export", str(file))
    file.write_text(file.read_text().replace("hz = 5.0", "hz = 4.0"))
    said = StringIO()
    call_command("configuration", "import", "--dry-run", str(file), stdout=said)
    assert "~ deployment General\n    Pictures a second: 5.0 → 4.0" in said.getvalue()
    assert Deployment.objects.get().hz == 5.0
    call_command("configuration", "import", str(file), stdout=said)
    assert Deployment.objects.get().hz == 4.0
    file.write_text(file.read_text().replace("hz = 4.0", "hz = 0.0"))
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("configuration", "import", str(file))
    file.write_bytes(b"\xff\xfe" * 9)
    with pytest.raises(CommandError, match="expected UTF-8"):
        call_command("configuration", "import", str(file))
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("configuration", "import", str(tmp_path / "none.toml"))
    assert Model.objects.count() == 1 and file.stat().st_size < BYTES_MOST
