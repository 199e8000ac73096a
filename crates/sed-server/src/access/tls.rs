//! TLS, made of its files.

use std::{fmt, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

use super::{AccessError, CertificateFacts, reloaded::Loaded};
use crate::config::TlsFiles;

/// What accepts connections, and what its certificates say.
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
            let bytes = std::fs::read(file).map_err(|source| AccessError::Read {
                setting,
                file: file.into(),
                source,
            })?;
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
            Some(file) => self::facts("tls_client_ca", file, &authorities)?,
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
}

const NO_CERTIFICATE: &str = "holds no certificate; it must have lines -----BEGIN CERTIFICATE-----";

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

fn configure(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, AccessError> {
    let refused = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            AccessError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
        }
        other => content("tls_certificate", &files.certificate, other.to_string()),
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
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
