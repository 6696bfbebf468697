"""N6, N7 and T4: addresses that cannot be (RFC 1122 §3.2.1.3, RFC 4291 §2.5), and UDP and TCP to and from them."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from link import BROADCAST, ECHO_PORT, FAMILIES, JUDGE, OTHER, STACK, V4, V6, case, replied, silence

DATA = b"ethertab"
LISTENING = 80
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
ALL_HOSTS, ALL_HOSTS_MAC = "224.0.0.1", "01:00:5e:00:00:01"
# Sources that no packet comes from, and destinations that none goes to.
MARTIANS = {
    V4: ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "10.9.0.255", STACK.v4],
    V6: ["::", "::1", "ff02::1", "ff0e::1", "::ffff:10.9.0.7", STACK.v6, STACK.link_local],
}
NOWHERE = {V4: ["0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1"], V6: ["::", "::1", "::ffff:10.9.0.2"]}


def kinds(family, **fields):
    """A packet of each protocol that would be answered from anywhere else."""
    yield family.header(**fields) / UDP(sport=4_200, dport=ECHO_PORT) / Raw(DATA)
    yield family.header(**fields) / UDP(sport=4_200, dport=9_999) / Raw(DATA)
    yield family.header(**fields) / TCP(sport=4_200, dport=LISTENING, flags="S")
    yield family.header(**fields) / TCP(sport=4_200, dport=81, flags="S")
    yield family.packet(family.echo(DATA) if family is V4 else V6.echo(DATA, **fields), **fields)


@case
def n6_martian_sources_are_dropped(link):
    for family in FAMILIES:
        for src in MARTIANS[family]:
            for packet in kinds(family, src=src):
                silence(link.exchange(packet), packet.summary())


@case
def n6_martian_destinations_are_dropped(link):
    for family in FAMILIES:
        for dst in NOWHERE[family]:
            for packet in kinds(family, dst=dst):
                silence(link.exchange(packet), packet.summary())


@case
def n6_a_host_is_no_router(link):
    for family in FAMILIES:
        for packet in kinds(family, dst="192.0.2.1" if family is V4 else "2001:db8::1"):
            silence(link.exchange(packet), packet.summary())


@case
def n6_frames_for_others_are_not_heard(link):
    for family in FAMILIES:
        for packet in kinds(family):
            silence(link.exchange(packet, to=OTHER.mac), packet.summary())
    # A station that sends from a group's address is none.
    for packet in kinds(V4):
        silence(link.exchange(Ether(src="01:02:03:04:05:06", dst=STACK.mac) / packet))


@case
def n6_land(link):
    for family in FAMILIES:
        for port in (LISTENING, 81):
            silence(link.exchange(family.header(src=family.stack) / TCP(sport=port, dport=port, flags="S")))
        silence(link.exchange(family.header(src=family.stack) / UDP(sport=ECHO_PORT, dport=ECHO_PORT) / Raw(DATA)))
        echo = V4.echo(DATA) if family is V4 else V6.echo(DATA, src=STACK.v6)
        silence(link.exchange(family.packet(echo, src=family.stack)))


@case
def t4_tcp_is_for_single_hosts(link):
    for flags in ("S", "A", "SA", "F", "R", ""):
        for dst, mac in (("10.9.0.255", BROADCAST), ("255.255.255.255", BROADCAST), (ALL_HOSTS, ALL_HOSTS_MAC), (STACK.v4, BROADCAST)):
            for port in (LISTENING, 81):
                segment = TCP(sport=4_300, dport=port, seq=7, ack=9, flags=flags)
                silence(link.exchange(IP(src=JUDGE.v4, dst=dst) / segment, to=mac), f"{flags} to {dst}")
        for dst in (ALL_NODES, STACK.v6):
            segment = TCP(sport=4_300, dport=81, seq=7, ack=9, flags=flags)
            silence(link.exchange(IPv6(src=JUDGE.v6, dst=dst) / segment, to=ALL_NODES_MAC), f"{flags} to {dst}")


@case
def n7_checksums_of_udp(link):
    request = IP(src=JUDGE.v4, dst=STACK.v4) / UDP(sport=4_400, dport=ECHO_PORT, chksum=0) / Raw(DATA)
    assert [bytes(answer[UDP].payload) for answer in link.exchange(request)] == [DATA]
    request = IPv6(src=JUDGE.v6, dst=STACK.v6) / UDP(sport=4_400, dport=ECHO_PORT, chksum=0) / Raw(DATA)
    silence(link.exchange(request), "RFC 8200 §8.1")
    for family in FAMILIES:
        for port in (ECHO_PORT, 9_999):
            request = family.header() / UDP(sport=4_400, dport=port, chksum=0x1234) / Raw(DATA)
            silence(link.exchange(request), "a wrong checksum")


@case
def n7_lengths_of_udp(link):
    for family in FAMILIES:
        for length in (0, 7, 17, 0xFFFF):
            for port in (ECHO_PORT, 9_999):
                if family is V4:
                    request = family.header() / UDP(sport=4_401, dport=port, len=length, chksum=0) / Raw(DATA)
                else:
                    request = family.header() / UDP(sport=4_401, dport=port, len=length) / Raw(DATA)
                silence(link.exchange(request), f"length {length}")
        # What lies behind the datagram is none of it (RFC 768, RFC 9868 §8).
        shorter = family.udp(DATA, 4_401, ECHO_PORT)
        answers = link.exchange(family.packet(shorter + bytes(4), 17))
        assert [bytes(answer[UDP].payload)[: len(DATA)] for answer in answers] == [DATA], answers
        for bad in (shorter[:7], shorter[:4], b""):
            silence(link.exchange(family.packet(bad, 17)), bad.hex())


@case
def n6_frames_that_are_not_what_they_say(link):
    header = bytes(Ether(src=JUDGE.mac, dst=STACK.mac, type=0x0800))
    ping = bytes(V4.packet(V4.echo(DATA)))
    for bad in (ping[:19], ping[:-1], b"", b"\x45", b"\x65" + ping[1:], b"\x44" + ping[1:], b"\x4f" + ping[1:]):
        silence(link.exchange(Ether(header + bad)), bad[:24].hex())
    wrong_sum = ping[:10] + bytes([ping[10] ^ 1]) + ping[11:]
    silence(link.exchange(Ether(header + wrong_sum)))
    # The family is that of the Ethernet type.
    silence(link.exchange(Ether(header[:12] + b"\x86\xdd" + ping)))
    ping = bytes(V6.packet(V6.echo(DATA)))
    for bad in (ping[:39], ping[:-1], b"\x60", b"\x40" + ping[1:]):
        silence(link.exchange(Ether(header[:12] + b"\x86\xdd" + bad)), bad[:44].hex())
    # An 802.3 frame with a length, and a type that nobody has.
    for kind in (0x0040, 0x05DC, 0x88B5):
        silence(link.exchange(Ether(src=JUDGE.mac, dst=STACK.mac, type=kind) / Raw(bytes(64))), hex(kind))


@case
def n6_a_bystander_is_still_served(link):
    for family in FAMILIES:
        replied(family, link.exchange(family.packet(family.echo(DATA))), DATA)
