//! The server under load: the real one, over a reduced model with faults.

use std::{
    io::{BufRead, Write},
    path::PathBuf,
};

use candle_core::DType;
use clap::Args;
use sed_engine::{Engine, SedStages, builtin_vocabularies, metrics::EngineMetrics};
use sed_model::{SedModel, checkpoint::Checkpoint, config::SedConfig};
use sed_server::{Drain, Server, ServerConfig, Settings, metrics::ServerMetrics};
use sed_telemetry::Telemetry;
use sed_tests::{
    device,
    faulty::{FaultSwitch, Faulty},
    golden,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Limits that the wrong requests of the load exceed.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 << 10;
pub(crate) const MAX_IMAGE_BYTES: usize = 100 << 10;
pub(crate) const MAX_IMAGE_SIDE: u32 = 1000;
pub(crate) const MAX_OUTPUT_PIXELS: u64 = 250_000;
pub(crate) const MAX_CATEGORIES: usize = 160;
pub(crate) const MAX_TOP_K: u32 = 100;
pub(crate) const MAX_VOCABULARIES: usize = 24;

/// Lines on standard input: they switch the faults, or ask for [`Allocated`].
pub(crate) const FAULTS_ON: &str = "faults on";
pub(crate) const FAULTS_OFF: &str = "faults off";
pub(crate) const TELL_ALLOCATED: &str = "tell allocated";

#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Holds the file `tokens`, and gets the text embeddings.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// Decides which faults the model has.
    #[arg(long)]
    pub(crate) seed: u64,
}

/// The line on standard output once the server answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) ops: std::net::SocketAddr,
}

/// The answer to [`TELL_ALLOCATED`] on standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Allocated {
    /// Bytes that the program has allocated and not freed.
    pub(crate) bytes: u64,
}

/// The line on standard output when the server has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// True if every request that had begun was answered.
    pub(crate) complete: bool,
    /// Faults by the name that the metrics have for them.
    pub(crate) faults: std::collections::BTreeMap<String, u64>,
}

fn config(folder: &std::path::Path) -> ServerConfig {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    ServerConfig::check(&Settings {
        listen: "127.0.0.1:0".into(),
        ops_listen: "127.0.0.1:0".into(),
        tokens: path("tokens"),
        // Caches that are soon full, so that they evict all the time.
        text_cache_bytes: 2 << 20,
        vocabulary_cache_bytes: 2 << 20,
        image_cache_bytes: 4 << 20,
        text_cache_dir: path("text"),
        text_cache_dir_bytes: 1 << 20,
        // Fewer places than clients with streams can fill.
        max_concurrent_requests: 20,
        queue_capacity: Some(16),
        max_stream_requests: 4,
        max_registered_vocabularies: MAX_VOCABULARIES,
        device_probe_seconds: 0.05,
        // Connections grow old several times in the shortest run.
        max_connection_age_seconds: 20.0,
        max_connection_age_grace_seconds: 20.0,
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_image_bytes: Some(MAX_IMAGE_BYTES as u64),
        max_image_side: MAX_IMAGE_SIDE,
        max_output_pixels: MAX_OUTPUT_PIXELS,
        max_categories: MAX_CATEGORIES,
        max_top_k: MAX_TOP_K,
        ..Settings::default()
    })
    .unwrap()
}

fn model() -> SedModel {
    let text = std::fs::read_to_string(golden::path("nano/config.json")).unwrap();
    let sizes = SedConfig::from_json(&text, "config.json").unwrap();
    let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
    SedModel::load_as(&checkpoint, sizes, &device::under_test(), DType::F32).unwrap()
}

/// Serves until standard input ends.
pub(crate) async fn run(args: ServeArgs) {
    std::panic::set_hook(Box::new(|info| {
        // Panics that were drawn are part of the load.
        if info.payload().downcast_ref::<&str>() != Some(&"drawn") {
            eprintln!("{info}");
        }
    }));
    let config = config(&args.folder);
    let telemetry = Telemetry::new(&[&EngineMetrics::DEFINITIONS, &ServerMetrics::DEFINITIONS]).unwrap();
    let (stages, faults) = Faulty::new(SedStages::new(model()), args.seed);
    let engine = Engine::start(stages, &config.engine, &telemetry).unwrap();
    engine.ready().await.unwrap();
    let server = Server::bind(config, engine, builtin_vocabularies(), telemetry).await.unwrap();
    say(&Started { address: server.local_addr(), ops: server.ops_addr().unwrap() });

    let (stop, stopped) = oneshot::channel();
    let switch = faults.clone();
    std::thread::spawn(move || obey(&switch, stop));
    let drain = server.serve(async { drop(stopped.await) }).await.unwrap();
    say(&Ended { complete: drain == Drain::Complete, faults: faults.drawn() });
}

/// Does what standard input says; dropping `stop` at its end stops the server.
fn obey(faults: &FaultSwitch, stop: oneshot::Sender<()>) {
    for line in std::io::stdin().lock().lines() {
        match line.as_deref() {
            Ok(FAULTS_ON) => faults.set(true),
            Ok(FAULTS_OFF) => faults.set(false),
            Ok(TELL_ALLOCATED) => say(&Allocated { bytes: crate::ALLOCATOR.allocated() as u64 }),
            other => panic!("unknown line {other:?}"),
        }
    }
    drop(stop);
}

fn say(line: &impl Serialize) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(line).unwrap()).unwrap();
    out.flush().unwrap();
}
