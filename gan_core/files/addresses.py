"""Addresses of object stores, such as `s3://bucket/run`, as texts. Loads nothing that speaks to a store."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from gan_core.config.input_error import InputError, shown

FORM = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")  # two letters at least: one would be a drive of Windows
S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # variables of the AWS tools, the first decides
# parts of an address that say where a store is; the values of all others, such as keys, are not shown
PLAIN_OPTIONS = ("endpoint_override", "scheme", "region", "allow_bucket_creation", "allow_delayed_open")
LONGEST_LABEL = 40  # characters of an address in the name of its folder in the cache


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether this is an address of a store. A path is none, and neither is a Path, in which `//` became `/`."""
    return isinstance(place, str) and FORM.match(place) is not None and not place.startswith("file://")


def path_of(place: str | os.PathLike[str]) -> Path:
    """The path that is given as one, or as `file:///PATH`. Raises InputError for `file://HOST/PATH`."""
    if isinstance(place, str) and place.startswith("file://"):
        parts = urlsplit(place)
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise InputError(f"a file: address must be file:///PATH, got {shown(place)}")
        return Path(unquote(parts.path))
    return Path(place)


def shown_address(address: str) -> str:
    """An address without what is secret: the user and password, and the options that do not say where the store is.

    >>> shown_address("s3://key:secret@bucket/run?scheme=http&sas_token=abc")
    's3://bucket/run?scheme=http'
    """
    parts = urlsplit(address)
    options = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key in PLAIN_OPTIONS], safe=":/")
    return f"{parts.scheme}://{_host(parts)}{parts.path.rstrip('/')}{'?' if options else ''}{options}"


def without_secrets(text: str) -> str:
    """A text, such as a command or an error, in which each address is shown as `shown_address` does."""
    return re.sub(rf"{FORM.pattern}[^\s'\"]+", lambda found: shown_address(found[0]), text)


def holds_secrets(address: str) -> bool:
    """Whether an address has a user, a password, or an option that is not shown."""
    parts = urlsplit(address)
    return _host(parts) != parts.netloc or any(key not in PLAIN_OPTIONS for key, _ in parse_qsl(parts.query))


def _host(parts: SplitResult) -> str:
    """The bucket or host without what is secret: of S3 the key and its id; else the password. The user stays, which is
    the container in Azure's `abfss://container@account.dfs.core.windows.net/run`.
    """
    before, at, host = parts.netloc.rpartition("@")
    return host if parts.scheme == "s3" else f"{before.partition(':')[0]}{at}{host}"


def with_endpoint(address: str) -> str:
    """The address with the endpoint that the environment names, where it is of S3 and names none itself.

    Some versions of pyarrow do not read these variables, and its constructor does not either (apache/arrow#49643).
    """
    parts = urlsplit(address)
    endpoint = next((os.environ[name] for name in S3_ENDPOINTS if os.environ.get(name)), "")
    if parts.scheme != "s3" or not endpoint or "endpoint_override=" in parts.query:
        return address
    given = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    options = urlencode({"endpoint_override": given.netloc + given.path.rstrip("/"), "scheme": given.scheme})
    return parts._replace(query="&".join(filter(None, (parts.query, options)))).geturl()


def folder_name(address: str) -> str:
    """The name of an address's folder in the cache: the same for the same place, whatever the credentials."""
    place = shown_address(with_endpoint(address))
    last = re.sub(r"[^\w.-]+", "-", urlsplit(place).netloc + urlsplit(place).path).strip("-.")
    return f"{last[-LONGEST_LABEL:].strip('-.')}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
