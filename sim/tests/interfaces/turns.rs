//! A host with several interfaces sends by each of them.

use crate::lab::{host, open};
use ethertab::time::Duration;
use ethertab_sim::apps::Plan;
use ethertab_sim::{Impairment, World};

/// The SYN comes in by one interface and the way back leads out of the other. That is found when the first has its turn,
/// after the other's turn or before it: either way nothing waits for a timer.
#[test]
fn an_answer_leaves_at_once_by_another_interface() {
    for [arrival, way_back] in [[0, 1], [1, 0]] {
        let mut world = World::new(1);
        let (server, client) = (host(&mut world, "server", 1), host(&mut world, "client", 2));
        let lan = world.switch("lan");
        for number in 0..2 {
            let address = if number == arrival { "10.1.0.1/24" } else { "10.0.0.1/24" };
            open(&mut world, server, lan, 10 + number, &[address], Impairment::default());
        }
        // For the client all of 10.0.0.0/8 is on the link; for the server the client is where `way_back` leads.
        open(&mut world, client, lan, 20, &["10.0.0.2/8"], Impairment::default());
        world.serve(server, 80, Plan::receive()).unwrap();
        let sending = world.connect(client, "10.1.0.1:80", Plan::send(10_000)).unwrap();
        world.run_for(Duration::from_millis(500));
        assert!(world.conversation(sending).finished, "in by {arrival}, out by {way_back}: {world}");
    }
}
