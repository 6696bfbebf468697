//! The ring and its lists against a plain model.

use super::*;
use crate::random::{Generator, Use};
use alloc::vec::Vec;

/// What a record should be, kept the simple way.
#[derive(Clone, Copy)]
struct Model {
    end: Seq,
    sent: u32,
    sacked: bool,
    lost: bool,
    resent: bool,
    ever: bool,
}

impl Model {
    fn is_waiting(&self) -> bool {
        self.lost && !self.resent
    }

    fn is_fresh(&self) -> bool {
        !self.sacked && !self.lost && !self.resent
    }
}

fn count(model: &[Model], what: impl Fn(&Model) -> bool) -> u32 {
    model.iter().filter(|record| what(record)).count() as u32
}

fn compare(records: &mut Records, pool: &mut Pool<'_>, model: &[Model], resent: &[Seq], context: &str) {
    assert_eq!(records.len() as usize, model.len(), "{context}");
    for (number, expected) in records.numbers().zip(model) {
        let record = records.get(pool, number);
        assert_eq!(
            (record.end, record.sent, record.is_sacked(), record.is_lost(), record.was_resent()),
            (expected.end, expected.sent, expected.sacked, expected.lost, expected.ever),
            "{context}"
        );
        assert_eq!(record.is_resent(), expected.resent, "{context}");
    }
    let (sacked, lost) = (count(model, |record| record.sacked), count(model, |record| record.lost));
    let in_flight_again = count(model, |record| record.resent);
    assert_eq!(
        (u32::from(records.sacked), records.lost(), records.resent()),
        (sacked, lost, in_flight_again),
        "{context}"
    );
    let first = model.iter().position(Model::is_waiting).map(|place| records.head.wrapping_add(place as u32));
    assert_eq!(records.next_waiting(), first, "{context}: the lowest that waits");
    let fresh = model.iter().position(Model::is_fresh).map(|place| records.head.wrapping_add(place as u32));
    assert_eq!(records.first_fresh(pool).map(|(number, _)| number), fresh, "{context}: the first that is fresh");
    let oldest = records.first_resent(pool).map(|(_, record)| record.end);
    assert_eq!(oldest, resent.first().copied(), "{context}: the one sent again first");
}

/// Random segments, losses, retransmissions and acknowledgments leave what a plain list of them would hold, over
/// the wrap of sequence numbers, and all blocks come back.
#[test]
fn records_are_what_a_plain_list_would_be() {
    for seed in 0..60u64 {
        let mut random = Generator::new([seed, 11], Use::HashTables);
        let mut pool = Pool::new(64);
        let mut account = Account::new(64);
        let mut records = Records::EMPTY;
        records.head = u32::MAX - random.next_u32() % 600;
        records.fresh = records.head;
        let mut end = Seq(u32::MAX - random.next_u32() % 300_000);
        let mut model: Vec<Model> = Vec::new();
        // The ends of those sent again, oldest first.
        let mut resent: Vec<Seq> = Vec::new();
        let most = [3, 40, 700, 3_000][seed as usize % 4];
        for step in 0..1_500u32 {
            let choice = random.next_u32();
            let place = if model.is_empty() { 0 } else { (choice >> 8) as usize % model.len() };
            let number = records.head.wrapping_add(place as u32);
            match choice % 16 {
                0..=5 => {
                    for _ in 0..choice >> 8 & 31 {
                        if model.len() < most && records.reserve(&mut pool, &mut account) {
                            let len = 1 + random.next_u32() % 1_460;
                            end += len;
                            records.push(&mut pool, end, len, false, step, Stamp::ZERO);
                            model.push(Model {
                                end,
                                sent: step,
                                sacked: false,
                                lost: false,
                                resent: false,
                                ever: false,
                            });
                        }
                    }
                }
                6..=8 if !model.is_empty() && !model[place].sacked => {
                    records.mark_sacked(&mut pool, number);
                    resent.retain(|&other| other != model[place].end);
                    let record = &mut model[place];
                    // What was sent again needlessly stays in flight.
                    record.resent &= !record.lost;
                    (record.sacked, record.lost) = (true, false);
                }
                9..=10 if !model.is_empty() => {
                    let expected = match &mut model[place] {
                        record if record.sacked || record.is_waiting() => MarkedLost::No,
                        record => {
                            let again = record.resent;
                            (record.lost, record.resent) = (true, false);
                            resent.retain(|&other| other != record.end);
                            if again { MarkedLost::Again } else { MarkedLost::Yes }
                        }
                    };
                    assert_eq!(records.mark_lost(&mut pool, number), expected);
                }
                11..=13 => {
                    if let Some(number) = records.next_waiting() {
                        records.mark_resent(&mut pool, number, step, Stamp::ZERO);
                        let record = &mut model[number.wrapping_sub(records.head) as usize];
                        (record.resent, record.ever, record.sent) = (true, true, step);
                        resent.push(record.end);
                    }
                }
                14 => {
                    let acknowledged = if choice & 0x100 == 0 { place.min(8) } else { place };
                    for expected in model.drain(..acknowledged) {
                        let record = records.pop(&mut pool, &mut account, end).unwrap();
                        assert_eq!(record.end, expected.end);
                        resent.retain(|&other| other != expected.end);
                    }
                }
                _ if choice & 0xf00 == 0 => {
                    records.forget_losses(&mut pool);
                    model.iter_mut().for_each(|record| record.lost = false);
                }
                _ => {}
            }
            if !model.is_empty() {
                let place = place % model.len();
                let seq = model[place].end - 1;
                assert_eq!(records.find(&pool, seq), records.head.wrapping_add(place as u32));
                let next = model[place..].iter().position(|record| !record.sacked).unwrap_or(model.len() - place);
                let number = records.head.wrapping_add(place as u32);
                assert_eq!(records.skip_sacked(&mut pool, number), number.wrapping_add(next as u32));
            }
            compare(&mut records, &mut pool, &model, &resent, &format!("seed {seed}, step {step}"));
        }
        records.clear(&mut pool, &mut account);
        assert_eq!(pool.blocks_in_use(), 0, "seed {seed}");
    }
}

#[test]
fn few_records_take_no_block_and_there_are_some_without_any() {
    let mut pool = Pool::new(8);
    let mut account = Account::new(0);
    let mut records = Records::EMPTY;
    for round in 0..5u32 {
        for place in 1..=INLINE as u32 {
            assert!(records.reserve(&mut pool, &mut account));
            records.push(&mut pool, Seq(round * 10 + place), 1, false, 0, Stamp::ZERO);
        }
        assert!(!records.reserve(&mut pool, &mut account), "the window counts as full");
        for place in 1..=INLINE as u32 {
            let record = records.pop(&mut pool, &mut account, Seq(round * 10 + place)).unwrap();
            assert_eq!(record.end, Seq(round * 10 + place));
        }
    }
    assert_eq!(pool.peak_blocks(), 0);
}
