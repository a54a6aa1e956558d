"""Checks of URLs and hosts, and the proxy for a URL."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import AfterValidator

HOST = re.compile(r"[\w.-]+")


def require_address(url: str) -> None:
    """Raise `ValueError`, without the URL, unless its host is a name or an address and its port a number."""
    try:
        parts = urlsplit(url)
        host, valid_port = parts.hostname or "", parts.port != 0
        if ":" not in host and host:
            host.encode("idna")  # refuses empty and long labels
            valid_host = HOST.fullmatch(host) is not None
        else:
            valid_host = ip_address(host.partition("%")[0]).version == 6  # raises for an empty host
    except ValueError:
        valid_host = valid_port = False
    if not (valid_host and valid_port) or not url.isprintable() or " " in url:
        raise ValueError("must contain a valid host, and a port from 1 to 65535 if any")


def _require_http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    require_address(url)
    if "@" in urlsplit(url).netloc:
        raise ValueError("must not contain a user or a password: the API key is a separate setting")
    if "?" in url or "#" in url:
        raise ValueError("must not contain a query or a fragment")
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_require_http_url)]
"""An http or https URL without user, query, fragment, and slash at its end."""


def is_loopback(host: str) -> bool:
    """Return whether a host name or address can only be this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, as curl would; none for this machine itself.

    Raises `ValueError` that names the variable if the proxy cannot be used.
    """
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(scheme)
    if not proxy or is_loopback(host) or proxy_bypass(host):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    try:
        if not proxy.startswith(("http://", "https://")):
            raise ValueError("must be an http or https proxy; others, such as socks, are not supported")
        require_address(proxy)
    except ValueError as error:
        raise ValueError(f"{scheme.upper()}_PROXY: {error}") from None
    return proxy
