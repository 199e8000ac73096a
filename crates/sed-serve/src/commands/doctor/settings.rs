//! The checks of the server's settings: valid, within the machine's memory, with free ports.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
};

use clap::Command;
use sed_server::ServerConfig;

use super::{
    access,
    check::{Check, size},
    machine::Memory,
    worst::{self, ModelMemory},
};
use crate::{args::ServerArgs, variables::Unknown};

pub(super) fn checks(
    args: &ServerArgs,
    model: Option<ModelMemory>,
    memory: &Memory,
    command: &Command,
) -> Vec<Check> {
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
    checks.extend(unknown_variables(&Unknown::here(command)));
    checks
}

fn settings(config: &ServerConfig) -> Check {
    let settings = &config.settings;
    Check::good(
        "settings",
        format!(
            "{} connections, {} requests at once, {} categories, {} an image, {} s a request, top_k {}",
            settings.max_connections(),
            settings.max_concurrent_requests,
            settings.max_categories,
            size(settings.max_image_bytes()),
            settings.max_timeout_seconds,
            settings.default_top_k(),
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

fn unknown_variables(unknown: &[Unknown]) -> Option<Check> {
    let names: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    let advice = "`sed-serve serve --help` lists the settings; correct the names or unset the variables";
    (!names.is_empty()).then(|| Check::warning("environment", names.join("; "), advice))
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
}
