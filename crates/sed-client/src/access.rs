//! Credentials of a client: trusted authorities, a client certificate, a token.

use std::{fmt, path::Path};

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

use crate::error::{Error, Result};

/// The sources of a client's credentials.
#[derive(Clone, Default)]
pub struct Credentials<'a> {
    /// A PEM file of authorities to trust instead of the system's.
    pub ca_certificate: Option<&'a Path>,
    /// PEM files of this client's certificate and private key.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// A file that holds the token.
    pub token_file: Option<&'a Path>,
    /// The token, where there is no such file. An empty one counts as none.
    pub token: Option<&'a str>,
}

/// Credentials of a client. The default has no token and no certificate; it trusts the system's authorities.
#[derive(Clone, Default)]
pub struct Access {
    tls: Option<ClientTlsConfig>,
    token: Option<MetadataValue<Ascii>>,
}

impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read or holds something else, or the token is not one word.
    pub fn read(from: &Credentials<'_>) -> Result<Self> {
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
        let token = match (from.token_file, from.token) {
            (Some(file), _) => Some(
                bearer(&read(file)?)
                    .map_err(|error| Error::NoToken { file: file.to_owned(), source: Box::new(error) })?,
            ),
            (None, Some(token)) if !token.is_empty() => Some(bearer(token.as_bytes())?),
            (None, _) => None,
        };
        Ok(Self { tls: Some(tls), token })
    }

    /// The TLS settings for connections to the server.
    pub(crate) fn tls(&self) -> ClientTlsConfig {
        self.tls.clone().unwrap_or_else(|| ClientTlsConfig::new().with_enabled_roots())
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|source| Error::Read { file: file.to_owned(), source })
}

/// Rejects a file without a private key, or with a key of a kind that TLS does not support here.
fn check_key(file: &Path, pem: &[u8]) -> Result<()> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| Error::NoKey(file.to_owned()))?;
    let loaded = ring::default_provider().key_provider.load_private_key(key);
    loaded.map(drop).map_err(|_| Error::UnusableKey(file.to_owned()))
}

/// The metadata that carries a token, without the blanks around it.
fn bearer(token: &[u8]) -> Result<MetadataValue<Ascii>> {
    let token = token.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(Error::NotAToken);
    }
    let value = MetadataValue::try_from([b"Bearer ", token].concat());
    let mut value = value.map_err(|_| Error::NotAToken)?;
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

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Credentials");
        shown.field("ca_certificate", &self.ca_certificate).field("identity", &self.identity);
        shown.field("token_file", &self.token_file).field("token", &self.token.is_some()).finish()
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
    use crate::causes;

    fn read(token_file: Option<&Path>, token: Option<&str>) -> Result<Access> {
        Access::read(&Credentials { token_file, token, ..Credentials::default() })
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
            let identity = Some((file.path(), file.path()));
            let credentials = Credentials { identity, ..Credentials::default() };
            let error = Access::read(&credentials).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(file.path().to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_shown_either() {
        let error = causes(&read(None, Some("two words")).unwrap_err());
        assert!(error.contains("one word") && !error.contains("two"), "{error}");
        let empty = tempfile::NamedTempFile::new().unwrap();
        let error = causes(&read(Some(empty.path()), None).unwrap_err());
        assert!(error.contains("holds no token"), "{error}");
    }
}
