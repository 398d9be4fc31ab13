"""The commands of the section "Your own machines" of docs/clusters.md, as they stand there, on two hosts that share
nothing but the installed package. The hosts' own environment is activated as that of the page.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest
from hosts import ROOT, Hosts, hosts_up

from results.table import ResultsTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = (ROOT / "docs" / "clusters.md").read_text()
BLOCKS = re.findall(r"<!-- on (the first|each other) machine -->\n\n```sh\n(.*?)```", PAGE, re.DOTALL)
TINY = " --set execution=replayed --set ladder.rungs_images=[64000] --set lanes_per_cohort=2"


def installed(hosts: Hosts, host: int) -> Path:
    """Makes the environment of the page in the home of a host, and returns the home."""
    home = hosts.folder / f"node{host}" / "home"
    (home / "gan-sweep-env" / "bin").mkdir(parents=True)
    for name, module in (("ray", "ray.scripts.scripts"), ("gan-sweep", "sweep")):
        program = home / "gan-sweep-env" / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        program.chmod(0o755)
    (home / "gan-sweep-env" / "bin" / "activate").write_text(f"PATH={home}/gan-sweep-env/bin:$PATH\n")
    return home


def typed(hosts: Hosts, host: int, commands: str) -> str:
    done = hosts.run(host, "bash", "-c", f"set -e; cd ~; {commands}", seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_leads_from_nothing_to_a_table_on_two_hosts():
    assert [place for place, _ in BLOCKS] == ["the first", "each other", "the first"]
    head, other, sweep = (commands for _, commands in BLOCKS)
    with hosts_up(2) as hosts:
        homes = [installed(hosts, host) for host in (0, 1)]
        assert f"--address='{hosts.ray}'" in typed(hosts, 0, head)
        (homes[1] / ".ray").mkdir(exist_ok=True)
        shutil.copy(homes[0] / ".ray" / "auth_token", homes[1] / ".ray")
        typed(hosts, 1, other.replace("10.0.0.1:6379", hosts.ray))
        environment = head.partition("ray get-auth-token")[0]  # the same shell
        said = typed(hosts, 0, environment + sweep.replace(" --trials 8", f" --trials 8{TINY}"))
        assert "token: a token is asked for, and the one here is accepted" in said
        assert {"node0", "node1"} <= set(re.findall(r"^node (node\d)\b", said, re.MULTILINE))
        table = ResultsTable.load(homes[0] / "runs" / "first")
        assert (sorted(table.trials["trial"]), set(table.trials["outcome"])) == (list(range(8)), {"completed"})
        assert not (homes[1] / "runs").exists()
        for host in (0, 1):
            typed(hosts, host, f"{environment}ray stop")
