//! Switches, cables and external ports.

use ethertab_sim::{NetworkError, Side, SwitchConfig};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{attempt, enter, tell};
use crate::failure::Failure;
use crate::options;

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Failure::new("EINVAL", error.text())
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
pub fn add_switch_port(switch: u32) -> i32 {
    attempt(|engine, _| {
        let port = engine.network.add_switch_port(engine.switch(switch))?;
        Ok(engine.ports.insert(port.to_bits()))
    })
}

/// Isolates a port of a switch, or ends that.
#[wasm_bindgen]
pub fn isolate(port: u32, isolated: bool) {
    enter(|engine| engine.network.isolate(engine.port(port), isolated));
}

/// What a switch has done with frames.
#[wasm_bindgen]
pub fn switch_counters(switch: u32) -> i32 {
    tell(|engine, told| {
        let counters = engine.network.switch(engine.switch(switch)).ok_or_else(Failure::missing)?.counters();
        for count in [
            counters.forwarded,
            counters.flooded,
            counters.filtered,
            counters.malformed,
            counters.storm_dropped,
            counters.loop_dropped,
            counters.spoofed,
        ] {
            told.long(count);
        }
        Ok(())
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
pub fn port_counters(port: u32) -> i32 {
    tell(|engine, told| {
        let counters = engine.network.port_counters(engine.port(port)).ok_or_else(Failure::missing)?;
        for count in [
            counters.frames_in,
            counters.bytes_in,
            counters.frames_out,
            counters.bytes_out,
            counters.unplugged,
            // The package counts those that are no frames, before they come here.
            0,
        ] {
            told.long(count);
        }
        Ok(())
    })
}

/// Joins two ports by a perfect cable and returns the cable's number.
#[wasm_bindgen]
pub fn plug(a: u32, b: u32) -> i32 {
    attempt(|engine, _| {
        let cable = engine.network.plug(engine.port(a), engine.port(b))?;
        Ok(engine.cables.insert(cable.to_bits()))
    })
}

/// Takes the cable out of a port.
#[wasm_bindgen]
pub fn unplug(port: u32) {
    enter(|engine| engine.network.unplug(engine.port(port)));
}

/// Changes what a cable does to frames, in both directions: `IMPAIRMENT` of the package's names is what it is given. Numbers that are NaN stay as
/// they were.
#[wasm_bindgen]
pub fn impair(cable: u32) -> i32 {
    attempt(|engine, numbers| {
        let id = engine.cable(cable);
        let cable = engine.network.cable(id).ok_or_else(Failure::missing)?;
        let changed = options::impairment(*cable.lane(Side::A).impairment(), &numbers.given);
        engine.network.impair(id, changed)?;
        Ok(0)
    })
}
