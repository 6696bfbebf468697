"""N3: ICMP and ICMPv6 (RFC 792, RFC 1122 §3.2.2, RFC 4443, RFC 4884)."""

import struct
import time

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from extension_headers import with_options
from link import BROADCAST, ECHO_PORT, FAMILIES, JUDGE, OTHER, STACK, V4, V6, case, error, replied, silence

DATA = b"ethertab"
CLOSED = 9_999
PORT_UNREACHABLE = {V4: (3, 3), V6: (1, 4)}
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
ALL_HOSTS, ALL_HOSTS_MAC = "224.0.0.1", "01:00:5e:00:00:01"


def to_closed_port(family, data=b"", **fields):
    return family.header(**fields) / UDP(sport=4_000, dport=CLOSED) / Raw(data)


@case
def n3_errors_quote_what_they_are_about(link):
    for family in FAMILIES:
        for length in (0, 8, 508, 1_200, 1_400):
            packet = to_closed_port(family, bytes(length))
            error(family, link.exchange(packet), *PORT_UNREACHABLE[family], about=packet)
    packet = IP(src=JUDGE.v4, dst=STACK.v4, proto=253) / Raw(bytes(20))
    error(V4, link.exchange(packet), 3, 2, about=packet)


@case
def n3_no_error_is_about_an_error(link):
    quoted = IP(src=STACK.v4, dst=JUDGE.v4) / UDP(sport=1, dport=2)
    for kind in (3, 4, 5, 11, 12):
        # An option that is malformed would be reported, had it come with anything else.
        message = bytes(IP(src=JUDGE.v4, dst=STACK.v4) / ICMP(type=kind) / quoted)[20:]
        silence(link.exchange(V4.packet(message), with_options(b"\x07\x00", message)), kind)
    quoted = IPv6(src=STACK.v6, dst=JUDGE.v6) / UDP(sport=1, dport=2)
    for message in (ICMPv6DestUnreach(), ICMPv6PacketTooBig(), ICMPv6TimeExceeded(), ICMPv6ParamProblem(code=2)):
        silence(link.exchange(IPv6(src=JUDGE.v6, dst=STACK.v6) / message / quoted), message.summary())
    for kind in (0, 5, 100, 101, 127):
        silence(link.exchange(IPv6(src=JUDGE.v6, dst=STACK.v6) / ICMPv6Unknown(type=kind)), kind)


@case
def n3_no_error_is_about_a_later_fragment(link):
    # A fragment that is too long for a datagram would be reported otherwise; this one stays incomplete.
    silence(link.exchange(IP(src=JUDGE.v4, dst=STACK.v4, frag=8, proto=253, id=5) / Raw(bytes(20))))
    link.skip(31)
    silence(link.exchange())


@case
def n3_no_error_is_about_a_group(link):
    for dst, mac in (("10.9.0.255", BROADCAST), ("255.255.255.255", BROADCAST), (ALL_HOSTS, ALL_HOSTS_MAC)):
        silence(link.exchange(to_closed_port(V4, dst=dst), to=mac), dst)
        silence(link.exchange(IP(src=JUDGE.v4, dst=dst, proto=253) / Raw(bytes(20)), to=mac), dst)
    silence(link.exchange(to_closed_port(V6, dst=ALL_NODES), to=ALL_NODES_MAC))
    # To our address, but in a frame to everybody (RFC 1122 §3.2.2).
    silence(link.exchange(to_closed_port(V4), to=BROADCAST))
    silence(link.exchange(to_closed_port(V6), to=ALL_NODES_MAC))


@case
def n3_no_error_goes_to_what_is_no_host(link):
    for src in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "10.9.0.255"):
        silence(link.exchange(to_closed_port(V4, src=src)), src)
    for src in ("::", "::1", "ff02::1", "::ffff:10.9.0.7"):
        silence(link.exchange(to_closed_port(V6, src=src)), src)


@case
def n3_errors_are_limited_in_rate_and_pings_are_not(link):
    for family in FAMILIES:
        begun = time.monotonic()
        answers = link.exchange(*[to_closed_port(family)] * 600)
        elapsed = time.monotonic() - begun
        assert 50 <= len(answers) <= 50 + 1_000 * elapsed + 1, f"{len(answers)} errors in {elapsed} s"
        # The bucket is empty: a ping needs nothing of it.
        replied(family, link.exchange(family.packet(family.echo(DATA))), DATA)
        link.skip(1)


def too_big(family, quoted, mtu=1_300):
    if family is V4:
        return IP(src=JUDGE.v4, dst=STACK.v4) / ICMP(type=3, code=4, nexthopmtu=mtu) / quoted
    return IPv6(src=JUDGE.v6, dst=STACK.v6) / ICMPv6PacketTooBig(mtu=mtu) / quoted


@case
def n3_forged_errors_change_nothing(link):
    """A router's word about the MTU counts if it quotes what this host has sent."""
    data = bytes(1_400)
    for family in FAMILIES:
        # With nothing told yet, the answer is in one piece; the source port is that of no other case.
        request = family.packet(family.udp(data, 4_100, ECHO_PORT), 17)
        assert len(link.exchange(request)) == 1
        reply, foreign, nobodys = (
            Raw(bytes(family.header(src=src, dst=family.judge) / UDP(sport=port, dport=4_100) / Raw(data))[:500])
            for src, port in ((family.stack, ECHO_PORT), (family.other, ECHO_PORT), (family.stack, CLOSED))
        )
        short = Raw(bytes(reply)[: 20 if family is V4 else 40])
        shorter = Raw(bytes(reply)[:7])
        nested = too_big(family, reply)
        forged = [too_big(family, quoted) for quoted in (foreign, nobodys, short, shorter, nested)]
        damaged = too_big(family, reply)
        if family is V4:
            damaged[ICMP].chksum = 1
        else:
            damaged[ICMPv6PacketTooBig].cksum = 1
        silence(link.exchange(*forged, damaged))
        assert len(link.exchange(request)) == 1, "a forged error was believed"
        # And a real one.
        silence(link.exchange(too_big(family, reply)))
        answers = link.exchange(request)
        assert len(answers) == 2 and all(len(answer) <= 1_314 for answer in answers), answers
        if family is V6:
            assert all(IPv6ExtHdrFragment in answer for answer in answers)
        # RFC 1191 §6.3, RFC 8201 §5.3: for ten minutes.
        link.skip(601)
        assert len(link.exchange(request)) == 1
        # Never below what each link takes: RFC 8200 §5; nor below what makes sense (CVE-2005-0065).
        silence(link.exchange(too_big(family, reply, 68)))
        answers = link.exchange(request)
        assert len(answers) <= 3, f"{len(answers)} fragments"
        link.skip(601)


@case
def n3_extensions_behind_what_is_quoted(link):
    """RFC 4884: a length tells where the quotation ends; what lies behind it is none of it."""
    data = bytes(1_400)
    request = IP(src=JUDGE.v4, dst=STACK.v4, proto=17) / Raw(V4.udp(data, 4_101, ECHO_PORT))
    reply = bytes(IP(src=STACK.v4, dst=JUDGE.v4) / UDP(sport=ECHO_PORT, dport=4_101) / Raw(data))
    extension = b"\x20\0\0\0" + struct.pack("!HBB", 8, 1, 1) + bytes(4)

    def with_extension(quoted, words):
        # The length is the second byte of the rest of the header.
        message = bytes(ICMP(type=3, code=4, nexthopmtu=1_300, length=words) / Raw(quoted + extension))
        return IP(src=JUDGE.v4, dst=STACK.v4, proto=1) / Raw(message)

    # A quotation that its length makes too short says nothing, whatever follows.
    silence(link.exchange(with_extension(reply[:128], 4), with_extension(reply[:128], 6)))
    assert len(link.exchange(request)) == 1
    # One that is longer than the message ends with it.
    for words in (32, 255):
        silence(link.exchange(with_extension(reply[:128], words)))
        assert len(link.exchange(request)) == 2, words
        link.skip(601)
        assert len(link.exchange(request)) == 1


@case
def n3_malformed_messages_are_dropped(link):
    for family in FAMILIES:
        message = family.echo(DATA)
        wrong = message[:2] + bytes([message[2] ^ 1]) + message[3:]
        for bad in (wrong, message[:7], message[:4], message[:1], b""):
            silence(link.exchange(family.packet(bad)), bad.hex())
    # A length beyond the datagram.
    packet = IP(src=JUDGE.v4, dst=STACK.v4, proto=1, len=1_000) / Raw(V4.echo(DATA))
    silence(link.exchange(packet))


@case
def n3_what_a_host_need_not_answer(link):
    # Timestamp (a host may answer, RFC 1122 §3.2.2.8), information, address mask, traceroute, experiments.
    for kind in (13, 14, 15, 16, 17, 18, 30, 40, 41, 253, 255, 1, 2, 7, 9, 10):
        silence(link.exchange(IP(src=JUDGE.v4, dst=STACK.v4) / ICMP(type=kind) / Raw(bytes(12))), kind)
    # Node information, inverse discovery, home agents, unknown: RFC 4443 §2.4 (b).
    for kind in (139, 140, 141, 142, 144, 145, 148, 151, 160, 200, 255):
        silence(link.exchange(IPv6(src=JUDGE.v6, dst=STACK.v6) / ICMPv6Unknown(type=kind, msgbody=bytes(20))), kind)
    # RFC 6633: source quench.
    quoted = IP(src=STACK.v4, dst=JUDGE.v4) / UDP(sport=ECHO_PORT, dport=4_000)
    silence(link.exchange(IP(src=JUDGE.v4, dst=STACK.v4) / ICMP(type=4) / quoted))


@case
def n3_smurf_and_its_like(link):
    ping = IP(dst="10.9.0.255", src=OTHER.v4) / ICMP(type=8) / Raw(DATA)
    silence(link.exchange(ping, to=BROADCAST))
    for dst, mac in (("255.255.255.255", BROADCAST), (ALL_HOSTS, ALL_HOSTS_MAC)):
        silence(link.exchange(IP(src=OTHER.v4, dst=dst) / ICMP(type=8) / Raw(DATA), to=mac), dst)
    # From what is no host.
    for src in ("10.9.0.255", "255.255.255.255", "224.0.0.5", "0.0.0.0"):
        silence(link.exchange(IP(src=src, dst=STACK.v4) / ICMP(type=8) / Raw(DATA)), src)
    # RFC 4443 §4.2 lets groups be pinged: from an address of the interface.
    answer = replied(V6, link.exchange(IPv6(src=JUDGE.v6, dst=ALL_NODES) / ICMPv6EchoRequest(data=DATA), to=ALL_NODES_MAC), DATA)
    assert answer[IPv6].src == STACK.v6, answer[IPv6].src
    answer = replied(V6, link.exchange(IPv6(src=JUDGE.link_local, dst=ALL_NODES) / ICMPv6EchoRequest(data=DATA), to=ALL_NODES_MAC), DATA)
    assert answer[IPv6].src == STACK.link_local, answer[IPv6].src


@case
def n3_replies_that_nobody_asked_for_are_ignored(link):
    silence(link.exchange(IP(src=JUDGE.v4, dst=STACK.v4) / ICMP(type=0, id=1, seq=1) / Raw(DATA)))
    silence(link.exchange(IPv6(src=JUDGE.v6, dst=STACK.v6) / ICMPv6Unknown(type=129, msgbody=bytes(8))))


@case
def n3_pings_come_back_as_they_were(link):
    for family in FAMILIES:
        for length in (0, 1, 2, 55, 1_000, 1_440):
            data = bytes(place % 251 for place in range(length))
            answer = replied(family, link.exchange(family.packet(family.echo(data, identifier=length))), data)
            source = answer[IP].src if family is V4 else answer[IPv6].src
            assert source == family.stack
