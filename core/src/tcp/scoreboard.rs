//! The scoreboard: what acknowledgments, cumulative and selective (RFC 2018, RFC 2883), tell about each segment.
//!
//! [`Connection::note_sacks`] and [`Connection::note_cumulative`] bring the [records](crate::tcp::records) up to date and gather in [`AckNews`] what
//! [`recovery`](crate::tcp::recovery) decides by. A SACK block that cannot be is passed over, alone; the others and the ACK count.

use crate::tcp::Context;
use crate::tcp::connection::Connection;
use crate::tcp::rate::{Newest, clock};
use crate::tcp::records::Record;
use crate::tcp::recovery::CongestionState;
use crate::tcp::seq::Seq;
use crate::time::Duration;
use crate::wire::SackBlocks;

/// Segments of one DSACK that are looked up: it reports a segment, or a few, and is all the more often a lie the longer it is.
const DSACK_RECORDS: usize = 16;

/// What one ACK tells the sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckNews {
    /// When it came, on the clock of records.
    now: u32,
    /// SND.UNA before it.
    pub(crate) una_before: Seq,
    /// Timeouts before it without progress.
    timeouts: u8,
    /// The end of the highest segment SACKed before it.
    highest_before: Seq,
    /// SND.UNA has moved on.
    pub(crate) advanced: bool,
    /// The segment carried data or changed the window: it is no duplicate acknowledgment (RFC 5681 §2).
    pub(crate) no_duplicate: bool,
    /// Whole segments were acknowledged cumulatively.
    pub(crate) acked: u32,
    /// Segments were newly SACKed.
    pub(crate) sacked: bool,
    /// A segment that was never sent again has arrived, of those sent before the present recovery began.
    pub(crate) original: bool,
    /// One of the segments acknowledged cumulatively was sent again.
    resent_acked: bool,
    /// It reports a duplicate that our retransmissions explain (RFC 2883).
    pub(crate) dsack: bool,
    /// The duplicate is the tail loss probe.
    pub(crate) dsack_of_probe: bool,
    /// Segments newly delivered.
    pub(crate) delivered: u32,
    /// Segments that the peer has received with a congestion mark; with RFC 3168's feedback 1 if there were any.
    pub(crate) marked: u32,
    /// The lowest segment that was delivered late without having been sent again.
    overtaken: Option<Seq>,
    /// When the first and the last of the segments were sent that are acknowledged and were sent once.
    first_acked: Option<u32>,
    last_acked: u32,
    /// The same of those SACKed.
    first_sacked: Option<u32>,
    last_sacked: u32,
    /// For the delivery rate.
    pub(crate) newest: Newest,
    /// TSecr.
    pub(crate) echo: Option<u32>,
    /// The round trip of the segment that was sent last, if it is known.
    pub(crate) rtt: Option<Duration>,
}

impl Connection {
    /// Readies the gathering of news, before anything has changed.
    pub(crate) fn ack_news(&self, context: &Context<'_, '_>, no_duplicate: bool, echo: Option<u32>) -> AckNews {
        AckNews {
            now: clock(context.now),
            una_before: self.snd_una,
            timeouts: self.timeouts,
            highest_before: self.highest_sacked(),
            advanced: false,
            no_duplicate,
            acked: 0,
            sacked: false,
            original: false,
            resent_acked: false,
            dsack: false,
            dsack_of_probe: false,
            delivered: 0,
            marked: 0,
            overtaken: None,
            first_acked: None,
            last_acked: 0,
            first_sacked: None,
            last_sacked: 0,
            newest: Newest::default(),
            echo,
            rtt: None,
        }
    }

    /// The end of the highest segment that was SACKed, or SND.UNA.
    #[inline]
    fn highest_sacked(&self) -> Seq {
        if self.records.sacked == 0 { self.snd_una } else { self.recovery.highest_sacked.max(self.snd_una) }
    }

    /// The SACK blocks of a segment that acknowledges `ack`. SND.UNA has moved there already if it is new.
    pub(crate) fn note_sacks(
        &mut self,
        context: &mut Context<'_, '_>,
        ack: Seq,
        blocks: &SackBlocks,
        news: &mut AckNews,
    ) {
        let blocks = blocks.as_slice();
        let reports_duplicate = self.note_dsack(ack, blocks, news);
        for (place, &(left, right)) in blocks.iter().enumerate() {
            let (left, right) = (Seq(left), Seq(right));
            let is_dsack = place == 0 && reports_duplicate;
            if !self.is_valid(left, right, is_dsack) {
                continue;
            }
            if is_dsack {
                self.note_duplicates(context, left, right);
            }
            self.note_block(context, left, right, news);
        }
        let is_evidence = self.recovery.state() != CongestionState::Loss || self.recovery.undo_marker.is_some();
        if let Some(low) = news.overtaken.take()
            && is_evidence
        {
            self.note_reordering(low);
        }
    }

    /// RFC 2883 §4: whether the first block reports a duplicate, which then is counted.
    fn note_dsack(&mut self, ack: Seq, blocks: &[(u32, u32)], news: &mut AckNews) -> bool {
        let Some((&(left, right), rest)) = blocks.split_first() else { return false };
        let (left, right) = (Seq(left), Seq(right));
        let within_second = rest.first().is_some_and(|&(l, r)| left >= Seq(l) && right <= Seq(r));
        if left >= ack && !within_second {
            return false;
        }
        let len = right.since(left);
        if len == 0 || len > self.max_snd_wnd {
            return false;
        }
        let segments = len.div_ceil(self.mss);
        news.dsack_of_probe |= len <= self.mss && self.recovery.probe_end == Some(right);
        self.recovery.dsack_segments = self.recovery.dsack_segments.saturating_add(segments);
        // More duplicates than retransmissions: the network makes them, or the peer makes them up.
        if self.recovery.dsack_segments > self.retransmits {
            return false;
        }
        // A probe is meant to be a duplicate where nothing was lost.
        self.recovery.rack.duplicate_seen |= self.recovery.reordering_seen() && !news.dsack_of_probe;
        news.dsack = true;
        news.delivered += segments;
        // "D-SACK for already forgotten data": it is not looked up.
        if let Some(marker) = self.recovery.undo_marker
            && self.recovery.undo_retransmits > 0
            && right <= news.una_before
            && right > marker
        {
            self.recovery.undo_retransmits = (self.recovery.undo_retransmits - segments as i32).max(0);
        }
        true
    }

    /// Whether a block makes sense (RFC 2018 §3, RFC 2883 §4): within what is outstanding, or, if it reports a duplicate, within what
    /// was since the present recovery began.
    fn is_valid(&self, left: Seq, right: Seq, is_dsack: bool) -> bool {
        if right > self.snd_nxt || left >= right || left >= self.snd_nxt {
            return false;
        }
        if left > self.snd_una {
            return true;
        }
        match self.recovery.undo_marker {
            Some(marker) if is_dsack && right <= self.snd_una => {
                left >= marker || (right > marker && left >= right - self.max_snd_wnd)
            }
            _ => false,
        }
    }

    /// The segments `left..right` were received twice.
    fn note_duplicates(&mut self, context: &mut Context<'_, '_>, left: Seq, right: Seq) {
        if right <= self.snd_una {
            return;
        }
        let first = self.records.find(context.pool, left);
        for place in 0..DSACK_RECORDS {
            let number = first.wrapping_add(place as u32);
            if !self.records.contains(number) {
                return;
            }
            let record = self.records.get(context.pool, number);
            if record.end > right {
                return;
            }
            if record.was_resent() && record.start() >= left {
                if self.recovery.undo_marker.is_some_and(|marker| record.end > marker) {
                    self.recovery.undo_retransmits = (self.recovery.undo_retransmits - 1).max(0);
                }
                self.records.mark_duplicate(context.pool, number);
            }
        }
    }

    /// The peer has `left..right`: what of it was not known yet is noted, segments that it covers in part are not.
    fn note_block(&mut self, context: &mut Context<'_, '_>, left: Seq, right: Seq, news: &mut AckNews) {
        if right <= self.snd_una {
            return;
        }
        let mut number = self.records.find(context.pool, left);
        number = self.records.skip_sacked(context.pool, number);
        while self.records.contains(number) {
            let record = self.records.get(context.pool, number);
            if record.end > right {
                return;
            }
            if record.start().max(self.snd_una) >= left {
                self.note_sacked(context, number, news);
            }
            number = self.records.skip_sacked(context.pool, number.wrapping_add(1));
        }
    }

    fn note_sacked(&mut self, context: &mut Context<'_, '_>, number: u32, news: &mut AckNews) {
        let highest = self.highest_sacked();
        let record = self.records.mark_sacked(context.pool, number);
        self.recovery.rack.delivered(news.now, &record, self.rtt.min_rtt());
        if !record.was_resent() {
            // It fills a hole, and was never sent again: it was overtaken. Several blocks of one ACK tell nothing of who came
            // first: the newest comes first among them (RFC 2018 §4).
            let start = record.start();
            if start < news.highest_before && news.overtaken.is_none_or(|low| start < low) {
                news.overtaken = Some(start);
            }
            news.original |= record.end <= self.recovery.high_seq;
            news.first_sacked.get_or_insert(record.sent);
            news.last_sacked = record.sent;
        }
        news.sacked = true;
        self.delivered(context, &record, news);
        self.recovery.highest_sacked = highest.max(record.end);
    }

    fn delivered(&mut self, context: &Context<'_, '_>, record: &Record, news: &mut AckNews) {
        news.delivered += 1;
        self.rate.on_delivered(&mut news.newest, context.now, record.stamp, record.sent, u32::from(record.len));
    }

    /// Segments that have left the network out of order make the threshold higher (RFC 4653 has the idea, Linux the form).
    pub(crate) fn note_reordering(&mut self, low: Seq) {
        let distance = self.highest_sacked().since(low);
        if distance > 0 {
            let segments = distance.div_ceil(self.mss).min(u32::from(self.config.max_reordering));
            self.recovery.saw_reordering(segments);
        }
    }

    /// SND.UNA has moved on, the records have not yet.
    pub(crate) fn note_cumulative(&mut self, context: &mut Context<'_, '_>, news: &mut AckNews) {
        news.advanced = true;
        while let Some(record) = self.records.pop_next(context.pool, context.account, self.snd_una) {
            news.acked += 1;
            if record.was_resent() {
                news.resent_acked = true;
            } else if !record.is_sacked() {
                news.first_acked.get_or_insert(record.sent);
                news.last_acked = record.sent;
                news.original |= record.end <= self.recovery.high_seq;
                let start = record.start();
                if news.overtaken.is_none_or(|low| start < low) {
                    news.overtaken = Some(start);
                }
            }
            if !record.is_sacked() {
                if self.sack {
                    if !self.is_original_delivered(context, &record, news) {
                        self.recovery.rack.delivered(news.now, &record, self.rtt.min_rtt());
                    }
                    self.delivered(context, &record, news);
                } else {
                    let len = u32::from(record.len);
                    self.rate.on_delivered(&mut news.newest, context.now, record.stamp, record.sent, len);
                }
            }
        }
        if news.acked == 0 {
            return;
        }
        if !self.sack {
            self.remove_guesses(news);
            // Without SACK nobody knows which of the segments, one of which was sent again, had arrived before.
            news.original &= !news.resent_acked;
        } else if let Some(low) = news.overtaken.take()
            && low < news.highest_before
        {
            self.note_reordering(low);
        }
    }

    /// Whether the segment's timestamp echo is older than its retransmission: the original was acknowledged.
    fn is_original_delivered(&self, context: &Context<'_, '_>, record: &Record, news: &AckNews) -> bool {
        record.was_resent() && news.echo.is_some_and(|echo| self.is_echo_before(context, echo, record.sent))
    }

    /// Without SACK: of the segments acknowledged one filled the hole, the rest had made duplicate acknowledgments.
    fn remove_guesses(&mut self, news: &mut AckNews) {
        let guessed = u32::from(self.records.sacked);
        news.delivered += news.acked.saturating_sub(guessed).max(1);
        self.records.sacked = guessed.saturating_sub(news.acked - 1) as u16;
        self.limit_guesses(news.acked);
    }

    /// Without SACK: a duplicate acknowledgment tells that a segment has arrived beyond the hole.
    pub(crate) fn add_guess(&mut self, news: &mut AckNews) {
        let before = self.records.sacked;
        self.records.sacked += 1;
        self.limit_guesses(0);
        news.delivered += u32::from(self.records.sacked.saturating_sub(before));
    }

    /// At least one segment is missing; more duplicates than that leaves room for come of reordering.
    fn limit_guesses(&mut self, acked: u32) {
        let len = self.records.len();
        let most = len - self.records.lost().max(1).min(len);
        if u32::from(self.records.sacked) > most {
            self.records.sacked = most as u16;
            let segments = (len + acked).min(u32::from(self.config.max_reordering));
            self.recovery.saw_reordering(segments);
        }
    }

    /// Takes the round trip that the news tell of (RFC 6298 §3 and §4, RFC 7323 §4.1): of segments sent once, else by the
    /// timestamp's echo. True if there was one.
    pub(crate) fn measure(&mut self, context: &Context<'_, '_>, news: &mut AckNews) -> bool {
        let mut smoothed = None;
        if let Some(first) = news.first_acked
            && !news.resent_acked
        {
            smoothed = Some(news.now.wrapping_sub(first));
            news.rtt = Some(micros(news.now.wrapping_sub(news.last_acked)));
        }
        if let Some(first) = news.first_sacked {
            news.rtt = Some(micros(news.now.wrapping_sub(news.last_sacked)));
            smoothed = smoothed.or(Some(news.now.wrapping_sub(first)));
        }
        if smoothed.is_none() && news.acked > 0 {
            news.rtt = news.echo.and_then(|echo| self.timestamps.round_trip(context.now, echo));
            smoothed = news.rtt.map(|rtt| rtt.as_micros() as u32);
        }
        let (Some(smoothed), Some(newest)) = (smoothed, news.rtt) else { return false };
        // An outage is no round trip: what comes after several timeouts counts for a few of them at most, from which a path
        // that has become slower is still learned.
        let (mut smoothed, mut newest) = (micros(smoothed), newest);
        if news.timeouts > 1 {
            let most = self.rtt.timeout(&self.config).backed_off(2);
            (smoothed, newest) = (smoothed.min(most), newest.min(most));
            news.rtt = Some(newest);
        }
        self.rtt.measured(context.now, &self.config, (self.snd_una, self.snd_nxt), (smoothed, newest));
        true
    }

    /// Whether the news have a round trip by SACK that began after the first outstanding segment was sent last: the timer may
    /// then start anew (the timer of a lost retransmission must not be put off for ever).
    pub(crate) fn head_is_older(&self, context: &Context<'_, '_>, news: &AckNews) -> bool {
        let (Some(first), Some(number)) = (news.first_sacked, self.records.first()) else { return false };
        let head = self.records.get(context.pool, number);
        news.now.wrapping_sub(first) > news.now.wrapping_sub(head.sent)
    }
}

/// A time on the clock of records.
#[inline]
pub(crate) fn micros(micros: u32) -> Duration {
    Duration::from_micros(u64::from(micros))
}
