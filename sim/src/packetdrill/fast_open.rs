//! Fast Open (RFC 7413) as scripts use it: the names of cookies, the keys that they are made with, and sends that connect.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ethertab::{FastOpenKeys, State};

use super::ast::Call;
use super::flow::{Stream, stream_bytes};
use super::kernel::{CallState, FileKind, Kernel, Outcome, done, errno_of, failed};
use super::settings::Settings;
use super::stream::names_no_family;

/// The key that public suites set, and the stack has unless a script sets another.
pub(super) const DEFAULT_KEYS: FastOpenKeys = FastOpenKeys {
    primary: [0xa1, 0xa1, 0xa1, 0xa1, 0xb2, 0xb2, 0xb2, 0xb2, 0xc3, 0xc3, 0xc3, 0xc3, 0xd4, 0xd4, 0xd4, 0xd4],
    backup: None,
};

/// The cookies that public suites call `TFO_COOKIE` and `TFO_COOKIE_ZERO`, by the addresses of stack and script: those of
/// [`DEFAULT_KEYS`], and of a key of zeros.
const COOKIES: [(&str, &str, &str, &str); 3] = [
    ("192.168.0.1", "192.0.2.1", "3021b9d889017eeb", "b7c12350a90dc8f5"),
    ("fd3d:a0b:17d6::1", "fd3d:fa7b:d17d::1", "c1d1e9742a47a9bc", "82af1a8f9a205c34"),
    ("fd3d:fa7b:d17d::1", "2001:db8::1", "e7041978eab92f14", "d6c9c7be56ca4eab"),
];

/// The cookies that have a name before the stack has sent one.
pub(super) fn named_cookies(settings: &Settings) -> BTreeMap<String, Vec<u8>> {
    let addresses = settings.addresses();
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    let known = COOKIES
        .iter()
        .find(|(local, remote, ..)| (parse(local), parse(remote)) == (Some(addresses.0), Some(addresses.1)));
    let mut cookies = BTreeMap::new();
    if let Some((.., cookie, zero)) = known {
        cookies
            .extend([("TFO_COOKIE", *cookie), ("TFO_COOKIE_ZERO", *zero)].map(|(name, hex)| (name.into(), bytes(hex))));
    }
    let given = settings.symbols.iter().filter(|(_, value)| !bytes(value).is_empty());
    cookies.extend(given.map(|(name, value)| (name.clone(), bytes(value))));
    cookies
}

/// The bytes of hexadecimal digits; none if they are something else.
fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<_>>().unwrap_or_default()
}

/// The keys of a sysctl: one or two of four groups of eight digits, each a number whose lowest byte comes first.
pub(super) fn keys_of_sysctl(value: &str) -> Option<FastOpenKeys> {
    let key = |text: &str| {
        let mut key = Vec::new();
        for group in text.trim().split('-') {
            key.extend(u32::from_str_radix(group, 16).ok()?.to_le_bytes());
        }
        <[u8; 16]>::try_from(key).ok()
    };
    let mut keys = value.split(',').map(key);
    let (primary, backup) = (keys.next()??, keys.next());
    Some(FastOpenKeys { primary, backup: backup.map_or(Some(None), |backup| backup.map(Some))? })
}

/// The keys of a socket option: 16 or 32 bytes, written with `\x` escapes.
pub(super) fn keys_of_option(text: &str) -> Option<FastOpenKeys> {
    let mut key = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escape = rest.strip_prefix("\\x").and_then(|tail| u8::from_str_radix(tail.get(..2)?, 16).ok());
        let len = if escape.is_some() { 4 } else { first.len_utf8() };
        key.push(escape.unwrap_or(first as u8));
        rest = &rest[len..];
    }
    let (primary, backup) = key.split_first_chunk::<16>()?;
    let backup = if backup.is_empty() { None } else { Some(backup.try_into().ok()?) };
    Some(FastOpenKeys { primary: *primary, backup })
}

impl Kernel {
    /// FreeBSD's way: `sendto` on a socket with `TCP_FASTOPEN` connects, and takes all data, whether the SYN may or not.
    pub(super) fn send_to_open(&mut self, call: &Call, len: u32) -> Outcome {
        let number = self.number(call, 0)?;
        let default = SocketAddr::new(self.host.remote, self.settings.connect_port);
        let remote = self.address(call.arguments.get(4), default)?;
        let handle = match self.open_connection(number, remote, true)? {
            Ok(handle) => handle,
            Err(errno) => return failed(errno),
        };
        let now = self.host.instant();
        let data = stream_bytes(Stream::FromStack, 0, len);
        let host = &mut self.host;
        let taken = host.stack.send(&mut host.pool, now, handle, &data).unwrap_or(0);
        if let Some(file) = self.files.get_mut(&number) {
            file.bytes_written = taken as u32;
        }
        done(taken as i64)
    }

    /// A send with `MSG_FASTOPEN`: connects, and lets the SYN take data along if it may.
    pub(super) fn send_and_connect(&mut self, call: &Call, len: u32, waits: bool, state: &mut CallState) -> Outcome {
        let number = self.number(call, 0)?;
        let address = if call.name == "sendto" { call.arguments.get(4) } else { None };
        if names_no_family(address) {
            return failed("EOPNOTSUPP");
        }
        let default = SocketAddr::new(self.host.remote, self.settings.connect_port);
        let remote = self.address(address, default)?;
        let Some(file) = self.files.get(&number) else { return failed("EBADF") };
        let handle = match file.kind {
            FileKind::Open(handle) => {
                let connection_state = self.host.stack.connection_state(handle);
                let waits_for_data = self.host.stack.fast_open_room(handle).is_some();
                if !state.resumed && !waits_for_data {
                    match connection_state {
                        Some(State::SynSent | State::SynReceived) => return failed("EALREADY"),
                        Some(State::Closed) | None => {}
                        Some(_) if file.connect_told => return failed("EISCONN"),
                        // Nobody was told yet that the connection is there: now it is.
                        Some(_) => {}
                    }
                }
                handle
            }
            _ if !file.knobs.tcp.fast_open.client => return failed("EOPNOTSUPP"),
            _ => match self.open_connection(number, remote, true)? {
                Ok(handle) => handle,
                Err(errno) => return failed(errno),
            },
        };
        let stack = &self.host.stack;
        if let Some(State::SynSent) = stack.connection_state(handle) {
            if !waits && stack.fast_open_room(handle).is_none() {
                return failed("EINPROGRESS");
            }
        } else if let Some(file) = self.files.get_mut(&number)
            && let Some(reason) = stack.connection_error(handle)
        {
            file.error_told = true;
            return failed(errno_of(reason, &file.knobs).unwrap_or("ECONNABORTED"));
        } else if let Some(file) = self.files.get_mut(&number) {
            file.connect_told = true;
        }
        self.write_stream(number, handle, len, waits, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_linux_reads_them() {
        let key = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4";
        assert_eq!(keys_of_sysctl(key), Some(DEFAULT_KEYS));
        let both = keys_of_sysctl(&format!("00000001-0-0-0,{key}")).unwrap();
        assert_eq!((both.primary[0], both.backup), (1, Some(DEFAULT_KEYS.primary)));
        assert_eq!(keys_of_sysctl("a1a1a1a1"), None);
        let option = r"\xa1\xa1\xa1\xa1\xb2\xb2\xb2\xb2\xc3\xc3\xc3\xc3\xd4\xd4\xd4\xd4";
        assert_eq!(keys_of_option(option), Some(DEFAULT_KEYS));
        assert_eq!(keys_of_option(&option.repeat(2)).unwrap().backup, Some(DEFAULT_KEYS.primary));
        assert_eq!(keys_of_option(""), None);
    }
}
