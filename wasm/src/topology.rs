//! Switches, cables and external ports.

use ethertab_sim::{NetworkError, Side, SwitchConfig};
use ethertab_wasm_shared::Rows;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::enter;
use crate::failure::Failure;
use crate::options;

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Failure::invalid(&error)
    }
}

/// Adds a switch and returns its number.
#[wasm_bindgen]
pub fn add_switch(name: &str) -> u32 {
    enter(|engine| {
        let switch = engine.network.add_switch(name, SwitchConfig::default());
        engine.switches.insert(switch.to_bits())
    })
}

/// Adds a port to a switch and returns its number.
#[wasm_bindgen]
pub fn add_switch_port(switch: u32) -> Result<u32, Failure> {
    enter(|engine| {
        let port = engine.network.add_switch_port(engine.switch(switch))?;
        Ok(engine.ports.insert(port.to_bits()))
    })
}

/// What a switch has done with frames.
#[wasm_bindgen]
pub fn switch_counters(switch: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let switch = engine.network.switch(engine.switch(switch)).ok_or_else(Failure::missing)?;
        let counters = switch.counters();
        Ok(Rows::of("forwarded flooded filtered malformed stormDropped loopDropped").numbers(&[
            counters.forwarded,
            counters.flooded,
            counters.filtered,
            counters.malformed,
            counters.storm_dropped,
            counters.loop_dropped,
        ]))
    })
}

/// Removes a switch and its ports.
#[wasm_bindgen]
pub fn remove_switch(switch: u32) {
    enter(|engine| engine.network.remove_switch(engine.switch(switch)));
}

/// Adds a port whose frames JavaScript carries, and returns its number.
#[wasm_bindgen]
pub fn add_external(name: &str) -> u32 {
    enter(|engine| {
        let port = engine.network.add_port(name);
        engine.ports.insert(port.to_bits())
    })
}

/// Removes an external port.
#[wasm_bindgen]
pub fn remove_port(port: u32) {
    enter(|engine| engine.network.remove_port(engine.port(port)));
}

/// What passed a port: `PortCounters` of the package.
#[wasm_bindgen]
pub fn port_counters(port: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let counters = engine.network.port_counters(engine.port(port)).ok_or_else(Failure::missing)?;
        Ok(Rows::of("framesReceived bytesReceived framesSent bytesSent dropped invalid").numbers(&[
            counters.frames_in,
            counters.bytes_in,
            counters.frames_out,
            counters.bytes_out,
            counters.unplugged,
            // The package counts these, before they come here.
            0,
        ]))
    })
}

/// Joins two ports by a perfect cable and returns the cable's number.
#[wasm_bindgen]
pub fn plug(a: u32, b: u32) -> Result<u32, Failure> {
    enter(|engine| {
        let cable = engine.network.plug(engine.port(a), engine.port(b))?;
        Ok(engine.cables.insert(cable.to_bits()))
    })
}

/// Takes the cable out of a port.
#[wasm_bindgen]
pub fn unplug(port: u32) {
    enter(|engine| engine.network.unplug(engine.port(port)));
}

/// Changes what a cable does to frames, in both directions. [`impairment_options`](options::impairment_options) names the
/// numbers; those that are NaN stay as they were.
#[wasm_bindgen]
pub fn impair(cable: u32, change: &[f64]) -> Result<(), Failure> {
    enter(|engine| {
        let id = engine.cable(cable);
        let cable = engine.network.cable(id).ok_or_else(Failure::missing)?;
        let changed = options::impairment(*cable.lane(Side::A).impairment(), change);
        Ok(engine.network.impair(id, changed)?)
    })
}
