//! One lookup: the names to try one after the other, and for each the two questions that are asked at the same time.

use core::net::{IpAddr, SocketAddr};

use super::answer::Known;
use super::{DnsTransport, LookupFailure, MAX_ADDRESSES, Outcome, QueryToken, ResolverConfig, Wanted};
use crate::services::List;
use crate::time::Instant;
use crate::wire::dns::{CLASS_IN, Name, Question, RecordType};

/// A question that was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// The place of the first server that is asked.
    pub(super) first: usize,
    /// Servers asked so far without success, rounds included.
    pub(super) asked: usize,
    pub(super) id: u16,
    /// `None` while the query is still to be sent.
    pub(super) token: Option<QueryToken>,
    pub(super) server: Option<SocketAddr>,
    pub(super) transport: DnsTransport,
    pub(super) edns: bool,
    /// When the next server is asked, once the query was sent.
    pub(super) due: Instant,
}

impl Waiting {
    pub(super) fn new(first: usize) -> Self {
        Waiting {
            first,
            asked: 0,
            id: 0,
            token: None,
            server: None,
            transport: DnsTransport::Udp,
            edns: true,
            due: Instant::FAR_FUTURE,
        }
    }

    /// The next call of `transmit` has a query.
    pub(super) fn ask_again(&mut self) {
        self.token = None;
    }
}

/// One of the two questions of a lookup.
#[derive(Clone, Copy, Debug)]
pub(super) enum Half {
    Unwanted,
    /// To be asked, if the cache does not know.
    New,
    Waiting(Waiting),
    Known(Known),
    Failed(LookupFailure),
}

impl Half {
    pub(super) fn waiting(&self) -> Option<&Waiting> {
        if let Half::Waiting(waiting) = self { Some(waiting) } else { None }
    }

    pub(super) fn waiting_mut(&mut self) -> Option<&mut Waiting> {
        if let Half::Waiting(waiting) = self { Some(waiting) } else { None }
    }

    pub(super) fn is_new(&self) -> bool {
        matches!(self, Half::New)
    }

    fn is_done(&self) -> bool {
        !matches!(self, Half::New | Half::Waiting(_))
    }

    /// The addresses, if it is known which there are.
    fn addresses(&self) -> Option<List<IpAddr, MAX_ADDRESSES>> {
        match self {
            Half::Known(Known::Addresses(addresses)) => Some(*addresses),
            half => half.is_done().then_some(List::EMPTY),
        }
    }
}

/// Which names are still to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Candidates {
    /// Only the name itself.
    None,
    /// The domains of the search list from this one on.
    Search(u8),
    /// The same, and then the name itself.
    SearchThenItself(u8),
}

/// A place for a lookup.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    pub(super) is_used: bool,
    pub(super) generation: u32,
    pub(super) has_news: bool,
    /// What was asked for.
    given: Name,
    /// What is being tried.
    name: Name,
    candidates: Candidates,
    /// A or the single question, and AAAA.
    pub(super) halves: [Half; 2],
    /// The type of a question other than for addresses.
    kind: Option<RecordType>,
    /// The answer is wanted as a message.
    pub(super) is_relayed: bool,
    /// A server failed for a name before: then it is not certain that there is nothing.
    failure: Option<LookupFailure>,
}

impl Lookup {
    /// An unused place, to fill a slice that is lent as storage.
    pub const EMPTY: Lookup = Lookup {
        is_used: false,
        generation: 0,
        has_news: false,
        given: Name::ROOT,
        name: Name::ROOT,
        candidates: Candidates::None,
        halves: [Half::Unwanted; 2],
        kind: None,
        is_relayed: false,
        failure: None,
    };

    pub(super) fn addresses(name: Name, is_absolute: bool, ndots: u8) -> Lookup {
        let candidates = match is_absolute {
            true => Candidates::None,
            false if name.labels().count() > usize::from(ndots) => Candidates::Search(0),
            false => Candidates::SearchThenItself(0),
        };
        Lookup { is_used: true, given: name, name, candidates, ..Lookup::EMPTY }
    }

    /// One question about a name as it is.
    pub(super) fn single(name: Name, kind: RecordType, is_relayed: bool) -> Lookup {
        let halves = [Half::New, Half::Unwanted];
        Lookup { is_used: true, given: name, name, halves, kind: Some(kind), is_relayed, ..Lookup::EMPTY }
    }

    /// The outcome is known without asking.
    pub(super) fn know(&mut self, addresses: &[IpAddr], wanted: Wanted) {
        self.candidates = Candidates::None;
        let of = |is_v4: bool| {
            let found = addresses.iter().copied().filter(|address| address.is_ipv4() == is_v4).collect::<List<_, _>>();
            match found.is_empty() {
                true if addresses.is_empty() => Half::Known(Known::NxDomain),
                true => Half::Known(Known::NoData),
                false => Half::Known(Known::Addresses(found)),
            }
        };
        self.halves = wanted_only([of(true), of(false)], wanted);
    }

    /// The questions for the first name to try.
    pub(super) fn ask(&mut self, wanted: Wanted, config: &ResolverConfig) {
        self.halves = wanted_only([Half::New; 2], wanted);
        if matches!(self.candidates, Candidates::SearchThenItself(_)) {
            self.next_name(config);
        }
    }

    pub(super) fn question(&self, half: usize) -> Question {
        let record_type = match (self.kind, half) {
            (Some(kind), _) => kind,
            (None, 0) => RecordType::A,
            (None, _) => RecordType::AAAA,
        };
        Question { name: self.name, record_type, class: CLASS_IN }
    }

    pub(super) fn learn(&mut self, half: usize, known: Known) {
        self.halves[half] = Half::Known(known);
        // RFC 8020: if the name does not exist, it has no records of another type either.
        if known == Known::NxDomain && matches!(self.halves[1 - half], Half::New | Half::Waiting(_)) {
            self.halves[1 - half] = Half::Known(known);
        }
    }

    /// If nothing was found, sets out for the next name, if there is one.
    pub(super) fn try_next_name(&mut self, config: &ResolverConfig) -> bool {
        let found = self.halves.iter().any(|half| matches!(half, Half::Known(Known::Addresses(_) | Known::Pointer(_))));
        if found || !self.halves.iter().all(Half::is_done) {
            return false;
        }
        let failed = self.halves.iter().find_map(|half| if let Half::Failed(why) = half { Some(*why) } else { None });
        let halves = self.halves.map(|half| if matches!(half, Half::Unwanted) { half } else { Half::New });
        let before = self.failure;
        self.failure = before.or(failed);
        if !self.next_name(config) {
            return false;
        }
        self.halves = halves;
        self.has_news = false;
        true
    }

    fn next_name(&mut self, config: &ResolverConfig) -> bool {
        loop {
            let (number, itself) = match self.candidates {
                Candidates::None => return false,
                Candidates::Search(number) => (number, false),
                Candidates::SearchThenItself(number) => (number, true),
            };
            let Some(domain) = config.search.iter().nth(number.into()) else {
                self.candidates = Candidates::None;
                self.name = self.given;
                return itself;
            };
            self.candidates =
                if itself { Candidates::SearchThenItself(number + 1) } else { Candidates::Search(number + 1) };
            // One that would be too long cannot exist.
            if let Ok(name) = self.given.within(domain) {
                self.name = name;
                return true;
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let [first, second] = &self.halves;
        if !(first.is_done() && second.is_done()) {
            return Outcome::Pending { v4: first.addresses(), v6: second.addresses() };
        }
        if let Half::Known(Known::Pointer(name)) = first {
            return Outcome::Name(*name);
        }
        let mut addresses = List::EMPTY;
        for address in [second, first].into_iter().filter_map(Half::addresses).flat_map(|list| list.into_iter()) {
            addresses.push(address);
        }
        if !addresses.is_empty() {
            return Outcome::Addresses(addresses);
        }
        Outcome::Failed(self.failure.unwrap_or_else(|| {
            let exists = self.halves.iter().any(|half| matches!(half, Half::Known(Known::NoData)));
            if exists { LookupFailure::NoData } else { LookupFailure::NotFound }
        }))
    }

    /// The place is free again.
    pub(super) fn end(&mut self) {
        *self = Lookup { generation: self.generation, ..Lookup::EMPTY };
    }
}

fn wanted_only([v4, v6]: [Half; 2], wanted: Wanted) -> [Half; 2] {
    match wanted {
        Wanted::Addresses => [v4, v6],
        Wanted::V4 => [v4, Half::Unwanted],
        Wanted::V6 => [Half::Unwanted, v6],
    }
}
