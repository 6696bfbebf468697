//! Errors on their way to JavaScript: a sentence for people and a code for programs, which is Node's where Node has one.

use js_sys::{Error, JsString, Reflect};
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use wasm_bindgen::JsValue;

use crate::verifier;

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    /// What the caller gave is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { code: "ERR_INVALID_ARG_VALUE", message: message.into() }
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        // Which of the reasons for an unknown issuer it is.
        let reason = verifier::take_reason();
        let (code, message) = match &error {
            rustls::Error::InvalidCertificate(why) => {
                let (code, text) = certificate(why);
                reason.unwrap_or((code, text))
            }
            rustls::Error::AlertReceived(alert) => {
                return Self { code: alert_code(*alert), message: format!("the peer sent the alert {alert:?}") };
            }
            rustls::Error::NoCertificatesPresented => {
                ("ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", "the peer sent no certificate")
            }
            rustls::Error::NoApplicationProtocol => {
                ("ERR_SSL_NO_APPLICATION_PROTOCOL", "no protocol of the ALPN is known to both")
            }
            rustls::Error::InconsistentKeys(_) => {
                ("ERR_OSSL_X509_KEY_VALUES_MISMATCH", "the private key is not that of the certificate")
            }
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                ("ERR_SSL_WRONG_VERSION_NUMBER", "what came is no TLS")
            }
            rustls::Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
                ("ERR_SSL_WRONG_VERSION_NUMBER", "what came is no TLS, or of an unknown version")
            }
            rustls::Error::InvalidMessage(_) => ("ERR_SSL_BAD_RECORD_TYPE", "a message cannot be read"),
            rustls::Error::DecryptError => {
                ("ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "a record cannot be decrypted")
            }
            rustls::Error::PeerSentOversizedRecord => {
                ("ERR_SSL_DATA_LENGTH_TOO_LONG", "a record is longer than is allowed")
            }
            rustls::Error::PeerIncompatible(why) => (incompatible(why), "nothing that both ends can do"),
            rustls::Error::InappropriateMessage { .. } | rustls::Error::InappropriateHandshakeMessage { .. } => {
                ("ERR_SSL_UNEXPECTED_MESSAGE", "a message does not belong here")
            }
            rustls::Error::PeerMisbehaved(_) => ("ERR_SSL_PEER_MISBEHAVED", "the peer broke the protocol"),
            _ => ("ERR_SSL_INTERNAL_ERROR", "TLS failed"),
        };
        Self { code, message: format!("{message} ({error})") }
    }
}

impl From<Failure> for JsValue {
    fn from(Failure { code, message }: Failure) -> Self {
        let error = Error::new(&message);
        // An Error takes any property.
        let _ = Reflect::set(&error, &JsString::from("code"), &JsString::from(code));
        error.into()
    }
}

/// OpenSSL's names of what `X509_verify_cert` finds, which Node has as codes.
fn certificate(why: &CertificateError) -> (&'static str, &'static str) {
    use CertificateError::*;
    match why {
        Expired | ExpiredContext { .. } => ("CERT_HAS_EXPIRED", "the certificate has expired"),
        NotValidYet | NotValidYetContext { .. } => ("CERT_NOT_YET_VALID", "the certificate is not yet valid"),
        NotValidForName | NotValidForNameContext { .. } => {
            ("ERR_TLS_CERT_ALTNAME_INVALID", "the certificate is for other names")
        }
        UnknownIssuer => ("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "the certificate's issuer is not trusted"),
        BadSignature => ("CERT_SIGNATURE_FAILURE", "the certificate's signature is wrong"),
        Revoked => ("CERT_REVOKED", "the certificate is revoked"),
        InvalidPurpose | InvalidPurposeContext { .. } => ("INVALID_PURPOSE", "the certificate is for another purpose"),
        BadEncoding => ("ERR_SSL_CERTIFICATE_UNPARSABLE", "the certificate cannot be read"),
        _ => ("CERT_REJECTED", "the certificate is not accepted"),
    }
}

fn incompatible(why: &PeerIncompatible) -> &'static str {
    use PeerIncompatible::*;
    match why {
        NoCipherSuitesInCommon => "ERR_SSL_NO_SHARED_CIPHER",
        NoKxGroupsInCommon => "ERR_SSL_NO_SUITABLE_KEY_SHARE",
        NoSignatureSchemesInCommon => "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM",
        ServerDoesNotSupportTls12Or13
        | ServerTlsVersionIsDisabledByOurConfig
        | SupportedVersionsExtensionRequired
        | Tls12NotOffered
        | Tls12NotOfferedOrEnabled => "ERR_SSL_UNSUPPORTED_PROTOCOL",
        _ => "ERR_SSL_HANDSHAKE_FAILURE_ON_CLIENT_HELLO",
    }
}

/// OpenSSL's names of alerts that were received: by the version of the protocol that brought them.
fn alert_code(alert: AlertDescription) -> &'static str {
    use AlertDescription::*;
    match alert {
        UnexpectedMessage => "ERR_SSL_SSLV3_ALERT_UNEXPECTED_MESSAGE",
        BadRecordMac => "ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC",
        HandshakeFailure => "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
        BadCertificate => "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE",
        UnsupportedCertificate => "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        CertificateRevoked => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED",
        CertificateExpired => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
        CertificateUnknown => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        IllegalParameter => "ERR_SSL_SSLV3_ALERT_ILLEGAL_PARAMETER",
        RecordOverflow => "ERR_SSL_TLSV1_ALERT_RECORD_OVERFLOW",
        UnknownCA => "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
        AccessDenied => "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED",
        DecodeError => "ERR_SSL_TLSV1_ALERT_DECODE_ERROR",
        DecryptError => "ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR",
        ProtocolVersion => "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
        InsufficientSecurity => "ERR_SSL_TLSV1_ALERT_INSUFFICIENT_SECURITY",
        InternalError => "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR",
        InappropriateFallback => "ERR_SSL_TLSV1_ALERT_INAPPROPRIATE_FALLBACK",
        UserCanceled => "ERR_SSL_TLSV1_ALERT_USER_CANCELLED",
        UnsupportedExtension => "ERR_SSL_TLSV1_UNSUPPORTED_EXTENSION",
        UnrecognisedName => "ERR_SSL_TLSV1_UNRECOGNIZED_NAME",
        NoApplicationProtocol => "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        MissingExtension => "ERR_SSL_TLSV13_ALERT_MISSING_EXTENSION",
        CertificateRequired => "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
        _ => "ERR_SSL_ALERT_RECEIVED",
    }
}
