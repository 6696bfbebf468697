"""N2: fragments (RFC 791 §3.2, RFC 815, RFC 1858, RFC 8200 §4.5, RFC 5722, RFC 6946, RFC 7112)."""

from itertools import permutations

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import (
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.packet import Raw

from link import BROADCAST, FAMILIES, JUDGE, OTHER, STACK, V4, V6, case, error, pointer, replied, silence

DATA = bytes(range(64)) * 2
TIME_EXCEEDED = {V4: (11, 1), V6: (3, 1)}
# Each datagram has an identification of its own.
identifications = iter(range(0x100, 0x10000))


def fragment(family, chunk, start, more, ident, src=None, proto=None, before=None):
    """A fragment; `before` is what lies between IPv6 header and fragment header."""
    src = src or family.judge
    proto = family.icmp if proto is None else proto
    if family is V4:
        header = IP(src=src, dst=STACK.v4, id=ident, flags="MF" if more else 0, frag=start // 8, proto=proto)
        return header / Raw(chunk)
    header = IPv6(src=src, dst=STACK.v6)
    if before is not None:
        header = header / before
    return header / IPv6ExtHdrFragment(nh=proto, offset=start // 8, m=int(more), id=ident) / Raw(chunk)


def pieces(family, payload, cuts, ident, **fields):
    """The fragments of a payload that is cut in these places."""
    edges = [0, *cuts, len(payload)]
    return [
        fragment(family, payload[start:end], start, end < len(payload), ident, **fields)
        for start, end in zip(edges, edges[1:])
    ]


@case
def n2_fragments_come_together_in_any_order(link):
    for family in FAMILIES:
        for order in permutations(range(4)):
            parts = pieces(family, family.echo(DATA), (24, 64, 120), next(identifications))
            replied(family, link.exchange(*[parts[place] for place in order]), DATA, order)


@case
def n2_exact_duplicates_change_nothing(link):
    for family in FAMILIES:
        first, second, last = pieces(family, family.echo(DATA), (48, 96), next(identifications))
        for order in ((first, first, second, last), (last, last, second, second, first), (first, last, last, second)):
            replied(family, link.exchange(*order), DATA)
        # A duplicate of the last one that comes late is the beginning of nothing.
        silence(link.exchange(last))


@case
def n2_overlaps_drop_all(link):
    for family in FAMILIES:
        payload = family.echo(DATA)
        other = bytes(len(payload))
        begin, end = payload[:64], payload[64:]
        overlaps = {
            "teardrop: within the one before": (other[:16], 32, True),
            "over the edge": (other[:32], 48, True),
            "around it": (other[:96], 0, True),
            "into the next": (other[:24], 56, True),
        }
        for what, (chunk, start, more) in overlaps.items():
            ident = next(identifications)
            bad = fragment(family, chunk, start, more, ident)
            parts = (fragment(family, begin, 0, True, ident), bad, fragment(family, end, 64, False, ident))
            silence(link.exchange(*parts), what)


@case
def n2_datagrams_have_one_end(link):
    for family in FAMILIES:
        payload = family.echo(DATA)
        for bad in ((payload[:8], 160, False), (payload[:8], 64, False), (payload[:8], 200, True)):
            ident = next(identifications)
            parts = pieces(family, payload, (64,), ident)
            silence(link.exchange(parts[1], fragment(family, bad[0], bad[1], bad[2], ident), parts[0]), bad[1:])


@case
def n2_what_stays_incomplete_is_reported_if_its_first_fragment_came(link):
    for family in FAMILIES:
        first, second, last = pieces(family, family.echo(DATA), (48, 96), next(identifications))
        silence(link.exchange(first, second))
        link.skip(family.reassembly_timeout)
        kind, code = TIME_EXCEEDED[family]
        error(family, link.exchange(), kind, code, about=first)
        silence(link.exchange(last), "what comes late")
        first, second, last = pieces(family, family.echo(DATA), (48, 96), next(identifications))
        silence(link.exchange(second, last))
        link.skip(family.reassembly_timeout)
        silence(link.exchange(), "the first fragment is missing, so")


@case
def n2_nothing_is_longer_than_65535_bytes(link):
    # The ping of death.
    silence(link.exchange(fragment(V4, bytes(64), 65_528, False, next(identifications))))
    answers = link.exchange(fragment(V6, bytes(64), 65_528, False, next(identifications)))
    error(V6, answers, 4, 0)
    assert pointer(answers[0]) == 42, pointer(answers[0])


@case
def n2_the_longest_datagram_is_answered(link):
    for family in FAMILIES:
        data = bytes(place * 7 // 3 % 256 for place in range(65_507 if family is V4 else 65_527))
        payload = family.echo(data)
        parts = pieces(family, payload, range(1_440, len(payload), 1_440), next(identifications))
        answers = link.exchange(*parts)
        received = b""
        for answer in answers:
            frame = bytes(answer)
            received += frame[34:] if family is V4 else frame[62:]
        assert received[8:] == data, f"{len(answers)} fragments with {len(received)} bytes"


@case
def n2_tiny_fragments(link):
    # RFC 1858: TCP's flags in the second fragment. A host puts it together as any other.
    segment = bytes(IP(src=JUDGE.v4, dst=STACK.v4) / TCP(sport=4_001, dport=80, seq=100, flags="S"))[20:]
    answers = link.exchange(*pieces(V4, segment, (8, 16), next(identifications), proto=6))
    assert [str(answer[TCP].flags) for answer in answers] == ["SA"], answers
    silence(link.exchange(IP(src=JUDGE.v4, dst=STACK.v4) / TCP(sport=4_001, dport=80, seq=101, flags="R")))
    # RFC 7112 §5: over IPv6 all headers must be in the first fragment, the upper layer's too.
    segment = bytes(IPv6(src=JUDGE.v6, dst=STACK.v6) / TCP(sport=4_001, dport=80, seq=100, flags="S"))[40:]
    first, *_ = pieces(V6, segment, (8, 16), next(identifications), proto=6)
    error(V6, link.exchange(first), 4, 3, about=first)
    options = bytes(IPv6ExtHdrDestOpt(nh=58, options=[PadN(optdata=bytes(12))]))
    first, *_ = pieces(V6, options + V6.echo(b""), (8,), next(identifications), proto=60)
    error(V6, link.exchange(first), 4, 3, about=first)


@case
def n2_lengths_of_ipv6_fragments_are_multiples_of_eight(link):
    odd = fragment(V6, V6.echo(DATA)[:61], 0, True, next(identifications))
    answers = link.exchange(odd)
    error(V6, answers, 4, 0, about=odd)
    assert pointer(answers[0]) == 4, pointer(answers[0])
    # The last fragment has any length.
    replied(V6, link.exchange(*pieces(V6, V6.echo(DATA[:61]), (40,), next(identifications))), DATA[:61])


@case
def n2_atomic_fragments_are_whole_packets(link):
    ident = next(identifications)
    first, last = pieces(V6, V6.echo(DATA), (64,), ident)
    atomic = fragment(V6, V6.echo(b"atomic"), 0, False, ident)
    # RFC 6946 §4: by themselves, whatever else has the same identification.
    silence(link.exchange(first))
    replied(V6, link.exchange(atomic), b"atomic")
    replied(V6, link.exchange(last), DATA)


@case
def n2_empty_fragments_are_none(link):
    for family in FAMILIES:
        ident = next(identifications)
        parts = pieces(family, family.echo(DATA), (64,), ident)
        empty = [fragment(family, b"", start, True, ident) for start in (0, 64, 1_024)]
        replied(family, link.exchange(parts[0], *empty[1:], parts[1]), DATA)


@case
def n2_datagrams_are_told_apart(link):
    for family in FAMILIES:
        ident = next(identifications)
        host = OTHER.v4 if family is V4 else OTHER.v6
        ours = pieces(family, family.echo(DATA), (64,), ident)
        data = bytes(reversed(DATA))
        payload = V4.echo(data) if family is V4 else V6.echo(data, src=host)
        others = pieces(family, payload, (64,), ident, src=host)
        answers = link.exchange(ours[0], others[1], others[0], ours[1])
        found = {(answer.dst, family.reply(answer)) for answer in answers}
        assert found == {(JUDGE.mac, DATA), (OTHER.mac, data)}, found
    # In IPv4 the protocol is a part of what tells them apart.
    ident = next(identifications)
    first, last = pieces(V4, V4.echo(DATA), (64,), ident)
    stranger = fragment(V4, bytes(72), 64, False, ident, proto=17)
    replied(V4, link.exchange(first, stranger, last), DATA)
    # In IPv6 the next header of the first fragment counts (RFC 8200 §4.5).
    first, last = pieces(V6, V6.echo(DATA), (64,), next(identifications))
    last[IPv6ExtHdrFragment].nh = 17
    replied(V6, link.exchange(first, last), DATA)


@case
def n2_spoofed_floods_pin_nothing_that_others_need(link):
    for family in FAMILIES:
        host = OTHER.v4 if family is V4 else OTHER.v6
        ident = next(identifications)
        first, last = pieces(family, family.echo(DATA), (64,), ident)
        flood = [fragment(family, bytes(1_400), 0, True, 0xF000 + number, src=host) for number in range(800)]
        # Begun before the flood, and after it.
        silence(link.exchange(first, *flood[:400]))
        replied(family, link.exchange(last), DATA)
        silence(link.exchange(*flood[400:]))
        replied(family, link.exchange(first, last), DATA)
    link.skip(61)
    # What times out is reported, at a limited rate.
    assert len(link.exchange()) <= 64


@case
def n2_fragments_to_a_group_are_no_ones_business(link):
    parts = pieces(V4, V4.echo(DATA), (64,), next(identifications))
    for part in parts:
        part[IP].dst = "10.9.0.255"
    silence(link.exchange(*parts, to=BROADCAST))
    silence(link.exchange(parts[0], to=BROADCAST))
    link.skip(31)
    silence(link.exchange(), "an error about a broadcast:")


@case
def n2_fragments_of_fragments_are_dropped(link):
    inner = bytes(IPv6ExtHdrFragment(nh=58, offset=0, m=1, id=9)) + V6.echo(DATA)[:64]
    silence(link.exchange(*pieces(V6, inner + bytes(8), (40,), next(identifications), proto=44)))


@case
def n2_headers_before_and_behind_the_fragment_header(link):
    before = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    behind = bytes(IPv6ExtHdrDestOpt(nh=58, options=[PadN(optdata=bytes(12))]))
    parts = pieces(V6, behind + V6.echo(DATA), (64,), next(identifications), proto=60, before=before)
    replied(V6, link.exchange(*reversed(parts)), DATA)


@case
def n2_discovery_in_fragments_is_ignored(link):
    # RFC 6980 §5, with the fragment header of a packet in one piece as well.
    whole = IPv6(src=JUDGE.v6, dst=STACK.v6, hlim=255) / ICMPv6ND_NS(tgt=STACK.v6) / ICMPv6NDOptSrcLLAddr(lladdr=JUDGE.mac)
    message = bytes(whole)[40:]
    for cuts in ((), (16,)):
        parts = pieces(V6, message, cuts, next(identifications))
        for part in parts:
            part[IPv6].hlim = 255
        silence(link.exchange(*parts), cuts)
    assert len(link.exchange(whole)) == 1
