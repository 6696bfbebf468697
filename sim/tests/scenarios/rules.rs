//! How a connection may end.

use crate::scenario::Scenario;
use crate::talks::Talk;
use ethertab::CloseReason;
use ethertab::time::Duration;
use ethertab_sim::apps::{Conversation, Finish};

/// For so long a connection that was closed looks at a window that stays closed, at least.
const ORPHANS_PATIENCE: Duration = Duration::from_secs(30);

/// Whether a talk, of which these are the ends (client, then server), ended as applications and weather let it.
pub(crate) fn ended_as_it_should(
    scenario: &Scenario,
    talk: &Talk,
    ends: &[Option<&Conversation>; 2],
) -> Result<(), String> {
    for (end, peer) in [(ends[0], ends[1]), (ends[1], ends[0])] {
        let Some(end) = end else { continue };
        if let Some(offset) = end.mismatch {
            return Err(format!("a wrong byte at {offset}"));
        }
        let sent = peer.map_or(0, |peer| peer.sent);
        if end.received > sent || (end.peer_finished && end.received < sent) {
            return Err(format!("{} bytes were received of {sent} sent", end.received));
        }
        if let Some(reason) = end.reason {
            reason_is_good(scenario, talk, end, peer, reason)?;
        }
    }
    let [client, server] = ends;
    if scenario.may_time_out || client.is_none_or(|client| !client.connected) {
        return Ok(());
    }
    if talk.is_polite()
        && talk.waits() < ORPHANS_PATIENCE
        && ends.iter().flatten().filter(|end| end.went_well()).count() < 2
    {
        return Err("not everything arrived".into());
    }
    for (end, peer) in [(client, server), (server, client)] {
        // Who closes at once still delivers, unless the peer has sent something that nobody reads.
        if let (Some(end), Some(peer)) = (end, peer)
            && end.plan.finish == Finish::Close
            && (peer.plan.send, peer.plan.echo, talk.abort) == (0, false, None)
            && peer.received < end.plan.send
        {
            return Err(format!("{} bytes arrived of {} sent before closing", peer.received, end.plan.send));
        }
    }
    Ok(())
}

fn reason_is_good(
    scenario: &Scenario,
    talk: &Talk,
    end: &Conversation,
    peer: Option<&Conversation>,
    reason: CloseReason,
) -> Result<(), String> {
    let good = match reason {
        CloseReason::Finished => true,
        CloseReason::Aborted => talk.abort.is_some() || end.plan.finish == Finish::Abort,
        // A peer that has closed does not look for ever at a window that stays closed.
        CloseReason::Reset => {
            scenario.may_time_out || peer.is_none() || !talk.is_polite() || talk.waits() > ORPHANS_PATIENCE
        }
        CloseReason::TimedOut => scenario.may_time_out || !talk.is_polite(),
        // Three questions after the neighbour's address that are lost, or wait in a queue, are enough, as in Linux.
        CloseReason::Unreachable { code: 1 } => scenario.may_time_out || !end.connected,
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("it ended: {reason:?}")) }
}
