//! Several flows on one bottleneck.

use super::*;

/// Ten flows for so many seconds after ten of warming up: share of the line, Jain's index, segments sent again for each delivered.
fn ten_flows(seed: u64, algorithm: Algorithm, secs: u64) -> (f64, f64, f64) {
    let bottleneck = Bottleneck::new(20 * MBIT, 40);
    let mut network = Dumbbell::new(seed, bottleneck, [algorithm; 10]);
    network.start();
    network.world.run_for(Duration::from_secs(10));
    let resent = |network: &Dumbbell| (0..10).map(|flow| u64::from(network.info(flow).retransmits)).sum::<u64>();
    let before = resent(&network);
    let span = Duration::from_secs(secs);
    let shares = network.deliver(span);
    let bytes = shares.iter().sum::<u64>();
    let again = (resent(&network) - before) as f64 * 1_448.0 / bytes as f64;
    (utilisation(bytes, bottleneck.rate, span), jain(&shares), again)
}

#[test]
fn t45_ten_flows_share_a_bottleneck_fairly() {
    for algorithm in CONTROLLERS {
        for seed in 1..=2 {
            let (used, jain, again) = ten_flows(seed, algorithm, 40);
            assert!(jain >= 0.95, "{algorithm:?}, seed {seed}: Jain's index is {jain:.3}");
            assert!(used > 0.95, "{algorithm:?}, seed {seed}: {used:.3} of the line is used");
            assert!(again < 0.05, "{algorithm:?}, seed {seed}: {again:.3} segments are sent again for each");
        }
    }
}

#[test]
fn t45_without_congestion_control_the_line_carries_repetitions() {
    let (used, _, again) = ten_flows(1, Algorithm::Unlimited, 3);
    assert!(again > 10.0, "{again:.3} segments are sent again for each");
    assert!(used < 0.9, "{used:.3} of the line is used");
}

#[test]
fn a_second_flow_gets_its_share_of_a_full_line() {
    for algorithm in CONTROLLERS {
        let bottleneck = Bottleneck::new(20 * MBIT, 40);
        let mut network = Dumbbell::new(1, bottleneck, [algorithm; 2]);
        let hosts = network.senders.clone();
        let connect =
            |network: &mut Dumbbell, host| network.world.connect(host, "10.0.0.1:80", Plan::send(ENDLESS)).unwrap();
        let first = connect(&mut network, hosts[0]);
        network.world.run_for(Duration::from_secs(20));
        let second = connect(&mut network, hosts[1]);
        network.flows = vec![first, second];
        network.world.run_for(Duration::from_secs(20));
        let shares = network.deliver(Duration::from_secs(30));
        assert!(jain(&shares) > 0.9, "{algorithm:?}: {shares:?}");
    }
}

#[test]
fn a_run_with_each_algorithm_repeats_byte_for_byte() {
    let run = |algorithm| {
        let mut network =
            Dumbbell::new(5, Bottleneck { loss: 0.005, ..Bottleneck::new(20 * MBIT, 40) }, [algorithm; 3]);
        network.start();
        network.world.run_for(Duration::from_secs(5));
        network.world.trace()
    };
    for algorithm in CONTROLLERS {
        assert_eq!(run(algorithm), run(algorithm), "{algorithm:?}");
    }
}
