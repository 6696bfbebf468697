//! What stands for what: scripts count sequence numbers from 0 and name timestamps as they like, stacks choose both.

use std::collections::BTreeMap;

use super::options::TcpOption;
use super::wire::{SYN, Segment};

/// A connection as the script and as the wire have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    /// What to add to the script's sequence numbers of the stack's side to get those on the wire.
    local_offset: u32,
    /// The script's initial sequence number of the stack's side, and of its own.
    pub(super) local_isn: Option<u32>,
    pub(super) remote_isn: Option<u32>,
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
            self.local_offset = wire.wrapping_sub(script);
            self.local_isn = Some(script);
            self.learns = false;
        }
    }

    /// The script sends a SYN with this sequence number. It begins something new if that is another than before, or if the
    /// stack knows nothing of the connection any more.
    pub(super) fn learn_remote(&mut self, seq: u32, is_known: bool) {
        let is_repeated = self.remote_isn == Some(seq) && is_known;
        if !is_repeated {
            self.learns |= self.remote_isn.is_some();
            self.remote_isn = Some(seq);
        }
    }

    /// A sequence number of the stack's side, from the script to the wire.
    pub(super) fn to_wire(&self, script: u32) -> u32 {
        script.wrapping_add(self.local_offset)
    }

    /// The same, from the wire to the script.
    pub(super) fn to_script(&self, wire: u32) -> u32 {
        wire.wrapping_sub(self.local_offset)
    }

    /// Turns a segment of the script into one for the wire. The script's own sequence numbers need no change.
    ///
    /// # Errors
    /// The timestamp echo stands for nothing that the stack has sent.
    pub(super) fn inbound(&self, segment: &mut Segment, absolute: bool, scaled: bool) -> Result<(), u32> {
        if !absolute && segment.flags & super::wire::ACK != 0 {
            segment.ack = self.to_wire(segment.ack);
        }
        for option in &mut segment.options {
            match option {
                TcpOption::Sack(blocks) if !absolute => {
                    for (left, right) in blocks {
                        (*left, *right) = (self.to_wire(*left), self.to_wire(*right));
                    }
                }
                TcpOption::Timestamps { echo, absolute: false, .. } if segment.flags & super::wire::ACK != 0 => {
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
        if segment.has(SYN)
            && let Some(script) = script_seq
        {
            self.learn_local(script, segment.seq);
        }
        segment.seq = self.to_script(segment.seq);
        for option in &mut segment.options {
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
    use super::super::wire::ACK;
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
        flow.learn_remote(0, false);
        flow.learn_local(0, 5_000);
        flow.learn_remote(0, true);
        flow.learn_local(0, 6_000);
        assert_eq!(flow.to_wire(1), 5_001, "another sequence number in a repeated SYN shows");
        flow.learn_remote(70_000, true);
        flow.learn_local(0, 6_000);
        assert_eq!(flow.to_wire(1), 6_001, "a new incarnation");
        flow.learn_remote(70_000, false);
        flow.learn_local(0, 7_000);
        assert_eq!(flow.to_wire(1), 7_001, "another one, after the first was forgotten");
    }
}
