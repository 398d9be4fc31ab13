"""The files of `deploy/` are what KubeRay, Ray and pip take: no field is misspelt, and no path is missing."""

import argparse
import copy
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hosts import ROOT
from jsonschema.exceptions import best_match
from ray.runtime_env import RuntimeEnv

from sweep.commands import run
from sweep.spec.sweep_spec import SweepSpec

DEPLOY = ROOT / "deploy"
MANIFEST = DEPLOY / "kuberay" / "gan-sweep.yaml"


def loaded(text: Any) -> list[Any]:
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def closed(schema: Any) -> Any:
    """A schema of Kubernetes as one of JSON that refuses a field it does not name, which Kubernetes drops silently."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    if isinstance(made.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


@pytest.fixture(scope="module")
def ray_job() -> dict[str, Any]:
    """The schema of a RayJob of version v1."""
    packed = Path(__file__).parent / "kuberay_crd" / "ray.io_rayjobs.yaml.gz"
    (definition,) = loaded(gzip.decompress(packed.read_bytes()))
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in definition["spec"]["versions"] if each["name"] == "v1"]
    return closed(schema)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """The objects of the manifest by their kind."""
    return {each["kind"]: each for each in loaded(MANIFEST.read_text())}


def refusal(value: Any, schema: dict[str, Any]) -> str:
    """Why a schema refuses a value, or nothing. The schema itself is not examined, which takes many seconds."""
    error = best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    return "" if error is None else error.message


def pods(job: Any) -> list[Any]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_the_ray_job_has_only_fields_that_kuberay_knows(ray_job, manifest):
    assert refusal(manifest["RayJob"], ray_job) == ""
    for place in (lambda job: job["spec"], lambda job: pods(job)[1], lambda job: pods(job)[0]["containers"][0]):
        wrong = copy.deepcopy(manifest["RayJob"])
        place(wrong)["misspelt"] = {}
        assert "misspelt" in refusal(wrong, ray_job)


def test_the_volume_that_the_pods_mount_is_claimed(ray_job, manifest):
    """The schema of a RayJob has that of a claim too, in a pod's own volumes."""
    group = ray_job["properties"]["spec"]["properties"]["rayClusterSpec"]["properties"]["headGroupSpec"]
    volume = group["properties"]["template"]["properties"]["spec"]["properties"]["volumes"]["items"]["properties"]
    claim = volume["ephemeral"]["properties"]["volumeClaimTemplate"]["properties"]["spec"]
    assert refusal(manifest["PersistentVolumeClaim"]["spec"], claim) == ""
    assert manifest["PersistentVolumeClaim"]["apiVersion"] == manifest["ConfigMap"]["apiVersion"] == "v1"
    for pod in pods(manifest["RayJob"]):
        claimed = {
            kind: each[kind].get("claimName") or each[kind].get("name")
            for each in pod["volumes"]
            for kind in each.keys() - {"name"}
        }
        assert claimed == {
            "persistentVolumeClaim": manifest["PersistentVolumeClaim"]["metadata"]["name"],
            "configMap": manifest["ConfigMap"]["metadata"]["name"],
        }
        (container,) = pod["containers"]
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


def test_the_job_is_safe_from_preemption_and_behind_a_token(manifest):
    spec = manifest["RayJob"]["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec["backoffLimit"] > 0
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["autoscalerOptions"]["version"] == "v2"
    head, *workers = pods(manifest["RayJob"])
    assert not {"nodeSelector", "tolerations"} & head.keys()  # no spot machine
    assert all("spot" in str(worker["nodeSelector"]) for worker in workers)
    images = {container["image"] for pod in (head, *workers) for container in pod["containers"]}
    assert len(images) == 1


def test_the_sweep_of_the_manifest_is_one(manifest, tmp_path):
    (tmp_path / "sweep.yaml").write_text(manifest["ConfigMap"]["data"]["sweep.yaml"])
    assert manifest["RayJob"]["spec"]["entrypoint"] == "bash /mnt/sweep/sweep.sh"
    program, command, *typed = manifest["ConfigMap"]["data"]["sweep.sh"].splitlines()[0].split()
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    options = parser.parse_args(typed)
    assert (program, command, options.spec) == ("gan-sweep", "run", "/mnt/sweep/sweep.yaml")
    assert all("/mnt/shared" in str(path) for path in (options.out, options.data_root))
    (workers,) = manifest["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert SweepSpec.from_yaml(tmp_path / "sweep.yaml").resources.wait_for.gpus == workers["maxReplicas"]


@pytest.mark.parametrize("name", ["local.yaml", "aws.yaml"])
def test_what_ray_up_reads_has_only_fields_that_ray_knows(name):
    schema = json.loads((files("ray.autoscaler") / "ray-schema.json").read_text())
    (config,) = loaded((DEPLOY / "ray-up" / name).read_text())
    assert refusal(config, schema) == ""
    assert "min_worker" in refusal(config | {"min_worker": 1}, schema)
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in command for command in starts if "ray start" in command)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    types = config.get("available_node_types", {})
    assert all(("spot" in name) == ("InstanceMarketOptions" in kind["node_config"]) for name, kind in types.items())


def test_the_environment_of_a_job_is_one_of_rays():
    (made,) = loaded((DEPLOY / "jobs" / "runtime-env.yaml").read_text())
    assert RuntimeEnv(**made).to_dict() == made
    assert {"runs", "data"} <= set(made["excludes"])


def test_the_image_is_built_from_every_package_and_file_that_the_wheel_is():
    docker = (DEPLOY / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*)$", docker, re.MULTILINE) for word in line.split()[:-1]]
    assert [path for path in copied if not (ROOT / path).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {part.removesuffix("*") for part in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert set(copied) == packages | {"pyproject.toml", project["project"]["readme"], "LICENSE"}
    (extra,) = re.findall(r'"/src\[(\w+)\]"', docker)
    assert project["project"]["optional-dependencies"][extra] == ["ray[default]>=2.60,<3"]
    image = f"gan-sweep:{project['project']['version']}"
    texts = [docker, MANIFEST.read_text()]
    assert {found for text in texts for found in re.findall(r"gan-sweep:[\d.]+", text)} == {image}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_step_of_the_image_runs_here(tmp_path):
    """What it copies is enough to install the package, with its commands; the packages of Debian exist; its user can be
    made. The packages that ours needs are those of this interpreter.
    """
    docker = (DEPLOY / "Dockerfile").read_text()
    apt, pip, user = re.findall(r"^RUN (.*)$", docker, re.MULTILINE)
    for line in re.findall(r"^COPY (.*)$", docker, re.MULTILINE):
        *sources, target = line.split()
        for source in (ROOT / name for name in sources):
            place = tmp_path / target.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            if source.is_dir():  # whose content COPY takes
                shutil.copytree(source, place, dirs_exist_ok=True)
            else:
                shutil.copy(source, place)
    ran(sys.executable, "-m", "venv", tmp_path / "venv")
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "here.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    bin_folder = tmp_path / "venv" / "bin"
    install = pip.replace("/src", f"{tmp_path}/src").replace("pip install", f"{bin_folder}/pip install --quiet")
    ran("bash", "-c", f"set -e; {install}")
    assert not (tmp_path / "src").exists()
    held = {str(path.relative_to(packages)) for path in packages.rglob("*")}
    kinds, ours = {".py", ".yaml", ".h"}, ("gan_core", "search_spaces", "sweep", "results")
    sources = {path.relative_to(ROOT) for name in ours for path in (ROOT / name).rglob("*") if path.suffix in kinds}
    assert {str(path) for path in sources} <= held
    assert "gan-sweep" in ran(bin_folder / "gan-sweep", "--version", cwd=tmp_path)
    needed = apt.partition("--no-install-recommends ")[2].partition(" &&")[0].split()
    assert {"gcc", "libc6-dev", "wget"} == set(needed)
    if shutil.which("apt-get"):
        ran("apt-get", "install", "--simulate", "--no-install-recommends", *needed)
    if os.geteuid() == 0:
        (tmp_path / "root" / "etc").mkdir(parents=True)
        (tmp_path / "root" / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (tmp_path / "root" / "etc" / "group").write_text("root:x:0:\n")
        ran(*user.replace("useradd", f"useradd --prefix {tmp_path}/root").split())
        assert (tmp_path / "root" / "home" / "sweep").is_dir()
        assert re.search(r"^sweep:.:1000:", (tmp_path / "root" / "etc" / "passwd").read_text(), re.MULTILINE)


def ran(*command: str | Path, **options: Any) -> str:
    """What a command printed that ended well, outside of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_batch_file_of_slurm_is_one_of_bash():
    text = (DEPLOY / "slurm" / "gan-sweep.sbatch").read_text()
    assert text.startswith("#!/bin/bash\n")
    assert not [line for line in text.splitlines() if re.match(r"\s*(ray stop|.*ray symmetric-run) ", line)]
