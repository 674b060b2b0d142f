"""What only Django knows: settings, migrations, who can be reached, what the models need.

``manage.py findings`` runs this in the installation's environment and prints the findings as JSON; ``check`` asks it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.findings.children import NoAnswer, ask
from monitor.findings.finding import Finding, Scope, State, _, from_wire, wrong
from monitor.findings.python import check_packages
from monitor.instance import BASE_DIR, Instance

if TYPE_CHECKING:
    from detectors.models import Model

COMMAND = "./poliscope manage"


def check_installation(scope: Scope) -> list[Finding]:
    """Ask ``manage.py findings``. Nothing where nothing is set up, neither in the folder nor in the environment."""
    if scope.has_installation:
        environment = Instance(scope.data.resolve()).environment()
    elif scope.environment.get("POLISCOPE_SECRET_KEY"):
        environment = dict(scope.environment)
    else:
        return []
    command = [sys.executable, "manage.py", "findings", f"--option={scope.as_option()}"]
    try:
        said = ask(command, environment=environment, cwd=str(BASE_DIR))
        return [from_wire(wire) for wire in json.loads(said.strip().splitlines()[-1])]
    except (NoAnswer, ValueError, KeyError, IndexError) as problem:
        if wrong(check_packages(scope)):
            return []  # said there, with what mends it; of the settings nobody knows anything
        return [_no_settings(str(problem), scope)]


def _no_settings(problem: str, scope: Scope) -> Finding:
    return Finding(
        "settings",
        _("Settings"),
        State.WRONG,
        _("They cannot be loaded: %(problem)s"),
        remedy=f"{COMMAND} check{scope.as_option()}",
        values={"problem": problem},
    )


# From here on inside Django.


def findings(option: str) -> Iterator[Finding]:
    """Everything there is to say; ``option`` is ``--data DIR`` for commands to copy. Never raises for a database."""
    from django.db import DatabaseError

    yield from settings_findings(option)
    try:
        pending = list(migrations(option))
        yield from pending
        if not any(finding.state is State.WRONG for finding in pending):
            yield from senders()
            yield from recipients()
            yield from deployments()
            yield from sequences()
    except DatabaseError as problem:
        yield Finding(
            "database",
            _("Database"),
            State.WRONG,
            _("It does not answer: %(problem)s"),
            remedy=f"{COMMAND} check --database default{option}",
            advice=_("Is its server running, is DATABASE_URL right, is the disk full?"),
            values={"problem": str(problem).splitlines()[0][:200]},
        )


def settings_findings(option: str) -> Iterator[Finding]:
    """What ``manage.py check`` says."""
    from django.core.checks import WARNING, run_checks

    found = [message for message in run_checks() if message.level >= WARNING and not message.is_silenced()]
    for message in found:
        yield Finding(
            "settings",
            _("Settings"),
            State.WRONG,
            _("%(problem)s (%(id)s)"),
            advice=message.hint or "",
            remedy=f"{COMMAND} check{option}",
            values={"problem": message.msg, "id": message.id or "–"},
        )
    if not found:
        yield Finding("settings", _("Settings"), State.OK, _("manage.py check has nothing to say"))


def migrations(option: str) -> Iterator[Finding]:
    """Whether the tables are those of this version."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    if no_database(connection.settings_dict):
        text = _("There is no database yet; the first start makes it.")
        yield Finding("database", _("Database"), State.WRONG, text, remedy=f"./poliscope up{option}")
        return
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        values = {"engine": connection.display_name}
        yield Finding("database", _("Database"), State.OK, _("%(engine)s, tables as they should be"), values=values)
        return
    yield Finding(
        "database",
        _("Database"),
        State.WRONG,
        _("%(count)s migrations wait, the first is %(first)s: the tables are of an older version."),
        remedy=f"{COMMAND} migrate{option}",
        values={"count": len(plan), "first": f"{plan[0][0].app_label}.{plan[0][0].name}"},
    )


def no_database(settings: Mapping[str, Any]) -> bool:
    """Whether it is a file that is not there; to ask SQLite would make it."""
    name = str(settings["NAME"])
    return settings["ENGINE"].endswith("sqlite3") and not name.startswith("file:") and not Path(name).exists()


def senders() -> Iterator[Finding]:
    """Whether SMS and e-mail leave, or are only written to the Outbox."""
    from django.conf import settings

    yield _sender(_("SMS"), all(settings.TWILIO[key] for key in ("account", "token", "sender")), "TWILIO_ACCOUNT_SID")
    yield _sender(_("E-mail"), bool(settings.POLISCOPE_SMTP_URL), "POLISCOPE_SMTP_URL")


def _sender(subject: str, configured: bool, setting: str) -> Finding:
    if configured:
        return Finding("sender", subject, State.OK, _("leaves this machine"))
    return Finding(
        "sender",
        subject,
        State.NOTE,
        _("Sandbox: nothing leaves this machine, messages are written to the Outbox."),
        advice=_("Set %(setting)s and what belongs to it, and start again (docs/configuration.md)."),
        values={"setting": setting},
    )


def recipients() -> Iterator[Finding]:
    """Whether everybody whom a rule tells can be reached."""
    from alerts.models import Contact, Recipient
    from frontend.queries import nobody_told

    reachable = Contact.objects.usable().values("recipient")
    told = Recipient.objects.filter(active=True, rules__enabled=True).distinct()
    lost = list(told.exclude(pk__in=reachable).values_list("name", flat=True)[:20])
    if lost:
        yield Finding(
            "recipients",
            _("Recipients"),
            State.WRONG,
            _("Without a confirmed number or address that works: %(names)s. Their alerts reach nobody."),
            advice=_("Give and confirm each one at Set-up, People."),
            values={"names": ", ".join(lost)},
        )
    if rules := nobody_told():
        yield Finding(
            "recipients",
            _("Recipients"),
            State.WRONG,
            _("Nobody would be told by: %(rules)s. Choose a recipient with a confirmed number, in Set-up."),
            values={"rules": ", ".join(rules[:20])},
        )
    elif not lost:
        values = {"count": told.count()}
        yield Finding("recipients", _("Recipients"), State.OK, _("%(count)s, each can be reached"), values=values)


def deployments() -> Iterator[Finding]:
    """Whether every model that an enabled deployment chose has its runtime and its file."""
    from detectors.backends.base import ModelProblem, RuntimeMissing
    from detectors.models import Deployment

    broken = False
    for deployment in Deployment.objects.filter(enabled=True).select_related("model"):
        try:
            _try_model(deployment.model)
        except ModelProblem as problem:
            broken = True
            install = f"./poliscope install {deployment.model.backend}" if isinstance(problem, RuntimeMissing) else ""
            yield _broken_deployment(deployment.name, str(problem), install)
    if not broken:
        yield Finding("deployment", _("Deployments"), State.OK, _("each model has its runtime and its file"))


def sequences() -> Iterator[Finding]:
    """Whether every sequence that is switched on can ever be complete. Nothing where there is none."""
    from alerts.awaited import incomplete
    from alerts.models import Rule
    from alerts.sequences import KIND

    if not Rule.objects.filter(kind=KIND, enabled=True).exists():
        return
    names = [sequence.name for sequence, _problem in incomplete()]
    if names:
        yield Finding(
            "sequences",
            _("Sequences"),
            State.WRONG,
            _("They cannot fire, for what they wait for fires nothing: %(names)s."),
            advice=_("Open each one in Set-up: its camera's page says what is missing."),
            values={"names": ", ".join(names[:20])},
        )
    else:
        yield Finding("sequences", _("Sequences"), State.OK, _("each can be complete"))


def _try_model(model: Model) -> None:
    """Raises ``ModelProblem``."""
    from django.conf import settings

    from detectors.backends.base import ModelMissing
    from detectors.loading import locate
    from detectors.plan import ModelSpec
    from detectors.registry import make_backend

    make_backend(model.backend)
    spec = ModelSpec(model.uid, model.name, model.version, model.backend, model.card, model.path, model.sha256)
    path = locate(spec, settings.DATA_DIR / "models")[1]
    if not path.exists():
        raise ModelMissing(f"{spec}: expected the model at {path}, got nothing; put the file there")


def _broken_deployment(name: str, problem: str, install: str) -> Finding:
    return Finding(
        "deployment",
        _("Deployments"),
        State.WRONG,
        _("%(name)s cannot run: %(problem)s"),
        remedy=install,
        advice=_("Choose another model for it at Set-up, Deployments, or switch it off."),
        values={"name": name, "problem": problem},
    )
