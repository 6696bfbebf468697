//! Multicast DNS and service discovery: hosts on a link in virtual time, and messages that an independent implementation
//! (hickory-proto) reads and builds.

mod answers;
mod claims;
mod hostile;
mod questions;

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;

use ethertab::Prefix;
use ethertab::services::mdns::{GROUP_V4, ServiceConfig};
use ethertab::services::{List, Mdns, MdnsConfig, MdnsEvent, MdnsMemory, Text};
use ethertab::time::{Duration, Instant};
use ethertab::wire::dns::{Name, RecordType};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name as HickoryName, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable as _, BinEncodable as _};

const MTU: usize = 1_452;
/// Class IN with the bit that asks for a unicast answer, or flushes caches.
const IN_WITH_BIT: DNSClass = DNSClass::Unknown(0x8001);

fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

fn hickory(text: &str) -> HickoryName {
    HickoryName::from_str(text).unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn host(number: u8, hostname: &str) -> Mdns<'static> {
    let config = MdnsConfig { seed: [number.into(), 7], hostname: Text::new(hostname).unwrap() };
    Mdns::new(config, MdnsMemory::with_capacity(4, 4, 32))
}

fn addresses(number: u8) -> List<Prefix, 8> {
    [format!("10.0.0.{number}/24"), format!("fe80::{number}/64")].iter().map(|text| text.parse().unwrap()).collect()
}

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// A message as it was sent, and as hickory reads it.
#[derive(Clone, Debug)]
struct Sent {
    at: Instant,
    octets: Vec<u8>,
    message: Message,
}

impl Sent {
    fn is_response(&self) -> bool {
        self.message.metadata.message_type == MessageType::Response
    }

    /// `name type ttl` of each answer, sorted.
    fn answers(&self) -> Vec<String> {
        shown(&self.message.answers)
    }
}

fn shown(records: &[Record]) -> Vec<String> {
    let show = |record: &Record| format!("{} {} {}", record.name, record.record_type(), record.ttl);
    let mut shown: Vec<String> = records.iter().map(show).collect();
    shown.sort();
    shown
}

/// Hosts on a link without delay or loss; host 0 has the address 10.0.0.1.
struct Link {
    hosts: Vec<Mdns<'static>>,
    now: Instant,
    sent: Vec<Sent>,
}

impl Link {
    fn new(hostnames: &[&str]) -> Link {
        let mut link = Link { hosts: Vec::new(), now: Instant::ZERO, sent: Vec::new() };
        for hostname in hostnames {
            link.add(hostname);
        }
        link
    }

    fn add(&mut self, hostname: &str) -> usize {
        let number = self.hosts.len() as u8 + 1;
        self.hosts.push(host(number, hostname));
        self.hosts[usize::from(number) - 1].set_addresses(self.now, addresses(number));
        self.hosts.len() - 1
    }

    /// Sends what is due, and what that leads to.
    fn settle(&mut self) {
        while let Some((from, octets)) = self.next_message() {
            let message = Message::from_bytes(&octets).expect("hickory reads it");
            self.sent.push(Sent { at: self.now, octets: octets.clone(), message });
            self.deliver(from, &octets);
        }
    }

    fn next_message(&mut self) -> Option<(usize, Vec<u8>)> {
        let mut out = [0; MTU];
        let now = self.now;
        self.hosts.iter_mut().enumerate().find_map(|(index, host)| {
            let len = host.transmit(now, &mut out)?;
            Some((index, out[..len].to_vec()))
        })
    }

    fn deliver(&mut self, from: usize, octets: &[u8]) {
        let source = SocketAddr::new(address(from as u8 + 1), 5353);
        for to in (0..self.hosts.len()).filter(|to| *to != from) {
            let mut out = [0; MTU];
            let answer = self.hosts[to].handle(self.now, source, GROUP_V4.into(), octets, &mut out);
            if let Some(len) = answer {
                let message = Message::from_bytes(&out[..len]).expect("hickory reads it");
                self.sent.push(Sent { at: self.now, octets: out[..len].to_vec(), message });
                let reply_from = SocketAddr::new(address(to as u8 + 1), 5353);
                self.hosts[from].handle(self.now, reply_from, source.ip(), &out[..len], &mut [0; MTU]);
            }
        }
    }

    /// Lets so much time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(due) = self.hosts.iter().filter_map(Mdns::next_timeout).min().filter(|due| *due <= end) {
            assert!(due >= self.now || self.now == end, "what is due is done");
            self.now = due.max(self.now);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// What was sent since the last call.
    fn take(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    fn events(&mut self, host: usize) -> Vec<MdnsEvent> {
        std::iter::from_fn(|| self.hosts[host].poll_event()).collect()
    }

    /// A message from nobody's host to the group; what is answered to it alone.
    fn hear(&mut self, from: &str, message: &Message) -> Option<Message> {
        self.hear_octets(from, GROUP_V4.into(), &message.to_bytes().unwrap())
    }

    fn hear_octets(&mut self, from: &str, to: IpAddr, octets: &[u8]) -> Option<Message> {
        let mut out = [0; MTU];
        let len = self.hosts[0].handle(self.now, from.parse().unwrap(), to, octets, &mut out)?;
        Some(Message::from_bytes(&out[..len]).expect("hickory reads it"))
    }
}

/// A link with one host that has its name.
fn named(hostname: &str) -> Link {
    let mut link = Link::new(&[hostname]);
    link.run(Duration::from_secs(5));
    link.take();
    link
}

fn register(link: &mut Link, host: usize, instance: &str) -> ethertab::services::mdns::ServiceId {
    let service = ServiceConfig { instance, service: "_http._tcp", subtypes: &[], port: 80, text: b"\x06path=/" };
    link.hosts[host].register(link.now, &service).unwrap()
}

fn query(questions: &[(&str, RecordType, DNSClass)]) -> Message {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    for (owner, kind, class) in questions {
        let mut query = Query::query(hickory(owner), kind.0.into());
        query.set_query_class(*class);
        message.add_query(query);
    }
    message
}

fn response(records: Vec<Record>) -> Message {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    message.answers = records;
    message
}

/// An address record that flushes caches.
fn a(owner: &str, ttl: u32, address: &str) -> Record {
    let mut record = Record::from_rdata(hickory(owner), ttl, RData::A(A(address.parse().unwrap())));
    record.dns_class = IN_WITH_BIT;
    record
}
