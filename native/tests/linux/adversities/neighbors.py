"""N1 and N5: neighbours, addresses and routers (RFC 826, RFC 5227, RFC 4861, RFC 4862, RFC 6980)."""

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from link import BROADCAST, JUDGE, OTHER, ROUTER, STACK, V4, V6, Host, case, replied, silence, text

DATA = b"ethertab"
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
SOLICITED_NODE = "ff02::1:ff00:2"
SOLICITED_NODE_MAC = "33:33:ff:00:00:02"
# Beyond the router.
FAR4, FAR6 = "192.0.2.9", "2001:db8:9::9"


def station_of(link, family, source, via=JUDGE):
    """The station to which an answer to `source` goes."""
    message = V4.echo(DATA) if family is V4 else V6.echo(DATA, src=source)
    answers = link.exchange(family.packet(message, src=source), host=via)
    return replied(family, answers, DATA).dst


def arp(op=2, sender=JUDGE, target=STACK, **fields):
    fields = {"hwsrc": sender.mac, "psrc": sender.v4, "hwdst": target.mac, "pdst": target.v4, **fields}
    return ARP(op=op, **fields)


@case
def n1_arp_requests_for_our_address_are_answered(link):
    answers = link.exchange(arp(op=1), to=BROADCAST)
    assert [(answer.dst, answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc, answer[ARP].pdst) for answer in answers] == [
        (JUDGE.mac, 2, STACK.mac, STACK.v4, JUDGE.v4)
    ], text(answers)
    # A probe (RFC 5227 §1.1) comes from nobody.
    answers = link.exchange(arp(op=1, psrc="0.0.0.0"), to=BROADCAST)
    assert [(answer[ARP].op, answer[ARP].psrc) for answer in answers] == [(2, STACK.v4)], text(answers)
    silence(link.exchange(arp(op=1, pdst="10.9.0.3"), to=BROADCAST), "not for us:")


@case
def n1_arp_that_is_malformed_is_dropped(link):
    for fields in ({"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}, {"op": 3}, {"op": 0}, {"op": 8}):
        silence(link.exchange(arp(**{"op": 1, **fields}), to=BROADCAST), fields)
    silence(link.exchange(Ether(bytes(Ether(src=JUDGE.mac, dst=BROADCAST, type=0x0806) / arp(op=1))[:-1])))


@case
def n1_spoofed_arp_changes_nothing(link):
    replied(V4, link.exchange(V4.packet(V4.echo(DATA))), DATA)
    evil = "02:ee:ee:ee:ee:ee"
    # From outside of the network, of a group, of everybody, from a group's station, in the name of the stack itself.
    for psrc in (FAR4, "224.0.0.1", "255.255.255.255", "10.9.0.255", "127.0.0.1"):
        for op in (1, 2):
            link.exchange(arp(op=op, psrc=psrc, hwsrc=evil, pdst=STACK.v4), to=BROADCAST)
    for hwsrc in (BROADCAST, "01:00:5e:00:00:01", "00:00:00:00:00:00"):
        link.exchange(arp(hwsrc=hwsrc), to=BROADCAST)
    assert station_of(link, V4, JUDGE.v4) == JUDGE.mac
    assert station_of(link, V4, FAR4) == ROUTER.mac


@case
def n1_an_announcement_is_heard_and_checked(link):
    # A host whose station changes tells so, and is believed (RFC 826), if it can be reached there.
    assert station_of(link, V4, OTHER.v4, OTHER) == OTHER.mac
    moved = Host(19)
    link.send(arp(op=1, sender=OTHER, hwsrc=moved.mac, pdst=OTHER.v4), moved, BROADCAST)
    assert station_of(link, V4, OTHER.v4, OTHER) == moved.mac
    link.send(arp(op=1, sender=OTHER, pdst=OTHER.v4), OTHER, BROADCAST)
    assert station_of(link, V4, OTHER.v4, OTHER) == OTHER.mac
    # Who is not known is not learned from what is not for us.
    stranger = Host(30)
    link.send(arp(op=1, sender=stranger, pdst="10.9.0.3"), stranger, BROADCAST)
    link.silent.add(stranger)
    answers = link.exchange(V4.packet(V4.echo(DATA), src=stranger.v4), host=stranger, everything=True)
    link.silent.remove(stranger)
    assert [ARP in answer and answer[ARP].pdst for answer in answers] == [stranger.v4], text(answers)


@case
def n1_our_address_is_defended_once_in_ten_seconds(link):
    # RFC 5227 §2.4 (c), for an address that was set by hand.
    claim = arp(op=1, sender=OTHER, psrc=STACK.v4, pdst=STACK.v4)

    def defences():
        answers = link.exchange(claim, host=OTHER, to=BROADCAST, everything=True)
        answers = [answer for answer in answers if ARP in answer]
        assert all(answer[ARP].psrc == answer[ARP].pdst == STACK.v4 for answer in answers), text(answers)
        return len(answers)

    assert [defences(), defences(), defences()] == [1, 0, 0]
    link.skip(11)
    assert [defences(), defences()] == [1, 0]
    replied(V4, link.exchange(V4.packet(V4.echo(DATA))), DATA)


def solicitation(src=JUDGE.v6, dst=STACK.v6, hlim=255, target=STACK.v6, option=ICMPv6NDOptSrcLLAddr(lladdr=JUDGE.mac), **fields):
    packet = IPv6(src=src, dst=dst, hlim=hlim) / ICMPv6ND_NS(tgt=target, **fields)
    return packet / option if option is not None else packet


@case
def n1_solicitations_are_answered(link):
    for dst, mac in ((STACK.v6, STACK.mac), (SOLICITED_NODE, SOLICITED_NODE_MAC)):
        for option in (ICMPv6NDOptSrcLLAddr(lladdr=JUDGE.mac), None):
            if dst == SOLICITED_NODE and option is None:
                continue
            answers = link.exchange(solicitation(dst=dst, option=option), to=mac)
            assert len(answers) == 1, text(answers)
            packet, message = answers[0][IPv6], answers[0][ICMPv6ND_NA]
            assert (packet.hlim, packet.src, packet.dst, message.tgt) == (255, STACK.v6, JUDGE.v6, STACK.v6)
            assert (message.R, message.S, message.O) == (0, 1, 1)
            assert answers[0][ICMPv6NDOptDstLLAddr].lladdr == STACK.mac
    # Duplicate address detection by another (RFC 4861 §7.2.4: to all nodes, not solicited).
    answers = link.exchange(solicitation(src="::", dst=SOLICITED_NODE, option=None), to=SOLICITED_NODE_MAC, everything=True)
    assert [(answer[IPv6].dst, answer[ICMPv6ND_NA].S) for answer in answers] == [(ALL_NODES, 0)], text(answers)


@case
def n1_solicitations_that_rfc_4861_refuses(link):
    evil = ICMPv6NDOptSrcLLAddr(lladdr="02:ee:ee:ee:ee:ee")
    bad = [
        solicitation(hlim=254, option=evil),
        solicitation(hlim=1, option=evil),
        solicitation(code=1, option=evil),
        solicitation(cksum=0x1234, option=evil),
        solicitation(target="ff02::1", option=evil),
        solicitation(target="fd00:9::3", option=evil),
        solicitation(option=ICMPv6NDOptUnknown(type=1, len=0, data=b"\2\0\0\0\0\7")),
        solicitation(option=ICMPv6NDOptUnknown(type=1, len=2, data=b"\2\0\0\0\0\7")),
        solicitation(option=ICMPv6NDOptSrcLLAddr(lladdr="33:33:00:00:00:01")),
        solicitation(src="::", dst=SOLICITED_NODE, option=evil),
        solicitation(src="::", dst=STACK.v6, option=None),
        solicitation(src="2001:db8:9::9", option=evil),
    ]
    for packet in bad:
        silence(link.exchange(packet, everything=True), packet.summary())
    truncated = bytes(solicitation(option=None))[40:-1]
    silence(link.exchange(IPv6(src=JUDGE.v6, dst=STACK.v6, hlim=255, nh=58) / Raw(truncated)))
    assert station_of(link, V6, JUDGE.v6) == JUDGE.mac


def advertisement(target=JUDGE, evil=True, dst=STACK.v6, hlim=255, **flags):
    lladdr = "02:ee:ee:ee:ee:ee" if evil else target.mac
    message = ICMPv6ND_NA(tgt=target.v6, **{"R": 0, "S": 0, "O": 1, **flags})
    return IPv6(src=target.v6, dst=dst, hlim=hlim) / message / ICMPv6NDOptDstLLAddr(lladdr=lladdr)


@case
def n1_advertisements_that_rfc_4861_refuses(link):
    assert station_of(link, V6, JUDGE.v6) == JUDGE.mac
    bad = [
        advertisement(hlim=254),
        advertisement(code=3),
        advertisement(cksum=1),
        advertisement(S=1, dst=ALL_NODES),
        # Without the override flag, what is known stays (§7.2.5).
        advertisement(O=0),
        advertisement(O=0, S=1),
    ]
    for packet in bad:
        silence(link.exchange(packet), packet.summary())
        assert station_of(link, V6, JUDGE.v6) == JUDGE.mac, packet.summary()
    # Nobody's entry is made by an advertisement: whoever is not known is asked for (§7.2.5).
    stranger = Host(29)
    link.silent.add(stranger)
    answers = link.exchange(advertisement(stranger), V6.packet(V6.echo(DATA, src=stranger.v6), src=stranger.v6), everything=True)
    link.silent.remove(stranger)
    assert [ICMPv6ND_NS in answer and answer[ICMPv6ND_NS].tgt for answer in answers] == [stranger.v6], text(answers)
    # With the flag, a host that moves is believed.
    moved = advertisement(OTHER, evil=False)
    moved[ICMPv6NDOptDstLLAddr].lladdr = Host(18).mac
    assert station_of(link, V6, OTHER.v6, OTHER) == OTHER.mac
    link.send(moved)
    assert station_of(link, V6, OTHER.v6, OTHER) == Host(18).mac
    link.send(advertisement(OTHER, evil=False))
    assert station_of(link, V6, OTHER.v6, OTHER) == OTHER.mac


def routers_word(*options, src=ROUTER.link_local, dst=ALL_NODES, hlim=255, **fields):
    fields = {"routerlifetime": 1_800, "chlim": 0, **fields}
    packet = IPv6(src=src, dst=dst, hlim=hlim) / ICMPv6ND_RA(**fields)
    for option in options:
        packet = packet / option
    return packet


def prefix(network, valid, preferred=None, on_link=1, autonomous=1, length=64):
    lifetimes = {"validlifetime": valid, "preferredlifetime": valid if preferred is None else preferred}
    return ICMPv6NDOptPrefixInfo(prefix=network, prefixlen=length, L=on_link, A=autonomous, **lifetimes)


def advertise(link, packet, host=ROUTER):
    """What the stack says to an advertisement: the addresses that it asks for."""
    answers = link.exchange(packet, host=host, to=ALL_NODES_MAC, everything=True)
    return [answer[ICMPv6ND_NS].tgt for answer in answers if ICMPv6ND_NS in answer and answer[IPv6].src == "::"]


def answers_at(link, address):
    """Whether the stack answers at an address."""
    message = V6.echo(DATA, dst=address)
    return [V6.reply(answer) for answer in link.exchange(V6.packet(message, dst=address))] == [DATA]


@case
def n5_a_prefix_gives_an_address_that_nobody_can_take_away_at_once(link):
    network = "2001:db8:5::"
    made = advertise(link, routers_word(prefix(network, 86_400)))
    assert len(made) == 1 and made[0].startswith("2001:db8:5:"), made
    link.skip(2)
    assert answers_at(link, made[0])
    # RFC 4862 §5.5.3 (e): two hours are the least that a stranger can cut it to.
    advertise(link, routers_word(prefix(network, 0)))
    advertise(link, routers_word(prefix(network, 1)))
    assert answers_at(link, made[0])
    link.skip(7_100)
    assert answers_at(link, made[0])
    advertise(link, routers_word(prefix(network, 10)))
    link.skip(101)
    assert not answers_at(link, made[0])


@case
def n5_advertisements_that_rfc_4861_refuses(link):
    network = "2001:db8:6::"
    option = prefix(network, 86_400)
    bad = [
        routers_word(option, hlim=254),
        routers_word(option, src="fd00:9::8"),
        routers_word(option, src="::"),
        routers_word(option, code=1),
        routers_word(option, cksum=1),
        routers_word(option, ICMPv6NDOptUnknown(type=25, len=0, data=b"")),
        routers_word(option, ICMPv6NDOptUnknown(type=25, len=9, data=bytes(6))),
        routers_word(prefix(network, 3_600, preferred=7_200)),
        routers_word(prefix(network, 3_600, length=63)),
        routers_word(prefix(network, 3_600, autonomous=0, on_link=0)),
        routers_word(prefix("fe80::", 3_600)),
        routers_word(prefix("ff02::", 3_600)),
        routers_word(prefix(network, 0)),
    ]
    whole = bytes(routers_word(option))[40:]
    bad.append(IPv6(src=ROUTER.link_local, dst=ALL_NODES, hlim=255, nh=58) / Raw(whole[:12]))
    fragment = IPv6ExtHdrFragment(nh=58, offset=0, m=0, id=4)
    bad.append(IPv6(src=ROUTER.link_local, dst=ALL_NODES, hlim=255) / fragment / Raw(whole))
    for packet in bad:
        assert advertise(link, packet) == [], packet.summary()


@case
def n5_a_prefix_is_on_the_link_only_if_it_says_so(link):
    # The host beyond is played by nobody: the answer goes to the router, or the host is asked for.
    advertise(link, routers_word(prefix("2001:db8:7::", 600, on_link=0)))
    link.skip(2)
    source = "2001:db8:7::99"
    assert station_of(link, V6, source, ROUTER) == ROUTER.mac
    advertise(link, routers_word(prefix("2001:db8:7::", 600, on_link=1)))
    answers = link.exchange(V6.packet(V6.echo(DATA, src=source), src=source), everything=True)
    assert [ICMPv6ND_NS in answer and answer[ICMPv6ND_NS].tgt for answer in answers] == [source], text(answers)
    link.skip(700)


@case
def n5_hop_limit_and_mtu_of_routers_count(link):
    def hop_limit():
        return replied(V6, link.exchange(V6.packet(V6.echo(DATA))), DATA)[IPv6].hlim

    advertise(link, routers_word(chlim=33))
    assert hop_limit() == 33
    # 0 says nothing (RFC 4861 §4.2).
    advertise(link, routers_word(chlim=0))
    assert hop_limit() == 33
    advertise(link, routers_word(chlim=64))
    data = bytes(1_400)

    def pieces():
        return len(link.exchange(V6.packet(V6.echo(data))))

    assert pieces() == 1
    for mtu in (0, 1_279, 1_501, 0xFFFFFFFF):
        advertise(link, routers_word(ICMPv6NDOptMTU(mtu=mtu)))
        assert pieces() == 1, mtu
    advertise(link, routers_word(ICMPv6NDOptMTU(mtu=1_280)))
    assert pieces() == 2
    advertise(link, routers_word(ICMPv6NDOptMTU(mtu=1_500)))
    assert pieces() == 1


@case
def n5_a_stranger_cannot_end_anothers_route(link):
    advertise(link, routers_word())
    assert station_of(link, V6, FAR6, ROUTER) == ROUTER.mac
    advertise(link, routers_word(src=OTHER.link_local, routerlifetime=0), OTHER)
    assert station_of(link, V6, FAR6, ROUTER) == ROUTER.mac


def redirect(target, dst=FAR6, src=ROUTER.link_local, hlim=255, option=True, **fields):
    packet = IPv6(src=src, dst=STACK.v6, hlim=hlim) / ICMPv6ND_Redirect(tgt=target, dst=dst, **fields)
    return packet / ICMPv6NDOptDstLLAddr(lladdr=OTHER.mac) if option else packet


@case
def n1_redirects_that_rfc_4861_refuses(link):
    advertise(link, routers_word())
    assert station_of(link, V6, FAR6, ROUTER) == ROUTER.mac
    bad = [
        redirect(OTHER.link_local, src=OTHER.link_local),
        redirect(OTHER.link_local, src=ROUTER.v6),
        redirect(OTHER.link_local, hlim=254),
        redirect(OTHER.link_local, code=1),
        redirect(OTHER.link_local, cksum=1),
        # A better router is named by its link-local address, and a group has none.
        redirect(OTHER.v6),
        redirect(OTHER.link_local, dst="ff02::1"),
        redirect("ff02::1"),
    ]
    for packet in bad:
        silence(link.exchange(packet, host=ROUTER), packet.summary())
        assert station_of(link, V6, FAR6, ROUTER) == ROUTER.mac, packet.summary()
    # One that may be believed.
    silence(link.exchange(redirect(OTHER.link_local), host=ROUTER))
    assert station_of(link, V6, FAR6, ROUTER) == OTHER.mac


@case
def n1_redirects_that_rfc_1122_refuses(link):
    far = "192.0.2.10"
    assert station_of(link, V4, far, ROUTER) == ROUTER.mac
    ours = IP(src=STACK.v4, dst=far) / ICMP(type=0, id=1) / Raw(DATA)
    foreign = IP(src=OTHER.v4, dst=far) / ICMP(type=0, id=1) / Raw(DATA)

    def redirected(quoted=ours, src=ROUTER.v4, gateway=OTHER.v4, code=1, **fields):
        return IP(src=src, dst=STACK.v4) / ICMP(type=5, code=code, gw=gateway, **fields) / quoted

    bad = [
        # Only the router in use may say so, and only of one on the link (RFC 1122 §3.2.2.2).
        redirected(src=OTHER.v4),
        redirected(gateway=FAR4),
        redirected(gateway=STACK.v4),
        redirected(gateway="224.0.0.1"),
        redirected(gateway="10.9.0.255"),
        redirected(foreign),
        redirected(code=7),
        redirected(chksum=1),
        redirected(Raw(bytes(ours)[:12])),
    ]
    for packet in bad:
        silence(link.exchange(packet, host=ROUTER), packet.summary())
        assert station_of(link, V4, far, ROUTER) == ROUTER.mac, packet.summary()
    # One that may be believed.
    silence(link.exchange(redirected(), host=ROUTER))
    assert station_of(link, V4, far, ROUTER) == OTHER.mac


@case
def n1_one_dead_neighbor_does_not_starve_others(link):
    dead = Host(28)
    link.silent.add(dead)
    for family, source in ((V4, dead.v4), (V6, dead.v6)):
        message = V4.echo(DATA) if family is V4 else V6.echo(DATA, src=source)
        flood = [family.packet(message, src=source)] * 200
        answers = link.exchange(*flood, host=dead)
        silence([answer for answer in answers if answer.dst == dead.mac])
        replied(family, link.exchange(family.packet(family.echo(DATA))), DATA)
        link.skip(4)
        silence([answer for answer in link.exchange() if answer.dst == dead.mac])
    link.silent.remove(dead)
