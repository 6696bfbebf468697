//! T26: what hostile segments make the stack look at, counted in places and not in time. A segment may cost the logarithm of what is
//! outstanding or out of order; all that is outstanding may change a few times more, as when it is found lost, or not to be lost
//! after all, which happens once in a window of data. `cargo xtask bench flood` has the instructions.
#![cfg(debug_assertions)]

use crate::peer::{Peer, everywhere_with};
use ethertab::{Algorithm, TcpConfig};
use ethertab_sim::packet::Segment;

/// Segments outstanding, or ranges out of order: few, and as many as a connection may have or nearly so.
const SIZES: [u32; 2] = [64, 2_000];
const RANGES: [u32; 2] = [32, 500];
const MSS: u32 = 536;

/// Looks into blocks that a step of a search may take.
const STEP: u64 = 2;

/// Looks that each outstanding segment may take in the course of a flood, beside those.
const CHANGES: u64 = 30;

fn large_buffers(tcp: &mut TcpConfig) {
    tcp.congestion = Algorithm::Unlimited;
    tcp.timestamps = false;
    (tcp.initial_send_buffer, tcp.receive_buffer) = (4 << 20, 4 << 20);
}

/// A peer with `size` segments of the stack's on their way.
fn fill(peer: &mut Peer, size: u32) {
    peer.listen();
    // The MSS, a window scale of 7, and selective acknowledgments.
    peer.send("S 0:0(0) win 65535 <mss 536,wscale 7,0x0402>");
    peer.expect("S. 0:0(0) ack 1");
    peer.send(". 1:1(0) ack 1 win 60000");
    let handle = peer.accept().expect("a connection");
    assert_eq!(peer.write(handle, (size * MSS) as usize), (size * MSS) as usize);
    let sent = std::iter::from_fn(|| peer.take()).count();
    assert_eq!(sent as u32, size);
}

/// An ACK of `acked` segments with these blocks, counted in segments.
fn sack(peer: &Peer, acked: u32, blocks: &[(u32, u32)]) -> Segment {
    let mut segment = peer.segment(". 1:1(0) win 60000");
    let at = |place: u32| peer.host_zero().wrapping_add(1 + place * MSS);
    segment.ack = at(acked);
    segment.options = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
    for &(left, right) in blocks {
        segment.options.extend(at(left).to_be_bytes());
        segment.options.extend(at(right).to_be_bytes());
    }
    segment
}

/// Delivers a segment; returns the looks that it took.
fn looks(peer: &mut Peer, segment: &Segment) -> u64 {
    let before = peer.pool.looks();
    peer.receive(segment);
    let looks = peer.pool.looks() - before;
    peer.drain();
    peer.ignore();
    looks
}

/// All numbers below `count` once, in an order that jumps about.
fn shuffled(count: u32) -> Vec<u32> {
    let mut state = 0x9e37_79b9_u32;
    let mut numbers: Vec<u32> = (0..count).collect();
    for place in (1..numbers.len()).rev() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        numbers.swap(place, (state >> 8) as usize % (place + 1));
    }
    numbers
}

/// The segments given may take a search for each of their `searches` blocks, and what is outstanding a few looks more.
#[track_caller]
fn assert_bounded(what: &str, size: u32, searches: u64, peer: &mut Peer, segments: &[Segment]) {
    let steps = u64::from(u32::BITS - size.leading_zeros());
    let bound = STEP * searches * (steps + 1) * segments.len() as u64 + CHANGES * u64::from(size);
    let taken: u64 = segments.iter().map(|segment| looks(peer, segment)).sum();
    println!("{what}, {size} outstanding: {taken} looks for {} segments, at most {bound}", segments.len());
    assert!(taken <= bound, "{what}: {taken} looks with {size} outstanding, at most {bound} wanted");
}

#[test]
fn t26_sack_floods_cost_the_logarithm_of_what_is_outstanding() {
    for size in SIZES {
        everywhere_with(large_buffers, |peer| {
            fill(peer, size);
            // Every second segment, in random order, four in an ACK; and all of it again, with nothing new in it.
            let odd: Vec<u32> = shuffled(size / 2).iter().map(|number| 2 * number + 1).collect();
            let acks: Vec<Segment> = odd
                .chunks(4)
                .map(|four| sack(peer, 0, &four.iter().map(|&place| (place, place + 1)).collect::<Vec<_>>()))
                .collect();
            assert_bounded("random blocks", size, 8, peer, &acks);
            assert_bounded("the same again", size, 4, peer, &acks);
            // Reports of duplicates, before three blocks that are known.
            let duplicates: Vec<Segment> = odd
                .chunks_exact(3)
                .map(|three| {
                    let known = |at: usize| (three[at], three[at] + 1);
                    sack(peer, 0, &[known(0), known(0), known(1), known(2)])
                })
                .collect();
            assert_bounded("duplicates", size, 5, peer, &duplicates);
        });
    }
}

#[test]
fn t26_blocks_over_what_is_known_are_not_walked() {
    for size in SIZES {
        everywhere_with(large_buffers, |peer| {
            fill(peer, size);
            looks(peer, &sack(peer, 0, &[(1, size - 1)]));
            let growing: Vec<Segment> = (0..200)
                .map(|count| {
                    let end = |less: u32| (1, size - 1 - (count + less) % (size / 2));
                    sack(peer, 0, &[end(0), end(1), end(2), end(3)])
                })
                .collect();
            assert_bounded("four long blocks", size, 5, peer, &growing);
            // The peer forgets what it has said, by a segment at a time.
            let reneging: Vec<Segment> =
                (1..200.min(size / 2)).map(|acked| sack(peer, acked, &[(acked + 1, size)])).collect();
            assert_bounded("what was SACKed is acknowledged", size, 5, peer, &reneging);
        });
    }
}

#[test]
fn t26_out_of_order_floods_cost_the_logarithm_of_their_ranges() {
    for size in RANGES {
        everywhere_with(large_buffers, |peer| {
            fill(peer, 1);
            let bytes: Vec<Segment> =
                shuffled(size).iter().map(|place| peer.segment(&format!(". {}:0(1) ack 1", 3 + 2 * place))).collect();
            assert_bounded("every second byte", size, 4, peer, &bytes);
            assert_bounded("the same again", size, 4, peer, &bytes);
        });
    }
}
