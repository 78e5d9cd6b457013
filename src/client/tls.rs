//! TLS towards members: whose certificates are trusted, and which one is shown.
//!
//! Writes: nothing. Reads: the files that the options name; without a CA file, the system's bundle.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio_rustls::rustls::{
    DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::error;

/// Where systems keep their bundle of trusted certificates.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name that a member's certificate must carry, if not the host of its address.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub skip_verify: bool,
    /// Speak TLS even where nothing else asks for it.
    pub force: bool,
}

/// The files of the options, read.
#[derive(Clone, Debug)]
pub struct Tls {
    options: Options,
    ca: Option<Vec<u8>>,
    identity: Option<Identity>,
}

impl Options {
    pub fn load(&self) -> Result<Tls, String> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let (cert_pem, key_pem) = (read("--cert", cert)?, read("--key", key)?);
                certificates("--cert", cert, &cert_pem)?;
                PrivateKeyDer::from_pem_slice(&key_pem)
                    .map_err(|e| format!("the file of --key, {}, has no private key: {e}", key.display()))?;
                Some(Identity::from_pem(cert_pem, key_pem))
            }
            (None, None) => None,
            (cert, key) => {
                let [key, cert] = [key, cert].map(|path| path.as_deref().unwrap_or(Path::new("")).display());
                return Err(format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"));
            }
        };
        let ca = match &self.ca {
            Some(path) => {
                let pem = read("--cacert", path)?;
                let mut roots = RootCertStore::empty();
                for certificate in certificates("--cacert", path, &pem)? {
                    roots.add(certificate).map_err(|e| format!("the file of --cacert, {}, cannot be used: {e}", path.display()))?;
                }
                Some(pem)
            }
            None => None,
        };
        Ok(Tls { options: self.clone(), ca, identity })
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("cannot read the file of {flag}, {}: {e}", path.display()))
}

fn certificates(flag: &str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("the file of {flag}, {}, has no certificate in PEM form", path.display())),
        Err(e) => Err(format!("the file of {flag}, {}, cannot be read as PEM: {e}", path.display())),
    }
}

impl Tls {
    /// Whether an address without a scheme is spoken to in TLS.
    pub fn is_wanted(&self) -> bool {
        let o = &self.options;
        self.ca.is_some() || self.identity.is_some() || o.server_name.is_some() || o.skip_verify || o.force
    }

    pub fn apply(&self, endpoint: Endpoint, handshake_timeout: Duration) -> Result<Endpoint, String> {
        let mut config = ClientTlsConfig::new().timeout(handshake_timeout);
        if let Some(identity) = &self.identity {
            config = config.identity(identity.clone());
        }
        if let Some(name) = &self.options.server_name {
            config = config.domain_name(name);
        }
        let done = if self.options.skip_verify {
            endpoint.tls_config_with_verifier(config, Arc::new(AcceptAny(ring::default_provider().into())))
        } else {
            let ca = match &self.ca {
                Some(ca) => ca.clone(),
                None => system_bundle()?,
            };
            endpoint.tls_config(config.ca_certificate(Certificate::from_pem(ca)))
        };
        done.map_err(|e| format!("cannot use the TLS options: {}", error::chain(&e)))
    }
}

fn system_bundle() -> Result<Vec<u8>, String> {
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        return read("SSL_CERT_FILE", Path::new(&path));
    }
    SYSTEM_BUNDLES.iter().find_map(|path| fs::read(path).ok()).ok_or_else(|| {
        "no bundle of trusted certificates found on this system: name the CA with --cacert, or a bundle with SSL_CERT_FILE".into()
    })
}

/// Takes any certificate, but still asks the member to prove that it holds the key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let options = Options { cert: Some("client.crt".into()), ..Options::default() };
        assert_eq!(options.load().unwrap_err(), "KeyFile and CertFile must both be present[key: , cert: client.crt]");
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = Options { ca: Some(file.path().into()), ..Options::default() };
        assert!(options.load().unwrap_err().ends_with("has no certificate in PEM form"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_flag() {
        let options = Options { ca: Some("no/such.pem".into()), ..Options::default() };
        assert!(options.load().unwrap_err().starts_with("cannot read the file of --cacert, no/such.pem: "));
    }
}
