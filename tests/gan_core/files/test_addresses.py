"""Addresses of stores: what is one, what is shown of one, and which folder of the cache is its own."""

from pathlib import Path

import pytest

from gan_core.config.input_error import InputError
from gan_core.files.addresses import (
    folder_name,
    holds_secrets,
    is_address,
    path_of,
    shown_address,
    with_endpoint,
    without_secrets,
)

SECRETS = "s3://AKIA:hush@bucket/run?sas_token=hush&endpoint_override=host:9000&scheme=http"


@pytest.mark.parametrize(
    "place", ["runs/x", "/runs/x", "C:/runs", "file:///runs/x", Path("s3://bucket/run"), "s3:x", ""]
)
def test_a_path_is_no_address(place):
    assert not is_address(place)


@pytest.mark.parametrize("place", ["s3://bucket/run", "gs://b/r", "abfss://c@account.dfs.core.windows.net/r", SECRETS])
def test_an_address_has_a_scheme(place):
    assert is_address(place)


@pytest.mark.parametrize(
    ("place", "path"), [("file:///a/b%20c", "/a/b c"), ("file://localhost/a", "/a"), ("a/b", "a/b")]
)
def test_a_file_address_is_its_path(place, path):
    assert path_of(place) == Path(path)


@pytest.mark.parametrize("place", ["file://host/a", "file://"])
def test_a_file_address_of_another_host_is_refused(place):
    with pytest.raises(InputError, match=r"a file: address must be file:///PATH, got 'file://"):
        path_of(place)


def test_nothing_secret_is_shown():
    assert shown_address(SECRETS) == "s3://bucket/run?endpoint_override=host:9000&scheme=http"
    azure = "abfss://box@account.dfs.core.windows.net/run"
    assert [shown_address(a) for a in (azure, azure.replace("box", "box:hush"))] == [azure, azure]
    assert [holds_secrets(a) for a in (azure, azure.replace("box", "box:hush"))] == [False, True]
    command = f"gan-sweep run --out '{SECRETS}' --trials 3; s3://a/b/ is plain"
    assert without_secrets(command) == f"gan-sweep run --out '{shown_address(SECRETS)}' --trials 3; s3://a/b is plain"
    assert [holds_secrets(a) for a in (SECRETS, "s3://b/r?account_key=hush", "s3://b/r?scheme=http")] == [
        True,
        True,
        False,
    ]


def test_the_endpoint_of_the_environment_is_used_for_s3_unless_the_address_has_its_own(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    assert with_endpoint("s3://b/r") == "s3://b/r"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host:9000/")
    assert with_endpoint("s3://b/r?region=x") == "s3://b/r?region=x&endpoint_override=host%3A9000&scheme=http"
    assert with_endpoint(SECRETS) == SECRETS
    assert with_endpoint("gs://b/r") == "gs://b/r"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "other:1")
    assert with_endpoint("s3://b/r") == "s3://b/r?endpoint_override=other%3A1&scheme=https"


def test_the_same_place_has_the_same_folder_whatever_the_credentials_and_another_place_another(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    one = folder_name("s3://bucket/run")
    assert one.startswith("bucket-run-")
    assert {folder_name(a) for a in ("s3://bucket/run/", "s3://key:hush@bucket/run")} == {one}
    others = {folder_name(a) for a in ("s3://bucket/runs", "gs://bucket/run", "s3://bucket/run?endpoint_override=h:1")}
    assert len(others | {one}) == 4
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host:9000")
    assert folder_name("s3://bucket/run") not in others | {one}
    assert "/" not in folder_name("s3://bucket/" + "a/" * 300)
    assert len(folder_name("s3://b/" + "a" * 300)) < 60
