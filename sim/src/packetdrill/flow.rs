//! What stands for what: scripts name sequence numbers and timestamps as they like, stacks choose both. A segment with SYN has
//! the sequence numbers that the script says; all others count from the initial ones.

use std::collections::BTreeMap;

use super::options::TcpOption;
use super::wire::{ACK, SYN, Segment};

/// A connection as the script and as the wire have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    /// The initial sequence number of the stack's side: as the script has it, and as on the wire.
    local_isn: Option<(u32, u32)>,
    /// The script's own, which is the same on the wire.
    remote_isn: Option<u32>,
    /// One that the script has sent to a connection that exists; the stack's SYN tells whether it is taken.
    offered_isn: Option<u32>,
    /// The next SYN of the stack begins a new incarnation: its sequence number is to be learnt.
    pub(super) learns: bool,
    /// The stack's timestamps, by what the script calls them.
    timestamps: BTreeMap<u32, u32>,
    /// The first of them: as the script has it, and as it was.
    first_timestamp: Option<(u32, u32)>,
}

impl Flow {
    pub(super) fn new(local_port: u16, remote_port: u16) -> Self {
        Flow { local_port, remote_port, learns: true, ..Flow::default() }
    }

    /// The stack has sent a SYN, which the script gives this sequence number.
    pub(super) fn learn_local(&mut self, script: u32, wire: u32) {
        if self.learns {
            self.local_isn = Some((script, wire));
            self.learns = false;
        }
    }

    /// The script sends a SYN with this sequence number, to a connection that the stack has (beyond SYN-SENT) or has not.
    pub(super) fn learn_remote(&mut self, seq: u32, is_open: bool) {
        match self.remote_isn {
            Some(known) if is_open => self.offered_isn = Some(seq).filter(|seq| *seq != known),
            _ => self.begin(seq),
        }
    }

    /// A new incarnation, with this initial sequence number of the script's.
    fn begin(&mut self, seq: u32) {
        self.learns |= self.remote_isn.is_some();
        (self.remote_isn, self.offered_isn) = (Some(seq), None);
    }

    /// What to add to sequence numbers of the stack's side, in segments with SYN and others, to get those on the wire.
    fn local_offset(&self, is_syn: bool) -> u32 {
        self.local_isn.map_or(0, |(script, wire)| if is_syn { wire.wrapping_sub(script) } else { wire })
    }

    /// The same for those of the script's side.
    fn remote_offset(&self, is_syn: bool) -> u32 {
        self.remote_isn.filter(|_| !is_syn).unwrap_or(0)
    }

    /// A relative sequence number of the stack's side, as on the wire.
    pub(super) fn to_wire(&self, script: u32) -> u32 {
        script.wrapping_add(self.local_offset(false))
    }

    /// The place in its stream of the first byte of a segment that the script sends.
    pub(super) fn place_of_script(&self, seq: u32, is_syn: bool) -> u32 {
        let start = if is_syn { self.remote_isn.unwrap_or(0) } else { 1 };
        seq.wrapping_sub(start)
    }

    /// The same for one on the wire that the stack has sent; None if its SYN was never seen.
    pub(super) fn place_of_stack(&self, wire: u32, is_syn: bool) -> Option<u32> {
        let (_, isn) = self.local_isn?;
        Some(wire.wrapping_add(u32::from(is_syn)).wrapping_sub(isn.wrapping_add(1)))
    }

    /// Turns a segment of the script into one for the wire.
    ///
    /// # Errors
    /// The timestamp echo stands for nothing that the stack has sent.
    pub(super) fn inbound(&self, segment: &mut Segment, absolute: bool, scaled: bool) -> Result<(), u32> {
        let is_syn = segment.has(SYN);
        if !absolute {
            segment.seq = segment.seq.wrapping_add(self.remote_offset(is_syn));
        }
        let to_wire = |seq: u32| seq.wrapping_add(self.local_offset(is_syn));
        if !absolute && segment.has(ACK) {
            segment.ack = to_wire(segment.ack);
        }
        for option in &mut segment.options {
            match option {
                TcpOption::Sack(blocks) if !absolute => {
                    for (left, right) in blocks {
                        (*left, *right) = (to_wire(*left), to_wire(*right));
                    }
                }
                TcpOption::Timestamps { echo, absolute: false, .. } if segment.flags & ACK != 0 => {
                    *echo = match (self.timestamps.get(echo), self.first_timestamp) {
                        (Some(known), _) => *known,
                        (None, Some((script, wire))) if scaled => echo.wrapping_sub(script).wrapping_add(wire),
                        // A segment to a connection that has not sent any yet.
                        (None, None) => *echo,
                        (None, Some(_)) => return Err(*echo),
                    };
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Turns a segment of the stack into the script's numbers, and remembers which timestamp `script_value` stands for.
    pub(super) fn outbound(&mut self, segment: &mut Segment, script_seq: Option<u32>, script_value: Option<u32>) {
        let is_syn = segment.has(SYN);
        if let (true, Some(offered)) = (is_syn, self.offered_isn)
            && (1..=u32::from(u16::MAX)).contains(&segment.ack.wrapping_sub(offered))
        {
            self.begin(offered);
        }
        if is_syn && let Some(script) = script_seq {
            self.learn_local(script, segment.seq);
        }
        segment.seq = segment.seq.wrapping_sub(self.local_offset(is_syn));
        let remote_offset = self.remote_offset(is_syn);
        let to_script = |seq: u32| seq.wrapping_sub(remote_offset);
        if segment.has(ACK) {
            segment.ack = to_script(segment.ack);
        }
        for option in &mut segment.options {
            if let TcpOption::Sack(blocks) = option {
                blocks.iter_mut().for_each(|(left, right)| (*left, *right) = (to_script(*left), to_script(*right)));
            }
            if let TcpOption::Timestamps { value: Some(value), .. } = option {
                let wire = *value;
                if let Some(script) = script_value {
                    self.timestamps.insert(script, wire);
                    self.first_timestamp.get_or_insert((script, wire));
                }
                if let Some((first_script, first_wire)) = self.first_timestamp {
                    *value = wire.wrapping_sub(first_wire).wrapping_add(first_script);
                }
            }
        }
    }
}

/// The byte at this place of a stream. Each direction has its own, so that what is misplaced is noticed.
pub(super) fn pattern(stream: Stream, offset: u32) -> u8 {
    let key: u32 = match stream {
        Stream::FromStack => 0x9e37_79b1,
        Stream::FromScript => 0x85eb_ca6b,
    };
    (offset.wrapping_add(1).wrapping_mul(key) >> 24) as u8
}

/// The two streams of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    FromStack,
    FromScript,
}

/// So many bytes of a stream.
pub(super) fn stream_bytes(stream: Stream, offset: u32, len: u32) -> Vec<u8> {
    (0..len).map(|at| pattern(stream, offset.wrapping_add(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_timestamps(value: u32, echo: u32) -> Vec<TcpOption> {
        vec![TcpOption::Timestamps { value: Some(value), echo, absolute: false }]
    }

    #[test]
    fn numbers_are_mapped_there_and_back() {
        let mut flow = Flow::new(8080, 40_000);
        let mut syn = Segment { seq: 0xffff_fff0, flags: SYN, options: with_timestamps(777, 0), ..Segment::default() };
        flow.outbound(&mut syn, Some(0), Some(100));
        assert_eq!((syn.seq, &syn.options), (0, &with_timestamps(100, 0)));
        let mut answer = Segment { ack: 1, flags: ACK | SYN, options: with_timestamps(9, 100), ..Segment::default() };
        flow.inbound(&mut answer, false, false).unwrap();
        assert_eq!((answer.ack, &answer.options), (0xffff_fff1, &with_timestamps(9, 777)));
        let mut wrong = Segment { ack: 1, flags: ACK, options: with_timestamps(9, 101), ..Segment::default() };
        assert_eq!(flow.inbound(&mut wrong.clone(), false, false), Err(101));
        flow.inbound(&mut wrong, false, true).unwrap();
        assert_eq!(wrong.options, with_timestamps(9, 778));
    }

    #[test]
    fn a_repeated_syn_is_not_learnt_again() {
        let mut flow = Flow::new(8080, 40_000);
        let syn_ack = |flow: &mut Flow, seq: u32, ack: u32| {
            flow.outbound(&mut Segment { seq, ack, flags: SYN | ACK, ..Segment::default() }, Some(0), None);
        };
        flow.learn_remote(0, false);
        syn_ack(&mut flow, 5_000, 1);
        flow.learn_remote(0, true);
        syn_ack(&mut flow, 6_000, 1);
        assert_eq!(flow.to_wire(1), 5_001, "another sequence number in a repeated SYN shows");
        flow.learn_remote(70_000, true);
        let mut challenge = Segment { seq: 5_001, ack: 1, flags: ACK, ..Segment::default() };
        flow.outbound(&mut challenge, Some(1), None);
        assert_eq!((challenge.seq, challenge.ack), (1, 1), "the SYN was not taken");
        syn_ack(&mut flow, 6_000, 70_001);
        assert_eq!(flow.to_wire(1), 6_001, "a new incarnation");
        flow.learn_remote(70_000, false);
        syn_ack(&mut flow, 7_000, 70_001);
        assert_eq!(flow.to_wire(1), 7_001, "another one, after the first was forgotten");
    }

    #[test]
    fn only_segments_with_syn_have_initial_sequence_numbers_in_them() {
        let mut flow = Flow::new(8080, 40_000);
        flow.learn_remote(900, false);
        let mut syn = Segment { seq: 5_000, ack: 901, flags: SYN | ACK, ..Segment::default() };
        flow.outbound(&mut syn, Some(1234), None);
        assert_eq!((syn.seq, syn.ack), (1234, 901));
        let mut ack = Segment { seq: 1, ack: 1, flags: ACK, ..Segment::default() };
        flow.inbound(&mut ack, false, false).unwrap();
        assert_eq!((ack.seq, ack.ack), (901, 5_001));
        let sack = vec![TcpOption::Sack(vec![(911, 921)])];
        let mut data = Segment { seq: 5_001, ack: 901, flags: ACK, options: sack, ..Segment::default() };
        flow.outbound(&mut data, Some(1), None);
        assert_eq!((data.seq, data.ack, &data.options[0]), (1, 1, &TcpOption::Sack(vec![(11, 21)])));
        assert_eq!((flow.place_of_script(900, true), flow.place_of_script(1, false)), (0, 0));
        assert_eq!((flow.place_of_stack(5_000, true), flow.place_of_stack(5_001, false)), (Some(0), Some(0)));
    }
}
