//! A certificate authority: who trusts its certificate believes it about every name.

use std::net::IpAddr;

use js_sys::Uint8Array;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::config;
use crate::der::{self, Attribute, Certificate};
use crate::failure::Failure;
use crate::state;

/// See the module's comment.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    /// Its name and its key, as certificates have them.
    issuer: Issuer<'static, KeyPair>,
    has_key_identifier: bool,
    /// The key of all certificates that it makes.
    leaf_key: KeyPair,
}

/// Makes an authority with a new key, whose certificate is valid between two times.
///
/// # Errors
/// If the name is too long or a time cannot be.
#[wasm_bindgen]
pub fn create_authority(name: &str, not_before: f64, not_after: f64) -> Result<u32, Failure> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = params(name, not_before, not_after)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key).map_err(failed)?.der().clone();
    add(certificate, Issuer::new(params, key), true)
}

/// Restores an authority from its certificate and key, each PEM or DER.
///
/// # Errors
/// If they cannot be read or do not belong together.
#[wasm_bindgen]
pub fn restore_authority(certificate: Uint8Array, key: Box<[u8]>) -> Result<u32, Failure> {
    let Some(certificate) = config::certificates("cert", &[certificate])?.into_iter().next() else {
        return Err(Failure::invalid("tls.cert has no certificate"));
    };
    let key = KeyPair::try_from(&config::private_key(&key)?)
        .map_err(|error| Failure::invalid(format!("this kind of key cannot be used: {error}")))?;
    let fields = Certificate::parse(&certificate).ok_or_else(|| Failure::invalid("the certificate cannot be read"))?;
    if fields.public_key != key.der_bytes() {
        return Err(Failure::invalid("the key is not that of the certificate"));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(fields.subject)
        .ok_or_else(|| Failure::invalid("the subject of the certificate has attributes that are not understood"))?;
    let has_key_identifier = fields.subject_key_identifier.is_some();
    if let Some(identifier) = fields.subject_key_identifier {
        params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.to_vec());
    }
    let subject = fields.subject.to_vec();
    let issuer = Issuer::new(params, key);
    // What it would make has to name its issuer exactly as that names itself.
    let trial = CertificateParams::default().signed_by(issuer.key(), &issuer).map_err(failed)?;
    if Certificate::parse(trial.der()).is_none_or(|trial| trial.issuer != subject) {
        return Err(Failure::invalid("the subject of the certificate has attributes that are not understood"));
    }
    add(certificate, issuer, has_key_identifier)
}

/// The authority's certificate in DER.
#[wasm_bindgen]
pub fn authority_certificate(authority: u32) -> Vec<u8> {
    state::with(|state| state.authorities[authority as usize].certificate.to_vec())
}

/// The authority's key in PKCS #8.
#[wasm_bindgen]
pub fn authority_key(authority: u32) -> Vec<u8> {
    state::with(|state| state.authorities[authority as usize].issuer.key().serialize_der())
}

/// The key of the certificates that the authority makes, in PKCS #8.
#[wasm_bindgen]
pub fn leaf_key(authority: u32) -> Vec<u8> {
    state::with(|state| state.authorities[authority as usize].leaf_key.serialize_der())
}

/// Makes a certificate for these names, each a host name, one with `*` as its first label, or an IP address; valid between
/// two times. Returns it in DER.
///
/// # Errors
/// If a name is none or a time cannot be.
#[wasm_bindgen]
pub fn issue(authority: u32, names: Vec<String>, not_before: f64, not_after: f64) -> Result<Vec<u8>, Failure> {
    /// RFC 5280, appendix A.1: the longest common name, in characters.
    const LONGEST_COMMON_NAME: usize = 64;
    let [first, ..] = &names[..] else {
        return Err(Failure::invalid("a certificate has one name at least"));
    };
    let common = if first.len() <= LONGEST_COMMON_NAME { first } else { "certificate of ethertab" };
    let mut params = params(common, not_before, not_after)?;
    for name in &names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(
                name.as_str().try_into().map_err(|_| Failure::invalid(format!("\"{name}\" is no host name")))?,
            ),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    state::with(|state| {
        let authority = &state.authorities[authority as usize];
        params.use_authority_key_identifier_extension = authority.has_key_identifier;
        let certificate = params.signed_by(&authority.leaf_key, &authority.issuer).map_err(failed)?;
        Ok(certificate.der().to_vec())
    })
}

/// Forgets an authority.
#[wasm_bindgen]
pub fn free_authority(authority: u32) {
    state::with(|state| state.authorities.try_remove(authority as usize));
}

fn add(
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    has_key_identifier: bool,
) -> Result<u32, Failure> {
    let leaf_key = KeyPair::generate().map_err(failed)?;
    let authority = Authority { certificate, issuer, has_key_identifier, leaf_key };
    Ok(state::with(|state| state.authorities.insert(authority) as u32))
}

/// What is the same in all certificates.
fn params(common_name: &str, not_before: f64, not_after: f64) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| Failure::invalid("the platform has no randomness"))?;
    // RFC 5280 §4.1.2.2: positive.
    serial[0] = serial[0] & 0x7f | 1;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn date(millis: f64) -> Result<OffsetDateTime, Failure> {
    OffsetDateTime::from_unix_timestamp((millis / 1_000.0) as i64)
        .map_err(|_| Failure::invalid(format!("{millis} ms since 1970 is no time of a certificate")))
}

/// A name as rcgen has it; None if it has what rcgen has not.
fn distinguished_name(name: &[u8]) -> Option<DistinguishedName> {
    let mut distinguished = DistinguishedName::new();
    for Attribute { kind, tag, value } in der::attributes(name)? {
        let text = str::from_utf8(value).ok()?;
        let value = match tag {
            der::UTF8_STRING => DnValue::Utf8String(text.to_owned()),
            der::PRINTABLE_STRING => DnValue::PrintableString(text.try_into().ok()?),
            der::IA5_STRING => DnValue::Ia5String(text.try_into().ok()?),
            _ => return None,
        };
        distinguished.push(DnType::from_oid(&kind), value);
    }
    Some(distinguished)
}

fn failed(error: rcgen::Error) -> Failure {
    Failure::invalid(format!("the certificate could not be made: {error}"))
}
