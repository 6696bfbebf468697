//! A Linux TAP or TUN device: a network interface of the kernel whose cable ends in this process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::port::{Port, unless_it_would_block};

/// How a device is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TapConfig {
    /// The interface's name, at most 15 bytes; by default the kernel chooses one.
    pub name: Option<String>,
    /// Largest IP packet in bytes, 68 to 65,521.
    pub mtu: u16,
    /// Frames that the kernel queues for us before it drops; Linux's own default is 500.
    pub queue: u32,
    /// Whether it is a TUN device: IP packets without an Ethernet header, for an interface of [`InterfaceConfig::ip`](ethertab::InterfaceConfig::ip).
    pub packets: bool,
}

impl Default for TapConfig {
    fn default() -> Self {
        TapConfig { name: None, mtu: 1_500, queue: 1_000, packets: false }
    }
}

/// An open TAP or TUN device. The interface is up, lies in the network namespace of the thread that opened it, and vanishes with
/// this value unless it was made persistent before.
pub struct Tap {
    device: SyncDevice,
}

impl Tap {
    /// Makes a device, or attaches to the persistent one of this name, and sets it up.
    ///
    /// # Errors
    /// What the operating system reports: mostly that this needs `CAP_NET_ADMIN`, or that there is no `/dev/net/tun`.
    pub fn open(config: &TapConfig) -> io::Result<Self> {
        let layer = if config.packets { Layer::L3 } else { Layer::L2 };
        let builder = DeviceBuilder::new().layer(layer).mtu(config.mtu).tx_queue_len(config.queue);
        let builder = match &config.name {
            Some(name) => builder.name(name),
            None => builder,
        };
        Ok(Tap { device: builder.build_sync()? })
    }

    /// The interface's name.
    ///
    /// # Errors
    /// What the operating system reports.
    pub fn name(&self) -> io::Result<String> {
        self.device.name()
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl Port for Tap {
    fn set_nonblocking(&mut self) -> io::Result<()> {
        self.device.set_nonblocking(true)
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        unless_it_would_block(self.device.recv(buf))
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<bool> {
        Ok(unless_it_would_block(self.device.send(frame))?.is_some())
    }
}
