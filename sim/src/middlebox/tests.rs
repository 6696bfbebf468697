use super::*;
use crate::packet::{PSH, TCP, parse_ip};

const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];

fn frame(from: Side, segment: &Segment) -> Vec<u8> {
    let (macs, a, b) = ((MacAddr([2; 6]), MacAddr([4; 6])), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    match from {
        Side::A => ip_frame(macs, a, b, TCP, &segment.to_bytes()),
        Side::B => ip_frame((macs.1, macs.0), b, a, TCP, &segment.to_bytes()),
    }
}

fn segment(from: Side, flags: u16, seq: u32, ack: u32, payload: &[u8]) -> Segment {
    let (source_port, destination_port) = if from == Side::A { (1_000, 80) } else { (80, 1_000) };
    let (window, payload) = (1_000, payload.to_vec());
    Segment { source_port, destination_port, seq, ack, flags, window, payload, ..Segment::default() }
}

/// What comes out for one frame, at once.
fn pass(middlebox: &mut Middlebox, from: Side, segment: &Segment) -> Vec<(Side, Segment)> {
    middlebox.pass(Instant::ZERO, from, &frame(from, segment));
    drain(middlebox)
}

fn drain(middlebox: &mut Middlebox) -> Vec<(Side, Segment)> {
    let frames = std::iter::from_fn(|| middlebox.next_frame());
    frames
        .map(|(side, frame)| {
            assert!(Parsed::new(&frame).is_some(), "the checksums of {frame:?}");
            (side, Segment::parse(parse_ip(&frame).unwrap().3).unwrap())
        })
        .collect()
}

#[test]
fn without_rules_frames_pass_unchanged() {
    let mut middlebox = Middlebox::new(MiddleboxConfig::default());
    let data = frame(Side::A, &segment(Side::A, ACK | PSH, 1, 1, b"hello"));
    for frame in [&data[..], &data[..20], &[1, 2, 3]] {
        middlebox.pass(Instant::ZERO, Side::B, frame);
        assert_eq!(middlebox.next_frame(), Some((Side::A, frame.to_vec())));
    }
}

#[test]
fn a_damaged_segment_stays_damaged() {
    let mut middlebox = Middlebox::new(MiddleboxConfig { shift: [1, 1], ..MiddleboxConfig::default() });
    let mut damaged = frame(Side::A, &segment(Side::A, ACK, 1, 1, b"hello"));
    *damaged.last_mut().unwrap() ^= 1;
    middlebox.pass(Instant::ZERO, Side::A, &damaged);
    assert_eq!(middlebox.next_frame(), Some((Side::B, damaged)));
}

#[test]
fn sequence_numbers_are_shifted_there_and_back() {
    let sack = [1, 1, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0];
    for shift_sack in [true, false] {
        let config = MiddleboxConfig { shift: [100, u32::MAX], shift_sack, ..MiddleboxConfig::default() };
        let mut middlebox = Middlebox::new(config);
        let there = pass(&mut middlebox, Side::A, &segment(Side::A, ACK, 5, 7, b"x"));
        assert_eq!((there[0].1.seq, there[0].1.ack), (105, 8));
        let back = Segment { options: sack.to_vec(), ..segment(Side::B, ACK, 7, 106, b"") };
        let (side, back) = pass(&mut middlebox, Side::B, &back).remove(0);
        assert_eq!((side, back.seq, back.ack), (Side::A, 6, 6));
        let shifted = [1, 1, 5, 10, 0, 0, 0, 156, 0, 0, 1, 156];
        assert_eq!(back.options, if shift_sack { shifted } else { sack });
    }
}

#[test]
fn options_are_stripped_from_the_syn_only() {
    let strip_from_syn = vec![4, 8];
    let mut middlebox = Middlebox::new(MiddleboxConfig { strip_from_syn, ..MiddleboxConfig::default() });
    let options = SYN_OPTIONS.to_vec();
    let syn = Segment { options: options.clone(), ..segment(Side::A, SYN, 1, 0, b"") };
    let stripped = [2, 4, 5, 0xb4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 7];
    assert_eq!(pass(&mut middlebox, Side::A, &syn)[0].1.options, stripped);
    let other = Segment { options, flags: ACK, ..syn };
    assert_eq!(pass(&mut middlebox, Side::A, &other)[0].1.options, SYN_OPTIONS);
}

#[test]
fn ecn_is_cleared_or_one_in_so_many_segments_is_marked() {
    let fields = |config: MiddleboxConfig, field: u8| -> Vec<u8> {
        let mut middlebox = Middlebox::new(config);
        let mut frame = frame(Side::A, &segment(Side::A, ACK, 1, 1, b"x"));
        frame[segment::ETHERNET + 1] = field;
        crate::mutate::repair_checksums(&mut frame);
        (0..4).for_each(|_| middlebox.pass(Instant::ZERO, Side::A, &frame));
        std::iter::from_fn(|| middlebox.next_frame()).map(|(_, frame)| Parsed::new(&frame).unwrap().ecn()).collect()
    };
    let marks = MiddleboxConfig { mark_one_in: 2, ..MiddleboxConfig::default() };
    assert_eq!(fields(marks.clone(), 0xb8 | 2), [2, 3, 2, 3]);
    assert_eq!(fields(marks.clone(), 0), [0; 4]);
    assert_eq!(fields(MiddleboxConfig { clear_ecn: true, ..marks }, 3), [0; 4]);
}

#[test]
fn a_segment_is_cut_and_its_fin_goes_with_the_last_part() {
    let mut middlebox = Middlebox::new(MiddleboxConfig { split: Some(4), ..MiddleboxConfig::default() });
    let parts = pass(&mut middlebox, Side::A, &segment(Side::A, ACK | FIN, 10, 1, b"abcdefghij"));
    let parts: Vec<_> = parts.iter().map(|(_, part)| (part.seq, part.flags & FIN, &part.payload[..])).collect();
    assert_eq!(parts, [(10, 0, &b"abcd"[..]), (14, 0, b"efgh"), (18, FIN, b"ij")]);
}

#[test]
fn segments_that_follow_each_other_are_merged_until_one_does_not() {
    let merge = Some(Merge { max: 12, hold: Duration::from_millis(1) });
    let mut middlebox = Middlebox::new(MiddleboxConfig { merge, ..MiddleboxConfig::default() });
    for (seq, payload) in [(10, b"abcd"), (14, b"efgh")] {
        assert_eq!(pass(&mut middlebox, Side::A, &segment(Side::A, ACK, seq, 1, payload)), []);
    }
    let gap = pass(&mut middlebox, Side::A, &segment(Side::A, ACK, 30, 2, b"stuv"));
    assert_eq!(gap.iter().map(|(_, merged)| &merged.payload[..]).collect::<Vec<_>>(), [b"abcdefgh"]);
    assert_eq!(middlebox.next_timeout(), Some(Instant::from_micros(1_000)));
    middlebox.handle_timeout(Instant::from_micros(1_000));
    let (side, held) = drain(&mut middlebox).remove(0);
    assert_eq!((side, held.seq, middlebox.next_timeout()), (Side::B, 30, None));
}

#[test]
fn data_is_acknowledged_in_the_receivers_name_without_moving_its_edge() {
    let mut middlebox = Middlebox::new(MiddleboxConfig { acknowledge: true, ..MiddleboxConfig::default() });
    let options = SYN_OPTIONS.to_vec();
    pass(&mut middlebox, Side::A, &Segment { options: options.clone(), ..segment(Side::A, SYN, 99, 0, b"") });
    pass(&mut middlebox, Side::B, &Segment { options, ..segment(Side::B, SYN | ACK, 499, 100, b"") });
    pass(&mut middlebox, Side::B, &segment(Side::B, ACK, 500, 100, b""));
    let out = pass(&mut middlebox, Side::A, &segment(Side::A, ACK, 100, 500, &[1; 256]));
    let (side, answer) = &out[0];
    assert_eq!((*side, answer.seq, answer.ack, answer.flags), (Side::A, 500, 356, ACK));
    assert_eq!(answer.window, 1_000 - 2, "the scale is 7, so 256 bytes are 2 units");
    assert_eq!((out[1].0, out[1].1.payload.len()), (Side::B, 256));
    let again = pass(&mut middlebox, Side::A, &segment(Side::A, ACK, 100, 500, &[1; 256]));
    assert_eq!(again.len(), 1, "what comes again is the receiver's");
}

#[test]
fn what_is_too_long_is_dropped_and_told_if_so_wished() {
    for tell in [true, false] {
        let mtu = Some(Mtu { bytes: 100, tell });
        let mut middlebox = Middlebox::new(MiddleboxConfig { mtu, ..MiddleboxConfig::default() });
        let long = frame(Side::A, &segment(Side::A, ACK, 1, 1, &[0; 61]));
        middlebox.pass(Instant::ZERO, Side::A, &long);
        let told = middlebox.next_frame();
        assert_eq!(told.is_some(), tell);
        if let Some((side, answer)) = told {
            let (source, destination, protocol, message) = parse_ip(&answer).unwrap();
            assert_eq!(
                (side, source.to_string(), destination.to_string()),
                (Side::A, "10.0.0.2".into(), "10.0.0.1".into())
            );
            assert_eq!(
                (protocol, &message[..2], &message[6..8], message.len()),
                (ICMP, &[3, 4][..], &[0, 100][..], 36)
            );
        }
        middlebox.pass(Instant::ZERO, Side::A, &frame(Side::A, &segment(Side::A, ACK, 1, 1, &[0; 60])));
        assert_eq!(drain(&mut middlebox).len(), 1);
    }
}
