//! What no message and no order of messages may do to the DHCP server.

use dhcproto::v4;
use proptest::prelude::*;

use super::*;

#[test]
fn what_is_no_clients_message_is_dropped_and_counted() {
    let mut server = server();
    let good = udhcpc_discover();
    let mut out = [0; 1472];
    let mut drop = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        assert_eq!(server.handle(at(0), &message, &mut out), None);
    };
    drop(&|message| message.truncate(239));
    drop(&|message| message[236] = 0);
    drop(&|message| message[242] = 99);
    drop(&|message| message[0] = 2);
    drop(&|message| message[242] = 5);
    drop(&|message| message[2] = 16);
    drop(&|message| message[28] |= 1);
    let counters = *server.counters();
    assert_eq!((counters.malformed, counters.not_for_servers, counters.bad_hardware), (3, 2, 2));
    assert!(server.leases().is_empty());
}

/// What must hold whatever has been received.
fn check_invariants(server: &DhcpServer<'_>, now: Instant) {
    let leases = server.leases();
    assert!(leases.windows(2).all(|pair| pair[0].address < pair[1].address), "sorted, each address once");
    for lease in leases {
        assert!((address(15)..=address(19)).contains(&lease.address));
        let same_client = |other: &&Lease| other.client == lease.client && other.state(now) == LeaseState::Bound;
        assert!(lease.state(now) != LeaseState::Bound || leases.iter().filter(same_client).count() == 1);
    }
}

proptest! {
    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut server = server();
        server.handle(at(0), &octets, &mut [0; 600]);
        check_invariants(&server, at(0));
    }

    #[test]
    fn mutated_and_cut_messages_are_survived(
        kind in 1u8..9,
        cut in 0usize..=300,
        changes in proptest::collection::vec((0usize..300, any::<u8>()), 0..8),
        room in 0usize..600,
    ) {
        let mut message = udhcpc_discover();
        message[242] = kind;
        for (place, value) in changes {
            message[place] = value;
        }
        let mut server = server();
        let mut out = vec![0; room];
        for cut in [300, cut] {
            if let Some(reply) = server.handle(at(0), &message[..cut], &mut out) {
                v4::Message::decode(&mut Decoder::new(&out[..reply.len])).unwrap();
            }
        }
        check_invariants(&server, at(0));
    }

    #[test]
    fn no_two_clients_ever_have_the_same_address(
        steps in proptest::collection::vec((1u8..9, 0u8..6, 14u8..21, 0u8..4, 0u64..2000), 1..80),
    ) {
        let mut server = DhcpServer::new(config(), Storage::with_capacity(4)).unwrap();
        let mut now = Instant::ZERO;
        let mut believed: Vec<(u8, Ipv4Addr, Instant)> = vec![];
        for (last, kind, host, fields, wait) in steps {
            now += Duration::from_secs(wait);
            let mut message = client(last);
            if fields & 1 != 0 {
                message = message.wanting(address(host));
            }
            if fields & 2 != 0 {
                message = message.having(address(host));
            }
            let kind = [
                v4::MessageType::Discover,
                v4::MessageType::Request,
                v4::MessageType::Request,
                v4::MessageType::Release,
                v4::MessageType::Decline,
                v4::MessageType::Inform,
            ][usize::from(kind)];
            let answer = message.send(&mut server, now, kind);
            believed.retain(|(owner, _, expires)| {
                *expires > now && !(*owner == last && matches!(kind, v4::MessageType::Release | v4::MessageType::Decline))
            });
            if let Some((_, ack)) = answer
                && kind == v4::MessageType::Request
                && ack.opts().msg_type() == Some(v4::MessageType::Ack)
            {
                prop_assert!(believed.iter().all(|(owner, had, _)| *had != ack.yiaddr() || *owner == last));
                believed.retain(|(owner, ..)| *owner != last);
                believed.push((last, ack.yiaddr(), now + Duration::from_secs(3600)));
            }
            check_invariants(&server, now);
        }
    }
}
