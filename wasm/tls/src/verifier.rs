//! Who is trusted. webpki decides; what it would not accept but people use is added: a certificate that is itself among the trusted
//! ones, as `openssl req -x509` makes them. Whom webpki would believe everything is left out: to it each trusted certificate is an
//! authority, also that of a server, whose key would then be good for any name, and it trusts an authority for ever, whose
//! certificate has expired.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::der::{self, Validity};

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
    if is_unknown_issuer(&error) {
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

fn is_unknown_issuer(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

/// Whether it is the time of a certificate.
fn check_time(validity: Validity, now: UnixTime) -> Result<(), CertificateError> {
    let now = now.as_secs();
    if now < validity.not_before {
        Err(CertificateError::NotValidYet)
    } else if now > validity.not_after {
        Err(CertificateError::Expired)
    } else {
        Ok(())
    }
}

/// An authority, and the time of its certificate: webpki does not look at that.
#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    validity: Validity,
}

/// Who is trusted.
#[derive(Debug)]
struct Trusted {
    /// For the certificates that they have signed.
    authorities: Vec<Authority>,
    /// For themselves.
    certificates: Vec<CertificateDer<'static>>,
}

impl Trusted {
    /// Some of the certificates may be such that they cannot be read, as in lists of authorities, but not all.
    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut authorities = Vec::new();
        let mut has_others = false;
        for certificate in &certificates {
            let Some(fields) = der::Certificate::parse(certificate) else { continue };
            if !fields.is_authority {
                has_others = true;
                continue;
            }
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates([certificate.clone()]);
            let validity = fields.validity;
            authorities.extend(store.roots.into_iter().map(|anchor| Authority { anchor, validity }));
        }
        if authorities.is_empty() && !has_others {
            return Err("tls.ca has no certificate that can be read".to_owned());
        }
        Ok(Self { authorities, certificates })
    }

    /// Whether a certificate is trusted: `verify` says whether one of these authorities vouches for it.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        verify: impl Fn(RootCertStore) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.certificates.contains(end_entity) {
            let fields = der::Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
            return Ok(check_time(fields.validity, now)?);
        }
        let (valid, others): (Vec<_>, Vec<_>) =
            self.authorities.iter().partition(|authority| check_time(authority.validity, now).is_ok());
        let vouches = |authorities: &[&Authority]| {
            if authorities.is_empty() {
                return Err(CertificateError::UnknownIssuer.into());
            }
            verify(authorities.iter().map(|authority| authority.anchor.clone()).collect())
        };
        let Err(error) = vouches(&valid) else { return Ok(()) };
        if is_unknown_issuer(&error) {
            for authority in others {
                match vouches(&[authority]) {
                    Ok(()) => check_authority(authority, now)?,
                    Err(error) if is_unknown_issuer(&error) => {}
                    // The chain has a fault besides, of which OpenSSL tells then, too.
                    Err(error) => return Err(error),
                }
            }
        }
        Err(explained(error, end_entity, intermediates))
    }
}

/// Notes that it is an authority's certificate that is not valid at this time.
fn check_authority(authority: &Authority, now: UnixTime) -> Result<(), CertificateError> {
    check_time(authority.validity, now).inspect_err(|error| {
        REASON.set(Some(match error {
            CertificateError::Expired => ("CERT_HAS_EXPIRED", "the certificate of its authority has expired"),
            _ => ("CERT_NOT_YET_VALID", "the certificate of its authority is not yet valid"),
        }));
    })
}

/// What both kinds of verifiers think of signatures.
macro_rules! signatures_by_algorithms {
    () => {
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
    };
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
        provider: &CryptoProvider,
    ) -> Result<Self, String> {
        Ok(Self { trusted: Some(Trusted::new(certificates)?), ..Self::unverified(provider) })
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
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        trusted.verify(end_entity, intermediates, now, |roots| {
            verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)
        })?;
        verify_server_name(&parsed, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_by_algorithms!();
}

/// What a server thinks of a client's certificate.
#[derive(Debug)]
pub(crate) struct Clients {
    trusted: Trusted,
    /// The names of those that are trusted, which clients are told.
    subjects: Vec<DistinguishedName>,
    is_mandatory: bool,
    provider: Arc<CryptoProvider>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// Trusts who has one of these certificates, or one of an authority among them; a client must have one if it `is_mandatory`.
    pub(crate) fn trusting(
        certificates: Vec<CertificateDer<'static>>,
        is_mandatory: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let parsed = certificates.iter().filter_map(|certificate| der::Certificate::parse(certificate));
        let subjects = parsed.map(|certificate| certificate.subject.to_vec().into()).collect();
        let algorithms = provider.signature_verification_algorithms;
        let provider = Arc::clone(provider);
        Ok(Self { trusted: Trusted::new(certificates)?, subjects, is_mandatory, provider, algorithms })
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
        self.trusted.verify(end_entity, intermediates, now, |roots| {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
            verifier.verify_client_cert(end_entity, intermediates, now).map(drop)
        })?;
        Ok(ClientCertVerified::assertion())
    }

    signatures_by_algorithms!();
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
        make_valid(name, is_ca, by, [1_000_000_000, 2_000_000_000])
    }

    /// The same, valid between two times in seconds since 1970.
    fn make_valid(
        name: &str,
        is_ca: IsCa,
        by: Option<&Issuer<'static, KeyPair>>,
        validity: [i64; 2],
    ) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        [params.not_before, params.not_after] =
            validity.map(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap());
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
    fn an_authority_is_believed_while_its_certificate_is_valid() {
        const CA: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);
        const EXPIRED: [i64; 2] = [1_000_000_000, 1_699_999_999];
        const EARLY: [i64; 2] = [1_700_000_001, 2_000_000_000];
        let provider = Arc::new(ring::default_provider());
        let error = |ca: &[&CertificateDer<'static>], shown: &CertificateDer<'static>| {
            take_reason();
            let ca: Vec<_> = ca.iter().map(|certificate| (*certificate).clone()).collect();
            let servers = Servers::trusting(ca.clone(), &provider).unwrap();
            let clients = Clients::trusting(ca, true, &provider).unwrap();
            let name = ServerName::try_from("shop.test").unwrap();
            let by_client = servers.verify_server_cert(shown, &[], &name, &[], now()).map(drop);
            let reason = take_reason();
            assert_eq!(by_client, clients.verify_client_cert(shown, &[], now()).map(drop));
            assert_eq!(reason, take_reason());
            (by_client.map_err(|error| format!("{error:?}")), reason.map(|(code, _)| code))
        };
        for (validity, which, code) in
            [(EXPIRED, "Expired", "CERT_HAS_EXPIRED"), (EARLY, "NotValidYet", "CERT_NOT_YET_VALID")]
        {
            let (outdated, key) = make_valid("authority.test", CA, None, validity);
            let (issued, _) = make("shop.test", IsCa::NoCa, Some(&key));
            assert_eq!(error(&[&outdated], &issued), (Err(format!("InvalidCertificate({which})")), Some(code)));
            // The same authority with a new certificate, as they are prolonged, and one that has nothing to do with it.
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, "authority.test");
            params.is_ca = CA;
            let prolonged = params.self_signed(key.key()).unwrap().der().clone();
            assert_eq!(error(&[&outdated, &prolonged], &issued), (Ok(()), None));
            let (other, _) = make("other.test", CA, None);
            assert_eq!(error(&[&outdated, &other], &issued).1, Some(code));
            let (stranger, _) = make("shop.test", IsCa::NoCa, Some(&make("stranger.test", CA, None).1));
            assert_eq!(error(&[&outdated], &stranger).1, Some("UNABLE_TO_VERIFY_LEAF_SIGNATURE"));
            // The fault of the certificate itself is told first.
            let (early, _) = make_valid("shop.test", IsCa::NoCa, Some(&key), EARLY);
            let (told, reason) = error(&[&outdated], &early);
            assert!(told.unwrap_err().contains("NotValidYetContext"));
            assert_eq!(reason, None);
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
