//! Settings of a connection that change while it is open.

use crate::config::TcpConfig;
use crate::tcp::connection::{Connection, State};
use crate::tcp::timers::Timer;
use crate::time::Instant;

impl Connection {
    /// Takes over new settings, and does at once what they ask for. What both sides' SYNs have agreed on stays as it is.
    pub(crate) fn reconfigure(&mut self, now: Instant, config: &TcpConfig) {
        let before = core::mem::replace(&mut self.config, *config);
        self.congestion.configure(&self.config, self.snd_nxt);
        if before.nagle && !config.nagle || before.cork && !config.cork {
            self.push();
        }
        if before.keep_alive != config.keep_alive {
            match config.keep_alive {
                Some(settings) if self.state.is_synchronized() && self.state != State::TimeWait => {
                    self.timers.set(Timer::KeepAlive, now + settings.idle);
                }
                Some(_) => {}
                None => self.timers.stop(Timer::KeepAlive),
            }
        }
        if (before.send_buffer, before.initial_send_buffer) != (config.send_buffer, config.initial_send_buffer) {
            self.send.set_limit(config.first_send_buffer());
        }
        let receive = |config: &TcpConfig| (config.receive_buffer, config.initial_receive_buffer, config.window_clamp);
        if receive(&before) != receive(config) {
            self.receive.set_limit(config.first_receive_buffer());
        }
        if before.receive_low_water != config.receive_low_water {
            let wanted = config.receive_low_water.saturating_mul(2).min(config.receive_limit());
            if config.buffer_tuning && wanted > self.receive.limit() {
                self.receive.set_limit(wanted);
            }
        }
        if before.max_segment != config.max_segment {
            self.set_mss();
        }
        let marks = |config: &TcpConfig| (config.hop_limit, config.traffic_class, config.path_mtu_discovery);
        if marks(&before) != marks(config) {
            self.path.forget();
        }
    }

    /// Sends what is queued, small as it may be, and whatever holds it back.
    pub(crate) fn push(&mut self) {
        self.more_follows = false;
        self.pushed_to = self.send.end();
    }
}
