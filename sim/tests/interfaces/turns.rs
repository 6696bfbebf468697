//! A host with several interfaces sends by each of them.

use crate::lab::{host, ip, open};
use ethertab::time::Duration;
use ethertab::{Endpoint, UdpMeta};
use ethertab_sim::{Impairment, World};

#[test]
fn one_socket_sends_by_two_interfaces_in_whatever_order() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(1);
        let (router, peers) = (host(&mut world, "router", 1), [host(&mut world, "a", 2), host(&mut world, "b", 3)]);
        let networks = [["10.0.0.1/24", "10.0.0.2/24"], ["10.1.0.1/24", "10.1.0.2/24"]];
        let addresses = [ip("10.0.0.2"), ip("10.1.0.2")];
        let mut sockets = Vec::new();
        for (number, (peer, [ours, theirs])) in (0..).zip(peers.into_iter().zip(networks)) {
            let switch = world.switch("switch");
            open(&mut world, router, switch, 10 + number, &[ours], Impairment::default());
            open(&mut world, peer, switch, 20 + number, &[theirs], Impairment::default());
            sockets.push(world.stack_mut(peer).unwrap().0.bind_udp(Endpoint::any(7)).unwrap());
        }
        let socket = world.stack_mut(router).unwrap().0.bind_udp(Endpoint::any(0)).unwrap();
        let mut counts = [0; 2];
        // The first round also resolves the neighbours.
        for round in 1..=2 {
            let now = world.now();
            let (stack, pool) = world.stack_mut(router).unwrap();
            for number in order {
                let to = UdpMeta::to((addresses[number], 7).into());
                stack.udp_send(pool, now, socket, &to, b"hello").unwrap();
            }
            world.run_for(Duration::from_millis(100));
            for (number, peer) in peers.into_iter().enumerate() {
                let (stack, pool) = world.stack_mut(peer).unwrap();
                while stack.udp_recv(pool, sockets[number], &mut [0; 100]).is_some() {
                    counts[number] += 1;
                }
            }
            assert_eq!(counts, [round; 2], "{order:?}");
        }
    }
}
