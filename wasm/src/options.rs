//! Options: numbers in the order of the package's names. The package has checked them for people. Here they are
//! converted as `as` does, to the nearest number that is possible, which keeps the engine whole.

use ethertab::time::Duration;
use ethertab::{BLOCK_SIZE, Limits};
use ethertab_sim::{Impairment, Queue};

/// Limits of a stack, `LIMITS` of the names; what is not given stays as it is by default.
pub(crate) fn limits(values: &[f64]) -> Limits {
    let mut values = Values(values);
    let mut limits = Limits::default();
    for limit in [
        &mut limits.interfaces,
        &mut limits.addresses,
        &mut limits.routes,
        &mut limits.neighbors,
        &mut limits.connections,
        &mut limits.listeners,
        &mut limits.syn_queue,
        &mut limits.time_wait,
        &mut limits.udp_sockets,
        &mut limits.pings,
        &mut limits.pending_flows,
        &mut limits.nat_flows,
        &mut limits.trace,
    ] {
        *limit = values.next_or(*limit as f64) as usize;
    }
    limits.pool_blocks = values.next_or(f64::from(limits.pool_blocks) * BLOCK_SIZE as f64) as u32 / BLOCK_SIZE as u32;
    limits
}

/// An impairment, `IMPAIRMENT` of the names; what is not given stays as it was.
pub(crate) fn impairment(before: Impairment, values: &[f64]) -> Impairment {
    let mut values = Values(values);
    Impairment {
        latency: values.next_span_or(before.latency),
        jitter: values.next_span_or(before.jitter),
        loss: values.next_or(before.loss),
        duplicate: values.next_or(before.duplicate),
        corrupt: values.next_or(before.corrupt),
        reorder: values.next_or(before.reorder),
        rate: values.next().map_or(before.rate, |rate| Some(rate as u64)),
        queue: values.next().map_or(before.queue, |frames| Queue::Frames(frames as u32)),
        ..before
    }
}

/// Numbers, each given or NaN.
struct Values<'a>(&'a [f64]);

impl Values<'_> {
    fn next(&mut self) -> Option<f64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (!first.is_nan()).then_some(*first)
    }

    fn next_or(&mut self, default: f64) -> f64 {
        self.next().unwrap_or(default)
    }

    fn next_span_or(&mut self, default: Duration) -> Duration {
        self.next().map_or(default, |micros| Duration::from_micros(micros as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::fields;

    #[test]
    fn each_limit_goes_where_its_name_says() {
        let names = fields("LIMITS");
        let values: Vec<f64> = (1..=names.len()).map(|number| (number * BLOCK_SIZE) as f64).collect();
        let value = |wanted: &str| {
            let index = names.iter().position(|name| *name == wanted).expect("the limit is in the list");
            values[index]
        };
        let limits = limits(&values);
        assert_eq!(limits.interfaces as f64, value("interfaces"));
        assert_eq!(limits.addresses as f64, value("addresses"));
        assert_eq!(limits.routes as f64, value("routes"));
        assert_eq!(limits.neighbors as f64, value("neighbors"));
        assert_eq!(limits.connections as f64, value("connections"));
        assert_eq!(limits.listeners as f64, value("listeners"));
        assert_eq!(limits.syn_queue as f64, value("synQueue"));
        assert_eq!(limits.time_wait as f64, value("timeWait"));
        assert_eq!(limits.udp_sockets as f64, value("udpSockets"));
        assert_eq!(limits.pings as f64, value("pings"));
        assert_eq!(limits.pending_flows as f64, value("pendingFlows"));
        assert_eq!(limits.nat_flows as f64, value("natFlows"));
        assert_eq!(limits.trace as f64, value("trace"));
        assert_eq!(f64::from(limits.pool_blocks) * BLOCK_SIZE as f64, value("memory"));
    }

    #[test]
    fn what_is_not_given_stays() {
        assert_eq!(limits(&[f64::NAN; 20]), Limits::default());
        let before = Impairment { loss: 0.5, rate: Some(7), ..Impairment::PERFECT };
        let after = impairment(before, &[1.0, f64::NAN, f64::NAN, 0.25]);
        assert_eq!(after, Impairment { latency: Duration::from_micros(1), duplicate: 0.25, ..before });
    }

    #[test]
    fn a_cable_changes_as_the_names_say() {
        let names = ["latency", "jitter", "loss", "duplicate", "corrupt", "reorder", "rate", "queue"];
        assert_eq!(fields("IMPAIRMENT"), names);
        let after = impairment(Impairment::PERFECT, &[2.0, 1.0, 0.1, 0.2, 0.3, 0.4, 5.0, 6.0]);
        let (latency, jitter) = (Duration::from_micros(2), Duration::from_micros(1));
        let (loss, duplicate, corrupt, reorder) = (0.1, 0.2, 0.3, 0.4);
        let (rate, queue) = (Some(5), Queue::Frames(6));
        let expected =
            Impairment { latency, jitter, loss, duplicate, corrupt, reorder, rate, queue, ..Impairment::PERFECT };
        assert_eq!(after, expected);
    }
}
