"""The hosts that other tests use are connected as their methods say, and nothing of them is left."""

import subprocess

import pytest
from hosts import hosts_up

pytestmark = pytest.mark.filterwarnings("ignore")

LISTEN = "import socket; s = socket.create_server(('', 7000)); s.accept()[0].sendall(b'x')"
CALL = "import socket, sys; print(socket.create_connection((sys.argv[1], 7000), 0.5).recv(1).decode())"


def test_hosts_reach_each_other_unless_a_link_is_cut_and_leave_nothing(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "here").touch()
    with hosts_up(2) as hosts:
        folder = hosts.folder
        assert hosts.run(1, "hostname").stdout == "node1\n"
        assert hosts.run(1, "ls", hidden).stdout == "here\n"
        assert hosts.run(1, "ls", hidden, private=[hidden]).stdout == ""
        mine = hosts.run(
            0,
            "python",
            "-c",
            "import os, pathlib; pathlib.Path.home().joinpath('x').touch(); print(os.getuid())",
            user=20_001,
        )
        assert mine.stdout == "20001\n"
        hosts.start(1, "python", "-c", LISTEN)
        call = ("python", "-c", CALL, hosts.address(1))
        hosts.cut(1)
        assert hosts.run(0, *call).returncode == 1
        hosts.mend(1)
        assert any(hosts.run(0, *call).stdout == "x\n" for _ in range(20))
        waits = hosts.start(1, "sleep", "600")
        hosts.kill(1)
        assert (hosts.pids(1), waits.wait()) == (set(), -9)
    assert not folder.exists()
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert hosts._prefix not in names
