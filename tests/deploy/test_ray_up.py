"""`ray up` with the shipped file, over sshd on two hosts, of which each has processes and a home of root of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from events import LONGEST_SECONDS
from hosts import ROOT, Hosts, hosts_up

from results.table import ResultsTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

PAGE = (ROOT / "docs" / "clusters" / "ray-up.md").read_text()
SSHD = "/usr/sbin/sshd"
ENVIRONMENT = "gan-sweep-env"  # where the shipped file installs the package
SSHD_CONFIG = """\
HostKey {key}
AuthorizedKeysFile {key}.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
"""


def run(hosts: Hosts, *command: str | Path, seconds: float = 300, **options: Any) -> str:
    done = hosts.run(0, *command, seconds=seconds, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def programs(hosts: Hosts, host: int) -> set[str]:
    """The names of the programs that run on a host."""
    found = [Path(f"/proc/{pid}/comm") for pid in hosts.pids(host)]
    return {path.read_text().strip() for path in found if path.exists()}


@pytest.fixture
def machines() -> Iterator[Hosts]:
    """Host 0 is where `ray up` is typed; hosts 1 and 2 run sshd."""
    missing = [program for program in (SSHD, "ssh", "ssh-keygen", "rsync") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {missing[0]} here: install openssh-server, openssh-client and rsync")
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, of which it asks that it is there
    with hosts_up(3) as hosts:
        home = hosts.folder / "node0" / "home"
        (home / ".ssh").mkdir(mode=0o700)
        key = home / ".ssh" / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        (hosts.folder / "sshd_config").write_text(SSHD_CONFIG.format(key=key))
        programs = hosts.folder / "bin"
        programs.mkdir()
        for name, module in (("ray", "ray.scripts.scripts"), ("gan-sweep", "sweep")):
            text = f'#!/bin/sh\nexport PYTHONPATH={ROOT}\nexec {sys.executable} -m {module} "$@"\n'
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        for host in (1, 2):
            hosts.run(host, "ip", "route", "add", "default", "via", hosts.address(0))  # by which Ray finds its address
            own = hosts.folder / f"node{host}"  # root's home is another on each host
            (own / "passwd").write_text(Path("/etc/passwd").read_text().replace(":/root:", f":{own}/home:"))
            (own / "home" / ".bashrc").touch()
            inside = f"mount --bind {own}/passwd /etc/passwd && exec unshare --pid --fork --mount-proc "
            inside += f"{SSHD} -D -e -f {hosts.folder}/sshd_config"
            with (hosts.folder / f"sshd{host}.log").open("w") as log:
                hosts.start(host, "sh", "-c", inside, stdout=log, stderr=log)
        yield hosts


def cluster_file(hosts: Hosts) -> Path:
    """The shipped file with the addresses, the user, the key and the environment of these hosts."""
    config = yaml.safe_load((ROOT / "deploy" / "ray-up" / "local.yaml").read_text())
    config["provider"] |= {"head_ip": hosts.address(1), "worker_ips": [hosts.address(2)]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": f"{hosts.folder}/node0/home/.ssh/id_ed25519"}
    installed = [command for command in config["setup_commands"] if ENVIRONMENT in command]
    assert [command.split()[1:3] for command in installed] == [["-m", "venv"], ["install", "--quiet"]]
    config["setup_commands"] = [command for command in config["setup_commands"] if command not in installed]
    config["setup_commands"] += [f"mkdir -p ~/{ENVIRONMENT}", f"ln -sfn {hosts.folder}/bin ~/{ENVIRONMENT}/bin"]
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):  # this machine may be busy
        config[key] = [f"export RAY_raylet_start_wait_time_s=120; {command}" for command in config[key]]
    file = hosts.folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_ray_up_starts_a_cluster_of_machines_by_ssh_and_a_sweep_runs_there(machines, tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    (checkout / "runs").mkdir()
    ray, file = machines.folder / "bin" / "ray", cluster_file(machines)
    run(machines, ray, "get-auth-token", "--generate")
    run(machines, "sh", "-c", f"cd {checkout} && exec {ray} up -y {file}")
    homes = [machines.folder / f"node{host}" / "home" for host in (1, 2)]
    status = f"RAY_AUTH_MODE=token ~/{ENVIRONMENT}/bin/ray status"
    deadline = time.monotonic() + 3 * LONGEST_SECONDS
    while "0.0/4.0 CPU" not in (said := run(machines, ray, "exec", file, status)) and os.cpu_count() == 2:
        assert time.monotonic() < deadline, said
        time.sleep(1)
    for home in homes:
        assert (home / "gan-sweep" / "pyproject.toml").exists()
        assert not (home / "gan-sweep" / "runs").exists()
        assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    settings = "execution=replayed ladder.rungs_images=[64000] lanes_per_cohort=2"
    sweep = f"~/{ENVIRONMENT}/bin/gan-sweep run digits --trials 6 --address auto --out {tmp_path}/run "
    sweep += " ".join(f"--set {each}" for each in settings.split())
    run(machines, ray, "exec", file, f"RAY_AUTH_MODE=token {sweep}", seconds=600)
    table = ResultsTable.load(tmp_path / "run")
    assert (sorted(table.trials["trial"]), set(table.trials["outcome"])) == (list(range(6)), {"completed"})
    assert {host for host in (1, 2) if "raylet" in programs(machines, host)} == {1, 2}
    assert "\nray exec cluster.yaml '~/gan-sweep-env/bin/ray stop'\nray down -y cluster.yaml\n" in PAGE
    run(machines, ray, "exec", file, f"~/{ENVIRONMENT}/bin/ray stop")
    assert not {"raylet", "gcs_server"} & programs(machines, 1)
    run(machines, ray, "down", "-y", file)
    deadline = time.monotonic() + 5 * LONGEST_SECONDS
    while "raylet" in programs(machines, 2):  # which has lost its head
        assert time.monotonic() < deadline, "Ray goes on after its head was stopped"
        time.sleep(0.5)
