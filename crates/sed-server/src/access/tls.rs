//! TLS as configured by its files.

use std::{fmt, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

use super::{
    AccessError, CertificateFacts,
    certificate::{key_kind, unverifiable_key},
    file,
    reloaded::Loaded,
};
use crate::{config::TlsFiles, metrics::ServerMetrics};

/// The acceptor of TLS connections, and the facts of its certificates.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(super) facts: CertificateFacts,
    pub(super) authorities: Vec<CertificateFacts>,
}

impl Tls {
    /// Reads and checks the files.
    pub(super) fn load(files: &TlsFiles, http1: bool) -> Result<Loaded<Self>, AccessError> {
        let mut digest = Sha256::new();
        let mut read = |setting, file: &Path| {
            let bytes = file::read(setting, file)?;
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(&bytes);
            Ok(bytes)
        };
        let chain = certificates(
            "tls_certificate",
            &files.certificate,
            &read("tls_certificate", &files.certificate)?,
        )?;
        let key = key(&files.key, &read("tls_key", &files.key)?)?;
        let authorities = match &files.client_ca {
            Some(file) => certificates("tls_client_ca", file, &read("tls_client_ca", file)?)?,
            None => Vec::new(),
        };
        let facts = facts("tls_certificate", &files.certificate, &chain)?;
        let Some(own) = facts.first().cloned() else {
            return Err(content("tls_certificate", &files.certificate, NO_CERTIFICATE));
        };
        own.check().map_err(|reason| content("tls_certificate", &files.certificate, reason))?;
        let authority_facts = match &files.client_ca {
            Some(file) => {
                check_authorities(file, &authorities)?;
                self::facts("tls_client_ca", file, &authorities)?
            }
            None => Vec::new(),
        };
        let verifier = files.client_ca.as_deref().map(|file| verifier(file, authorities)).transpose()?;
        let mut config = configure(files, chain, key, verifier)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if http1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Loaded {
            digest: digest.finalize().into(),
            value: Self { acceptor, facts: own, authorities: authority_facts },
        })
    }

    /// Publishes the expiry of the certificate that is in force.
    pub(super) fn announce(&self, metrics: &ServerMetrics) {
        metrics.tls_certificate_expiry.set(self.facts.not_after as f64);
    }
}

const NO_CERTIFICATE: &str = "holds no certificate; it must have lines -----BEGIN CERTIFICATE-----";

const KEYS_THAT_WORK: &str =
    "give one of RSA with 2048 to 4096 bits, of ECDSA on P-256 or P-384, or of Ed25519, with its certificate";

const AUTHORITIES_THAT_WORK: &str =
    "give one whose key is RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519";

fn content(setting: &'static str, file: &Path, reason: impl Into<String>) -> AccessError {
    AccessError::Content { setting, file: file.into(), reason: reason.into() }
}

fn certificates(
    setting: &'static str,
    file: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| content(setting, file, format!("is no PEM file: {error}")))?;
    if all.is_empty() { Err(content(setting, file, NO_CERTIFICATE)) } else { Ok(all) }
}

fn key(file: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, AccessError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        content(
            "tls_key",
            file,
            "holds no private key; it must have a line -----BEGIN PRIVATE KEY-----, not encrypted",
        )
    })
}

fn facts(
    setting: &'static str,
    file: &Path,
    chain: &[CertificateDer<'_>],
) -> Result<Vec<CertificateFacts>, AccessError> {
    let all = chain.iter().map(|der| CertificateFacts::of(der));
    all.collect::<Result<_, _>>().map_err(|reason| content(setting, file, reason))
}

/// Refuses authorities none of which has a key by which a client's certificate could be verified.
fn check_authorities(file: &Path, authorities: &[CertificateDer<'_>]) -> Result<(), AccessError> {
    let kinds: Option<Vec<&str>> = authorities.iter().map(|der| unverifiable_key(der)).collect();
    match kinds.as_deref() {
        None | Some([]) => Ok(()),
        Some([kind, ..]) => Err(content(
            "tls_client_ca",
            file,
            format!(
                "holds an authority with a key of {kind}, which cannot be verified here; {AUTHORITIES_THAT_WORK}"
            ),
        )),
    }
}

fn verifier(
    file: &Path,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, AccessError> {
    let wrong = |error: String| content("tls_client_ca", file, error);
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| wrong(format!("is no authority: {error}")))?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| wrong(error.to_string()))
}

/// Returns the key if it is of a kind with which TLS can be spoken here.
fn usable(
    provider: &CryptoProvider,
    file: &Path,
    key: PrivateKeyDer<'static>,
    chain: &[CertificateDer<'_>],
) -> Result<PrivateKeyDer<'static>, AccessError> {
    match provider.key_provider.load_private_key(key.clone_key()) {
        Ok(_) => Ok(key),
        Err(_) => {
            let kind = chain.first().and_then(|own| key_kind(own));
            let kind = kind.map(|kind| format!(" (its certificate says {kind})")).unwrap_or_default();
            Err(content("tls_key", file, format!("holds a key that cannot be used{kind}; {KEYS_THAT_WORK}")))
        }
    }
}

fn configure(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, AccessError> {
    let provider = Arc::new(ring::default_provider());
    let key = usable(&provider, &files.key, key, &chain)?;
    let refused = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            AccessError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
        }
        other => content("tls_certificate", &files.certificate, other.to_string()),
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    builder.with_single_cert(chain, key).map_err(refused)
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The acceptor holds the private key.
        let Self { acceptor: _, facts, authorities } = self;
        formatter
            .debug_struct("Tls")
            .field("facts", facts)
            .field("authorities", authorities)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// A certificate with a key on P-521, which the generator of the other tests' certificates cannot make.
    const P521_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIB2DCCATmgAwIBAgIBATAKBggqhkjOPQQDBDAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMDAwMTAxMDAwMDAwWhgPMjA5OTEyMzEyMzU5NTlaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDCBmzAQBgcqhkjOPQIBBgUrgQQAIwOBhgAEAWfw+iNmElgHfqhK
jPRSUG2n0bWNIe0DUYCIlLDNYXjEAboe++vELvu0zKAZoxU84JiFTgQ/raCVa0fl
3aQtWhiyAW3ev6hycp93tkxXn1lph28BS28gnkZc5bt57bhKHNnXhVuXbjOExYDQ
nSlrepU+8j4dDeH/oL7lU5/UZr8F9c72ozcwNTAUBgNVHREEDTALgglsb2NhbGhv
c3QwHQYDVR0OBBYEFJ/dCT9tk8R4wSqsSi7nxScM94XjMAoGCCqGSM49BAMEA4GM
ADCBiAJCAO/1+WcbDdbqbDFkecyCQJI/g63H+HAArYMb+xQuiEBGuVv7ONan7NQt
KnIuQLXBmt4g3QTBkGFmNa1dXHz/68O5AkIAtreWGrOFCC+RsKgu/5c3XqBoRbS1
9uhNSw/h+xLr01F4Wg+1B50HmwBssJtIsmkzX0KhRnK6FOMzWi6i2HOLM6E=
-----END CERTIFICATE-----
";
    const P521_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIAfziDOynSUTtF9TrH
6SdI2pslUknHBMvqYh+pWffWysSnQ3kpQxbAp9qsTQFabCamUWrCm0QsQKcI/YMv
AptijWuhgYkDgYYABAFn8PojZhJYB36oSoz0UlBtp9G1jSHtA1GAiJSwzWF4xAG6
HvvrxC77tMygGaMVPOCYhU4EP62glWtH5d2kLVoYsgFt3r+ocnKfd7ZMV59ZaYdv
AUtvIJ5GXOW7ee24ShzZ14Vbl24zhMWA0J0pa3qVPvI+HQ3h/6C+5VOf1Ga/BfXO
9g==
-----END PRIVATE KEY-----
";

    fn folder(certificate: &str, key: &str) -> (TempDir, TlsFiles) {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = [("server.pem", certificate), ("server.key", key)].map(|(name, content)| {
            std::fs::write(folder.path().join(name), content).unwrap();
            folder.path().join(name)
        });
        (folder, TlsFiles { certificate, key, client_ca: None })
    }

    fn error(files: &TlsFiles) -> String {
        Tls::load(files, false).map(|_| ()).unwrap_err().to_string()
    }

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_key_of_a_kind_that_cannot_be_used_is_named_with_its_file_and_what_works() {
        let (_folder, files) = folder(P521_CERTIFICATE, P521_KEY);
        let error = error(&files);
        assert!(error.starts_with(&format!("tls_key {}: holds a key", files.key.display())), "{error}");
        for part in ["its certificate says ECDSA on P-521", "P-256 or P-384", "Ed25519", "RSA"] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
        assert!(!error.contains("server.pem"), "{error}");
    }

    #[test]
    fn authorities_whose_signatures_cannot_be_verified_are_refused() {
        let (own, key) = certificate(|_| {});
        let (folder, mut files) = folder(&own, &key);
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, P521_CERTIFICATE).unwrap();
        files.client_ca = Some(authority.clone());
        let error = error(&files);
        assert!(error.starts_with("tls_client_ca") && error.contains("ca.pem"), "{error}");
        assert!(error.contains("a key of P-521") && error.contains("P-256 or P-384"), "{error}");

        // One among others is no harm: its clients alone cannot come in.
        let (good, _) = certificate(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        std::fs::write(&authority, format!("{P521_CERTIFICATE}{good}")).unwrap();
        assert_eq!(Tls::load(&files, false).unwrap().value.authorities.len(), 2);
    }

    #[test]
    fn files_that_are_no_pem_and_keys_of_other_certificates_are_named() {
        let ((own, key), (_, other)) = (certificate(|_| {}), certificate(|_| {}));
        let (_folder, files) = folder(&own, &key);
        assert!(Tls::load(&files, false).is_ok());
        std::fs::write(&files.key, other).unwrap();
        assert!(error(&files).contains("is not the key of tls_certificate"), "{}", error(&files));
        std::fs::write(&files.key, "no key").unwrap();
        assert!(error(&files).contains("server.key: holds no private key"), "{}", error(&files));
        std::fs::remove_file(&files.key).unwrap();
        assert!(error(&files).starts_with("cannot read tls_key"), "{}", error(&files));
    }
}
