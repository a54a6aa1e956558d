"""A Redis that asks for no password must not be one that the internet reaches."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from app.errors import InvalidSettings

log = logging.getLogger(__name__)


def require_password(url: SecretStr | None) -> None:
    """Raise `InvalidSettings` where the Redis at `url` has a public address and the URL holds no password.

    Public is what the internet routes: neither loopback, private, link-local nor a carrier's shared range. Whatever a
    host's name resolves to here counts; a name that does not resolve yet is let pass, and the log says so.
    """
    if url is None:
        return
    parts = urlsplit(url.get_secret_value())
    if parts.scheme == "unix" or parts.password or "password" in parse_qs(parts.query):
        return
    try:
        public = any(address.is_global for address in _addresses(parts.hostname or "localhost"))
    except OSError:
        log.warning("REDIS_URL: its host has no address yet, and whether it may go without a password is not known")
        return
    if public:
        raise InvalidSettings(
            "REDIS_URL: a store on a public address needs a password: set `requirepass` there and REDIS_PASSWORD "
            "(or REDIS_PASSWORD_FILE) here, or put it on a private address; CONVICTION_ALLOW_OPEN_STORE=1 goes "
            "without"
        )


def _addresses(host: str) -> Iterator[IPv4Address | IPv6Address]:
    for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        address = ip_address(place[0])
        yield getattr(address, "ipv4_mapped", None) or address
