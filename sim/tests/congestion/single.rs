//! One flow.

use super::*;
use std::num::NonZeroU32;

#[test]
fn one_flow_uses_nine_tenths_of_any_path() {
    let short = [(10, 1, 3), (10, 10, 3), (10, 100, 10), (10, 300, 20)];
    // At 300 ms a path of 100 Mbit/s holds nearly as much as the largest send buffer.
    let fast = [(100, 1, 1), (100, 10, 2), (100, 100, 6)];
    for (megabits, rtt, secs) in short.into_iter().chain(fast) {
        for algorithm in CONTROLLERS {
            let bottleneck = Bottleneck::new(megabits * MBIT, rtt);
            let mut network = Dumbbell::new(1, bottleneck, [algorithm]);
            network.start();
            let span = Duration::from_secs(secs);
            network.world.run_for(span);
            let bytes = network.deliver(span).iter().sum();
            let used = utilisation(bytes, bottleneck.rate, span);
            assert!(used > 0.9, "{algorithm:?} uses {used:.3} of {megabits} Mbit/s x {rtt} ms: {:?}", network.info(0));
        }
    }
}

#[test]
fn ninety_percent_of_a_long_path_are_reached_within_two_seconds() {
    for algorithm in CONTROLLERS {
        let bottleneck = Bottleneck::new(100 * MBIT, 100);
        let mut network = Dumbbell::new(1, bottleneck, [algorithm]);
        network.start();
        let step = Duration::from_millis(100);
        let mut took = step;
        while utilisation(network.deliver(step).iter().sum(), bottleneck.rate, step) < 0.9 {
            took = took + step;
            assert!(took <= Duration::from_secs(2), "{algorithm:?}: {:?}", network.info(0));
        }
    }
}

/// The smoothed round trip in milliseconds, averaged over 20 seconds.
fn standing_rtt(algorithm: Algorithm, bottleneck: Bottleneck) -> f64 {
    let mut network = Dumbbell::new(1, bottleneck, [algorithm]);
    network.start();
    network.world.run_for(Duration::from_secs(10));
    let samples = (0..200).map(|_| {
        network.world.run_for(Duration::from_millis(100));
        network.info(0).srtt.unwrap().as_micros() as f64 / 1_000.0
    });
    samples.sum::<f64>() / 200.0
}

#[test]
fn bbr_leaves_a_deep_queue_nearly_empty() {
    let bottleneck = Bottleneck { queue: 500_000, ..Bottleneck::new(10 * MBIT, 40) };
    let (bbr, cubic) = (standing_rtt(Algorithm::Bbr, bottleneck), standing_rtt(Algorithm::Cubic, bottleneck));
    assert!(bbr < 60.0, "{bbr} ms");
    assert!(cubic > 150.0, "{cubic} ms");
}

#[test]
fn bbr_bears_losses_that_are_not_of_its_making() {
    let bottleneck = Bottleneck { loss: 0.01, ..Bottleneck::new(20 * MBIT, 40) };
    let share = |algorithm| {
        let mut network = Dumbbell::new(3, bottleneck, [algorithm]);
        network.start();
        network.world.run_for(Duration::from_secs(5));
        let span = Duration::from_secs(20);
        utilisation(network.deliver(span).iter().sum(), bottleneck.rate, span)
    };
    let (bbr, newreno) = (share(Algorithm::Bbr), share(Algorithm::NewReno));
    assert!(bbr > 0.8, "{bbr:.2}");
    assert!(newreno < 0.5, "{newreno:.2}");
}

#[test]
fn bbr_knows_the_bottleneck() {
    let bottleneck = Bottleneck::new(20 * MBIT, 40);
    let mut network = Dumbbell::new(1, bottleneck, [Algorithm::Bbr]);
    network.start();
    network.world.run_for(Duration::from_secs(5));
    let info = network.info(0);
    let goodput = 20.0e6 / 8.0 * EFFICIENCY;
    let estimate = f64::from(info.bandwidth.unwrap()) / goodput;
    assert!((0.98..1.02).contains(&estimate), "{estimate:.3}");
    let delivered = info.delivery_rate as f64 / goodput;
    assert!((0.9..1.02).contains(&delivered), "{delivered:.3}");
    assert!(!info.delivery_rate_is_app_limited);
}

#[test]
fn a_connection_sends_no_faster_than_its_user_allows() {
    for algorithm in CONTROLLERS {
        let bottleneck = Bottleneck::new(100 * MBIT, 20);
        let mut network = Dumbbell::new(1, bottleneck, [algorithm]);
        network.start();
        let conversation = network.world.conversation(network.flows[0]);
        let (host, handle) = (conversation.host, conversation.handle.unwrap());
        let now = network.world.now();
        let (stack, _) = network.world.stack_mut(host).unwrap();
        let mut config = stack.connection_config(handle).unwrap();
        config.max_pacing_rate = NonZeroU32::new(250_000);
        stack.set_connection_config(now, handle, &config).unwrap();
        network.world.run_for(Duration::from_secs(3));
        let rate = network.deliver(Duration::from_secs(4)).iter().sum::<u64>() / 4;
        assert!((235_000..=255_000).contains(&rate), "{algorithm:?}: {rate}");
        assert!(network.info(0).srtt.unwrap() < Duration::from_millis(40), "and no queue stands");
    }
}

#[test]
fn the_algorithm_may_change_under_way() {
    let bottleneck = Bottleneck::new(20 * MBIT, 40);
    let mut network = Dumbbell::new(1, bottleneck, [Algorithm::NewReno]);
    network.start();
    for algorithm in [Algorithm::Bbr, Algorithm::Cubic, Algorithm::Bbr, Algorithm::NewReno] {
        let conversation = network.world.conversation(network.flows[0]);
        let (host, handle) = (conversation.host, conversation.handle.unwrap());
        let now = network.world.now();
        let (stack, _) = network.world.stack_mut(host).unwrap();
        let mut config = stack.connection_config(handle).unwrap();
        config.congestion = algorithm;
        stack.set_connection_config(now, handle, &config).unwrap();
        assert_eq!(network.info(0).congestion_control, algorithm);
        network.world.run_for(Duration::from_secs(5));
        let span = Duration::from_secs(5);
        let used = utilisation(network.deliver(span).iter().sum(), bottleneck.rate, span);
        assert!(used > 0.9, "{algorithm:?}: {used:.3}");
    }
}
