//! Who a client or a server is and whom it trusts: what many connections share.

use std::sync::Arc;

use js_sys::Uint8Array;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CipherSuite, ClientConfig, ServerConfig, SupportedProtocolVersion, version};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::Failure;
use crate::key_log::Lines;
use crate::state::{self, GivenTime};
use crate::verifier::{Clients, Servers};

/// What a number of a configuration stands for.
#[derive(Clone)]
pub(crate) enum Config {
    Client(Arc<ClientConfig>),
    Server(Arc<ServerConfig>),
}

/// Bits of the versions that may be spoken.
const TLS_1_2: u32 = 1;
const TLS_1_3: u32 = 2;

/// What a client may be asked for.
const NO_CERTIFICATE: u32 = 0;
const OPTIONAL_CERTIFICATE: u32 = 1;

/// Makes the configuration of clients. Each of `ca`, `cert` and `key` is PEM or DER; `verify` false trusts anybody.
/// With `logs_keys` the secrets of its connections are told by [`key_log`](crate::key_log::key_log).
///
/// # Errors
/// With what is wrong with which.
#[wasm_bindgen]
pub fn client_config(
    ca: Vec<Uint8Array>,
    cert: Vec<Uint8Array>,
    key: Option<Box<[u8]>>,
    alpn: Vec<String>,
    versions: u32,
    verify: bool,
    logs_keys: bool,
) -> Result<u32, Failure> {
    let provider = provider();
    let verifier = if verify {
        let certificates = certificates("ca", &ca)?;
        Servers::trusting(certificates, &provider).map_err(Failure::invalid)?
    } else {
        Servers::unverified(&provider)
    };
    let builder = ClientConfig::builder_with_details(provider, Arc::new(GivenTime))
        .with_protocol_versions(&protocol_versions(versions))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match key {
        Some(key) => builder.with_client_auth_cert(certificates("cert", &cert)?, private_key(&key)?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.into_iter().map(String::into_bytes).collect();
    if logs_keys {
        config.key_log = Arc::new(Lines);
    }
    Ok(add(Config::Client(Arc::new(config))))
}

/// Makes the configuration of servers. `request` is 0 if clients are not asked for a certificate, 1 if they may have one, 2 if they
/// must; whose are trusted is in `ca`.
///
/// # Errors
/// As [`client_config`].
#[wasm_bindgen]
pub fn server_config(
    ca: Vec<Uint8Array>,
    cert: Vec<Uint8Array>,
    key: Box<[u8]>,
    alpn: Vec<String>,
    versions: u32,
    request: u32,
    logs_keys: bool,
) -> Result<u32, Failure> {
    let provider = provider();
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(GivenTime))
        .with_protocol_versions(&protocol_versions(versions))?;
    let builder = if request == NO_CERTIFICATE {
        builder.with_no_client_auth()
    } else {
        let is_mandatory = request != OPTIONAL_CERTIFICATE;
        let clients = Clients::trusting(certificates("ca", &ca)?, is_mandatory, &provider).map_err(Failure::invalid)?;
        builder.with_client_cert_verifier(Arc::new(clients))
    };
    let mut config = builder.with_single_cert(certificates("cert", &cert)?, private_key(&key)?)?;
    config.alpn_protocols = alpn.into_iter().map(String::into_bytes).collect();
    if logs_keys {
        config.key_log = Arc::new(Lines);
    }
    config.ignore_client_order = true;
    Ok(add(Config::Server(Arc::new(config))))
}

/// Forgets a configuration. Connections that have it keep it.
#[wasm_bindgen]
pub fn free_config(config: u32) {
    state::with(|state| state.configs.try_remove(config as usize));
}

fn add(config: Config) -> u32 {
    state::with(|state| state.configs.insert(config) as u32)
}

/// ring, with what is fastest without a processor's instructions for AES first.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    });
    // Sorted so, those of TLS 1.3 still come first among the fast and among the others.
    Arc::new(provider)
}

fn protocol_versions(bits: u32) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = Vec::new();
    if bits & TLS_1_3 != 0 {
        versions.push(&version::TLS13);
    }
    if bits & TLS_1_2 != 0 {
        versions.push(&version::TLS12);
    }
    versions
}

/// The certificates in these texts and bytes: PEM may have several, DER is one.
pub(crate) fn certificates(name: &str, given: &[Uint8Array]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let mut found = Vec::new();
    for bytes in given {
        let bytes = bytes.to_vec();
        if is_der(&bytes) {
            found.push(CertificateDer::from(bytes));
            continue;
        }
        let before = found.len();
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            found.push(certificate.map_err(|error| Failure::invalid(format!("tls.{name} is no PEM: {error}")))?);
        }
        if found.len() == before {
            return Err(Failure::invalid(format!("tls.{name} has no certificate in PEM or DER")));
        }
    }
    if found.is_empty() {
        return Err(Failure::invalid(format!("tls.{name} has no certificate")));
    }
    Ok(found)
}

/// The private key in PEM or DER.
pub(crate) fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Failure> {
    if is_der(bytes) {
        return PrivateKeyDer::try_from(bytes.to_vec())
            .map_err(|error| Failure::invalid(format!("tls.key cannot be read: {error}")));
    }
    if bytes.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err(Failure::invalid("tls.key is encrypted: give it decrypted"));
    }
    PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|error| Failure::invalid(format!("tls.key has no private key in PEM or DER: {error}")))
}

/// Whether this begins as DER does, with a sequence of more than 127 bytes, and not as a text does.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, length, ..] if *length != b'\n' && *length != b'\r')
}
