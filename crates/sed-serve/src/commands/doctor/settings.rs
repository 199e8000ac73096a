//! The checks of the server's settings: valid, within the machine's memory, with free ports.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
};

use sed_server::{ServerConfig, config::RawConfig};

use super::{
    access,
    check::{Check, size},
    machine::Memory,
    worst::{self, ModelMemory},
};
use crate::args::ServerArgs;

/// Variables that the program reads beside the settings of the server.
const OTHER_VARIABLES: [&str; 12] = [
    "SED_CONFIG",
    "SED_CUDA_LIBRARIES",
    "SED_DEVICE",
    "SED_DTYPE",
    "SED_KERNELS_ISA",
    "SED_LOG_FORMAT",
    "SED_LOG_LEVEL",
    "SED_MODEL",
    "SED_MODEL_CONFIG",
    "SED_TF32",
    "SED_THREADS",
    "SED_TOKEN",
];

pub(super) fn checks(args: &ServerArgs, model: Option<ModelMemory>, memory: &Memory) -> Vec<Check> {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return vec![Check::failed("settings", error)],
    };
    let mut checks = vec![
        settings(&config),
        worst::check(&config, model, memory),
        port("port", config.listen, "--listen"),
    ];
    checks.extend(access::checks(&config));
    checks.extend(config.ops_listen.map(|address| port("operations port", address, "--ops-listen")));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    checks.extend(unknown_variables(names));
    checks
}

fn settings(config: &ServerConfig) -> Check {
    let limits = &config.limits;
    Check::good(
        "settings",
        format!(
            "{} connections, {} requests at once, {} categories, {} an image, {} s a request, top_k {}",
            config.transport.max_connections,
            limits.concurrent_requests,
            limits.vocabulary.categories,
            size(limits.image.max_encoded_bytes),
            limits.timeout.as_secs_f64(),
            config.default_rejection.top_k(),
        ),
    )
}

fn port(name: &'static str, address: SocketAddr, flag: &str) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::good(name, format!("{address} is free")),
        Err(error) => {
            let advice = match error.kind() {
                ErrorKind::AddrInUse => "stop what listens there, or choose another port",
                ErrorKind::AddrNotAvailable => "this machine has no such address; use 127.0.0.1 or 0.0.0.0",
                ErrorKind::PermissionDenied => "choose a port above 1023",
                _ => "choose another address",
            };
            Check::wrong(
                name,
                format!("cannot listen on {address}: {error}"),
                format!("{advice} with {flag}"),
            )
        }
    }
}

/// Warns of variables that begin with `SED_` but set nothing: they may be misspelt.
fn unknown_variables(names: impl Iterator<Item = String>) -> Option<Check> {
    let known = |name: &str| {
        let key = name.trim_start_matches("SED_").to_lowercase();
        RawConfig::KEYS.contains(&key.as_str()) || OTHER_VARIABLES.contains(&name)
    };
    // Kubernetes sets such variables for a service called `sed`.
    let of_kubernetes = |name: &str| name.contains("_SERVICE_") || name.contains("_PORT");
    let mut unknown: Vec<String> =
        names.filter(|name| name.starts_with("SED_") && !known(name) && !of_kubernetes(name)).collect();
    unknown.sort();
    (!unknown.is_empty()).then(|| {
        let advice = "`sed-serve serve --help` lists the settings; correct the names or unset the variables";
        Check::warning("environment", format!("{} set nothing", unknown.join(", ")), advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_port_in_use_is_wrong_and_a_free_one_good() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let check = port("port", address, "--listen");
        assert_eq!(check.verdict, Verdict::Wrong);
        assert!(check.found.contains(&address.to_string()), "{check:?}");
        assert_eq!(port("port", "127.0.0.1:0".parse().unwrap(), "--listen").verdict, Verdict::Good);
    }

    #[test]
    fn misspelt_variables_are_noticed() {
        let check = |names: &[&str]| unknown_variables(names.iter().map(ToString::to_string));
        assert!(check(&["PATH", "SED_MODEL", "SED_MAX_TOP_K", "SED_SERVICE_HOST", "SED_PORT"]).is_none());
        let found = check(&["SED_MAX_TOPK", "SED_MODEL"]).unwrap().found;
        assert_eq!(found, "SED_MAX_TOPK set nothing");
    }
}
