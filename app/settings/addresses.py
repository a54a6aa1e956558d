"""Checks of URLs and hosts, and the proxy for a URL."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import AfterValidator


def require_http_url(url: str) -> str:
    """Return the URL without slashes at its end. Raises `ValueError`, without the value, if no request could use it."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    if not url.isprintable() or " " in url:
        raise ValueError("contains a space or a control character")
    parts = _split(url)
    if "@" in parts.netloc:
        raise ValueError("must not contain a user or a password")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("must not contain a query or a fragment")
    return url.rstrip("/")


def _split(url: str) -> SplitResult:
    """Split a URL. Raises `ValueError` unless it has a host and, if it has a port, a number from 1 to 65535."""
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must contain a host and, after a colon, a port from 1 to 65535 or none")
    return parts


HttpUrl = Annotated[str, AfterValidator(require_http_url)]
"""An http or https URL without a slash at its end."""


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

    Raises `ValueError` naming the variable, without its value, if it is no proxy that the gateway can use.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    name = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(name)
    return _require_proxy(f"{name.upper()}_PROXY", proxy) if proxy else None


def _require_proxy(variable: str, proxy: str) -> str:
    address = proxy if "://" in proxy else f"http://{proxy}"
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{variable}: must be an http:// or https:// proxy; others, such as SOCKS, are not supported")
    try:
        _split(address)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None
    return address
