"""Refuses a Redis that has a public address and no password."""

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
    """Raise `InvalidSettings` if the Redis at `url` has a public address and the URL holds no password.

    A public address is a globally routed one: not loopback, private, link-local or shared (RFC 6598). A host name
    counts as the addresses it resolves to; one that does not resolve yet is accepted with a warning.
    """
    if url is None:
        return
    parts = urlsplit(url.get_secret_value())
    if parts.scheme == "unix" or parts.password or "password" in parse_qs(parts.query):
        return
    try:
        public = any(address.is_global for address in _addresses(parts.hostname or "localhost"))
    except OSError:
        log.warning("REDIS_URL: the host does not resolve yet; a missing password was not checked")
        return
    if public:
        raise InvalidSettings(
            "REDIS_URL: a store on a public address needs a password: set `requirepass` there and REDIS_PASSWORD "
            "(or REDIS_PASSWORD_FILE) here, or put it on a private address; CONVICTION_ALLOW_OPEN_STORE=1 goes "
            "without"
        )


def _addresses(host: str) -> Iterator[IPv4Address | IPv6Address]:
    for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        address = ip_address(sockaddr[0])
        yield getattr(address, "ipv4_mapped", None) or address
