//! Names, validity and key kind of a certificate.

use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::{extensions::GeneralName, prelude::*, public_key::PublicKey};

/// Facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The names that it is for, or its subject where it has none.
    pub names: Vec<String>,
    /// Start of its validity, in seconds since 1970.
    pub not_before: i64,
    /// End of its validity, in seconds since 1970.
    pub not_after: i64,
    /// End of its validity, as text.
    pub expires: String,
}

impl CertificateFacts {
    /// Reads a certificate in DER.
    pub(super) fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("is no certificate: {error}"))?;
        let validity = certificate.validity();
        Ok(Self {
            names: names(&certificate),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            expires: validity.not_after.to_string(),
        })
    }

    /// Number of seconds until it expires; negative once it has expired.
    pub fn seconds_left(&self) -> i64 {
        self.not_after - now()
    }

    /// Returns an error if it is expired or not valid yet.
    pub(super) fn check(&self) -> Result<(), String> {
        let of = self.names.join(", ");
        if self.seconds_left() < 0 {
            return Err(format!("the certificate of {of} has expired on {}; renew it", self.expires));
        }
        if self.not_before > now() {
            return Err(format!("the certificate of {of} does not hold yet; look at this machine's clock"));
        }
        Ok(())
    }
}

fn now() -> i64 {
    // A clock before 1970 counts as 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// The name that stands for a client in logs: a URI (such as a SPIFFE id), a host, an e-mail address, or the
/// subject.
pub(crate) fn name_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    names(&certificate).into_iter().next()
}

/// The kind of the key that a certificate is for, such as `ECDSA on P-521`; `None` if it cannot be
/// determined.
pub(super) fn key_kind(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let key = certificate.public_key();
    match key.parsed().ok()? {
        PublicKey::RSA(key) => Some(format!("RSA with {} bits", key.key_size())),
        PublicKey::EC(_) => {
            let curve = curve(key)?;
            Some(format!(
                "ECDSA on {}",
                CURVES.iter().find(|(id, _)| *id == curve).map_or(&*curve, |(_, name)| name)
            ))
        }
        _ => Some(format!("algorithm {}", key.algorithm.algorithm.to_id_string())),
    }
}

/// The curve of an authority's key, if signatures cannot be verified with it.
pub(super) fn unverifiable_key(der: &[u8]) -> Option<&'static str> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let curve = curve(certificate.public_key())?;
    CURVES[2..].iter().find(|(id, _)| *id == curve).map(|(_, name)| *name)
}

/// Object identifiers and names of curves. The first two are supported; the others are common but not
/// supported.
const CURVES: [(&str, &str); 4] = [
    ("1.2.840.10045.3.1.7", "P-256"),
    ("1.3.132.0.34", "P-384"),
    ("1.3.132.0.35", "P-521"),
    ("1.3.132.0.10", "secp256k1"),
];

/// The object identifier of the curve of an elliptic key.
fn curve(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let parameters = key.algorithm.parameters.as_ref()?;
    Some(parameters.as_oid().ok()?.to_id_string())
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let general = alternatives.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
    let (mut uris, mut others) = (Vec::new(), Vec::new());
    for name in general {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => others.push((*name).to_owned()),
            GeneralName::IPAddress([a, b, c, d]) => others.push(format!("{a}.{b}.{c}.{d}")),
            _ => {}
        }
    }
    uris.append(&mut others);
    if uris.is_empty() {
        let mut common = certificate.subject().iter_common_name();
        let common = common.next().and_then(|name| name.as_str().ok()).map(str::to_owned);
        uris.push(common.unwrap_or_else(|| certificate.subject().to_string()));
    }
    uris
}
