//! Environment variables of the program's prefix that set nothing: they may be misspelt.

use std::{collections::BTreeSet, fmt};

use clap::Command;
use sed_server::config;

/// Variables that no flag stands for.
const NO_FLAGS: [&str; 3] = ["SED_CUDA_LIBRARIES", "SED_KERNELS_ISA", "SED_TOKEN"];

/// A variable that sets nothing.
#[derive(Debug)]
pub(crate) struct Unknown {
    name: String,
    nearest: Option<String>,
}

impl Unknown {
    /// Returns those of this process's environment that no flag of `command` reads, by name.
    pub(crate) fn here(command: &Command) -> Vec<Self> {
        Self::among(command, std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    }

    fn among(command: &Command, names: impl Iterator<Item = String>) -> Vec<Self> {
        let mut known: BTreeSet<String> = config::keys().map(config::variable).collect();
        known.extend(NO_FLAGS.map(str::to_owned));
        collect(command, &mut known);
        // Kubernetes sets such variables for a service called `sed`.
        let of_kubernetes = |name: &str| name.contains("_SERVICE_") || name.contains("_PORT");
        let unknown: BTreeSet<String> = names
            .filter(|name| name.starts_with("SED_") && !known.contains(name) && !of_kubernetes(name))
            .collect();
        let nearest = |name: &str| config::nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        unknown.into_iter().map(|name| Self { nearest: nearest(&name), name }).collect()
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sets nothing", self.name)?;
        self.nearest.iter().try_for_each(|nearest| write!(f, ", did you mean {nearest}?"))
    }
}

/// Collects the variables of all flags.
fn collect(command: &Command, variables: &mut BTreeSet<String>) {
    let named = command.get_arguments().filter_map(|flag| flag.get_env()?.to_str());
    variables.extend(named.map(str::to_owned));
    command.get_subcommands().for_each(|command| collect(command, variables));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn misspelt_variables_are_noticed() {
        let unknown = |names: &[&str]| -> Vec<String> {
            Unknown::among(&Cli::command(), names.iter().map(ToString::to_string))
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        let known = ["PATH", "SED_MODEL", "SED_TOKEN", "SED_LOG_FORMAT", "SED_CONFIG", "SED_KERNELS_ISA"];
        assert!(unknown(&known).is_empty());
        assert!(unknown(&["SED_MAX_TOP_K", "SED_SERVICE_HOST", "SED_PORT"]).is_empty());
        assert_eq!(
            unknown(&["SED_MAX_TOPK", "SED_MODEL", "SED_LOGFORMAT", "SED_XYZ"]),
            [
                "SED_LOGFORMAT sets nothing, did you mean SED_LOG_FORMAT?",
                "SED_MAX_TOPK sets nothing, did you mean SED_MAX_TOP_K?",
                "SED_XYZ sets nothing",
            ]
        );
    }
}
