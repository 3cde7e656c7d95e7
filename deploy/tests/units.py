"""The systemd units."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from common import DEPLOY, run, seconds, settings, shutdown, unknown

UNITS = DEPLOY / "systemd"
PROGRAM = "/usr/local/bin/sheaf"
# By `systemd-analyze security`, times ten: 0 is none at all, 100 is everything.
EXPOSURE = 15


def check(report, commands):
    services = sorted(UNITS.glob("*.service"))
    timers = sorted(UNITS.glob("*.timer"))
    report.check("systemd: settings exist", variables(services, commands))
    report.check("systemd: one sandbox for all, and time to end", sandbox(services))
    if not shutil.which("systemd-analyze"):
        report.skip("systemd: verify, security, calendar", "there is no systemd-analyze here")
        return
    with tempfile.TemporaryDirectory() as directory:
        # The program need not be installed for this.
        there = Path(directory, "units")
        shutil.copytree(UNITS, there)
        for file in services:
            (there / file.name).write_text(file.read_text().replace(PROGRAM, shutil.which("true")))
        environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{there}:"}
        report.check("systemd: verify", verify([there / file.name for file in services + timers], environment))
        report.check("systemd: security", security([there / file.name for file in services], environment))
    calendars = [(file.name, when) for file in timers for when in re.findall(r"^OnCalendar=(.*)$", file.read_text(), re.M)]
    report.check(
        "systemd: calendar",
        [text for file, when in calendars for code, text in [run("systemd-analyze", "calendar", when)] if code],
    )


def verify(files, environment):
    for file in files:
        code, text = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file, env=environment)
        # Unknown keys are warnings, and exit with 0. What other units on this machine do wrong is not ours.
        lines = [line for line in text.splitlines() if file.name in line or "job.conf" in line or code]
        if lines:
            yield f"{file.name}: {'; '.join(lines)}"


def security(files, environment):
    for file in files:
        code, text = run(
            "systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", file, env=environment
        )
        if code:
            yield f"{file.name}: {text.strip().splitlines()[-1]}"


def variables(services, commands):
    known = settings()
    shared = names(UNITS / "sheaf.env.example")
    # What the units put on command lines.
    own = {name for file in services for name in re.findall(r"\$\{([A-Z_]+)\}", file.read_text())}
    for file in UNITS.glob("*.env.example"):
        yield from unknown(names(file), known | own, file.name)
        for name, value in re.findall(r"^#?([A-Z_]+)=(.*)$", file.read_text(), re.M):
            if re.search(r"SECRET|_KEY|DATABASE_URL", name) and value:
                yield f"{file.name}: {name} has a value"
    for file in services:
        text = file.read_text()
        given = dict(re.findall(r"^Environment=([A-Z_]+)=(.*)$", text, re.M))
        yield from unknown(given, known | own, file.name)
        line = re.search(rf"^ExecStart={PROGRAM} (.*)$", text, re.M)[1]
        for name in re.findall(r"\$\{([A-Z_]+)\}", line):
            if name not in given:
                yield f"{file.name}: {name} has no default"
        line = re.sub(r"\$\{([A-Z_]+)\}", lambda found, given=given: given.get(found[1], ""), line)
        commands.add(file.name, line.split(), shared & known if file.name == "sheaf.service" else ())
    for timer in UNITS.glob("*.timer"):
        if not timer.with_suffix(".service").exists():
            yield f"{timer.name} starts nothing"


def names(file):
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", file.read_text(), re.M))


def sandbox(services):
    """sheaf.service has the jobs' sandbox, line by line; no job weakens it."""

    def lines(file):
        text = file.read_text().split("# A user that exists while this runs.")[1]
        return [line for line in text.split("\n[")[0].splitlines() if line and not line.startswith("#")][1:]

    api, jobs = UNITS / "sheaf.service", UNITS / "sheaf-.service.d/job.conf"
    yield from (f"the API and the jobs differ: {line}" for line in set(lines(api)) ^ set(lines(jobs)))
    keys = {line.split("=")[0] for line in lines(jobs)}
    for file in services:
        if file != api:
            yield from (f"{file.name} changes {key}" for key in re.findall(r"^(\w+)=", file.read_text(), re.M) if key in keys)
    stop = re.search(r"^TimeoutStopSec=(.*)$", api.read_text(), re.M)[1]
    if seconds(stop) < shutdown():
        yield f"sheaf.service is killed before the server's {shutdown()} s are over"
