//! Who is trusted. webpki decides; what it would not accept but people use is added: a certificate that is itself among the trusted
//! ones, as `openssl req -x509` makes them. Whom webpki would believe everything is left out: to it each trusted certificate is an
//! authority, also that of a server, whose key would then be good for any name.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::der;

/// A code and a sentence.
pub(crate) type Reason = (&'static str, &'static str);

thread_local! {
    /// Why the last issuer was unknown, which rustls has no names for.
    static REASON: Cell<Option<Reason>> = const { Cell::new(None) };
}

/// Why the last issuer was unknown, if that is why the call failed.
pub(crate) fn take_reason() -> Option<Reason> {
    REASON.take()
}

/// Notes why an issuer is unknown, as OpenSSL tells the cases apart.
fn explained(mut error: Error, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Error {
    // An authority's certificate used as a server's, which webpki finds before it looks for an issuer.
    let is_other = matches!(error, Error::InvalidCertificate(CertificateError::Other(_)));
    if is_other && der::is_self_issued(end_entity) {
        error = CertificateError::UnknownIssuer.into();
    }
    if matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer)) {
        REASON.set(Some(if der::is_self_issued(end_entity) {
            ("DEPTH_ZERO_SELF_SIGNED_CERT", "the certificate is self-signed and not among those that are trusted")
        } else if intermediates.iter().any(|certificate| der::is_self_issued(certificate)) {
            ("SELF_SIGNED_CERT_IN_CHAIN", "the certificate's root is not among those that are trusted")
        } else if intermediates.is_empty() {
            ("UNABLE_TO_VERIFY_LEAF_SIGNATURE", "the certificate's issuer is not among those that are trusted")
        } else {
            ("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "the chain's last issuer is not among those that are trusted")
        }));
    }
    error
}

/// Certificates that are trusted for themselves.
#[derive(Debug)]
struct Pinned(Vec<CertificateDer<'static>>);

impl Pinned {
    /// Whether the certificate is one of them: None if it is not, or whether it is valid at this time.
    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Option<Result<(), Error>> {
        if !self.0.contains(certificate) {
            return None;
        }
        let Some(fields) = der::Certificate::parse(certificate) else {
            return Some(Err(CertificateError::BadEncoding.into()));
        };
        let now = now.as_secs();
        Some(if now < fields.not_before {
            Err(CertificateError::NotValidYet.into())
        } else if now > fields.not_after {
            Err(CertificateError::Expired.into())
        } else {
            Ok(())
        })
    }
}

/// Whom a client trusts.
#[derive(Debug)]
struct Trusted {
    /// None if there is no authority among them.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    pinned: Pinned,
}

/// What a client thinks of a server's certificate.
#[derive(Debug)]
pub(crate) struct Servers {
    /// None if any certificate will do.
    trusted: Option<Trusted>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Servers {
    /// Trusts who has one of these certificates, or one of an authority among them.
    pub(crate) fn trusting(
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let webpki = match authorities(&certificates)? {
            Some(roots) => Some(
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
                    .build()
                    .map_err(|error| error.to_string())?,
            ),
            None => None,
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { trusted: Some(Trusted { webpki, pinned: Pinned(certificates) }), algorithms })
    }

    /// Trusts anybody.
    pub(crate) fn unverified(provider: &CryptoProvider) -> Self {
        Self { trusted: None, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(Trusted { webpki, pinned }) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        if let Some(checked) = pinned.check(end_entity, now) {
            checked?;
            let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let checked = match webpki {
            Some(webpki) => webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        checked.map_err(|error| explained(error, end_entity, intermediates))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a server thinks of a client's certificate.
#[derive(Debug)]
pub(crate) struct Clients {
    /// None if there is no authority among those that are trusted.
    webpki: Option<Arc<dyn ClientCertVerifier>>,
    pinned: Pinned,
    /// The names of those that are trusted, which clients are told.
    subjects: Vec<DistinguishedName>,
    is_mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// Trusts who has one of these certificates, or one of an authority among them; a client must have one if it `is_mandatory`.
    pub(crate) fn trusting(
        certificates: Vec<CertificateDer<'static>>,
        is_mandatory: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let webpki = match authorities(&certificates)? {
            Some(roots) => Some(
                WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
                    .build()
                    .map_err(|error| error.to_string())?,
            ),
            None => None,
        };
        let parsed = certificates.iter().filter_map(|certificate| der::Certificate::parse(certificate));
        let subjects = parsed.map(|certificate| certificate.subject.to_vec().into()).collect();
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { webpki, pinned: Pinned(certificates), subjects, is_mandatory, algorithms })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(checked) = self.pinned.check(end_entity, now) {
            return checked.map(|()| ClientCertVerified::assertion());
        }
        let checked = match &self.webpki {
            Some(webpki) => webpki.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        checked.map_err(|error| explained(error, end_entity, intermediates))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Those of the certificates that may sign others; None if there are none. Some may be such that they cannot be read, as in lists of
/// authorities, but not all.
fn authorities(certificates: &[CertificateDer<'static>]) -> Result<Option<Arc<RootCertStore>>, String> {
    let parsed = certificates.iter().filter_map(|one| Some((one, der::Certificate::parse(one)?)));
    let (mut roots, mut has_others) = (RootCertStore::empty(), false);
    for (certificate, fields) in parsed {
        if !fields.is_authority {
            has_others = true;
        } else {
            roots.add_parsable_certificates([certificate.clone()]);
        }
    }
    match roots.is_empty() {
        false => Ok(Some(Arc::new(roots))),
        true if has_others => Ok(None),
        true => Err("tls.ca has no certificate that can be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::crypto::ring;

    use super::*;

    /// A certificate of `name` with its key, issued by itself or another.
    fn make(
        name: &str,
        is_ca: IsCa,
        by: Option<&Issuer<'static, KeyPair>>,
    ) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = is_ca;
        let made = match by {
            Some(issuer) => params.signed_by(&key, issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        (made.der().clone(), Issuer::new(params, key))
    }

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000))
    }

    /// Whether a client that trusts `ca` believes a certificate to be that of `name`, and a server believes it of its client.
    fn is_believed(ca: &[&CertificateDer<'static>], shown: &CertificateDer<'static>, name: &str) -> [bool; 2] {
        let provider = Arc::new(ring::default_provider());
        let ca: Vec<_> = ca.iter().map(|certificate| (*certificate).clone()).collect();
        let servers = Servers::trusting(ca.clone(), &provider).unwrap();
        let clients = Clients::trusting(ca, true, &provider).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        [
            servers.verify_server_cert(shown, &[], &name, &[], now()).is_ok(),
            clients.verify_client_cert(shown, &[], now()).is_ok(),
        ]
    }

    #[test]
    fn an_authority_is_believed_about_all_names_and_others_about_their_own() {
        let (authority, issuer) = make("authority.test", IsCa::Ca(BasicConstraints::Unconstrained), None);
        let (issued, _) = make("shop.test", IsCa::NoCa, Some(&issuer));
        assert_eq!(is_believed(&[&authority], &issued, "shop.test"), [true, true]);
        assert_eq!(is_believed(&[&authority], &issued, "bank.test"), [false, true]);
        for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
            let (server, server_key) = make("shop.test", is_ca, None);
            assert_eq!(is_believed(&[&server], &server, "shop.test"), [true, true]);
            assert_eq!(is_believed(&[&server], &server, "bank.test"), [false, true]);
            // Whoever has the server's key is nobody else for it.
            let (forged, _) = make("bank.test", IsCa::NoCa, Some(&server_key));
            assert_eq!(is_believed(&[&server], &forged, "bank.test"), [false, false]);
            assert_eq!(is_believed(&[&server, &authority], &forged, "bank.test"), [false, false]);
            assert_eq!(is_believed(&[&server, &authority], &issued, "shop.test"), [true, true]);
        }
    }

    #[test]
    fn what_cannot_be_read_is_nobody() {
        let provider = Arc::new(ring::default_provider());
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert!(Servers::trusting(vec![garbage.clone()], &provider).is_err());
        assert!(Clients::trusting(vec![garbage], true, &provider).is_err());
    }
}
