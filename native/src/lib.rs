//! [`ethertab`] outside the browser: a stack on the ports that an operating system offers, in real time.
//!
//! A [`Port`] is one end where Ethernet frames go in and out of the process: a `Tap` (Linux), or a
//! [`UnixDatagram`](std::os::unix::net::UnixDatagram) that carries a frame in each datagram, as QEMU's `-netdev dgram` does.
//! A [`Driver`] owns a stack, its pool and a port for each of its interfaces, and is the stack's clock: each [`turn`](Driver::turn)
//! waits for the ports or for the next deadline and moves what there is to move. Between stack and port lies a
//! [`Cable`](ethertab_sim::Cable), perfect unless told otherwise, so that real networks can be tried with the same loss, delay and
//! reordering as simulated ones.
//!
//! ```
//! use std::os::unix::net::UnixDatagram;
//! use std::time::Duration;
//!
//! use ethertab::wire::MacAddr;
//! use ethertab::{Config, ConnectOptions, Endpoint, Event, InterfaceConfig, Limits, ListenOptions, Pool, Stack};
//! use ethertab_native::Driver;
//!
//! let (left, right) = UnixDatagram::pair()?;
//! let mut drivers = Vec::new();
//! for (number, port) in [(1, left), (2, right)] {
//!     let stack = Stack::new(Config::new([number, 0]), Limits::small());
//!     let mac = MacAddr([2, 0, 0, 0, 0, number as u8]);
//!     let mut driver = Driver::new(stack, Pool::new(1_024), InterfaceConfig::ethernet(mac), port)?;
//!     driver.add_address(format!("10.0.0.{number}/24").parse()?)?;
//!     drivers.push(driver);
//! }
//! drivers[0].stack_mut().listen(Endpoint::any(80), ListenOptions::default())?;
//! let now = drivers[1].now();
//! drivers[1].stack_mut().connect(now, "10.0.0.1:80".parse()?, ConnectOptions::default())?;
//! loop {
//!     drivers[0].turn(Some(Duration::ZERO))?;
//!     drivers[1].turn(Some(Duration::from_millis(1)))?;
//!     if let Some(Event::Connection(_, signals)) = drivers[1].stack_mut().poll_event() {
//!         println!("{signals:?}"); // CONNECTED
//!         break;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg(unix)]
#![forbid(unsafe_code)]

mod dhcp;
mod dhcpv6;
mod driver;
mod mdns;
mod port;
#[cfg(target_os = "linux")]
mod tap;

pub use dhcpv6::Dhcpv6Start;
pub use driver::{Driver, DriverError, Waker};
pub use mdns::MdnsStartError;
pub use port::Port;
#[cfg(target_os = "linux")]
pub use tap::{Tap, TapConfig};
