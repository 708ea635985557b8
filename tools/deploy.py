#!/usr/bin/env python3
"""Checks the recipes of deploy/ against the program, and by the tools that will read them, as far
as they are here.

    python3 tools/deploy.py             PQ is the binary, target/release/pq without it

Always: every option that a recipe names is one of the command's, and every metric of the board is
one that the program has. Where there is the tool: units by systemd-analyze, haproxy.cfg by haproxy,
manifests by the schemas of Kubernetes (PyPI's kubernetes-validate). Exit code 1 if anything is
wrong; what could not be checked is said."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
PQ = str(Path(os.environ.get("PQ", ROOT / "target/release/pq")).resolve())
COMMANDS = {
    "serve": ["pq.service", "Containerfile", "kubernetes/serve.yaml"],
    "infer": ["slurm-array.sh", "kubernetes/infer.yaml"],
}
# Options of other commands in the comments and scripts of recipes.
FOREIGN = {"--array", "--from-file", "--for", "--timeout", "--output", "--requeue", "--job-name"}
FOREIGN |= {"--release", "--locked", "--bin", "--from", "--system", "--home-dir", "--now"}


def output(*command):
    """Whether a command succeeds, and what it prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stdout + done.stderr


def wrong_options():
    for command, files in COMMANDS.items():
        ok, help_text = output(PQ, command, "--help")
        if not ok:
            yield f"{PQ} {command} --help fails: {help_text}"
            continue
        known = set(re.findall(r"--[a-z][\w-]*", help_text)) | FOREIGN
        for file in files:
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", (DEPLOY / file).read_text()):
                if option not in known:
                    yield f"deploy/{file}: pq {command} has no {option}"


def wrong_metrics():
    board = json.loads((DEPLOY / "grafana.json").read_text())
    code = (ROOT / "src/serve/metrics.rs").read_text()
    for panel in board["panels"]:
        if not panel["targets"]:
            yield f"deploy/grafana.json: {panel['title']} shows nothing"
        for target in panel["targets"]:
            for name in re.findall(r"\bpq_\w+", target["expr"]):
                if f'"{name}"' not in code:
                    yield f"deploy/grafana.json: there is no metric {name}"


def wrong_unit():
    # The program is not installed where this runs: the unit names one that is.
    text = (DEPLOY / "pq.service").read_text().replace("/usr/bin/pq ", f"{sys.executable} ")
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / "pq.service"
        unit.write_text(text)
        ok, said = output("systemd-analyze", "verify", unit)
    if not ok or said.strip():
        yield f"deploy/pq.service: {said}"


def wrong_balancer():
    ok, said = output("haproxy", "-c", "-f", DEPLOY / "haproxy.cfg")
    if not ok:
        yield f"deploy/haproxy.cfg: {said}"


def wrong_manifests():
    import kubernetes_validate
    import yaml

    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            try:
                kubernetes_validate.validate(manifest, "1.37", strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{path.relative_to(ROOT)}: {error}"


def main():
    wrong = [*wrong_options(), *wrong_metrics()]
    checks = {
        "systemd-analyze": wrong_unit,
        "haproxy": wrong_balancer,
    }
    for tool, check in checks.items():
        if shutil.which(tool):
            wrong += check()
        else:
            print(f"not checked: {tool} is not here")
    if importlib.util.find_spec("kubernetes_validate"):
        wrong += wrong_manifests()
    else:
        print("not checked: kubernetes-validate is not here (pip install kubernetes-validate)")
    print(*wrong, sep="\n") if wrong else print("deploy: recipes fit the program")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
