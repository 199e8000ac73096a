//! The memory of the process at worst: everything that settings and model allow at the same time.

use sed_engine::{USEFUL_IMAGES_CPU, USEFUL_PAIRS_CPU};
use sed_model::Footprint;
use sed_server::{REGISTERED_VOCABULARY_BYTES, ServerConfig};

use super::{
    check::{Check, size},
    machine::Memory,
};
use crate::opened_model::OpenedModel;

/// Memory of the program, its threads, the runtime and the metrics, in bytes.
const PROGRAM: u64 = 96 << 20;
/// The allocator keeps freed memory of up to an eighth of the memory in use.
const KEPT_PART: u64 = 8;

/// Memory that a model takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelMemory {
    weights: u64,
    footprint: Footprint,
}

impl ModelMemory {
    /// Returns the memory of a model in f32 on the CPU.
    pub(super) fn of(opened: &OpenedModel) -> Self {
        let shapes = opened.checkpoint.names_and_shapes();
        let numbers: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
        Self { weights: numbers as u64 * 4, footprint: Footprint::of(&opened.config) }
    }
}

/// Checks the sum of all bounds against the machine's memory.
pub(super) fn check(config: &ServerConfig, model: Option<ModelMemory>, memory: &Memory) -> Check {
    const NAME: &str = "limits";
    let Some(model) = model else {
        let requests = size(config.settings.max_request_memory_bytes);
        return Check::good(NAME, format!("at most {requests} for requests"));
    };
    let worst = Worst::of(config, model);
    let found = worst.to_string();
    let (share, message) = (config.connection_memory_bytes(), config.settings.max_message_bytes as u64);
    if share < message {
        let found = format!(
            "{found}; a connection may hold {} of it, a message may have {}",
            size(share),
            size(message)
        );
        let advice =
            "raise --max-request-memory-bytes, or lower --max-message-bytes: large requests are refused";
        return Check::warning(NAME, found, advice);
    }
    if worst.total() > memory.total {
        let advice = "lower --max-request-memory-bytes, --max-categories or the caches, or use a smaller model: a flood \
                      of large requests can end the server";
        return Check::warning(NAME, found, advice);
    }
    Check::good(NAME, found)
}

/// The parts of the sum, in bytes.
#[derive(Clone, Copy, Debug)]
struct Worst {
    model: u64,
    work: u64,
    caches: u64,
    requests: u64,
}

impl Worst {
    fn of(config: &ServerConfig, model: ModelMemory) -> Self {
        let (settings, engine) = (&config.settings, &config.engine);
        let images = engine.batch_images.unwrap_or(USEFUL_IMAGES_CPU) as u64;
        let pairs = engine.batch_pairs.unwrap_or(USEFUL_PAIRS_CPU);
        // A vocabulary larger than a batch goes through in parts, but its maps are all there at once.
        let pairs = pairs.max(settings.max_categories) as u64;
        let Footprint { image_bytes, pair_bytes, .. } = model.footprint;
        let caches = [
            settings.text_cache_bytes,
            settings.vocabulary_cache_bytes,
            settings.image_cache_bytes,
            REGISTERED_VOCABULARY_BYTES,
        ];
        Self {
            model: model.weights,
            work: images.saturating_mul(image_bytes).saturating_add(pairs.saturating_mul(pair_bytes)),
            caches: caches.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes as u64)),
            requests: settings.max_request_memory_bytes,
        }
    }

    fn total(&self) -> u64 {
        let parts = [self.model, self.work, self.caches, self.requests];
        let used = parts.into_iter().fold(PROGRAM, u64::saturating_add);
        used.saturating_add(used / KEPT_PART)
    }
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [model, work, caches, requests] = [self.model, self.work, self.caches, self.requests].map(size);
        write!(
            f,
            "at worst {}: weights {model}, a batch {work}, caches {caches}, requests {requests}, the rest for the \
             program and what its allocator keeps",
            size(self.total())
        )
    }
}

#[cfg(test)]
mod tests {
    use sed_model::config::SedConfig;
    use sed_server::Settings;

    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn all_bounds_count_and_too_much_is_a_warning() {
        let raw = Settings {
            max_request_memory_bytes: 100 << 20,
            text_cache_bytes: 10 << 20,
            vocabulary_cache_bytes: 10 << 20,
            image_cache_bytes: 10 << 20,
            ..Settings::default()
        };
        let config = ServerConfig::check(&raw).unwrap();
        let model = ModelMemory { weights: 50 << 20, footprint: Footprint::of(&SedConfig::sed_b()) };
        let worst = Worst::of(&config, model);
        assert_eq!((worst.requests, worst.model, worst.caches), (100 << 20, 50 << 20, 94 << 20));
        assert!(worst.total() > worst.work + (244 << 20));
        let memory = |total| Memory { total, available: total, in_container: false };
        let verdict = |total| check(&config, Some(model), &memory(total)).verdict;
        assert_eq!(verdict(worst.total()), Verdict::Good);
        assert_eq!(verdict(worst.total() - 1), Verdict::Warning);
    }
}
