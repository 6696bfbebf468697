//! Flows to addresses that are nobody's on a host, about which the page decides.

use ethertab::time::Duration;
use ethertab::{AnyAddress, FlowError, FlowProtocol, FlowUnreachable, InterfaceId, ListenOptions};
use ethertab_wasm_shared::instant;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{attempt, tell};
use crate::failure::Failure;
use crate::settings;
use crate::sockets::Socket;

impl From<FlowError> for Failure {
    fn from(error: FlowError) -> Self {
        let code = match error {
            FlowError::NotFound => "ECONNRESET",
            _ => "ENOBUFS",
        };
        Failure::new(code, error.text())
    }
}

/// Starts to take flows that come in by an interface, and returns the number of the listener that gives those that are accepted. `timeout` is in
/// microseconds, and with `udp` those of UDP are taken too. What it is given are `settings` numbers: those of the connections, as with [`connect`](crate::tcp::connect).
#[wasm_bindgen]
pub fn take_flows(
    host: u32,
    interface: u8,
    backlog: u16,
    per_source: u16,
    timeout: f64,
    udp: bool,
    settings: u32,
) -> i32 {
    attempt(|engine, numbers| {
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        let tcp = settings::changed(&stack.config().tcp, numbers.given().rest(settings));
        let listener = stack.listen_for_flows(ListenOptions { backlog, fast_open: 0, tcp })?;
        let mut any = AnyAddress::through(listener);
        any.per_source = per_source;
        any.udp = udp;
        any.timeout = Duration::from_micros(timeout as u64);
        stack.set_any_address(InterfaceId(interface), Some(any))?;
        Ok(engine.sockets.insert(Socket::listener(host, listener)))
    })
}

/// Takes no more flows that come in by an interface. The listener is closed apart.
#[wasm_bindgen]
pub fn take_no_flows(host: u32, interface: u8) -> i32 {
    attempt(|engine, _| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        stack.set_any_address(InterfaceId(interface), None)?;
        Ok(0)
    })
}

/// Whom a flow is from and to, `FLOW_ENDS` of the package's names; nothing if it is not pending any more.
#[wasm_bindgen]
pub fn flow_ends(flow: u32) -> i32 {
    tell(|engine, told| {
        let Some((host, handle)) = engine.sockets.flow(flow) else { return Ok(()) };
        let Some(found) = engine.stack(host)?.pending_flow(handle) else { return Ok(()) };
        told.endpoint(found.local);
        told.endpoint(found.remote);
        told.number(found.protocol == FlowProtocol::Udp);
        Ok(())
    })
}

/// Decides on a flow and forgets its number, unless there is no room for it just now: 0 accepts it, 1 refuses it, 2 to 5 tell that the network or
/// host is unreachable, that the port is, or that it is prohibited. Returns the number of the socket of an accepted UDP flow.
#[wasm_bindgen]
pub fn decide_flow(now: f64, flow: u32, verdict: u8) -> i32 {
    attempt(|engine, _| {
        let (host, handle) = engine.sockets.flow(flow).ok_or(FlowError::NotFound)?;
        let (stack, pool) = engine.stack_mut(host)?;
        let now = instant(now);
        let result = match verdict {
            0 => stack.accept_flow(pool, now, handle),
            1 => stack.refuse_flow(pool, now, handle).map(|()| None),
            _ => stack.flow_unreachable(pool, now, handle, unreachable_by(verdict)).map(|()| None),
        };
        if matches!(result, Ok(_) | Err(FlowError::NotFound)) {
            engine.sockets.remove(flow);
        }
        Ok(result?.map_or(0, |socket| engine.sockets.insert(Socket::udp(host, socket))))
    })
}

/// Why a flow leads nowhere, by its verdict.
fn unreachable_by(verdict: u8) -> FlowUnreachable {
    match verdict {
        2 => FlowUnreachable::Network,
        3 => FlowUnreachable::Host,
        4 => FlowUnreachable::Port,
        _ => FlowUnreachable::Prohibited,
    }
}
