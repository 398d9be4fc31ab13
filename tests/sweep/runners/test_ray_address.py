"""Which cluster a sweep uses, and what a person is told of one that does not let it in. Nothing here starts Ray."""

import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from curve_array import run_folder
from test_ray_runner import quiet, tiny_spec

from gan_core.config.input_error import InputError
from sweep.runners.ray.address import (
    ADDRESS_VARIABLE,
    ALIVE,
    MODE,
    TOKEN,
    TOKEN_PATH,
    Access,
    access_of,
    checked_access,
    cluster_here,
    refuse_other_machine,
    running_cluster,
)
from sweep.runners.ray.runner import run_ray

RIGHT = "a" * 32


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No address and no token of the person who runs the tests, and Ray as if it were not loaded."""
    for name in (ADDRESS_VARIABLE, MODE, TOKEN, TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sweep.runners.ray.address.sys", SimpleNamespace(modules={}))


@contextmanager
def head(token: str | None) -> Iterator[str]:
    """The address of a server that answers as the head of Ray does, for this token or for anybody."""

    class Alive(grpc.GenericRpcHandler):
        def service(self, handler_call_details):
            sent = dict(handler_call_details.invocation_metadata).get("authorization")

            def answer(request, context):
                if token is not None and sent != f"Bearer {token}":
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
                return b""

            known = handler_call_details.method == ALIVE
            return grpc.unary_unary_rpc_method_handler(answer) if known else None

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Alive()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def refusal(address: str) -> str:
    """Why a cluster cannot be used, said in one line and soon."""
    began = time.monotonic()
    with pytest.raises(InputError) as refused:
        checked_access(address)
    assert time.monotonic() - began < 10
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_option_decides_then_the_variable_and_what_ray_calls_local_is_our_own_cluster(monkeypatch):
    asked = (None, "auto", "local", "host:1")
    assert [running_cluster(address) for address in asked] == [None, "auto", None, "host:1"]
    for value, expected in (("host:2", "host:2"), ("local", None), ("auto", "auto"), ("[::1]:6379", "[::1]:6379")):
        monkeypatch.setenv(ADDRESS_VARIABLE, value)
        assert [running_cluster(address) for address in asked] == [expected, expected, None, "host:1"]


def test_a_session_of_this_program_comes_before_the_variable(monkeypatch):
    monkeypatch.setattr("sweep.runners.ray.address.has_session", lambda: True)
    monkeypatch.setenv(ADDRESS_VARIABLE, "host:2")
    assert (running_cluster(None), running_cluster("auto")) == (None, "auto")


@pytest.mark.parametrize(
    "address", ["", " ", ":", "host", "host:", ":6379", "127.0.0.1:-5", "h:0", "h:65536", "h:1e3", "a b:1", "u@h:1"]
)
def test_what_is_no_address_is_refused_at_once(address, tmp_path, monkeypatch):
    spec = tiny_spec()
    with pytest.raises(InputError, match=r"^--address must be host:port, auto or local, got '"):
        run_ray(spec, run_folder(spec, tmp_path / "run"), quiet(spec), address=address)
    if address:
        monkeypatch.setenv(ADDRESS_VARIABLE, address)
        with pytest.raises(InputError, match=r"^RAY_ADDRESS must be .*; --address local starts Ray here$"):
            running_cluster(None)


@pytest.mark.parametrize(
    ("address", "says"), [("ray://h:10001", "names a server of Ray Client"), ("http://h:8265", "as of Ray's dashboard")]
)
def test_other_services_of_ray_are_told_from_a_cluster(address, says, monkeypatch):
    with pytest.raises(InputError, match=f"^--address '{address}' .*{says}.*give host:port of the cluster's head"):
        running_cluster(address)
    monkeypatch.setenv(ADDRESS_VARIABLE, address)
    with pytest.raises(InputError, match=f"^RAY_ADDRESS '{address}'"):
        running_cluster(None)


def test_a_head_that_asks_for_no_token_takes_anybody_and_one_that_is_wanted_in_vain_is_named(monkeypatch):
    with head(None) as address:
        assert (access_of(address), checked_access(address)) == (Access.OPEN, Access.OPEN)
        monkeypatch.setenv(MODE, "token")
        assert "unset RAY_AUTH_MODE" in refusal(address)
        monkeypatch.setenv(TOKEN, "any")
        assert checked_access(address) is Access.OPEN


def test_the_token_is_found_where_ray_looks_and_what_is_wrong_with_it_is_one_true_line(monkeypatch, tmp_path):
    home, other = tmp_path / ".ray" / "auth_token", tmp_path / "other"
    with head(RIGHT) as address:
        assert access_of(address) is Access.TOKEN
        assert refusal(address) == (
            f"there is no token for Ray in RAY_AUTH_TOKEN or in {home} (No such file or directory); the Ray cluster at "
            f"{address} asks for one"
        )
        home.parent.mkdir()
        home.write_text("wrong\n")
        assert f"refuses the token in {home}; give it that of the head" in refusal(address)
        home.write_text(f"{RIGHT}\n")
        assert checked_access(address) is Access.TOKEN
        monkeypatch.setenv(TOKEN_PATH, str(other))
        assert f"in {other}, which RAY_AUTH_TOKEN_PATH names, (No such file" in refusal(address)
        other.write_bytes(b"\xff")
        assert "(it is no text)" in refusal(address)
        other.write_text(" \n")
        assert "there is no token for Ray" in refusal(address)
        other.write_text("wrong")
        said = refusal(address)
        assert "which RAY_AUTH_TOKEN_PATH names," in said
        monkeypatch.setenv(TOKEN, RIGHT)
        assert checked_access(address) is Access.TOKEN
        monkeypatch.setenv(TOKEN, "secretly wrong")
        said = refusal(address)
        assert "refuses the token in RAY_AUTH_TOKEN" in said
        assert "secretly" not in said


def test_a_mode_in_which_ray_would_send_no_token_is_named(monkeypatch):
    monkeypatch.setenv(TOKEN, RIGHT)
    with head(RIGHT) as address:
        monkeypatch.setenv(MODE, "disabled")
        assert refusal(address).endswith("asks for a token, and RAY_AUTH_MODE is 'disabled'; set it to token")
        monkeypatch.delenv(MODE)
        monkeypatch.setattr(
            "sweep.runners.ray.address.sys", SimpleNamespace(modules={"ray": None})
        )  # which has read its mode then
        assert refusal(address).endswith("asks for a token, and ray is imported; set RAY_AUTH_MODE=token before")


def process(folder: Path, number: int, *words: str) -> None:
    (folder / str(number)).mkdir(parents=True)
    (folder / str(number) / "cmdline").write_text("\0".join(words))


def test_auto_is_the_cluster_that_runs_on_this_machine_as_ray_finds_it(monkeypatch, tmp_path):
    monkeypatch.setattr("sweep.runners.ray.address.PROCESSES", tmp_path / "proc")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(InputError, match=r"^no Ray cluster runs on this machine, which --address auto asks for; start"):
        cluster_here()
    process(tmp_path / "proc", 7, "raylet", "--gcs-address=10.0.0.1:6379", "--more")
    process(tmp_path / "proc", 8, "python", "--gcs-address=10.0.0.1:6379")
    (tmp_path / "proc" / "9").mkdir()  # it has ended
    assert cluster_here() == "10.0.0.1:6379"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.2:6379\n")
    assert cluster_here() == "10.0.0.1:6379"
    process(tmp_path / "proc", 10, "raylet", "--gcs-address=10.0.0.3:6379")
    assert cluster_here() == "10.0.0.2:6379"
    monkeypatch.setattr("sweep.runners.ray.address.PROCESSES", tmp_path / "absent")
    assert cluster_here() == "10.0.0.2:6379"


def test_a_machine_that_is_no_node_of_the_cluster_is_told_at_once(monkeypatch, tmp_path):
    """Also in a sweep: its head answers, and none of its processes runs here."""
    monkeypatch.setattr("sweep.runners.ray.address.PROCESSES", tmp_path / "proc")
    assert refuse_other_machine("head:6379") is None  # where processes cannot be seen, Ray finds out
    process(tmp_path / "proc", 7, "python", "more")
    with head(None) as address:
        spec = tiny_spec()
        with pytest.raises(InputError, match=f"this machine is no node of the Ray cluster at '{address}': run the com"):
            run_ray(spec, run_folder(spec, tmp_path / "run"), quiet(spec), address=address)
    process(tmp_path / "proc", 8, "raylet", "--gcs-address=10.0.0.1:6379")
    assert refuse_other_machine("head:6379") is None


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_token_that_is_missing_or_wrong_is_said_at_once_also_for_auto(monkeypatch, tmp_path, token):
    if token is not None:
        monkeypatch.setenv(TOKEN, token)
    with head(RIGHT) as address:
        process(tmp_path / "proc", 7, "raylet", f"--gcs-address={address}")
        monkeypatch.setattr("sweep.runners.ray.address.PROCESSES", tmp_path / "proc")
        spec, began = tiny_spec(), time.monotonic()
        says = "there is no token for Ray in" if token is None else "refuses the token in RAY_AUTH_TOKEN"
        with pytest.raises(InputError, match=says):
            run_ray(spec, run_folder(spec, tmp_path / "run"), quiet(spec), address="auto")
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("kind", ["silent", "web"])
def test_what_answers_otherwise_than_a_head_or_not_at_all_is_said_to_be_none(kind):
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server, ThreadPoolExecutor(1) as pool:
        if kind == "web":  # otherwise the system takes connections, and nobody answers
            pool.submit(server.serve_forever, 0.01)
        assert "is no head of a Ray cluster" in refusal(f"127.0.0.1:{server.server_port}")
        if kind == "web":
            server.shutdown()


def test_what_is_no_head_of_ray_is_said_to_be_none(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def refuse() -> None:
            while True:
                taken = listener.accept()[0]
                taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                taken.close()

        address = f"127.0.0.1:{listener.getsockname()[1]}"
        pool.submit(refuse)
        assert "is no head of a Ray cluster" in refusal(address)
        monkeypatch.setenv("RAY_USE_TLS", "1")  # then it may be one, and Ray finds out
        assert checked_access(address) is Access.UNKNOWN
        listener.shutdown(socket.SHUT_RDWR)
    assert "no Ray cluster answers at" in refusal(address)


def test_a_head_of_which_nothing_is_known_is_left_to_ray(monkeypatch):
    monkeypatch.setattr("sweep.runners.ray.address.ALIVE", "/ray.rpc.NodeInfoGcsService/Renamed")
    with head(None) as address:
        assert checked_access(address) is Access.UNKNOWN
        monkeypatch.setitem(sys.modules, "grpc", None)
        assert checked_access(address) is Access.UNKNOWN
