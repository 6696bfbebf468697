"""N4: IPv6 extension headers (RFC 8200 §4), and their elders, the options of IPv4 (RFC 791 §3.1, RFC 1122 §3.2.1.8)."""

from itertools import permutations

from scapy.layers.inet import IP, IPOption, IPOption_LSRR, IPOption_RR, IPOption_Router_Alert, IPOption_SSRR, IPOption_Timestamp
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6DestUnreach,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
    Pad1,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import checksum

from link import JUDGE, STACK, V4, V6, case, error, pointer, replied, silence

DATA = b"behind the headers"
HOP_BY_HOP, ROUTING, ESP, AUTHENTICATION, NO_NEXT_HEADER, DESTINATION = 0, 43, 50, 51, 59, 60
GROUP, GROUP_MAC = "ff02::1", "33:33:00:00:00:01"


def chain(*headers, upper=None, nh=58, dst=STACK.v6):
    """A packet with these headers, each as (its number, its bytes), whose next header fields are filled in here."""
    numbers = [number for number, _ in headers[1:]] + [nh]
    body = b"".join(bytes([following]) + data[1:] for following, (_, data) in zip(numbers, headers))
    upper = V6.echo(DATA, dst=dst) if upper is None else upper
    first = headers[0][0] if headers else nh
    return IPv6(src=JUDGE.v6, dst=dst, nh=first) / Raw(body + upper)


def options(number, *entries):
    kind = IPv6ExtHdrHopByHop if number == HOP_BY_HOP else IPv6ExtHdrDestOpt
    return number, bytes(kind(options=list(entries) or [PadN(optdata=bytes(4))]))


def routing(kind, segments_left, addresses=()):
    return ROUTING, bytes(IPv6ExtHdrRouting(type=kind, segleft=segments_left, addresses=list(addresses)))


@case
def n4_headers_in_any_order(link):
    some = [options(DESTINATION), routing(0, 0, ["fd00::1"]), options(DESTINATION, PadN(optdata=bytes(20))), routing(253, 0)]
    for order in permutations(some):
        replied(V6, link.exchange(chain(*order)), DATA, order)
        replied(V6, link.exchange(chain(options(HOP_BY_HOP), *order)), DATA, order)


@case
def n4_hop_by_hop_options_are_first_or_an_error(link):
    packet = chain(options(DESTINATION), options(HOP_BY_HOP))
    answers = link.exchange(packet)
    error(V6, answers, 4, 1, about=packet)
    assert pointer(answers[0]) == 40, pointer(answers[0])
    packet = chain(options(HOP_BY_HOP), options(HOP_BY_HOP))
    answers = link.exchange(packet)
    error(V6, answers, 4, 1, about=packet)
    assert pointer(answers[0]) == 40, pointer(answers[0])


@case
def n4_unknown_options_by_their_two_top_bits(link):
    # In both headers, to us and to a group: sixteen cases.
    for number in (HOP_BY_HOP, DESTINATION):
        for action in range(4):
            kind = action << 6 | 0x1E
            header = options(number, PadN(optdata=b""), HBHOptUnknown(otype=kind, optdata=b"\1\2"))
            for dst, mac in ((STACK.v6, STACK.mac), (GROUP, GROUP_MAC)):
                packet = chain(header, dst=dst)
                answers = link.exchange(packet, to=mac)
                what = f"header {number}, option {kind:#x} to {dst}:"
                if action == 0:
                    replied(V6, answers, DATA, what)
                elif action == 2 or (action == 3 and dst != GROUP):
                    error(V6, answers, 4, 2, about=packet, what=what)
                    assert pointer(answers[0]) == 44, pointer(answers[0])
                else:
                    silence(answers, what)


@case
def n4_known_options_are_passed(link):
    for entry in (RouterAlert(value=0), Pad1(), PadN(optdata=bytes(3)), HBHOptUnknown(otype=0x05, optdata=b"\0\5")):
        replied(V6, link.exchange(chain(options(HOP_BY_HOP, entry))), DATA)
    # A length of its own for a packet that is no jumbogram (RFC 2675 §3): an option that is not known here.
    error(V6, link.exchange(chain(options(HOP_BY_HOP, Jumbo(jumboplen=70_000)))), 4, 2)


@case
def n4_routing_headers_that_are_not_served(link):
    for kind in (0, 1, 2, 3, 4, 253, 255):
        packet = chain(routing(kind, 1, ["fd00::1"]))
        answers = link.exchange(packet)
        # RFC 8200 §4.4, RFC 5095 §3.
        error(V6, answers, 4, 0, about=packet, what=f"type {kind}:")
        assert pointer(answers[0]) == 42, pointer(answers[0])


@case
def n4_unknown_next_headers_are_pointed_at(link):
    for number in (ESP, AUTHENTICATION, 41, 132, 135, 139, 253, 254, 255):
        packet = chain(options(DESTINATION), nh=number, upper=bytes(24))
        answers = link.exchange(packet)
        error(V6, answers, 4, 1, about=packet, what=f"next header {number}:")
        assert pointer(answers[0]) == 40, pointer(answers[0])
        packet = IPv6(src=JUDGE.v6, dst=STACK.v6, nh=number) / Raw(bytes(24))
        answers = link.exchange(packet)
        error(V6, answers, 4, 1, about=packet, what=f"next header {number}:")
        assert pointer(answers[0]) == 6, pointer(answers[0])
        silence(link.exchange(chain(nh=number, upper=bytes(24), dst=GROUP), to=GROUP_MAC))


@case
def n4_no_next_header_is_the_end(link):
    silence(link.exchange(chain(nh=NO_NEXT_HEADER, upper=b"whatever")))
    silence(link.exchange(chain(options(DESTINATION), nh=NO_NEXT_HEADER, upper=b"")))


@case
def n4_headers_that_are_too_many_or_too_short(link):
    silence(link.exchange(chain(*[options(DESTINATION)] * 100)))
    silence(link.exchange(chain((DESTINATION, b"\0\xff" + bytes(6)))), "a header beyond the end")
    silence(link.exchange(chain((DESTINATION, b"\0\0\x05\x09" + bytes(4)))), "an option beyond its header")
    silence(link.exchange(chain(nh=DESTINATION, upper=b"\x3a\0\1")), "half a header")
    replied(V6, link.exchange(chain((DESTINATION, b"\0\x1f" + bytes(254)))), DATA, "256 bytes of padding")


@case
def n4_lengths_that_lie(link):
    whole = bytes(V6.packet(V6.echo(DATA)))
    for length in (len(whole), 0xFFFF):
        packet = IPv6(whole)
        packet.plen = length
        silence(link.exchange(packet), length)
    # What lies behind the payload is none of it.
    replied(V6, link.exchange(IPv6(whole) / Raw(bytes(9))), DATA)


@case
def n4_errors_in_headers_of_errors_are_not_answered(link):
    # RFC 4443 §2.4 (e.1): whatever is wrong with an error, nobody is told.
    quoted = IPv6(src=STACK.v6, dst=JUDGE.v6) / Raw(V6.udp(b"", 7, 4_000))
    error_message = bytes(IPv6(src=JUDGE.v6, dst=STACK.v6) / ICMPv6DestUnreach(code=4) / quoted)[40:]
    for header in (options(DESTINATION, HBHOptUnknown(otype=0x9E, optdata=b"\1\2")), routing(0, 1, ["fd00::1"])):
        silence(link.exchange(chain(header, upper=error_message)), header)


def with_options(data, message=V4.echo(DATA)):
    """A packet of ICMP with these bytes for IPv4 options, in a frame, since scapy would read them."""
    data += bytes(-len(data) % 4)
    header = bytearray(bytes(IP(src=JUDGE.v4, dst=STACK.v4, proto=1)))
    header[0] = 0x45 + len(data) // 4
    header[2:4] = (20 + len(data) + len(message)).to_bytes(2, "big")
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header) + data).to_bytes(2, "big")
    return Ether(src=JUDGE.mac, dst=STACK.mac, type=0x0800) / Raw(bytes(header) + data + message)


@case
def n4_options_of_ipv4_are_stepped_over(link):
    known = (
        IPOption_RR(routers=["0.0.0.0"] * 3),
        IPOption_Timestamp(flg=0, timestamp=0),
        IPOption_Router_Alert(),
        IPOption(b"\x88\x04\x01\x02"),
        IPOption(b"\x9e\x06\x01\x02\x03\x04"),
    )
    for option in known:
        packet = IP(src=JUDGE.v4, dst=STACK.v4, options=[option]) / Raw(V4.echo(DATA))
        packet.proto = 1
        answer = replied(V4, link.exchange(packet), DATA, option.summary())
        # Linux would send back what was recorded: here a reply has no options.
        assert answer[IP].ihl == 5
    for data in (b"\1" * 40, b"\0" + b"\xff" * 39, b"\x07\x27\x04" + bytes(36) + b"\0"):
        replied(V4, link.exchange(with_options(data)), DATA, data.hex())


@case
def n4_source_routes_are_refused(link):
    for option in (IPOption_LSRR(routers=["10.9.0.9"]), IPOption_SSRR(routers=["10.9.0.9"]), IPOption_LSRR(pointer=8, routers=["10.9.0.9"])):
        packet = IP(src=JUDGE.v4, dst=STACK.v4, options=[option], proto=1) / Raw(V4.echo(DATA))
        silence(link.exchange(packet), option.summary())


@case
def n4_malformed_options_of_ipv4_are_pointed_at(link):
    for data, at in ((b"\x07\x00\0\0", 21), (b"\x07\x01\0\0", 21), (b"\1\x07\x04\0", 22), (b"\1\1\1\x07", 23), (b"\x94\xff\0\0", 21)):
        answers = link.exchange(with_options(data))
        error(V4, answers, 12, 0, what=data.hex())
        assert pointer(answers[0]) == at, (data.hex(), pointer(answers[0]))
