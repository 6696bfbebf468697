//! Switches, cables and external ports.

use ethertab_sim::{Impairment, NetworkError, Queue, SwitchConfig};
use serde::Serialize;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::describe::ToJs;
use crate::failure::Failure;
use crate::network::Network;
use crate::options::Options;

/// `PortCounters` of the package.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PortCounters {
    frames_received: f64,
    bytes_received: f64,
    frames_sent: f64,
    bytes_sent: f64,
    dropped: f64,
    invalid: f64,
}

/// `Switch.counters` of the package.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SwitchCounters {
    forwarded: f64,
    flooded: f64,
    filtered: f64,
    malformed: f64,
    storm_dropped: f64,
    loop_dropped: f64,
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Failure::invalid(error)
    }
}

#[wasm_bindgen]
impl Network {
    /// Adds a switch and returns its number.
    pub fn add_switch(&mut self, name: &str) -> u32 {
        let switch = self.inner.add_switch(name, SwitchConfig::default());
        self.switches.insert(switch)
    }

    /// Adds a port to a switch and returns its number.
    pub fn add_switch_port(&mut self, switch: u32) -> Result<u32, Failure> {
        let port = self.inner.add_switch_port(self.switches.get(switch)?)?;
        Ok(self.ports.insert(port))
    }

    /// What a switch has done with frames.
    pub fn switch_counters(&self, switch: u32) -> Result<JsValue, Failure> {
        let found = self.inner.switch(self.switches.get(switch)?).ok_or(NetworkError::NotFound)?;
        let counters = found.counters();
        SwitchCounters {
            forwarded: counters.forwarded as f64,
            flooded: counters.flooded as f64,
            filtered: counters.filtered as f64,
            malformed: counters.malformed as f64,
            storm_dropped: counters.storm_dropped as f64,
            loop_dropped: counters.loop_dropped as f64,
        }
        .to_js()
    }

    /// Removes a switch and its ports.
    pub fn remove_switch(&mut self, switch: u32) {
        let Some(switch) = self.switches.remove(switch) else { return };
        self.inner.remove_switch(switch);
        let inner = &self.inner;
        let gone: Vec<u32> =
            self.ports.iter().filter(|(_, port)| inner.port_name(*port).is_none()).map(|(number, _)| number).collect();
        for number in gone {
            self.ports.remove(number);
        }
    }

    /// Adds a port whose frames JavaScript carries, and returns its number.
    pub fn add_external(&mut self, name: &str) -> u32 {
        let port = self.inner.add_port(name);
        self.ports.insert(port)
    }

    /// Removes an external port.
    pub fn remove_port(&mut self, port: u32) {
        if let Some(port) = self.ports.remove(port) {
            self.inner.remove_port(port);
        }
    }

    /// What passed a port.
    pub fn port_counters(&self, port: u32) -> Result<JsValue, Failure> {
        let counters = self.inner.port_counters(self.ports.get(port)?).ok_or(NetworkError::NotFound)?;
        PortCounters {
            frames_received: counters.frames_in as f64,
            bytes_received: counters.bytes_in as f64,
            frames_sent: counters.frames_out as f64,
            bytes_sent: counters.bytes_out as f64,
            dropped: counters.unplugged as f64,
            invalid: 0.0,
        }
        .to_js()
    }

    /// Joins two ports by a perfect cable and returns the cable's number.
    pub fn plug(&mut self, a: u32, b: u32) -> Result<u32, Failure> {
        let cable = self.inner.plug(self.ports.get(a)?, self.ports.get(b)?)?;
        Ok(self.cables.insert(cable))
    }

    /// Takes the cable out of a port.
    pub fn unplug(&mut self, port: u32) -> Result<(), Failure> {
        let port = self.ports.get(port)?;
        if let Some((cable, _)) = self.inner.cable_at(port)
            && let Some(number) = self.cables.number(cable)
        {
            self.cables.remove(number);
        }
        self.inner.unplug(port);
        Ok(())
    }

    /// Changes what a cable does to frames, in both directions: an object with `latency` and `jitter` (microseconds), `loss`,
    /// `duplicate`, `corrupt`, `reorder` (probabilities), `rate` (bits per second), `queue` (frames). What is not given
    /// stays as it was.
    pub fn impair(&mut self, cable: u32, change: &JsValue) -> Result<(), Failure> {
        let cable = self.cables.get(cable)?;
        let lane = self.inner.cable(cable).ok_or(NetworkError::NotFound)?.lane(ethertab_sim::Side::A);
        let before = *lane.impairment();
        let change = Options(change);
        let probability = |field, before| Ok::<f64, Failure>(change.number(field)?.unwrap_or(before));
        let after = Impairment {
            latency: change.micros("latency")?.unwrap_or(before.latency),
            jitter: change.micros("jitter")?.unwrap_or(before.jitter),
            loss: probability("loss", before.loss)?,
            duplicate: probability("duplicate", before.duplicate)?,
            corrupt: probability("corrupt", before.corrupt)?,
            reorder: probability("reorder", before.reorder)?,
            rate: change.number("rate")?.map_or(before.rate, |rate| Some(rate as u64)),
            queue: change.integer("queue")?.map_or(before.queue, Queue::Frames),
            ..before
        };
        Ok(self.inner.impair(cable, after)?)
    }
}
