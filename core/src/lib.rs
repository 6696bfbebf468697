//! ethertab: a TCP/IP stack for a browser tab.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod checksum;
pub mod services;
pub mod storage;
pub mod time;
pub mod wire;
