"""The Helm chart: lint, render with few values and with all, and look at what comes out."""

import copy
import re
import shutil
import tempfile
import tomllib
from pathlib import Path

import helm_python as helm
import jsonschema
import kubernetes_validate
import yaml

from common import DEPLOY, ROOT, settings, shutdown, unknown

CHART = DEPLOY / "helm/sheaf"
# The oldest that Chart.yaml allows, and the newest that the validator knows.
KUBERNETES = ["1.27", kubernetes_validate.latest_version()]

REQUIRED = {"secrets": {"api": {"name": "sheaf-api"}, "owner": {"name": "sheaf-owner"}}, "s3": {"bucket": "invoices"}}
EVERYTHING = {
    "image": {"repository": "registry.example.com/sheaf", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "secrets": {
        "api": {"name": "sheaf-api", "jwtSecretKey": "SHEAF_JWT_SECRET"},
        "owner": {"name": "sheaf-owner"},
        "s3": {"name": "sheaf-s3"},
    },
    "databaseCA": {"configMap": "sheaf-database-ca"},
    "s3": {
        "bucket": "invoices",
        "endpoint": "https://s3.example.com",
        "storageClass": "STANDARD_IA",
        "objectLock": "governance:90d",
    },
    "config": {"SHEAF_PROXIES": "1", "SHEAF_RATE_LIMIT": "200"},
    "autoscaling": {"enabled": True},
    "serviceAccount": {"annotations": {"example.com/role": "sheaf"}},
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"team": "billing"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "billing", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    ],
    "priorityClassName": "high",
    "service": {"annotations": {"example.com/a": "b"}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"a": "b"},
        "tls": [{"secretName": "tls", "hosts": ["sheaf.example.com"]}],
    },
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}, "prometheusRule": {"enabled": True}},
    "networkPolicy": {"enabled": True},
}
OFF = {
    "metrics": {"enabled": False},
    "migrate": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "serviceAccount": {"create": False},
    "jobs": {name: {"enabled": False} for name in ("tier", "erase", "gc", "compact", "verify")},
}
# What values.schema.json has to refuse, with a word of what it says.
WRONG = [
    ({}, "name"),
    ({"s3": {"bucket": ""}}, "bucket"),
    ({"replicas": 3}, "replicas"),
    ({"config": {"SHEAF_ADMIN_KEY": "in-the-open"}}, "SHEAF_ADMIN_KEY"),
    ({"config": {"SHEAF_RATE_LIMIT": 200}}, "SHEAF_RATE_LIMIT"),
    ({"jobs": {"gc": {"schedule": "daily"}}}, "schedule"),
    ({"gcGrace": "a day"}, "gcGrace"),
    ({"shutdown": {"terminationGracePeriodSeconds": 10}}, "terminationGracePeriodSeconds"),
]
# Of the Prometheus operator's resources only what the chart writes; anything else is a mistake of ours.
TEXT = {"type": "string"}
LABELS = {"type": "object", "additionalProperties": TEXT}


def exactly(required, optional=None):
    properties = {**required, **(optional or {})}
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


RULE = exactly(
    {"expr": TEXT}, {"alert": TEXT, "record": TEXT, "for": TEXT, "keep_firing_for": TEXT, "labels": LABELS, "annotations": LABELS}
)
GROUP = exactly({"name": TEXT, "rules": {"type": "array", "items": RULE}}, {"interval": TEXT})
ENDPOINT = exactly({"port": TEXT, "path": TEXT, "interval": TEXT, "scrapeTimeout": TEXT})
OPERATOR = {
    "PrometheusRule": exactly({"groups": {"type": "array", "minItems": 1, "items": GROUP}}),
    "ServiceMonitor": exactly(
        {"selector": exactly({"matchLabels": LABELS}), "endpoints": {"type": "array", "minItems": 1, "items": ENDPOINT}},
        {"jobLabel": TEXT},
    ),
}


def merged(*layers):
    values = {}
    for layer in layers:
        for key, value in layer.items():
            old = values.get(key)
            values[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else copy.deepcopy(value)
    return values


def check(report, commands):
    if (DEPLOY / "monitoring").exists():
        # files/alerts.yml is a link to its rules, which Helm follows.
        return checks(report, commands, CHART)
    report.skip("helm: deploy/monitoring/alerts.yml as a PrometheusRule", "deploy/monitoring is not there")
    with tempfile.TemporaryDirectory() as directory:
        chart = Path(directory, "sheaf")
        shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("alerts.yml"))
        (chart / "files/alerts.yml").write_text("groups: [{name: none, rules: []}]\n")
        checks(report, commands, chart)


def checks(report, commands, chart):
    variants = {"few values": REQUIRED, "everything on": merged(REQUIRED, EVERYTHING), "everything off": merged(REQUIRED, OFF)}
    rendered = {}
    for name, values in variants.items():
        report.check(f"helm: lint, {name}", lint(chart, values))
        try:
            with helm.Chart.load(chart) as loaded:
                files = loaded.render(values, name="demo", namespace="billing")
        except helm.HelmError as error:
            report.check(f"helm: template, {name}", [error])
            continue
        documents = [
            document
            for file, text in files.items()
            if file.endswith(".yaml")
            for document in yaml.safe_load_all(text)
            if document
        ]
        rendered[name] = documents
        report.check(f"helm: template, {name}", shape(name, files, chart))
        for version in KUBERNETES:
            report.check(f"helm: Kubernetes {version}, {name}", valid(documents, version))
        report.check(
            f"helm: pods, {name}", [problem for document in documents for problem in pods(document, documents, commands)]
        )
    report.check("helm: values that are refused", refused(chart))
    report.check("helm: the version of the workspace", app_version(chart))
    if "everything on" in rendered:
        report.check("helm: the API's end, and who selects whom", relations(rendered["everything on"]))


def lint(chart, values):
    """An icon is the one thing that lint may recommend."""
    told = helm.lint(chart, values, strict=True)
    yield from told["errors"]
    yield from (f"{one['path']}: {one['error']}" for one in told["messages"] if one["error"] != "icon is recommended")


def shape(name, files, chart):
    """With everything on each template gives something; nothing is left unrendered."""
    for file, text in files.items():
        if "<no value>" in text or "%!" in text:
            yield f"{file}: a value is missing"
        if name == "everything on" and not text.strip():
            yield f"{file} is empty with everything on"
    templates = [file for file in (chart / "templates").rglob("*") if file.is_file() and not file.name.startswith("_")]
    if len(files) < len(templates):
        yield f"{len(templates)} templates, {len(files)} rendered"


def valid(documents, version):
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            errors = jsonschema.Draft7Validator(OPERATOR[document["kind"]]).iter_errors(document["spec"])
            yield from (f"{name}: {error.json_path}: {error.message}" for error in errors)
            continue
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{name}: {'.'.join(map(str, error.path))}: {error.message}"


def pod(document):
    kind, spec = document["kind"], document.get("spec", {})
    if kind == "Pod":
        return spec
    if kind == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]["spec"] if kind in ("Deployment", "Job", "CronJob") else None


def pods(document, documents, commands):
    spec = pod(document)
    if spec is None:
        return
    name = f"{document['kind']} {document['metadata']['name']}"
    if not spec["securityContext"]["runAsNonRoot"] or spec["automountServiceAccountToken"]:
        yield f"{name} runs as root or gets a token"
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in spec["containers"]:
        security = container["securityContext"]
        if (
            not security["readOnlyRootFilesystem"]
            or security["allowPrivilegeEscalation"]
            or security["capabilities"] != {"drop": ["ALL"]}
        ):
            yield f"{name} keeps rights that it does not need"
        if "memory" not in container["resources"]["limits"] or "cpu" not in container["resources"]["requests"]:
            yield f"{name} has no limit of memory, or asks for no CPU"
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        if mounts != volumes:
            yield f"{name} mounts {mounts}, of {volumes}"
        names = [variable["name"] for variable in container.get("env", [])]
        yield from (f"{name}: {variable} is there twice" for variable in set(names) if names.count(variable) > 1)
        yield from unknown(names, settings(), name)
        owner = "SHEAF_DATABASE_URL" in names
        if owner != (document["kind"] in ("Job", "CronJob")):
            yield f"{name} {'gets' if owner else 'does not get'} the owner's login"
        if container["command"][0] == "sheaf":
            commands.add(f"chart, {name}", container["command"][1:], names)
    account = spec.get("serviceAccountName")
    accounts = {one["metadata"]["name"] for one in documents if one["kind"] == "ServiceAccount"} | {"default", None}
    if account not in accounts:
        yield f"{name}: there is no service account {account}"
    hook = document["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    if hook.startswith("pre-install") and account != "default":
        yield f"{name} runs before the service account {account} is there"
    if document["kind"] == "CronJob" and document["spec"]["concurrencyPolicy"] != "Forbid":
        yield f"{name} may run twice at once"
    if len(document["metadata"]["name"]) > 52 and document["kind"] == "CronJob":
        yield f"{name}: the name is too long"


def refused(chart):
    for values, word in WRONG:
        # The first is what somebody gets who sets nothing.
        given = merged(REQUIRED, values) if values else {}
        told = "; ".join(
            map(str, helm.lint(chart, given)["errors"] + [one["error"] for one in helm.lint(chart, given)["messages"]])
        )
        if word not in told:
            yield f"{values} goes through: {told}"


def app_version(chart):
    told = yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"]
    have = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    if told != have:
        yield f"Chart.yaml says {told}, Cargo.toml {have}"


def relations(documents):
    by_kind = {}
    for document in documents:
        by_kind.setdefault(document["kind"], []).append(document)
    deployment = by_kind["Deployment"][0]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    others = [
        document["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"].items() for document in by_kind["CronJob"]
    ]
    selectors = {
        "Deployment": deployment["spec"]["selector"]["matchLabels"],
        "PodDisruptionBudget": by_kind["PodDisruptionBudget"][0]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": by_kind["NetworkPolicy"][0]["spec"]["podSelector"]["matchLabels"],
        **{f"Service {one['metadata']['name']}": one["spec"]["selector"] for one in by_kind["Service"]},
    }
    for name, selector in selectors.items():
        if not selector.items() <= labels:
            yield f"{name} does not select the API's pods"
        if any(selector.items() <= other for other in others):
            yield f"{name} selects the jobs' pods as well"
    monitored = by_kind["ServiceMonitor"][0]["spec"]["selector"]["matchLabels"].items()
    services = [one["metadata"]["name"] for one in by_kind["Service"] if monitored <= one["metadata"]["labels"].items()]
    if services != ["demo-sheaf-metrics"]:
        yield f"the service monitor selects {services}"
    spec = deployment["spec"]["template"]["spec"]
    wait = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    if spec["terminationGracePeriodSeconds"] < wait + shutdown():
        yield f"the pod is killed before the server's {shutdown()} s are over"
    probes = {kind: spec["containers"][0][f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    if probes != {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}:
        yield f"probes ask {probes}"
    if "replicas" in deployment["spec"]:
        yield "the deployment fights its autoscaler over replicas"
    graces = {tuple(re.findall(r"'--grace', '(\w+)'", str(pod(one)))) for one in by_kind["CronJob"]} - {()}
    if len(graces) != 1:
        yield f"gc and erasures have different graces: {graces}"
