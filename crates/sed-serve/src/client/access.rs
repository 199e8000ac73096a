//! Credentials of a client: trusted authorities, a client certificate, a token.

use std::{fmt, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use tokio_rustls::rustls::{
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::{Certificate, ClientTlsConfig, Identity},
};

/// The sources of a client's credentials.
pub(crate) struct Credentials<'a> {
    /// Authorities instead of the system's.
    pub(crate) ca_certificate: Option<&'a Path>,
    /// Certificate and private key of this client.
    pub(crate) identity: Option<(&'a Path, &'a Path)>,
    /// A file that holds the token.
    pub(crate) token_file: Option<&'a Path>,
    /// The token, where there is no such file.
    pub(crate) token: Option<String>,
}

/// Credentials of a client. The default has no token and no certificate; it trusts the system's authorities.
#[derive(Clone, Default)]
pub(crate) struct Access {
    tls: Option<ClientTlsConfig>,
    token: Option<MetadataValue<Ascii>>,
}

impl Access {
    /// Reads the files.
    pub(crate) fn read(from: &Credentials<'_>) -> Result<Self> {
        let read =
            |file: &Path| std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        let mut tls = ClientTlsConfig::new();
        tls = match from.ca_certificate {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
            None => tls.with_enabled_roots(),
        };
        if let Some((certificate, key)) = from.identity {
            let pem = read(key)?;
            check_key(key, &pem)?;
            tls = tls.identity(Identity::from_pem(read(certificate)?, pem));
        }
        let token = match from.token_file {
            Some(file) => {
                let text = read(file)?;
                Some(bearer(&text).with_context(|| format!("{} holds no token", file.display()))?)
            }
            None => match from.token.as_deref().filter(|token| !token.is_empty()) {
                Some(token) => Some(bearer(token.as_bytes()).context("SED_TOKEN holds no token")?),
                None => None,
            },
        };
        Ok(Self { tls: Some(tls), token })
    }

    /// The TLS settings for connections to the server.
    pub(super) fn tls(&self) -> ClientTlsConfig {
        self.tls.clone().unwrap_or_else(|| ClientTlsConfig::new().with_enabled_roots())
    }
}

/// Rejects a file without a private key, or with a key of a kind that TLS does not support here.
fn check_key(file: &Path, pem: &[u8]) -> Result<()> {
    let file = file.display();
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        anyhow!("{file} holds no private key; it must have a line -----BEGIN PRIVATE KEY-----, not encrypted")
    })?;
    ring::default_provider().key_provider.load_private_key(key).map_err(|_| {
        anyhow!(
            "{file} holds a key that cannot be used; give one of RSA with 2048 to 4096 bits, of ECDSA on P-256 or P-384, \
             or of Ed25519, with its certificate"
        )
    })?;
    Ok(())
}

/// The metadata that carries a token, without the blanks around it.
fn bearer(token: &[u8]) -> Result<MetadataValue<Ascii>> {
    let token = token.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        bail!("a token is one word of ASCII letters, digits and signs");
    }
    let mut value = MetadataValue::try_from([b"Bearer ", token].concat())?;
    value.set_sensitive(true); // not shown in debug output of headers
    Ok(value)
}

/// Adds the token to every call.
impl Interceptor for Access {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(token_file: Option<&Path>, token: Option<&str>) -> Result<Access> {
        let token = token.map(str::to_owned);
        Access::read(&Credentials { ca_certificate: None, identity: None, token_file, token })
    }

    fn sent(access: &mut Access) -> Option<String> {
        let request = access.call(Request::new(())).unwrap();
        request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_file_goes_over_the_variable_and_neither_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "  from-the-file\n").unwrap();
        let mut access = read(Some(file.path()), Some("from-the-variable")).unwrap();
        assert_eq!(sent(&mut access).as_deref(), Some("Bearer from-the-file"));
        assert!(!format!("{access:?}").contains("file"));
        let mut access = read(None, Some("from-the-variable")).unwrap();
        assert_eq!(sent(&mut access).as_deref(), Some("Bearer from-the-variable"));
        for none in [None, Some("")] {
            assert_eq!(sent(&mut read(None, none).unwrap()), None);
        }
    }

    /// A key on P-521.
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

    #[test]
    fn a_key_that_cannot_be_used_is_named_with_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, said) in [(P521_KEY, "P-256 or P-384"), ("no key", "holds no private key")] {
            std::fs::write(file.path(), content).unwrap();
            let credentials = Credentials {
                ca_certificate: None,
                identity: Some((file.path(), file.path())),
                token_file: None,
                token: None,
            };
            let error = format!("{:#}", Access::read(&credentials).unwrap_err());
            assert!(error.contains(said) && error.contains(file.path().to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_shown_either() {
        let error = format!("{:#}", read(None, Some("two words")).unwrap_err());
        assert!(error.contains("SED_TOKEN") && !error.contains("two"), "{error}");
        let empty = tempfile::NamedTempFile::new().unwrap();
        let error = format!("{:#}", read(Some(empty.path()), None).unwrap_err());
        assert!(error.contains("holds no token"), "{error}");
    }
}
