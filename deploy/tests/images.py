"""The images: their Dockerfiles, their scripts, and the settings of the nodes."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import tomllib
from pathlib import Path

from common import DEPLOY, ROOT, VENV, complaints, run, settings, unknown

DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "postgres/Dockerfile"]
SCRIPTS = [
    *sorted((DEPLOY / "image").iterdir()),
    DEPLOY / "postgres/sheaf-node",
    DEPLOY / "postgres/sheaf-introduce",
    *sorted((DEPLOY / "compose").glob("*.sh")),
]


def dockerfiles(report, commands):
    report.check(
        "images: hadolint",
        [line for file in DOCKERFILES for line in complaints(VENV / "hadolint", "--failure-threshold", "style", file)],
    )
    report.check("images: what they build", built())
    text = (DEPLOY / "Dockerfile").read_text()
    names = re.findall(r"\b((?:SHEAF|AWS|OTEL)_[A-Z0-9_]+)=", text)
    report.check("images: settings exist", unknown(names, settings(), "deploy/Dockerfile"))
    serve = re.search(r"^CMD (\[.*\])$", text, re.M)
    commands.add("deploy/Dockerfile", json.loads(serve[1])[1:], names)
    report.check("images: settings in files", file_settings())


def built():
    """The profile and the features exist, and the context holds what is copied and every member of the workspace."""
    text = (DEPLOY / "Dockerfile").read_text()
    build = re.search(r"--profile (\S+) -p sheaf --no-default-features --features (\S+)", text)
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())
    if build[1] not in workspace["profile"]:
        yield f"Cargo.toml has no profile {build[1]}"
    features = tomllib.loads((ROOT / "crates/sheaf/Cargo.toml").read_text()).get("features", {})
    yield from (f"crates/sheaf has no feature {name}" for name in build[2].split(",") if name not in features)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for member in workspace["workspace"]["members"]:
        if member.split("/")[0] not in allowed:
            yield f".dockerignore keeps out {member}"
    for file in DOCKERFILES:
        context = ROOT if file == DOCKERFILES[0] else file.parent
        for copied in re.findall(r"^COPY (?:--chmod=\S+ )?((?:[^-\s]\S* )+)\S+$", file.read_text(), re.M):
            for source in copied.split():
                if not (context / source).exists():
                    yield f"{file.relative_to(ROOT)}: nothing to copy: {source}"
    for image in re.findall(r"^FROM (\S+)", text, re.M):
        if not re.search(r":\S+@sha256:[0-9a-f]{64}$", image):
            yield f"deploy/Dockerfile: {image} is not pinned by digest"


def entrypoint_names():
    """Settings that may lie in a file."""
    return set(re.search(r"^for name in (.*); do$", (DEPLOY / "image/sheaf-entrypoint").read_text(), re.M)[1].split())


def file_settings():
    yield from unknown(entrypoint_names(), settings(), "sheaf-entrypoint")
    with tempfile.TemporaryDirectory() as directory:
        secret = Path(directory, "secret")
        secret.write_text("a b'\"$x\n")
        entrypoint = DEPLOY / "image/sheaf-entrypoint"
        told = ["sh", "-c", 'printf "%s|%s" "$SHEAF_ADMIN_KEY" "${SHEAF_ADMIN_KEY_FILE-unset}"']
        code, text = run(entrypoint, *told, env={**os.environ, "SHEAF_ADMIN_KEY_FILE": str(secret)})
        if (code, text) != (0, "a b'\"$x|unset"):
            yield f"sheaf-entrypoint: a file's content became {text!r}"
        code, text = run(entrypoint, "true", env={**os.environ, "SHEAF_ADMIN_KEY_FILE": f"{directory}/none"})
        if not code or "SHEAF_ADMIN_KEY_FILE" not in text:
            yield f"sheaf-entrypoint: a missing file goes unnoticed: {text!r}"


def scripts(report, commands):
    report.check("scripts: shellcheck", complaints(VENV / "shellcheck", "--severity=style", *SCRIPTS))
    report.check("scripts: the health check", healthcheck())
    with tempfile.TemporaryDirectory() as directory:
        report.check("scripts: the scheduler", scheduler(Path(directory)))
    with tempfile.TemporaryDirectory() as directory:
        report.check("scripts: joining workers", join(Path(directory)))
    with tempfile.TemporaryDirectory() as directory:
        report.check("scripts: the nodes' password file", node(Path(directory)))
    jobs = re.findall(r'^ *job (\w+) .*?" sheaf (.*)$', (DEPLOY / "compose/scheduler.sh").read_text(), re.M)
    defaults = {'"$grace"': "24h", '"${VERIFY_RATE:-50MiB}"': "50MiB"}
    for name, line in jobs:
        commands.add(f"scheduler.sh, {name}", [defaults.get(part, part) for part in line.split()])
    commands.add("join.sh", ["cluster", "add-node", "worker-1", "5432"])


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 503)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def healthcheck():
    check = DEPLOY / "image/sheaf-healthcheck"
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        environment = {**os.environ, "SHEAF_LISTEN": f"0.0.0.0:{port}"}
        code, text = run(check, env=environment)
        if code:
            yield f"an API that is ready is said not to be: {text!r}"
        code, text = run(check, f"127.0.0.1:{port}", "/not-ready", env=environment)
        if not code or "503" not in text:
            yield f"an API that is not ready is said to be: {text!r}"
        server.shutdown()
    code, _ = run(check, env=environment)
    if not code:
        yield "an API that does not run is said to be ready"


def stub(directory, text, name="sheaf"):
    """A program that does what `text` says, first on PATH."""
    program = directory / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "STATE_DIR": str(directory)}


def scheduler(directory):
    script, log = DEPLOY / "compose/scheduler.sh", directory / "log"
    environment = stub(directory, f'echo "$*" >> {log}; [ "$2" != gc ] || [ -e {directory}/well ]')
    log.touch()
    code, _ = run(script, "--once", env=environment)
    first = log.read_text().splitlines()
    expected = [
        "tier run",
        "archive compact",
        "archive erase --grace 24h",
        "archive gc --grace 24h",
        "archive verify --rate 50MiB",
    ]
    if first != expected or code != 1:
        yield f"the first round, with a gc that fails, exited with {code} and ran {first}"
    run(script, "--once", env=environment)
    if log.read_text().splitlines() != first:
        yield "what is not due runs again, or a failed job before its time"
    (directory / "well").touch()
    code, _ = run(script, "--once", env={**environment, "RETRY_AFTER": "0"})
    if log.read_text().splitlines() != [*first, "archive gc --grace 24h"] or code:
        yield f"the job that had failed is not tried again alone ({code})"
    code, _ = run(
        script, "--once", env={**environment, "TIER_EVERY": "0", "RETRY_AFTER": "0", "GC_EVERY": "0", "VERIFY_EVERY": "0"}
    )
    if log.read_text().splitlines()[len(first) + 1 :] or code:
        yield "a job that is switched off runs"
    yield from scheduler_stops(directory)


def scheduler_stops(directory):
    """SIGTERM reaches the job that runs, and ends the scheduler once that one has ended."""
    running, ended = directory / "running", directory / "ended"
    environment = stub(directory, f"trap 'touch {ended}; exit 1' TERM; touch {running}; while :; do sleep 0.05; done")
    environment["TIER_EVERY"] = "1"
    (directory / "tier.done").unlink(missing_ok=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([DEPLOY / "compose/scheduler.sh"], env=environment, start_new_session=True, **quiet)
    try:
        deadline = time.monotonic() + 20
        while not running.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        yield "SIGTERM does not end the scheduler"
    finally:
        # With the job, if it is still there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if not ended.exists():
        yield "SIGTERM did not reach the job"
    if (directory / "tier.failed").exists():
        yield "a job that was stopped counts as failed"


def join(directory):
    phrase = "is in the cluster already"
    if phrase not in (ROOT / "crates/cluster/src/admin/nodes.rs").read_text():
        yield f"join.sh waits for words that `sheaf cluster add-node` does not say: {phrase}"
    script = DEPLOY / "compose/join.sh"
    log = directory / "log"
    known = f'echo "$*" >> {log}; [ "$3" != worker-1 ] || {{ echo "sheaf: worker-1:5432 {phrase}" >&2; exit 1; }}'
    code, text = run(script, "worker-1", "worker-2", env=stub(directory, known))
    if code or log.read_text().splitlines() != [f"cluster add-node {name} 5432" for name in ("worker-1", "worker-2")]:
        yield f"a worker that is in already stops the others: {text!r}"
    code, _ = run(script, "worker-1", "worker-2", env=stub(directory, 'echo "sheaf: no" >&2; exit 1'))
    if not code:
        yield "a worker that is refused goes unnoticed"


def node(directory):
    """Both logins, escaped as libpq wants it, for nobody else to read; then the base image's own entrypoint."""
    stub(directory, "true", "chown")
    environment = stub(directory, 'echo "$PGPASSFILE $*"', "docker-entrypoint.sh")
    passfile = directory / "pgpass"
    for name, password in (("POSTGRES_PASSWORD_FILE", "a:b\\c"), ("API_PASSWORD_FILE", "d")):
        (directory / name).write_text(password)
        environment[name] = str(directory / name)
    code, text = run(DEPLOY / "postgres/sheaf-node", "postgres", "-c", "a=b", env={**environment, "PGPASSFILE": str(passfile)})
    if (code, text) != (0, f"{passfile} postgres -c a=b -c citus.local_hostname={socket.gethostname()}\n"):
        yield f"the base image's entrypoint got {text!r}"
    if passfile.read_text() != "*:*:*:sheaf:a\\:b\\\\c\n*:*:*:sheaf_app:d\n" or stat.S_IMODE(passfile.stat().st_mode) != 0o600:
        yield f"the password file is {passfile.read_text()!r}"


def node_settings(report):
    """postgresql.conf has what docs/operations.md asks for."""
    text = (DEPLOY / "postgres/postgresql.conf").read_text()
    has = dict(re.findall(r"^([a-z_.]+) = (.*)$", text, re.M))
    section = (ROOT / "docs/operations.md").read_text().split("## What every node needs")[1].split("\n## ")[0]
    asked = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)(?: = [^`]*)?`", section.split("\n\n")[1]))
    asked -= {"add-node", "status", "citus", "pg_hba.conf", "pg_dist_authinfo", "localhost"}
    # By the Dockerfile, where the server knows it; and by the node at its start.
    elsewhere = {"output_plugin_libraries": "Dockerfile", "citus.local_hostname": "sheaf-node"}
    problems = [f"docs/operations.md asks for {name}" for name in sorted(asked - set(has) - set(elsewhere))]
    problems += [f"{name} is not added" for name, file in elsewhere.items() if name not in (DEPLOY / "postgres" / file).read_text()]
    problems += ["Citus is not the first library"] if not has["shared_preload_libraries"].startswith("'citus") else []
    moves = ("max_wal_senders", "max_replication_slots", "max_logical_replication_workers", "max_worker_processes")
    room = re.search(r"`max_worker_processes` with room \(([\d, ]+)\)", section)[1].split(", ")
    problems += [f"{name} is less than {least}" for name, least in zip(moves, room, strict=True) if int(has[name]) < int(least)]
    report.check("nodes: the settings of docs/operations.md", problems)
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    postgres = shutil.which("postgres") or next(iter(installed), None)
    if not postgres:
        return report.skip("nodes: PostgreSQL takes the settings", "there is no postgres here")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "conf.d").mkdir()
        file = Path(directory, "postgresql.conf")
        file.write_text(text)
        Path(directory, "postgresql.auto.conf").touch()
        code, answer = run(postgres, "-C", "max_locks_per_transaction", "-D", directory, "-c", f"config_file={file}")
        report.check("nodes: PostgreSQL takes the settings", [] if (code, answer) == (0, "512\n") else [answer.strip()])
