//! The checks of certificates and tokens.

use sed_server::{
    CertificateFacts, ServerConfig,
    config::{Access, TlsFiles},
    inspect_tls, inspect_tokens,
};

use super::check::Check;

const DAY: i64 = 86_400;
/// Remaining seconds below which a certificate gets a warning: enough to renew it by hand.
const SOON: i64 = 14 * DAY;

pub(super) fn checks(config: &ServerConfig) -> Vec<Check> {
    let Access { tls, tokens, .. } = &config.access;
    let mut checks = Vec::new();
    match tls {
        Some(files) => checks.extend(tls_checks(files)),
        None if !config.listen.ip().is_loopback() => checks.push(Check::warning(
            "tls",
            "off, on an address that others can reach",
            "give --tls-certificate and --tls-key, unless a proxy or mesh encrypts; see deploy/security.md",
        )),
        None => checks.push(Check::good("tls", "off; only this machine can connect")),
    }
    checks.extend(tokens.as_ref().map(|file| match inspect_tokens(file) {
        Ok(names) => Check::good("tokens", format!("of {}", names.join(", "))),
        Err(error) => Check::failed("tokens", error),
    }));
    checks
}

fn tls_checks(files: &TlsFiles) -> Vec<Check> {
    const NAME: &str = "tls";
    match inspect_tls(files) {
        Err(error) => vec![Check::failed(NAME, error)],
        Ok((own, authorities)) => {
            let own = expiry(NAME, "certificate", &own, "renew it; the server reads the new one by itself");
            let authority = |facts: &CertificateFacts| {
                expiry("client authority", "authority", facts, "add its successor to --tls-client-ca")
            };
            std::iter::once(own).chain(authorities.iter().map(authority)).collect()
        }
    }
}

fn expiry(name: &'static str, kind: &str, facts: &CertificateFacts, advice: &str) -> Check {
    let found = format!("{kind} of {}, until {}", facts.names.join(", "), facts.expires);
    match facts.seconds_left() {
        left if left < 0 => Check::wrong(name, format!("{found}: it has expired"), advice),
        left if left < SOON => Check::warning(name, format!("{found}: {} days left", left / DAY), advice),
        _ => Check::good(name, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let verdict = |days: i64| {
            let not_after = now.as_secs() as i64 + days * DAY + 60;
            let facts = CertificateFacts {
                names: vec!["eyes.example".into()],
                not_before: 0,
                not_after,
                expires: String::new(),
            };
            expiry("tls", "certificate", &facts, "renew it").verdict
        };
        assert_eq!([-1, 3, 90].map(verdict), [Verdict::Wrong, Verdict::Warning, Verdict::Good]);
    }
}
