//! The client and this crate's server, over a network that loses, repeats and delays (S1), by seed.

use super::*;
use ethertab::services::{DhcpConfig, DhcpServer};
use ethertab::storage::Storage;

/// xorshift64: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn s1_lost_late_and_repeated_messages_only_delay_a_lease() {
    for seed in 1..=200 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut pool = DhcpConfig::new(SERVER, 24, address(15)..=address(20));
        pool.lease_time = secs(600);
        let mut server = DhcpServer::new(pool, Storage::with_capacity(8)).unwrap();
        let mut client = DhcpClient::new(Instant::ZERO, DhcpClientConfig { seed: [seed, 0], ..config() });
        let mut now = Instant::ZERO;
        // Answers under way, with their arrival.
        let mut under_way: Vec<(Instant, Vec<u8>)> = Vec::new();
        let mut bound_for = 0;
        while now < Instant::from_secs(3_600) {
            if client.next_timeout().is_some_and(|due| due <= now) {
                client.handle_timeout(now);
            }
            let mut out = [0; 548];
            while let Some(sent) = client.transmit(now, &mut out) {
                // A third is lost each way, a third of the rest comes twice.
                for _ in 0..[0, 1, 2][dice.roll(3) as usize] {
                    let mut reply = [0; 1_472];
                    if let Some(answer) = server.handle(now, &out[..sent.len], &mut reply)
                        && dice.roll(3) > 0
                    {
                        let arrival = now + Duration::from_millis(dice.roll(9_000));
                        under_way.push((arrival, reply[..answer.len].to_vec()));
                    }
                }
            }
            under_way.sort();
            while under_way.first().is_some_and(|(arrival, _)| *arrival <= now) {
                client.handle(now, &under_way.remove(0).1);
            }
            while client.poll_event().is_some() {}
            if client.lease().is_some() {
                bound_for += 1;
            }
            now += secs(1);
        }
        assert!(bound_for > 2_000, "seed {seed}: a lease for {bound_for} of 3,600 seconds");
    }
}
