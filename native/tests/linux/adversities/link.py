"""The link to the stack: hosts that this program plays on it, and exchanges of packets without waiting for silence.

Whatever the stack has to say to a packet it says before it answers a later one. So behind each packet under test goes an echo
request, then a UDP datagram for a socket that sends it back: when both answers are in, all that came before them is the answer to
the test, and if nothing came, nothing will come.
"""

import socket
import struct
import sys
from dataclasses import dataclass

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    in6_chksum,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.utils import checksum

# Longer than any answer takes: over means that the stack is gone.
PATIENCE = 20
ETH_P_ALL = 3
BROADCAST = "ff:ff:ff:ff:ff:ff"
# The identifier of the echo requests, and the source port of the datagrams, that say that a test is over.
BARRIER = 0xBA55
ECHO_PORT = 7


@dataclass(frozen=True)
class Host:
    """A host on the link; all is made of its number."""

    number: int

    @property
    def mac(self):
        return f"02:00:00:00:00:{self.number:02x}"

    @property
    def v4(self):
        return f"10.9.0.{self.number}"

    @property
    def v6(self):
        return f"fd00:9::{self.number:x}"

    @property
    def link_local(self):
        return f"fe80::{self.number:x}"


class Stack(Host):
    """The stack under test, whose link-local address is made of its MAC address (RFC 4291 appendix A)."""

    @property
    def link_local(self):
        return f"fe80::ff:fe00:{self.number:x}"


STACK = Stack(2)
JUDGE = Host(7)
# The stack's default router; what is beyond it is answered by this program, too.
ROUTER = Host(8)
OTHER = Host(9)
PLAYED = {host.number: host for host in map(Host, range(7, 32))}


class Link:
    """A TAP device with the stack at its other end."""

    def __init__(self, device):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024 * 1024)
        self.socket.bind((device, ETH_P_ALL))
        self.socket.settimeout(PATIENCE)
        self.barriers = 0
        # Hosts that do not answer for their addresses.
        self.silent = set()

    def send(self, packet, host=JUDGE, to=STACK.mac):
        """Sends a packet of IP or ARP, or a whole frame."""
        frame = packet if isinstance(packet, Ether) else Ether(src=host.mac, dst=to) / packet
        self.socket.send(bytes(frame))

    def exchange(self, *packets, host=JUDGE, to=STACK.mac, everything=False):
        """Sends packets and returns all that the stack sends because of them, but for questions for our hosts' stations, which are
        answered, and, unless `everything` is wanted, what the stack tells of itself without being asked."""
        for packet in packets:
            self.send(packet, host, to)
        answers = []
        while self._until_barrier(answers, everything):
            pass
        return answers

    def skip(self, seconds):
        """The stack's clock goes ahead by so much, and what is due by then is done."""
        print(f"skip {seconds}", flush=True)
        if sys.stdin.readline() != "skipped\n":
            raise RuntimeError("nobody moves the clock")

    def _until_barrier(self, answers, everything):
        """Collects what comes until the stack has answered twice. Returns whether stations were asked for on the way: what waits for
        them comes after the barrier."""
        has_asked = False
        self.barriers = (self.barriers + 1) % 0x10000
        barrier = self.barriers
        ping = IP(src=JUDGE.v4, dst=STACK.v4) / ICMP(type=8, id=BARRIER, seq=barrier)
        datagram = IP(src=JUDGE.v4, dst=STACK.v4) / UDP(sport=BARRIER, dport=ECHO_PORT) / struct.pack("!H", barrier)
        for request in (ping, datagram):
            self.send(request)
            while not self._is_barrier(packet := self._receive(), request, barrier):
                if self._serve(packet):
                    has_asked = True
                elif everything or not is_background(packet):
                    answers.append(packet)
        return has_asked

    def _is_barrier(self, packet, request, barrier):
        if ICMP in request:
            found = packet.getlayer(ICMP)
            return found is not None and (found.type, found.id, found.seq) == (0, BARRIER, barrier)
        found = packet.getlayer(UDP)
        if found is None or found.dport != BARRIER or ICMP in packet:
            return False
        return bytes(found.payload) == struct.pack("!H", barrier)

    def _receive(self):
        while True:
            frame, (_, _, kind, _, _) = self.socket.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING and frame[6:12] == bytes.fromhex(STACK.mac.replace(":", "")):
                check_sums(frame)
                return Ether(frame)

    def _serve(self, packet):
        """Answers a question for the station of a host that is played here."""
        if ARP in packet and packet[ARP].op == 1:
            host = next((host for host in PLAYED.values() if host.v4 == packet[ARP].pdst), None)
            if host and host not in self.silent and packet[ARP].psrc != "0.0.0.0":
                answer = ARP(op=2, hwsrc=host.mac, psrc=host.v4, hwdst=STACK.mac, pdst=packet[ARP].psrc)
                self.send(answer, host)
                return True
        elif ICMPv6ND_NS in packet and packet[IPv6].src != "::":
            target = packet[ICMPv6ND_NS].tgt
            host = next((host for host in PLAYED.values() if target in (host.v6, host.link_local)), None)
            if host and host not in self.silent:
                flags = {"R": int(host == ROUTER), "S": 1, "O": 1}
                answer = IPv6(src=target, dst=packet[IPv6].src, hlim=255) / ICMPv6ND_NA(tgt=target, **flags)
                self.send(answer / ICMPv6NDOptDstLLAddr(lladdr=host.mac), host)
                return True
        return False


def is_background(packet):
    """What a host tells its link, or asks it, for reasons of its own."""
    return packet.dst == BROADCAST or int(packet.dst[:2], 16) & 1 == 1


def check_sums(frame):
    """Each packet that the stack sends has the right checksums."""
    packet = Ether(frame)
    if IP in packet and packet.type == 0x0800:
        ip = packet[IP]
        assert checksum(frame[14 : 14 + 4 * ip.ihl]) == 0, f"IPv4 checksum of {packet.summary()}"
        payload = frame[14 + 4 * ip.ihl : 14 + ip.len]
        if ip.flags.MF or ip.frag:
            return
        if ip.proto == 1:
            assert checksum(payload) == 0, f"ICMP checksum of {packet.summary()}"
        elif ip.proto in (6, 17):
            addresses = frame[26:34]
            pseudo = addresses + struct.pack("!BBH", 0, ip.proto, len(payload))
            assert checksum(pseudo + payload) == 0, f"checksum of {packet.summary()}"
    elif packet.type == 0x86DD and packet[IPv6].nh in (6, 17, 58):
        payload = frame[54 : 54 + packet[IPv6].plen]
        assert in6_chksum(packet[IPv6].nh, packet[IPv6], payload) == 0, f"checksum of {packet.summary()}"


class V4:
    """What tests of both families need of IPv4."""

    stack, judge, other = STACK.v4, JUDGE.v4, OTHER.v4
    icmp = 1
    reassembly_timeout = 31

    @staticmethod
    def header(src=JUDGE.v4, dst=STACK.v4, **fields):
        return IP(src=src, dst=dst, **fields)

    @classmethod
    def packet(cls, payload, protocol=None, **fields):
        """A packet with these bytes behind its header: of ICMP unless something else is said."""
        return cls.header(proto=cls.icmp if protocol is None else protocol, **fields) / Raw(payload)

    @staticmethod
    def echo(data, identifier=1):
        return bytes(ICMP(type=8, id=identifier) / data)

    @staticmethod
    def udp(data, sport, dport):
        return bytes(IP(src=JUDGE.v4, dst=STACK.v4) / UDP(sport=sport, dport=dport) / data)[20:]

    @staticmethod
    def reply(packet):
        """The data of an echo reply."""
        found = packet.getlayer(ICMP)
        return bytes(found.payload) if found is not None and found.type == 0 else None

    @staticmethod
    def error(packet):
        """Type and code of an error, and what it quotes."""
        found = packet.getlayer(ICMP)
        if packet.type != 0x0800 or found is None or found.type not in (3, 4, 5, 11, 12):
            return None
        return found.type, found.code, bytes(packet)[42:]


class V6:
    """What tests of both families need of IPv6."""

    stack, judge, other = STACK.v6, JUDGE.v6, OTHER.v6
    icmp = 58
    reassembly_timeout = 61

    @staticmethod
    def header(src=JUDGE.v6, dst=STACK.v6, **fields):
        return IPv6(src=src, dst=dst, **fields)

    @classmethod
    def packet(cls, payload, protocol=None, **fields):
        """A packet with these bytes behind its header: of ICMP unless something else is said."""
        return cls.header(nh=cls.icmp if protocol is None else protocol, **fields) / Raw(payload)

    @staticmethod
    def echo(data, identifier=1, src=JUDGE.v6, dst=STACK.v6):
        return bytes(IPv6(src=src, dst=dst) / ICMPv6EchoRequest(id=identifier, data=data))[40:]

    @staticmethod
    def udp(data, sport, dport):
        return bytes(IPv6(src=JUDGE.v6, dst=STACK.v6) / UDP(sport=sport, dport=dport) / data)[40:]

    @staticmethod
    def reply(packet):
        found = packet.getlayer(ICMPv6EchoReply)
        return bytes(found.data) if found is not None else None

    @staticmethod
    def error(packet):
        if packet.type != 0x86DD or packet[IPv6].nh != 58 or bytes(packet)[54] >= 128:
            return None
        kind, code = bytes(packet)[54:56]
        return kind, code, bytes(packet)[62:]


FAMILIES = (V4, V6)


def pointer(packet):
    """Where a Parameter Problem of either family points."""
    frame = bytes(packet)
    return frame[38] if packet.type == 0x0800 else struct.unpack("!I", frame[58:62])[0]


# What cases say of the answers.


def text(answers):
    return "; ".join(packet.summary() for packet in answers) or "nothing"


def silence(answers, what=""):
    assert not answers, f"{what} {text(answers)}, not silence"


def replied(family, answers, data, what=""):
    assert [family.reply(packet) for packet in answers] == [data], f"{what} {text(answers)}, not one echo reply"
    return answers[0]


def error(family, answers, kind, code, about=None, what=""):
    """One error of that kind; it quotes the beginning of `about`."""
    found = [family.error(packet) for packet in answers]
    assert [entry and entry[:2] for entry in found] == [(kind, code)], f"{what} {text(answers)}, not error {kind}/{code}"
    quoted = found[0][2]
    if about is not None:
        sent = bytes(about)
        most = 576 - 28 if family is V4 else 1280 - 48
        assert quoted == sent[:most], f"{what} quotes {quoted.hex()} of {sent.hex()}"
    return answers[0]


CASES = []


def case(function):
    """A case is a function of the link; its name begins with the line of the list of adversities that it is of."""
    CASES.append(function)
    return function
