"""What the checks share: where things are, what was found, and the names of settings."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
VENV = Path(sys.prefix) / "bin"
# Made by others than Sheaf: the AWS SDK's, and what every program knows.
FOREIGN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TMPDIR"}


class Report:
    """One line a check; a check that finds nothing wrong is ok."""

    def __init__(self):
        self.passed = self.skipped = 0
        self.failed = []

    def check(self, name, problems):
        problems = [str(problem) for problem in problems]
        print(f"{'FAIL' if problems else 'ok  '} {name}")
        for problem in problems:
            print(f"     {problem}")
        if problems:
            self.failed.append(name)
        else:
            self.passed += 1

    def skip(self, name, why):
        print(f"skip {name}: {why}")
        self.skipped += 1


def run(*command, **options):
    """The exit code and all that was printed."""
    done = subprocess.run(
        [str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **options
    )
    return done.returncode, done.stdout


def complaints(*command, **options):
    """What a linter says, if it says no."""
    code, text = run(*command, **options)
    return [f"{Path(str(command[0])).name}: {text.strip() or code}"] if code else []


def settings():
    """Names that the program reads, from its source."""
    names = set()
    for file in (ROOT / "crates/sheaf/src").rglob("*.rs"):
        text = file.read_text()
        names |= set(re.findall(r'\benv = "([A-Z0-9_]+)"', text))
        names |= set(re.findall(r'env::var(?:_os)?\("([A-Z0-9_]+)"\)', text))
    return names | {name for name in traced() if name.startswith("OTEL_")}


def traced():
    names = set()
    for file in (ROOT / "crates").rglob("src/**/*.rs"):
        names |= set(re.findall(r'"(OTEL_[A-Z0-9_]+)"', file.read_text()))
    return names


def unknown(names, known, where):
    return [f"{where}: no such setting: {name}" for name in sorted(set(names) - known - FOREIGN)]


def seconds(text):
    """30s, 1m30s, 60."""
    units = {"h": 3600, "m": 60, "s": 1, "": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms]?)", str(text)))


def shutdown():
    """How long the server may take to end: requests in flight, then the denials; and 10 s for the queues."""
    requests = re.search(r"shutdown_grace: Duration::from_secs\((\d+)\)", (ROOT / "crates/web/src/serve/config.rs").read_text())
    denials = re.search(r"LAST_DENIALS: Duration = Duration::from_secs\((\d+)\)", (ROOT / "crates/web/src/serve.rs").read_text())
    return int(requests[1]) + int(denials[1]) + 10


class CommandLines:
    """Command lines of `sheaf` and the environment they get, tried on the program where there is one."""

    def __init__(self, program):
        self.program = program
        self.lines = []

    def add(self, where, arguments, names=()):
        self.lines.append((where, list(arguments), set(names)))

    def problems(self):
        """A wrong flag or value is refused before --help is answered; the help names each variable that the command reads."""
        for where, arguments, names in self.lines:
            code, text = run(self.program, *arguments, "--help")
            if code:
                yield f"{where}: sheaf {' '.join(arguments)}: {text.strip()}"
            known = set(re.findall(r"\[env: ([A-Z0-9_]+)", text)) | {"SHEAF_LOG"}
            yield from unknown((name for name in names if name.startswith("SHEAF_")), known, f"{where}: sheaf {arguments[0]}")
