//! The floods.

use crate::victim::{MSS, Victim};
use clap::ValueEnum;
use ethertab::time::Duration;

/// Segments that an attack consists of, at least.
const SEGMENTS: u64 = 500;

/// What the peer does. The first of these meet a sender that has so many segments outstanding, the others a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    Honest,
    Everything,
    Forward,
    Backward,
    Shuffled,
    Repeated,
    Growing,
    Partial,
    Duplicates,
    Renege,
    Timeouts,
    Undo,
    Ranges,
    RangesBackward,
    RangesShuffled,
    RangesAgain,
    RangesFilled,
}

impl Attack {
    /// What it is, for a table.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Attack::Honest => "for comparison: every second segment is acknowledged",
            Attack::Everything => "one block for all but the first segment, counted by the segment",
            Attack::Forward => "every second segment is SACKed, four blocks in an ACK, upwards",
            Attack::Backward => "the same downwards",
            Attack::Shuffled => "the same in random order",
            Attack::Repeated => "the same again: nothing is new",
            Attack::Growing => "four blocks from the second segment on, each as long as can be, again and again",
            Attack::Partial => "blocks that cover halves of segments",
            Attack::Duplicates => "DSACKs of what is outstanding, with three blocks that are known",
            Attack::Renege => "SND.UNA advances by a segment into what was SACKed, again and again",
            Attack::Timeouts => "the same, each time with a timeout before it",
            Attack::Undo => "a segment is lost, says RACK, and was only late, says the timestamp, again and again",
            Attack::Ranges => "receiver: every second byte, upwards",
            Attack::RangesBackward => "receiver: the same downwards",
            Attack::RangesShuffled => "receiver: the same in random order",
            Attack::RangesAgain => "receiver: the same again: nothing is new",
            Attack::RangesFilled => {
                "receiver: a segment that covers all of them, but not the first gap, counted by the range"
            }
        }
    }
}

/// Runs the attack, on fresh connections until it has consisted of enough segments; returns of how many.
pub(crate) fn run(attack: Attack, size: u32) -> anyhow::Result<u64> {
    let mut segments = 0;
    while segments < SEGMENTS {
        let is_on_receiver = attack as u8 >= Attack::Ranges as u8;
        let mut victim = Victim::new(if is_on_receiver { 10 } else { size }, attack == Attack::Undo)?;
        if is_on_receiver {
            flood_receiver(&mut victim, attack, size)?;
        } else {
            victim.fill()?;
            victim.pass(Duration::from_millis(10));
            flood_sender(&mut victim, attack, size)?;
        }
        segments += match attack {
            Attack::Everything => u64::from(size - 1),
            Attack::RangesFilled => u64::from(size.min(508)),
            _ => victim.attacked,
        };
    }
    Ok(segments)
}

/// The block of the segment with this number.
fn block(number: u32) -> (u32, u32) {
    (number * MSS, (number + 1) * MSS)
}

/// All numbers once, in an order that jumps about.
fn shuffle(numbers: &mut [u32]) {
    let mut state = 0x9e37_79b9_u32;
    for place in (1..numbers.len()).rev() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        numbers.swap(place, (state >> 8) as usize % (place + 1));
    }
}

fn flood_sender(victim: &mut Victim, attack: Attack, size: u32) -> anyhow::Result<()> {
    let mut odd: Vec<u32> = (1..size).step_by(2).collect();
    match attack {
        Attack::Backward => odd.reverse(),
        Attack::Shuffled | Attack::Repeated | Attack::Partial | Attack::Duplicates => shuffle(&mut odd),
        _ => {}
    }
    let slices: Vec<Vec<(u32, u32)>> =
        odd.chunks(4).map(|numbers| numbers.iter().rev().map(|number| block(*number)).collect()).collect();
    match attack {
        Attack::Honest => {
            for _ in 0..size / 2 {
                victim.una = victim.una.wrapping_add(2 * MSS);
                victim.attack(&victim.ack(victim.una, &[]))?;
            }
        }
        Attack::Everything => victim.attack(&victim.sack(&[(MSS, size * MSS)]))?,
        Attack::Forward | Attack::Backward | Attack::Shuffled => {
            for blocks in &slices {
                victim.attack(&victim.sack(blocks))?;
            }
        }
        Attack::Repeated => {
            for blocks in &slices {
                victim.quietly(&victim.sack(blocks))?;
            }
            for blocks in slices.iter().cycle().take(SEGMENTS as usize) {
                victim.attack(&victim.sack(blocks))?;
            }
        }
        Attack::Growing => {
            victim.quietly(&victim.sack(&[(MSS, (size - 1) * MSS)]))?;
            for count in 0..SEGMENTS as u32 {
                let ends = [0, 1, 2, 3].map(|less| size - 1 - (count + less) % (size / 2));
                victim.attack(&victim.sack(&ends.map(|end| (MSS, end * MSS))))?;
            }
        }
        Attack::Partial => {
            for blocks in slices.iter().cycle().take(SEGMENTS as usize) {
                let halves: Vec<_> = blocks.iter().map(|(left, right)| (left + 1, right + MSS - 1)).collect();
                victim.attack(&victim.sack(&halves))?;
            }
        }
        Attack::Duplicates => {
            for blocks in &slices {
                victim.quietly(&victim.sack(blocks))?;
            }
            for blocks in slices.iter().cycle().take(SEGMENTS as usize) {
                let mut blocks = blocks.clone();
                blocks.truncate(3);
                blocks.insert(0, blocks[0]);
                victim.attack(&victim.sack(&blocks))?;
            }
        }
        Attack::Renege | Attack::Timeouts => {
            victim.quietly(&victim.sack(&[(MSS, size * MSS)]))?;
            for _ in 1..size {
                if attack == Attack::Timeouts {
                    victim.pass(Duration::from_secs(1));
                }
                victim.una = victim.una.wrapping_add(MSS);
                let left = victim.nxt.wrapping_sub(victim.una);
                victim.attack(&victim.sack(&[(MSS, left)]))?;
            }
        }
        Attack::Undo => {
            victim.attack(&victim.sack(&[block(size - 1)]))?;
            victim.pass(Duration::from_millis(20));
            for _ in 0..size - 4 {
                let left = victim.nxt.wrapping_sub(victim.una);
                victim.attack(&victim.sack(&[(left - MSS, left)]))?;
                victim.una = victim.una.wrapping_add(MSS);
                victim.attack(&victim.sack(&[(left - 2 * MSS, left - MSS)]))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn flood_receiver(victim: &mut Victim, attack: Attack, size: u32) -> anyhow::Result<()> {
    let mut places: Vec<u32> = (1..=size).map(|number| 2 * number).collect();
    match attack {
        Attack::RangesBackward => places.reverse(),
        Attack::RangesShuffled | Attack::RangesAgain => shuffle(&mut places),
        _ => {}
    }
    let is_prelude = matches!(attack, Attack::RangesAgain | Attack::RangesFilled);
    for place in &places {
        let frame = victim.data(*place, 1);
        if is_prelude { victim.quietly(&frame)? } else { victim.attack(&frame)? }
    }
    match attack {
        Attack::RangesAgain => {
            for place in places.iter().cycle().take(SEGMENTS as usize) {
                victim.attack(&victim.data(*place, 1))?;
            }
        }
        Attack::RangesFilled => victim.attack(&victim.data(1, (2 * size as usize).min(MSS as usize)))?,
        _ => {}
    }
    Ok(())
}
