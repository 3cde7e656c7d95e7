#!/usr/bin/env python3
"""The software bill of materials of the program `sheaf`, from `cargo tree`, `cargo metadata` and Cargo.lock (`make sbom`).

Writes two files into the directory that is named:

    sheaf.cdx.json             CycloneDX 1.5: each crate with its version, checksum, licence and what it depends on
    third-party-licenses.txt   each licence or notice file of these crates once, under the crates that carry it

It needs Python 3.11 and nothing else, and writes the same bytes for the same commit. Crates that only run
while others are compiled have the scope `excluded`; crates that only tests use are left out.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "sheaf"
LEGAL = re.compile(r"^(licen[cs]e|copying|notice|copyright|unlicense|authors)", re.IGNORECASE)


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def cargo(*arguments):
    return run(os.environ.get("CARGO", "cargo"), *arguments)


def build_target():
    host = re.search(r"^host: (.+)$", run("rustc", "-vV"), re.MULTILINE).group(1)
    return os.environ.get("SBOM_TARGET", host)


def tree(target, edges):
    """The names and versions of what the program depends on by these edges. `cargo metadata` alone would have crates that
    only a feature or a test of another package asks for."""
    lines = cargo(
        "tree", "--locked", "-p", PROGRAM, "--target", target, "-e", edges, "--prefix", "none", "-f", "{p}"
    ).splitlines()
    return {(words[0], words[1].removeprefix("v")) for words in map(str.split, lines) if len(words) > 1}


def spdx(license):
    """Cargo once allowed `A/B` for a choice of licences; SPDX writes `A OR B`."""
    return re.sub(r"\s*/\s*", " OR ", license)


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, scope, checksums):
    key = (package["name"], package["version"])
    found = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "description": (package["description"] or "").strip(),
        "scope": scope,
        "purl": purl(package),
    }
    if package["license"]:
        found["licenses"] = [{"expression": spdx(package["license"])}]
    if key in checksums:
        found["hashes"] = [{"alg": "SHA-256", "content": checksums[key]}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def bill(packages, nodes, root, target):
    lock = (ROOT / "Cargo.lock").read_bytes()
    entries = tomllib.loads(lock.decode())["package"]
    checksums = {(e["name"], e["version"]): e["checksum"] for e in entries if "checksum" in e}
    linked = tree(target, "normal,no-proc-macro")
    needed = linked | tree(target, "normal,build")
    found = {id: (package["name"], package["version"]) for id, package in packages.items()}
    others = sorted((id for id in found if id != root and found[id] in needed), key=lambda id: purl(packages[id]))
    ids = {root, *others}
    program = component(packages[root], "required", checksums) | {"type": "application"}
    edges = [
        {
            "ref": purl(packages[id]),
            "dependsOn": sorted(
                purl(packages[d["pkg"]])
                for d in nodes[id]["deps"]
                if d["pkg"] in ids and any(kind["kind"] != "dev" for kind in d["dep_kinds"])
            ),
        }
        for id in [root, *others]
    ]
    scopes = [(packages[id], "required" if found[id] in linked else "excluded") for id in others]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(lock).hexdigest() + target)}",
        "version": 1,
        "metadata": {
            "timestamp": run("git", "log", "-1", "--format=%cI").strip(),
            "component": program,
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": [component(package, scope, checksums) for package, scope in scopes],
        "dependencies": edges,
    }, [package for package, scope in scopes if scope == "required"]


def licence_texts(packages):
    """Each text once, with the crates that carry it; then the crates that carry none."""
    texts, bare = {}, []
    for package in packages:
        if package["source"] is None:
            continue
        name = f"{package['name']} {package['version']} ({spdx(package['license'] or 'no licence named')})"
        folder = Path(package["manifest_path"]).parent
        files = sorted(f for f in folder.iterdir() if f.is_file() and LEGAL.match(f.name))
        for file in files:
            text = file.read_text(encoding="utf-8", errors="replace").strip()
            texts.setdefault(text, []).append(name)
        if not files:
            bare.append(name)
    parts = ["\n".join([*names, "", text]) for text, names in sorted(texts.items(), key=lambda entry: entry[1])]
    if bare:
        parts.append("\n".join(["These crates name their licence and carry no file with its text:", *bare]))
    return ("\n\n" + "=" * 100 + "\n\n").join(parts) + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: sbom.py DIRECTORY")
    target = build_target()
    found = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--filter-platform", target))
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    root = next(id for id in found["workspace_members"] if packages[id]["name"] == PROGRAM)
    document, shipped = bill(packages, nodes, root, target)
    unlicensed = [c["purl"] for c in document["components"] if "licenses" not in c]
    if unlicensed:
        sys.exit(f"no licence is named by: {', '.join(unlicensed)}")
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sheaf.cdx.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (directory / "third-party-licenses.txt").write_text(licence_texts(shipped))
    print(f"{len(document['components'])} components, {len(shipped)} of them linked into the program, for {target}: {directory}/")


if __name__ == "__main__":
    main()
