//! The server's settings as flags, and the effective ones printed.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::Args;
use sed_server::{
    ServerConfig, Settings,
    config::{self, SETTINGS, Written},
};

/// The server's flags. The value of an absent flag comes from the environment, then from the file, then from
/// the default.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// A TOML file of settings; their names are those of the flags, with `_` for `-`.
    #[arg(long, value_name = "FILE", env = "SED_CONFIG", help_heading = SETTINGS)]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Written,
}

impl ServerArgs {
    /// Loads and checks the configuration from flags, environment and file.
    pub(crate) fn load(&self) -> Result<ServerConfig> {
        // Variables that are not text cannot be ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let environment = std::env::vars_os().filter_map(text);
        Ok(config::load(self.config.as_deref(), environment, self.flags.clone())?)
    }
}

/// Writes settings as a file for `--config`, or as a JSON object.
pub(crate) fn print_config(settings: &Settings, as_json: bool, out: &mut impl Write) -> Result<()> {
    if as_json {
        return Ok(writeln!(out, "{:#}", serde_json::to_value(settings)?)?);
    }
    Ok(write!(out, "{}", toml::to_string(settings)?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &[u8]) -> ServerConfig {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        config::load(Some(file.path()), [], Written::default()).unwrap()
    }

    /// A configuration in which no setting has its default.
    fn unusual() -> ServerConfig {
        let mut text = String::new();
        let settings = serde_json::to_value(&*ServerConfig::default().settings).unwrap();
        for (key, value) in settings.as_object().unwrap() {
            let other = match (key.as_str(), value) {
                ("listen" | "ops_listen", _) => json!("127.0.0.1:7"),
                ("text_cache_dir", _) => json!("embeddings \"kept\" here"),
                ("preload_vocabulary" | "prepare_vocabulary", _) => json!(["pascal-voc-20", "ade20k-150"]),
                ("compression", _) => json!(["off"]),
                ("grpc_web_origins", _) => json!(["https://a.example", "http://b.example:8080"]),
                ("tls_certificate" | "tls_key" | "tls_client_ca" | "tokens", _) => {
                    json!(format!("/run/{key}"))
                }
                (_, Value::Bool(on)) => json!(!on),
                (_, Value::Number(number)) if number.is_f64() => json!(number.as_f64().unwrap() + 1.5),
                // Only an image may not be larger than a message.
                ("max_image_bytes", number) => json!(number.as_u64().unwrap() - 1),
                (_, number) => json!(number.as_u64().unwrap() + 1),
            };
            text += &format!("{key} = {other}\n");
        }
        read(text.as_bytes())
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let config = unusual();
        let mut printed = Vec::new();
        print_config(&config.settings, false, &mut printed).unwrap();
        assert_eq!(read(&printed), config);
    }
}
