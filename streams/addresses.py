"""Which addresses a camera may have, and the one IP number that is then opened.

Cameras live in private networks, so those are allowed; loopback, link-local (with the clouds' metadata services),
multicast and our own ports are not. The name is resolved once and the connection goes to that number, so that a name
that later points elsewhere changes nothing.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from streams.problems import AddressRefused, UnknownHost, _

SCHEMES = {"rtsp": 554, "rtsps": 322}
"""Allowed schemes with their usual ports (RFC 7826, section 21)."""
LENGTH_MAX = 500
SECRETS = ("password", "passwd", "pwd", "token", "pass")
"""Names in an address's query that makers of cameras give to a log-in."""
SECRET = re.compile(rf"(?<![^?&;])({'|'.join(SECRETS)})=[^&;#]*", re.IGNORECASE)
METADATA = frozenset(
    ipaddress.ip_address(number)
    for number in (
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
"""Metadata services of the large clouds that other rules may not catch."""
OWN_SETTINGS = (
    "REDIS_URL", "POLISCOPE_FRAMES_URL", "DATABASE_URL", "POLISCOPE_URL", "POLISCOPE_KAFKA", "POLISCOPE_SMTP_URL",
    "TWILIO_BASE_URL",
)  # fmt: skip
OWN_PORTS: Mapping[str, tuple[int, ...]] = {
    "redis": (6379,), "rediss": (6379,), "postgres": (5432,), "postgresql": (5432,), "http": (80,), "https": (443,),
    "smtp": (25, 587), "smtps": (465,), "": (9092,),
}  # fmt: skip
"""The ports that an address of one of our servers means when it names none; without a scheme it is Kafka's."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Pairs = frozenset[tuple[str, int]]
Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address: where to connect (``ip``, ``port``) and what to ask for. Holds no credentials."""

    scheme: str
    host: str
    ip: str
    port: int
    path: str

    @property
    def where(self) -> str:
        """Host and port as written, for messages."""
        return f"{self.host}:{self.port}"

    def url(self, user: str = "", password: str = "") -> str:
        """The address by IP number, with credentials when given: for ``av.open`` and nothing else."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{self.scheme}://{login}{host}:{self.port}{self.path}"


def resolve(host: str, port: int) -> list[str]:
    """The IP numbers of ``host``, the resolver's preferred first. Raises ``OSError``. Blocks as the resolver does."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed_pairs(environment: Mapping[str, str] = os.environ) -> Pairs:
    """The host and port pairs of ``POLISCOPE_CAMERA_ALLOW``; malformed entries allow nothing.

    >>> allowed_pairs({"POLISCOPE_CAMERA_ALLOW": "127.0.0.1:8554, [::1]:8554"})
    frozenset({('127.0.0.1', 8554), ('::1', 8554)})
    """
    pairs = set()
    for entry in environment.get("POLISCOPE_CAMERA_ALLOW", "").split(","):
        host, _colon, port = entry.strip().rpartition(":")
        if host and port.isdigit():
            pairs.add((host.strip("[]").lower(), int(port)))
    return frozenset(pairs)


def own_pairs(environment: Mapping[str, str] = os.environ) -> Pairs:
    """Host and port of every server of ours that the environment names."""
    pairs: set[tuple[str, int]] = set()
    for given in (environment.get(name, "") for name in OWN_SETTINGS):
        # Only Kafka's is a list; elsewhere a comma belongs to a password.
        for entry in [given] if "://" in given else given.split(","):
            split = _split(entry.strip() if "://" in entry else f"//{entry.strip()}")
            if split is not None and split[0].hostname:
                parts, port = split
                ports = OWN_PORTS.get(parts.scheme.lower(), ()) if port is None else (port,)
                pairs.update((split[0].hostname.lower(), one) for one in ports)
    return frozenset(pairs)


def check_address(url: str, *, allow: Pairs, own: Pairs = frozenset(), resolve: Resolve = resolve) -> Address:
    """``url`` checked, its name resolved and pinned.

    ``allow``: exact host and port pairs that may be anything (the demo's and the tests' cameras); ``own``: ports of
    this installation's own servers, refused on every address of this machine.

    Raises ``AddressRefused`` with a sentence for the person who typed it; ``UnknownHost`` is the kind of it that may
    pass by itself.
    """
    address = parse(url)
    exempt = (address.host, address.port) in allow
    numbers = _numbers(address.host, address.port, resolve)
    if not numbers:
        raise UnknownHost(_("No machine of the name %(host)s is known here. Check its spelling."), host=address.host)
    # All of them: a name with one harmless and one forbidden number is an attack, not a camera.
    if not exempt:
        for number in numbers:
            _check_number(number, address, own, resolve)
    return Address(address.scheme, address.host, numbers[0].partition("%")[0], address.port, address.path)


def parse(url: str) -> Address:
    """Only the text: scheme, host, port, path. The IP number is still empty. Raises ``AddressRefused``. Pure."""
    if len(url) > LENGTH_MAX:
        raise AddressRefused(
            _("This address has %(got)d characters; %(most)d are allowed."), got=len(url), most=LENGTH_MAX
        )
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise AddressRefused(_("This address contains a space or a control character. Remove it."))
    split = _split(url)
    if split is None:
        raise AddressRefused(_("This is not an address. Write it like rtsp://host:port/path."))
    parts, port = split
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise AddressRefused(
            _("Only rtsp:// and rtsps:// addresses can be cameras. Write it like rtsp://host:port/path.")
        )
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(_("Write user name and password in their own fields, not in the address."))
    if not parts.hostname:
        raise AddressRefused(_("This address names no host. Write it like rtsp://host:port/path."))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(scheme, parts.hostname.lower(), "", SCHEMES[scheme] if port is None else port, path)


def _split(url: str) -> tuple[SplitResult, int | None] | None:
    """The parts and the port; None where ``urlsplit`` would raise, or for port 0."""
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else (parts, parts.port)
    except ValueError:
        return None


def _check_number(number: str, address: Address, own: Pairs, resolve: Resolve) -> None:
    ip = embedded(ipaddress.ip_address(number.partition("%")[0]))
    if ip.is_loopback or ip.is_unspecified:
        raise AddressRefused(_("This address is this machine itself, which is not allowed for a camera."))
    if ip in METADATA or ip.is_link_local:
        raise AddressRefused(_("This address is link-local or a cloud's metadata service; no camera lives there."))
    if ip.is_multicast or ip.is_reserved:
        raise AddressRefused(_("This is a multicast or reserved address. Enter the camera's own address."))
    hosts = {host for host, port in own if port == address.port}
    if hosts and (_is_ours(ip) or any(str(ip) in _numbers(host, address.port, resolve) for host in hosts)):
        raise AddressRefused(_("This is the address of one of this installation's own servers, not of a camera."))


def _numbers(host: str, port: int, resolve: Resolve) -> list[str]:
    """The IP numbers of ``host``; none when the name is unknown."""
    try:
        return resolve(host, port)
    except (OSError, UnicodeError):
        return []


def embedded(ip: IpAddress) -> IpAddress:
    """The IPv4 number inside ``ip`` where there is one: ::ffff:127.0.0.1 is 127.0.0.1, like its other disguises."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _is_ours(ip: IpAddress) -> bool:
    """Whether this machine has ``ip``: only then can a socket be bound to it."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ip), 0))
        except OSError:
            return False
    return True
