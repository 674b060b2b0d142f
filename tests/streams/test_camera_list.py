"""The list of many cameras: what is read, what is refused and why, and what it would do. Tables; nothing is opened."""

from __future__ import annotations

import pytest

from streams.camera_list import HEADINGS, LENGTHS, ROWS_MAX, TEXT_MAX, CameraList, Row, read
from streams.camera_plan import Defaults, Existing, Plan, plan

A, B, C, D = (f"rtsp://10.0.0.{n}/live" for n in (5, 6, 7, 8))
SECRET = "canary-4711"


def only(text: str) -> Row:
    """The one row of a list without problems."""
    found = read(text)
    assert found.problems == ()
    (row,) = found.rows
    return row


def said(found: CameraList) -> list[tuple[int, str]]:
    return [(problem.line, problem.sentence()) for problem in found.problems]


@pytest.mark.parametrize(
    "text",
    [
        f"Gate,{A},alice,pw,Harbour,All",
        f"Gate;{A};alice;pw;Harbour;All",
        f"Gate\t{A}\talice\tpw\tHarbour\tAll",
        f"\ufeffGate,{A},alice,pw,Harbour,All\r\n\r\n",
        f"\r\n,,\r\n  Gate , {A} , alice , pw , Harbour , All \r\n",
        f'"Gate","{A}","alice","pw","Harbour","All"',
        f"name,address,user,password,site,group\nGate,{A},alice,pw,Harbour,All",
        f"Name;RTSP URL;User name;Password;Site;Camera group\nGate;{A};alice;pw;Harbour;All",
        f"名稱\t位址\t使用者\t密碼\t地點\t群組\nGate\t{A}\talice\tpw\tHarbour\tAll",
        f"群組,site,密碼,user_name,ADDRESS,name\nAll,Harbour,pw,alice,{A},Gate",
        f"name,address,site,group\nGate,{A.replace('//', '//alice:pw@')},Harbour,All",
        f"name,user,password,address,site,group\nGate,alice,pw,{A.replace('//', '//alice:pw@')},Harbour,All",
    ],
)
def test_it_reads_what_spreadsheets_give(text: str) -> None:
    row = only(text)
    assert (row.name, row.addresses, row.login) == ("Gate", {"address": A}, ("alice", "pw"))
    assert (row.site, row.group) == ("Harbour", "All")


def test_it_reads_every_column() -> None:
    row = only(
        "name,detect address (sub-stream),record address,view address,time zone,enabled,group,site\n"
        f"前門,{A},{B},{C},Asia/Taipei,否,全部,港口"
    )
    assert row.addresses == {"detect": A, "record": B, "view": C}
    assert (row.name, row.site, row.group, row.time_zone, row.enabled) == ("前門", "港口", "全部", "Asia/Taipei", False)


@pytest.mark.parametrize(
    ("cell", "login"),
    [
        ("rtsp://alice:p%40s%2Fs@10.0.0.5/live", ("alice", "p@s/s")),
        ("rtsp://alice:p@ss@10.0.0.5/live", ("alice", "p@ss")),
        ("rtsp://alice:a:b@10.0.0.5/live", ("alice", "a:b")),
        ("rtsp://alice@10.0.0.5/live", ("alice", "")),
        ("rtsp://10.0.0.5/live", ("", "")),
    ],
)
def test_a_log_in_in_the_address_is_taken_out_of_it(cell: str, login: tuple[str, str]) -> None:
    row = only(f"Gate\t{cell}")
    assert row.addresses == {"address": A}
    assert row.login == login


@pytest.mark.parametrize(
    ("word", "enabled"),
    [("", None), ("yes", True), ("TRUE", True), ("1", True), ("啟用", True), ("No", False), ("0", False)],
)
def test_it_understands_whether_a_camera_is_switched_on(word: str, enabled: bool | None) -> None:
    assert only(f"name,address,enabled\nGate,{A},{word}").enabled is enabled


def test_headings_that_mean_nothing_are_named() -> None:
    found = read(f"name,Model,address,,Serial\nGate,X1,{A},,42")
    assert found.ignored == ("Model", "Serial")
    assert len(found.rows) == 1


@pytest.mark.parametrize(
    ("text", "line", "begins"),
    [
        ("", 1, "The list is empty"),
        ("\n ,\n", 1, "The list is empty"),
        ("name,address\n", 1, "The list has headings and no cameras"),
        (f"Gate,{A}\n" * (ROWS_MAX + 1), 1, "The list has 501 rows; 500 are allowed"),
        ("x" * (TEXT_MAX + 1), 1, "The list has 1000001 characters"),
        ("\nname,user\nGate,alice", 2, "The list needs a column “name” and a column “address”"),
        (f"site,address\nHarbour,{A}", 1, "The list needs a column “name”"),
        (f"name,address,RTSP\nGate,{A},{B}", 1, "Two columns mean the same: address."),
        (f'Gate,{A}\nQuay,"{B}', 2, "This line cannot be read as part of a table"),
        (f'Gate,{A}\nQuay,"{B}"x', 2, "This line cannot be read as part of a table"),
        (f",{A}", 1, "This camera has no name."),
        ("Gate,", 1, "“Gate” has no address."),
        (f"Gate,{A},u,p,s,g,more", 1, "This line has 7 columns; 6 are expected"),
        (f"name,address\nGate,{A},more", 2, "This line has 3 columns; 2 are expected"),
        (f"name,address,detect,record,view\nGate,{A},{B},{C},{D}", 2, "“Gate” has four addresses"),
        ("Gate,10.0.0.5/live", 1, "Only rtsp:// and rtsps:// addresses"),
        ("Gate,http://10.0.0.5/live", 1, "Only rtsp:// and rtsps:// addresses"),
        ("Gate,rtsp:///live", 1, "This address names no host"),
        ("Gate,rtsp://10.0.0.5:99999/live", 1, "This is not an address"),
        ("Gate,rtsp://10.0.0.5/a b", 1, "This address contains a space"),
        (f"Gate,rtsp://10.0.0.5/{'x' * 500}", 1, "This address has 516 characters; 500 are allowed"),
        (f"Gate,rtsp://u:{SECRET}/x@10.0.0.5/live", 1, "The address contains a password"),
        (f"Gate,rtsp://10.0.0.5/live?user=u&password={SECRET}", 1, "The address contains a password"),
        (f"Gate,rtsp://10.0.0.5/live?%70assword={SECRET}", 1, "The address contains a password"),
        (f"Gate,rtsp://u:{SECRET}@10.0.0.5/live,v,{SECRET}", 1, "“Gate” has different log-ins"),
        (f"Gate,{A},alice,{'x' * 201}", 1, "The column “password” has 201 characters; 200 are allowed"),
        (f"{'x' * 101},{A}", 1, "The column “name” has 101 characters; 100 are allowed"),
        (f'"Ga\nte",{A}', 1, "The column “name” contains a control character"),
        (f"name,address,time zone\nGate,{A},{SECRET}", 2, "The column “time zone” has no time zone"),
        (f"name,address,enabled\nGate,{A},{SECRET}", 2, "The column “enabled” has a word that is not known"),
        (f"Gate,{A}\n\nGate,{B}", 3, "“Gate” stands in lines 1 and 3."),
        (f"Gate,{A}\nQuay,{A}", 2, "Lines 1 and 2 have the same address"),
        (f"name,address,detect\nGate,{A},{B}\nQuay,{C},{B}", 3, "Lines 2 and 3 have the same address"),
    ],
)
def test_each_refusal_names_its_line_and_what_helps(text: str, line: int, begins: str) -> None:
    ((got_line, got),) = said(read(text))
    assert got_line == line
    assert got.startswith(begins)
    assert SECRET not in got


def test_one_bad_line_stops_no_other() -> None:
    found = read(f'"Gate\nWest",{A}\nQuay,{B}\nRoof,nowhere\n\nPier,{C}')
    assert [(row.line, row.name) for row in found.rows] == [(3, "Quay"), (6, "Pier")]
    assert [line for line, _ in said(found)] == [1, 4]


def test_the_same_name_at_two_sites_is_two_cameras_and_one_address_in_two_roles_is_one() -> None:
    found = read(f"name,site,address,record\nGate,East,{A},{A}\nGate,West,{B},{B}")
    assert len(found.rows) == 2
    assert found.problems == ()


def test_no_password_shows_in_anything_but_its_own_field() -> None:
    found = read(f"Gate,rtsp://alice:{SECRET}@10.0.0.5/live\nQuay,rtsp://a:{SECRET}@[/x\nPier,{B},u,{SECRET}")
    assert found.rows[0].login == ("alice", SECRET)
    known = [Existing("Gate", "Harbour", "All", {"detect": A}, {"detect": ("alice", SECRET)})]
    planned = plan(found, known, sites={}, groups=(), defaults=Defaults("Harbour", "All"))
    assert SECRET not in repr(found) + repr(planned) + repr(known) + str(said(found))


def test_every_column_of_the_documentation_is_known() -> None:
    assert set(LENGTHS) <= set(HEADINGS)
    words = [word for names in HEADINGS.values() for word in names]
    assert len(set(words)) == len(words)


HERE = (
    Existing("Gate", "Harbour", "All", {"detect": A}, {"detect": ("alice", "pw")}),
    Existing("Quay", "Harbour", "All", {"detect": B, "record": C}),
)
SITES = {"Harbour": "Asia/Taipei"}


def planned(text: str, **changes: object) -> Plan:
    given: dict[str, object] = {"sites": SITES, "groups": ["All"], "defaults": Defaults("Harbour", "All", "Asia/Tokyo")}
    return plan(read(text), HERE, **{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind", "fields", "addresses"),
    [
        (f"Gate,{A}", "same", (), {"detect": A}),
        (f"Gate,{A},alice,pw,Harbour,All", "same", (), {"detect": A}),
        (f"name,address,enabled\nGate,{A},yes", "same", (), {"detect": A}),
        (f"Gate,{A},alice,new", "change", ("login",), {"detect": A}),
        (f"Gate,{A},,,,Other", "change", ("group",), {"detect": A}),
        (f"Gate,{D}", "change", ("detect",), {"detect": D}),
        (f"name,address,enabled\nGate,{A},no", "change", ("enabled",), {"detect": A}),
        (f"name,address,detect\nGate,{A},{D}", "change", ("record", "detect"), {"record": A, "detect": D}),
        (f"Quay,{C}", "same", (), {"record": C}),
        (f"Quay,{D}", "change", ("record",), {"record": D}),
        (f"name,detect,record\nQuay,{C},{B}", "change", ("detect", "record"), {"detect": C, "record": B}),
        (f"name,address,record,view\nQuay,{B},{C},{D}", "change", ("view",), {"detect": B, "record": C, "view": D}),
        (f"Roof,{D}", "new", ("group", "detect"), {"detect": D}),
        (f"Roof,{D},alice,pw", "new", ("group", "detect", "login"), {"detect": D}),
        (f"Gate,{D},,,Airport", "new", ("group", "detect"), {"detect": D}),
        (
            f"name,address,detect,record\nRoof,{D},rtsp://h/1,rtsp://h/2",
            "new",
            ("group", "view", "detect", "record"),
            {"view": D, "detect": "rtsp://h/1", "record": "rtsp://h/2"},
        ),
    ],
)
def test_it_says_what_becomes_of_each_line(
    text: str, kind: str, fields: tuple[str, ...], addresses: dict[str, str]
) -> None:
    (step,) = planned(text).steps
    assert (step.kind, step.fields, step.addresses, step.problem) == (kind, fields, addresses, None)


@pytest.mark.parametrize(
    ("text", "changes", "begins"),
    [
        (f"Roof,{A}", {}, "“Roof” has an address that “Gate” has already."),
        (f"Roof,{D}", {"defaults": Defaults(group="All")}, "“Roof” names no site."),
        (f"Roof,{D}", {"defaults": Defaults(site="Harbour")}, "“Roof” names no group."),
        (f"name,address,time zone\nRoof,{D},Asia/Tokyo", {}, "“Roof” gives the site “Harbour” another time zone than"),
        ("Roof,nowhere", {}, "Only rtsp://"),
    ],
)
def test_it_refuses_what_cannot_be_done(text: str, changes: dict[str, object], begins: str) -> None:
    (step,) = planned(text, **changes).steps
    assert step.kind == "refused"
    assert step.problem is not None
    assert step.problem.sentence().startswith(begins)


def test_a_camera_of_a_unique_name_is_found_without_its_site() -> None:
    (step,) = planned(f"Gate,{A}", defaults=Defaults()).steps
    assert (step.kind, step.site, step.group) == ("same", "Harbour", "All")


def test_steps_stand_in_the_order_of_the_lines_and_sites_and_groups_are_made_once() -> None:
    done = planned(
        "name,address,site,group,time zone\n"
        f"Roof,{D},Airport,New,\nbad,nowhere,Lost,Lost,\nHall,rtsp://h/1,Airport,New,\nGate,{A},,,\n"
        "Taxi,rtsp://h/2,Field,All,Europe/Berlin\nTaxi 2,rtsp://h/3,Field,All,Asia/Taipei"
    )
    assert [(step.line, step.kind) for step in done.steps] == [
        (2, "new"), (3, "refused"), (4, "new"), (5, "same"), (6, "new"), (7, "refused"),
    ]  # fmt: skip
    assert done.sites == {"Airport": "Asia/Tokyo", "Field": "Europe/Berlin"}
    assert done.groups == ("New",)
