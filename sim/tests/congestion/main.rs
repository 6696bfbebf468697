//! Congestion control on simulated networks: how well one flow uses a path, how several share one, what they do to its queue.

mod sharing;
mod single;

use ethertab::time::Duration;
use ethertab::{Algorithm, ConnectionInfo, TcpConfig};
use ethertab_sim::apps::{ConversationId, Plan, ServerId};
use ethertab_sim::world::HostOptions;
use ethertab_sim::{HostId, Impairment, Queue, World};

const MBIT: u64 = 1_000_000;
const CONTROLLERS: [Algorithm; 3] = [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr];

/// More than any of them sends in a test.
const ENDLESS: u64 = 1 << 40;

/// Senders on fast cables behind a switch, and one receiver behind the bottleneck.
struct Dumbbell {
    world: World,
    senders: Vec<HostId>,
    flows: Vec<ConversationId>,
    server: ServerId,
}

/// The one cable that limits everybody.
#[derive(Clone, Copy)]
struct Bottleneck {
    /// Bits a second.
    rate: u64,
    /// The round trip without queues, in milliseconds.
    rtt: u64,
    /// Bytes that wait for the line.
    queue: u64,
    loss: f64,
}

impl Bottleneck {
    /// With a queue of one bandwidth-delay product, or 64 KiB.
    fn new(rate: u64, rtt: u64) -> Self {
        Bottleneck { rate, rtt, queue: (rate / 8 * rtt / 1_000).max(65_536), loss: 0.0 }
    }
}

fn options(algorithm: Algorithm) -> HostOptions {
    let mut tcp = TcpConfig::default();
    tcp.congestion = algorithm;
    (tcp.initial_send_buffer, tcp.initial_receive_buffer) = (tcp.send_buffer, tcp.receive_buffer);
    HostOptions { tcp, ..HostOptions::default() }
}

impl Dumbbell {
    fn new(seed: u64, bottleneck: Bottleneck, senders: impl IntoIterator<Item = Algorithm>) -> Self {
        let mut world = World::with_pool(seed, 48 * 1024);
        let receiver = world.host_with("receiver", &["10.0.0.1/24"], options(Algorithm::Cubic)).unwrap();
        let switch = world.switch("switch");
        let line = Impairment {
            rate: Some(bottleneck.rate),
            queue: Queue::Bytes(bottleneck.queue as u32),
            loss: bottleneck.loss,
            ..Impairment::latency(Duration::from_micros(bottleneck.rtt * 500))
        };
        world.cable(switch, receiver, line).unwrap();
        let server = world.serve(receiver, 80, Plan::receive()).unwrap();
        let senders = senders.into_iter().enumerate().map(|(number, algorithm)| {
            let name = format!("sender {number}");
            let host = world.host_with(&name, &[&format!("10.0.0.{}/24", number + 2)], options(algorithm)).unwrap();
            world.cable(host, switch, Impairment::latency(Duration::from_micros(7 * number as u64))).unwrap();
            host
        });
        let senders = senders.collect();
        Dumbbell { world, senders, flows: Vec::new(), server }
    }

    /// Starts a flow from each sender, 100 ms apart.
    fn start(&mut self) {
        for host in self.senders.clone() {
            self.flows.push(self.world.connect(host, "10.0.0.1:80", Plan::send(ENDLESS)).unwrap());
            self.world.run_for(Duration::from_millis(100));
        }
    }

    /// Bytes that each flow has delivered so far.
    fn received(&self) -> Vec<u64> {
        self.world.accepted(self.server).iter().map(|end| self.world.conversation(*end).received).collect()
    }

    /// Bytes that each flow delivers within `span`.
    fn deliver(&mut self, span: Duration) -> Vec<u64> {
        let before = self.received();
        self.world.run_for(span);
        let new = |(flow, after): (usize, u64)| after - before.get(flow).copied().unwrap_or(0);
        self.received().into_iter().enumerate().map(new).collect()
    }

    /// A flow as its sender sees it.
    fn info(&self, flow: usize) -> ConnectionInfo {
        let conversation = self.world.conversation(self.flows[flow]);
        let stack = self.world.stack(conversation.host).unwrap();
        stack.connection_info(conversation.handle.unwrap()).unwrap()
    }
}

/// Payload's share of a full frame.
const EFFICIENCY: f64 = 1_448.0 / 1_514.0;

/// The share of a line that these bytes of payload have used within `span`.
fn utilisation(bytes: u64, rate: u64, span: Duration) -> f64 {
    bytes as f64 * 8.0 * 1_000_000.0 / (rate as f64 * span.as_micros() as f64 * EFFICIENCY)
}

/// Jain's index of fairness: 1 if all have the same, 1/n if one has all.
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}
