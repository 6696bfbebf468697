//! Receiving: order, overlap, windows and when to acknowledge.

use crate::peer::{everywhere, everywhere_with};
use ethertab::{DropReason, Pool};

#[test]
fn t20_segments_in_every_order_and_overlap_give_the_stream() {
    let orders: [&[&str]; 5] = [
        &["1001:2001(1000)", "1:1001(1000)"],
        &["2001:3001(1000)", "1001:2001(1000)", "1:1001(1000)"],
        &["501:1501(1000)", "1001:2001(1000)", "1:601(600)"],
        &["1:301(300)", "201:501(300)", "1:1001(1000)", "901:2001(1100)"],
        &["1501:2001(500)", "501:701(200)", "1001:1201(200)", "1:2001(2000)"],
    ];
    for order in orders {
        everywhere(|peer| {
            let handle = peer.establish();
            for place in order {
                peer.send(&format!(". {place} ack 1"));
            }
            let mut last = None;
            while let Some(segment) = peer.take() {
                last = Some(segment);
            }
            let end = peer.stack.readable_bytes(handle) as u32 + 1;
            assert!(end >= 2_001, "{order:?}: {end}");
            let acked = last.unwrap().ack.wrapping_sub(peer.segment("- 0:0(0)").seq);
            assert_eq!(acked, end, "{order:?}: a filled gap is acknowledged at once");
            assert_eq!(peer.read(handle, 10_000), Ok(end as usize - 1));
            peer.close(handle);
            peer.assert_nothing_left();
        });
    }
}

/// CVE-2018-5390: what an attacker can make a receiver keep and search through is bounded.
#[test]
fn t26_thousands_of_one_byte_segments_out_of_order() {
    everywhere(|peer| {
        let handle = peer.establish();
        for number in 0..20_000 {
            let at = 3 + number * 2;
            peer.send(&format!(". {at}:{}(1) ack 1", at + 1));
            peer.ignore();
        }
        assert!(peer.drops(DropReason::TcpReassemblyFull) > 15_000);
        assert!(peer.pool.blocks_in_use() < 20, "{} blocks", peer.pool.blocks_in_use());
        // The connection is as good as before.
        peer.send("P. 1:1001(1000) ack 1");
        assert!(peer.read(handle, 2_000).is_ok_and(|count| count >= 1_000));
        let next = peer.stack.connection_info(handle).unwrap().bytes_received + 1;
        peer.send(&format!("P. {next}:{}(1000) ack 1", next + 1_000));
        assert_eq!(peer.read(handle, 1_000), Ok(1_000));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

#[test]
fn t27_a_peer_that_writes_past_the_window() {
    everywhere_with(
        |tcp| tcp.receive_buffer = 3_000,
        |peer| {
            let handle = peer.establish();
            for at in [1, 1001, 2001] {
                peer.send(&format!(". {at}:{}(1000) ack 1", at + 1_000));
            }
            peer.ignore();
            // The window is full: nothing more is kept, whatever it is.
            for _ in 0..100 {
                peer.send("P. 3001:4001(1000) ack 1");
                peer.expect(". 1:1(0) ack 3001 win 0");
            }
            assert_eq!(peer.read(handle, 10_000), Ok(3_000));
            peer.expect(". 1:1(0) ack 3001 win 3000");
            // The part inside the window is taken.
            peer.send("P. 3001:7001(4000) ack 1");
            assert_eq!(peer.read(handle, 10_000), Ok(3_000));
        },
    );
}

#[test]
fn t27_a_probe_of_a_closed_window_is_answered() {
    everywhere_with(
        |tcp| tcp.receive_buffer = 2_000,
        |peer| {
            let handle = peer.establish();
            peer.send("P. 1:2001(2000) ack 1");
            peer.expect(". 1:1(0) ack 2001 win 0");
            // The three kinds of probe: one byte beyond, one below, nothing at all below.
            for probe in [". 2001:2002(1) ack 1", ". 2000:2001(1) ack 1", ". 2000:2000(0) ack 1"] {
                peer.send(probe);
                peer.expect(". 1:1(0) ack 2001 win 0");
            }
            // A closed window still takes acknowledgments and resets (RFC 9293 §3.10.7.4).
            peer.write(handle, 100);
            peer.expect("P. 1:101(100) ack 2001 win 0");
            peer.send(". 2001:2001(0) ack 101");
            assert_eq!(peer.stack.unacknowledged_bytes(handle), 0);
            peer.send("R 2001:2001(0)");
            assert!(peer.stack.connection_error(handle).is_some());
        },
    );
}

#[test]
fn t43_reading_a_byte_from_a_full_buffer_opens_no_window() {
    everywhere_with(
        |tcp| tcp.receive_buffer = 8_000,
        |peer| {
            let handle = peer.establish();
            for at in (1..8_001).step_by(1_000) {
                peer.send(&format!(". {at}:{}(1000) ack 1", at + 1_000));
            }
            peer.ignore();
            for _ in 0..900 {
                assert_eq!(peer.read(handle, 1), Ok(1));
            }
            peer.expect_nothing();
            peer.send(". 8001:8002(1) ack 1");
            peer.expect(". 1:1(0) ack 8001 win 0");
            assert_eq!(peer.read(handle, 200), Ok(200));
            let update = peer.take().expect("a segment's worth of window");
            assert!((1_000..=1_100).contains(&update.window), "{}", update.window);
        },
    );
}

/// Whatever the scale and the sizes of the segments; and what was promised is taken to the last byte.
#[test]
fn t43_the_right_edge_never_moves_left() {
    for receive_buffer in [5_000, 60_000, 200_000, 1_000_000] {
        everywhere_with(
            |tcp| tcp.receive_buffer = receive_buffer,
            |peer| {
                peer.listen();
                peer.send("S 0:0(0) <mss 1000,wscale 7>");
                let syn_ack = peer.take().unwrap();
                peer.send_segment(&ethertab_sim::packet::Segment {
                    ack: syn_ack.seq.wrapping_add(1),
                    ..peer.segment(". 1:1(0)")
                });
                let handle = peer.accept().unwrap();
                let scale = syn_ack.options.windows(3).find(|bytes| bytes[..2] == [3, 3]).map_or(0, |bytes| bytes[2]);
                let zero = peer.segment("- 0:0(0)").seq;
                let (mut at, mut edge) = (1u32, 1u32);
                for step in 0u32..3_000 {
                    // Up to the last byte promised, whenever that is near.
                    let len = (1 + step * 37 % 900).min(edge - at);
                    let mut segment = peer.segment(&format!(". {at}:{}({len})", at + len));
                    (segment.flags, segment.ack) = (ethertab_sim::packet::ACK, syn_ack.seq.wrapping_add(1));
                    peer.send_segment(&segment);
                    at += len;
                    let received = peer.stack.connection_info(handle).unwrap().bytes_received;
                    assert_eq!(received, u64::from(at - 1), "step {step}: promised and not taken");
                    if step % 3 == 0 {
                        let _ = peer.read(handle, (step % 1_500) as usize);
                    }
                    peer.pass_millis(50);
                    if len == 0 {
                        // A probe: nothing else would bring an answer.
                        segment.seq = segment.seq.wrapping_sub(1);
                        peer.send_segment(&segment);
                    }
                    while let Some(ack) = peer.take() {
                        let new_edge = ack.ack.wrapping_sub(zero) + (u32::from(ack.window) << scale);
                        assert!(new_edge >= edge, "step {step}: {new_edge} after {edge}");
                        edge = edge.max(new_edge);
                    }
                }
                assert!(at > 100_000, "{at} bytes");
            },
        );
    }
}

#[test]
fn t44_two_full_segments_are_acknowledged_at_once_and_one_within_40_ms() {
    everywhere(|peer| {
        let handle = peer.establish();
        // The first segments of a connection are acknowledged one by one, for a peer in slow start.
        let mut at = 1;
        for _ in 0..16 {
            peer.send(&format!(". {at}:{}(1000) ack 1", at + 1_000));
            at += 1_000;
        }
        peer.ignore();
        assert_eq!(peer.read(handle, 100_000), Ok(16_000));
        peer.ignore();
        for _ in 0..10 {
            peer.send(&format!(". {at}:{}(1000) ack 1", at + 1_000));
            peer.expect_nothing();
            peer.send(&format!(". {}:{}(1000) ack 1", at + 1_000, at + 2_000));
            at += 2_000;
            peer.expect(&format!(". 1:1(0) ack {at}"));
        }
        peer.send(&format!(". {at}:{}(1000) ack 1", at + 1_000));
        assert_eq!(peer.wait_for(&format!(". 1:1(0) ack {}", at + 1_000)), 40);
    });
}

#[test]
fn t44_an_answer_carries_the_acknowledgment() {
    everywhere(|peer| {
        let handle = peer.establish();
        let (mut theirs, mut ours) = (1, 1);
        for _ in 0..50 {
            peer.send(&format!("P. {theirs}:{}(100) ack {ours}", theirs + 100));
            theirs += 100;
            peer.ignore();
            assert_eq!(peer.read(handle, 1_000), Ok(100));
            peer.write(handle, 50);
            peer.expect(&format!("P. {ours}:{}(50) ack {theirs}", ours + 50));
            ours += 50;
        }
        peer.expect_nothing();
    });
}

/// DESIGN of the hot path: a batch yields one ACK, but three duplicates if three segments came out of order.
#[test]
fn a_batch_is_acknowledged_once_and_its_duplicates_are_counted() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send_batch(&[". 1:1001(1000) ack 1", ". 1001:2001(1000) ack 1", ". 2001:3001(1000) ack 1"]);
        peer.expect(". 1:1(0) ack 3001");
        peer.expect_nothing();
        peer.send_batch(&[". 4001:5001(1000) ack 1", ". 5001:6001(1000) ack 1", ". 6001:7001(1000) ack 1"]);
        for _ in 0..3 {
            peer.expect(". 1:1(0) ack 3001");
        }
        peer.expect_nothing();
        peer.send(". 3001:4001(1000) ack 1");
        peer.expect(". 1:1(0) ack 7001");
        assert_eq!(peer.read(handle, 10_000), Ok(7_000));
    });
}

/// The peer learns of the loss as soon as if there were memory.
#[test]
fn a_batch_out_of_order_that_finds_no_memory_is_owed_its_duplicates_all_the_same() {
    everywhere(|peer| {
        peer.pool = Pool::new(8);
        let handle = peer.establish();
        for start in (1..28_001).step_by(1_000) {
            peer.send(&format!(". {start}:{}(1000) ack 1", start + 1_000));
        }
        peer.pass_millis(100);
        peer.ignore();
        peer.send_batch(&[". 29001:30001(1000) ack 1", ". 30001:31001(1000) ack 1", ". 31001:32001(1000) ack 1"]);
        assert_eq!(peer.drops(DropReason::TcpNoMemory), 3);
        for _ in 0..3 {
            peer.expect(". 1:1(0) ack 28001");
        }
        peer.expect_nothing();
        assert_eq!(peer.read(handle, 60_000), Ok(28_000));
    });
}

#[test]
fn duplicates_owed_while_nothing_can_be_sent_do_not_add_up() {
    everywhere(|peer| {
        peer.establish();
        peer.forget_neighbor();
        for start in (1_001..21_001).step_by(1_000) {
            peer.send(&format!(". {start}:{}(1000) ack 1", start + 1_000));
        }
        peer.ignore();
        peer.remember_neighbor();
        for _ in 0..3 {
            peer.expect(". 1:1(0) ack 1");
        }
        peer.expect_nothing();
    });
}

/// T42: two hosts that disagree do not answer each other's empty segments for ever.
#[test]
fn t42_empty_segments_out_of_place_are_answered_a_few_times_a_second() {
    everywhere(|peer| {
        let _ = peer.establish();
        let mut answers = 0;
        for _ in 0..500 {
            peer.send(". 4294960000:4294960000(0) ack 1");
            answers += u32::from(peer.take().is_some());
        }
        assert!((1..=10).contains(&answers), "{answers}");
    });
}
