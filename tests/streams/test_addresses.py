"""What may be a camera's address: tables of what is let in and what is not."""

from __future__ import annotations

import socket

import pytest

from streams.addresses import Address, allowed_pairs, check_address, own_pairs
from streams.problems import SENTENCES, AddressRefused, UnknownHost

NAMES = {
    "camera.example": ["192.168.7.20"],
    "public.example": ["203.0.113.9"],
    "both.example": ["192.168.7.20", "127.0.0.1"],
    "inside.example": ["127.0.0.1"],
    "six.example": ["2001:db8::7"],
    "valkey": ["10.1.2.3"],
}


def resolve(host: str, _port: int) -> list[str]:
    """A name server of our own; numbers, in any disguise, are read as the system does."""
    if host in NAMES:
        return NAMES[host]
    flags = socket.AI_NUMERICHOST
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)]


def check(url: str, **given: frozenset[tuple[str, int]]) -> Address:
    return check_address(url, resolve=resolve, **{"allow": frozenset(), **given})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://192.168.7.20/live", Address("rtsp", "192.168.7.20", "192.168.7.20", 554, "/live")),
        ("RTSP://Camera.Example:8554", Address("rtsp", "camera.example", "192.168.7.20", 8554, "/")),
        ("rtsps://10.0.0.5/a?b=c&d", Address("rtsps", "10.0.0.5", "10.0.0.5", 322, "/a?b=c&d")),
        ("rtsp://172.16.0.9:554/x", Address("rtsp", "172.16.0.9", "172.16.0.9", 554, "/x")),
        ("rtsp://[2001:db8::7]:8554/x", Address("rtsp", "2001:db8::7", "2001:db8::7", 8554, "/x")),
        ("rtsp://[fd12::7]/x", Address("rtsp", "fd12::7", "fd12::7", 554, "/x")),
    ],
)
def test_it_lets_in_what_a_camera_may_have(url: str, expected: Address) -> None:
    assert check(url) == expected


def test_the_address_that_is_opened_names_the_number_and_quotes_the_log_in() -> None:
    address = check("rtsp://camera.example:8554/live")
    assert address.url() == "rtsp://192.168.7.20:8554/live"
    assert address.url("al:ice", "p@s/s") == "rtsp://al%3Aice:p%40s%2Fs@192.168.7.20:8554/live"
    assert check("rtsp://six.example/x").url() == "rtsp://[2001:db8::7]:554/x"
    assert address.where == "camera.example:8554"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "concat:a|b", "subfile,,start,0,end,9,,:/etc/passwd", "http://192.168.7.20/",
        "/etc/passwd", "ffconcat:x", "https://10.0.0.5/x.m3u8", "rtmp://10.0.0.5/x", "rtsp+unix://x", "rtsp:", "rtsp:///live",
        "", "rtsp://", "rtsp://host:99999/", "rtsp://host:0/", "rtsp://host:abc/", "rtsp://[::1/", "rtsp://a b/",
        "rtsp://camera.example/\r\nX: y", "rtsp://camera.example\\@10.0.0.5/", "rtsp://camera.example/" + "x" * 500,
        "rtsp://alice:secret@camera.example/", "rtsp://alice@camera.example/",
    ],
)  # fmt: skip
def test_it_refuses_what_is_no_camera_s_address(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        check(url)
    assert str(refused.value).endswith(".")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.9.9.9", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0.0.0.0", "[::1]", "[::]",
        "[::ffff:127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "169.254.169.254", "169.254.7.7", "[fe80::1]",
        "[fd00:ec2::254]", "[fd20:ce::254]", "100.100.100.200", "168.63.129.16",
        "224.0.0.5", "239.1.2.3", "[ff02::1]", "255.255.255.255",
        "240.0.0.1", "inside.example", "both.example",
    ],
)  # fmt: skip
def test_it_refuses_where_no_camera_lives(host: str) -> None:
    with pytest.raises(AddressRefused):
        check(f"rtsp://{host}:8554/live")


def test_only_the_exact_pair_is_exempt() -> None:
    allow = frozenset({("127.0.0.1", 8554)})
    assert check("rtsp://127.0.0.1:8554/cam0", allow=allow).ip == "127.0.0.1"
    for other in ("rtsp://127.0.0.1:8555/", "rtsp://127.0.0.2:8554/", "rtsp://inside.example:8554/"):
        with pytest.raises(AddressRefused):
            check(other, allow=allow)


def test_it_refuses_our_own_servers_under_any_name() -> None:
    own = frozenset({("valkey", 6379), ("10.9.9.9", 5432)})
    for url in ("rtsp://valkey:6379/", "rtsp://10.1.2.3:6379/", "rtsp://10.9.9.9:5432/"):
        with pytest.raises(AddressRefused, match="own servers"):
            check(url, own=own)
    assert check("rtsp://10.1.2.3:554/", own=own).port == 554
    assert check("rtsp://10.9.9.9:6379/", own=own).port == 6379


def test_it_refuses_our_own_ports_on_every_address_of_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # No packet is sent; it tells which address this machine would use.
        mine = probe.getsockname()[0]
    if mine.startswith("127."):
        pytest.skip("needs a network address besides loopback")
    with pytest.raises(AddressRefused, match="own servers"):
        check(f"rtsp://{mine}:6379/", own=frozenset({("127.0.0.1", 6379)}))


def test_an_unknown_name_is_said_to_be_one() -> None:
    def nobody(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(UnknownHost, match=r"nowhere\.example"):
        check_address("rtsp://nowhere.example/", allow=frozenset(), resolve=nobody)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", set()),
        ("127.0.0.1:8554", {("127.0.0.1", 8554)}),
        (" Demo:1 , [::1]:2,", {("demo", 1), ("::1", 2)}),
        ("127.0.0.1,:8554,x:y", set()),
    ],
)
def test_it_reads_the_exempt_pairs(text: str, pairs: set[tuple[str, int]]) -> None:
    assert allowed_pairs({"POLISCOPE_CAMERA_ALLOW": text}) == pairs


def test_it_knows_our_own_servers_from_the_environment() -> None:
    environment = {
        "REDIS_URL": "redis://:secret@127.0.0.1:7001/0",
        "POLISCOPE_KAFKA": "k1:9092, k2:9092",
        "DATABASE_URL": "sqlite:////data/x.sqlite3",
        "POLISCOPE_URL": "http://127.0.0.1:8000",
    }
    assert own_pairs(environment) == {("127.0.0.1", 7001), ("k1", 9092), ("k2", 9092), ("127.0.0.1", 8000)}


@pytest.mark.parametrize(
    ("name", "text", "pairs"),
    [
        ("REDIS_URL", "redis://valkey/0", {("valkey", 6379)}),
        ("POLISCOPE_FRAMES_URL", "rediss://:a,b@Valkey", {("valkey", 6379)}),
        ("DATABASE_URL", "postgres://poliscope:secret@db/poliscope", {("db", 5432)}),
        ("DATABASE_URL", "postgresql://db/poliscope", {("db", 5432)}),
        ("DATABASE_URL", "postgresql:///poliscope", set()),
        ("POLISCOPE_URL", "http://watch.example", {("watch.example", 80)}),
        ("POLISCOPE_URL", "https://watch.example/", {("watch.example", 443)}),
        ("POLISCOPE_KAFKA", "k1,k2:9093", {("k1", 9092), ("k2", 9093)}),
        ("POLISCOPE_SMTP_URL", "smtp://u:p%40@mail?tls=1", {("mail", 25), ("mail", 587)}),
        ("POLISCOPE_SMTP_URL", "smtps://mail", {("mail", 465)}),
        ("POLISCOPE_SMTP_URL", "smtp://mail:2525", {("mail", 2525)}),
        ("TWILIO_BASE_URL", "http://127.0.0.1:4010", {("127.0.0.1", 4010)}),
        ("POLISCOPE_URL", "gopher://watch.example", set()),
    ],
)
def test_our_servers_without_a_port_have_their_usual_one(name: str, text: str, pairs: set[tuple[str, int]]) -> None:
    assert own_pairs({name: text}) == pairs


def test_every_code_has_its_sentence() -> None:
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())
    assert SENTENCES["wrong-password"].startswith("The camera does not accept")
