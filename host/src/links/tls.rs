//! TLS towards a PBX: whom to trust, and what a refusal means.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use super::DialError;

/// Why TLS cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The file of `ca`.
    #[error("cannot read certificates from {file}: {problem}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        problem: String,
    },
    /// It holds none.
    #[error("{file} holds no certificate (a PEM block `BEGIN CERTIFICATE`)")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// The machine has none to trust.
    #[error("this machine has no root certificates: {problem}")]
    NoRoots {
        /// Why.
        problem: String,
    },
    /// Ours.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// What everything TLS is done with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trusts the machine's roots, or nothing but the certificates of `ca`.
pub fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = match ca {
        None => builder.with_root_certificates(machine_roots()?).with_no_client_auth(),
        Some(file) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned::read(file)?))
            .with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn machine_roots() -> Result<RootCertStore, TlsSetupError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let problem =
            found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsSetupError::NoRoots { problem });
    }
    Ok(roots)
}

/// Trusts what the admin named: an authority, or the PBX's own certificate as it is.
///
/// `openssl req -x509` makes a certificate that is its own authority; the usual rules refuse such a one as a
/// server's. Equal to the named one byte for byte, it is trusted, its name is still checked.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
}

impl Pinned {
    fn read(file: &Path) -> Result<Self, TlsSetupError> {
        let shown = file.display().to_string();
        let unreadable = |error: &dyn std::fmt::Display| TlsSetupError::Unreadable {
            file: shown.clone(),
            problem: error.to_string(),
        };
        let certificates = CertificateDer::pem_file_iter(file)
            .map_err(|error| unreadable(&error))?
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unreadable(&error))?;
        if certificates.is_empty() {
            return Err(TlsSetupError::NoCertificate { file: shown });
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| unreadable(&error))?;
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| unreadable(&error))?;
        Ok(Self { certificates, chain })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.iter().any(|pinned| pinned == end_entity) {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A failed handshake in words an admin can act on.
pub(super) fn explain(error: &io::Error, host: &str, peer: &str) -> DialError {
    let failed = |message: String, fix: String| DialError { message, fix };
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return failed(
            format!("{peer} closed the connection during the TLS handshake: {error}"),
            "check that this port speaks TLS (manager.conf: tlsenable=yes, tlsbindaddr, a certificate)"
                .to_owned(),
        );
    };
    let another_name = "write the name that the certificate carries into the link, or give the PBX a certificate \
         whose subjectAltName has this name";
    match tls {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => failed(
            format!("the certificate of {peer} is not for {host}{}", names_in(tls)),
            another_name.to_owned(),
        ),
        // A certificate with the same issuer's name and another key: renewed, or somebody else's.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => failed(
            format!("the certificate of {peer} is signed by nobody this link trusts"),
            "name the authority, or a self-signed certificate itself: links.<name> = { url = \"tls://...\", \
             ca = \"pbx.pem\" }"
                .to_owned(),
        ),
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            failed(
                format!("the certificate of {peer} is self-signed"),
                "trust exactly this one: links.<name> = { url = \"tls://...\", ca = \"pbx.pem\" }".to_owned(),
            )
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => failed(
            format!("the certificate of {peer} has expired"),
            "renew it on the PBX, and check the clocks of both machines".to_owned(),
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => failed(
            format!("the certificate of {peer} is not valid yet"),
            "check the clocks of both machines".to_owned(),
        ),
        rustls::Error::InvalidCertificate(other) => failed(
            format!("the certificate of {peer} cannot be used: {other:?}"),
            "give the PBX a certificate of version 3 with a subjectAltName".to_owned(),
        ),
        rustls::Error::InvalidMessage(_) => failed(
            format!("{peer} answers, but not in TLS"),
            "use the TLS port (Asterisk: 5039), or tcp:// for the plain one".to_owned(),
        ),
        rustls::Error::AlertReceived(alert) => failed(
            format!("{peer} refused the TLS handshake: {alert:?}"),
            "let the PBX accept TLS 1.2 or 1.3, and no client certificate".to_owned(),
        ),
        other => failed(
            format!("no TLS with {peer}: {other}"),
            "let the PBX speak TLS 1.2 or 1.3 with an ECDHE cipher".to_owned(),
        ),
    }
}

fn names_in(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        }) if !presented.is_empty() => {
            format!(
                ", but for {}",
                presented.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
            )
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
            ": it carries no name at all (a common name alone does not count)".to_owned()
        }
        _ => String::new(),
    }
}
