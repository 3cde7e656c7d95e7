"""compose.yaml: the specification's schema, and what a schema cannot know."""

import os
import re
import stat
import tempfile
from pathlib import Path

import yaml

from common import DEPLOY, VENV, complaints, run, seconds, settings, shutdown, unknown
from images import entrypoint_names

FILE = DEPLOY / "compose.yaml"


def check(report, commands):
    report.check(
        "compose: the specification's schema",
        complaints(VENV / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE),
    )
    compose = yaml.safe_load(FILE.read_text())
    services = compose["services"]
    report.check("compose: settings exist", names(services, commands))
    report.check("compose: secrets, volumes and networks are declared", references(compose))
    report.check("compose: what waits for what", dependencies(services))
    report.check("compose: limits, pins, ports", bounds(services))
    report.check("compose: variables have defaults and are in .env.example", variables())
    report.check("compose: make-secrets.sh makes what is asked for", secrets(compose))
    report.check("compose: Prometheus and Grafana find what they look for", monitoring(report, services))


def ours(service):
    return service["image"].startswith("sheaf:")


def environment(service):
    """Names as the program sees them."""
    given = service.get("environment", {})
    return {name.removesuffix("_FILE") if name.removesuffix("_FILE") in entrypoint_names() else name for name in given}


def names(services, commands):
    scheduler = (DEPLOY / "compose/scheduler.sh").read_text()
    own = set(re.findall(r"\$\{([A-Z_]+):-", scheduler))
    for name, service in services.items():
        if not ours(service):
            continue
        given = environment(service)
        yield from unknown(given, settings() | (own if name == "scheduler" else set()), f"service {name}")
        command = service.get("command", ["sheaf", "serve"])
        if command[0] == "sheaf":
            commands.add(f"compose.yaml, {name}", command[1:], given)


def references(compose):
    declared = {kind: set(compose[kind]) for kind in ("secrets", "volumes", "networks")}
    used = {kind: set() for kind in declared}
    for name, service in compose["services"].items():
        used["networks"] |= set(service["networks"])
        used["secrets"] |= set(service.get("secrets", []))
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                # Without deploy/monitoring nothing of it can be looked for.
                inside = source.startswith("./monitoring/") and not (DEPLOY / "monitoring").exists()
                if not inside and not (DEPLOY / source).exists():
                    yield f"service {name}: {source} is not there"
            else:
                used["volumes"].add(source)
        for variable, value in service.get("environment", {}).items():
            secret = str(value).removeprefix("/run/secrets/")
            if variable.endswith("_FILE") and secret not in service.get("secrets", []):
                yield f"service {name}: {variable}: the service does not get {secret}"
            if re.search(r"PASSWORD|SECRET|_KEY|TOKEN|DATABASE_URL", variable) and not variable.endswith("_FILE"):
                yield f"service {name}: {variable} is a secret and lies in the file"
    for kind in declared:
        yield from (f"{kind}: {item} is not declared" for item in used[kind] - declared[kind])
        yield from (f"{kind}: {item} is not used" for item in declared[kind] - used[kind])


def dependencies(services):
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if other not in services:
                yield f"service {name} waits for {other}, which is none"
                continue
            target = services[other]
            once = target.get("restart") == "no"
            if (how["condition"] == "service_completed_successfully") != once:
                yield f"service {name}: {other} {'ends' if once else 'does not end'}"
            checked = "healthcheck" in target or target.get("build", {}).get("context") == "postgres"
            if how["condition"] == "service_healthy" and not checked:
                yield f"service {name}: {other} has no health check"


def bounds(services):
    for name, service in services.items():
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        if not {"cpus", "memory"} <= set(limits):
            yield f"service {name} has no limit of CPU and memory"
        if "build" not in service and not re.search(r":\S+@sha256:[0-9a-f]{64}$", service["image"]):
            yield f"service {name}: {service['image']} is not pinned by digest"
        for port in service.get("ports", []):
            if not port.startswith("${BIND_ADDRESS:-127.0.0.1}:"):
                yield f"service {name}: {port} is published to everybody"
            if port.endswith(":9464"):
                yield f"service {name} publishes /metrics, which takes no credential"
        if service.get("cap_drop") != ["ALL"] or not service.get("read_only"):
            yield f"service {name} keeps rights that it does not need"
    if seconds(services["api"]["stop_grace_period"]) < shutdown():
        yield f"service api: stop_grace_period is less than the server's {shutdown()} s"
    if services["api"]["healthcheck"]["test"] != ["CMD", "sheaf-healthcheck"]:
        yield "service api: its health check is not /readyz"


def variables():
    text = FILE.read_text()
    example = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.M))
    used = set(re.findall(r"\$\{([A-Z_]+)", text))
    yield from (f"{name} has no default" for name in set(re.findall(r"\$\{([A-Z_]+)\}", text)))
    yield from (f"{name} is not in .env.example" for name in used - example)
    yield from (f".env.example: nothing reads {name}" for name in example - used)


def secrets(compose):
    files = [secret["file"] for secret in compose["secrets"].values()]
    files += [file["path"] for service in compose["services"].values() for file in service.get("env_file", [])]
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory, "secrets")
        make = DEPLOY / "compose/make-secrets.sh"
        yield from complaints(make, made)
        first = {file.name: file.read_text() for file in made.iterdir()}
        yield from (f"{file} is not made" for file in files if Path(file).name not in first)
        yield from (f"{name} is used by nobody" for name in first if f"secrets/{name}" not in files)
        if stat.S_IMODE(made.stat().st_mode) != 0o700:
            yield "others on the machine can look into the directory"
        yield from (f"{file.name} cannot be read by a container" for file in made.iterdir() if not file.stat().st_mode & 0o004)
        yield from (f"{name} is short" for name, text in first.items() if len(text) < 26)
        run(make, made, env={**os.environ})
        if first != {file.name: file.read_text() for file in made.iterdir()}:
            yield "a second run changes secrets"
        for url, password in (("database_url", "postgres_password"), ("api_database_url", "api_password")):
            if f":{first[password]}@coordinator:5432/sheaf" not in first[url]:
                yield f"{url} does not hold {password}"


def monitoring(report, services):
    directory = DEPLOY / "monitoring"
    if not directory.exists():
        report.skip("compose: what deploy/monitoring refers to", "deploy/monitoring is not there")
        return
    prometheus = yaml.safe_load((directory / "prometheus.yml").read_text())
    ports = {
        "api": services["api"]["environment"]["SHEAF_METRICS_LISTEN"].split(":")[1],
        "prometheus": "9090",
        "localhost": "9090",
    }
    for job in prometheus["scrape_configs"]:
        for target in (target for group in job["static_configs"] for target in group["targets"]):
            host, port = target.split(":")
            if ports.get(host) != port:
                yield f"prometheus.yml: nothing answers at {target}"
    yield from (
        f"prometheus.yml: {file} is not mounted" for file in prometheus.get("rule_files", []) if Path(file).name != "alerts.yml"
    )
    for file in (directory / "grafana/provisioning/datasources").glob("*.yaml"):
        for source in yaml.safe_load(file.read_text())["datasources"]:
            if source["url"] != "http://prometheus:9090":
                yield f"{file.name}: nothing answers at {source['url']}"
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    for file in (directory / "grafana/provisioning/dashboards").glob("*.yaml"):
        for provider in yaml.safe_load(file.read_text())["providers"]:
            if provider["options"]["path"] not in mounted:
                yield f"{file.name}: {provider['options']['path']} is not mounted"
