//! Who is trusted. webpki decides; what it would not accept but people use is added: a certificate that is itself among the trusted
//! ones, as `openssl req -x509` makes them.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
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

/// What a client thinks of a server's certificate.
#[derive(Debug)]
pub(crate) struct Servers {
    /// None if any certificate will do.
    trusted: Option<(Arc<WebPkiServerVerifier>, Pinned)>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Servers {
    /// Trusts who has a certificate of these authorities.
    pub(crate) fn trusting(
        roots: RootCertStore,
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| error.to_string())?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { trusted: Some((webpki, Pinned(certificates))), algorithms })
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
        let Some((webpki, pinned)) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        if let Some(checked) = pinned.check(end_entity, now) {
            checked?;
            let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        webpki
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| explained(error, end_entity, intermediates))
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
    webpki: Arc<dyn ClientCertVerifier>,
    pinned: Pinned,
}

impl Clients {
    /// Trusts who has a certificate of these authorities.
    pub(crate) fn trusting(webpki: Arc<dyn ClientCertVerifier>, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self { webpki, pinned: Pinned(certificates) }
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.pinned.check(end_entity, now) {
            Some(checked) => checked.map(|()| ClientCertVerified::assertion()),
            None => self
                .webpki
                .verify_client_cert(end_entity, intermediates, now)
                .map_err(|error| explained(error, end_entity, intermediates)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
