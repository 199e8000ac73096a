//! The checks of the model: its file, its memory, a test run.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use sed_engine::{Engine, EngineConfig, SedStages};
use sed_model::{SedModel, config::SedConfig, products_off_plan};
use sed_telemetry::Telemetry;
use sha2::{Digest, Sha256};

use super::{
    check::{Check, size},
    machine::Memory,
    words,
    worst::ModelMemory,
};
use crate::{args::ModelArgs, embedded, opened_model::OpenedModel, print, progress, running::runtime};

/// Categories of the request that the estimate of memory is for.
const CATEGORIES: u64 = 150;

/// Returns the checks, and the memory of a model that can be opened.
pub(super) fn checks(args: &ModelArgs, memory: &Memory, quick: bool) -> (Vec<Check>, Option<ModelMemory>) {
    match args.open() {
        Ok(opened) => {
            let needed = ModelMemory::of(&opened);
            (of_model(args, opened, memory, quick), Some(needed))
        }
        Err(error) => (vec![Check::failed("model", error)], None),
    }
}

fn of_model(args: &ModelArgs, opened: OpenedModel, memory: &Memory, quick: bool) -> Vec<Check> {
    let fit = match opened.checkpoint.check(&opened.config) {
        Ok(fit) => fit,
        Err(error) => return vec![Check::failed("model", error)],
    };
    let OpenedModel { checkpoint, config } = &opened;
    let mut found = format!("{} from {}", config.name, checkpoint.origin());
    match fit.unused.len() + fit.ignored.len() {
        0 => {}
        1 => found += " (one entry of it is not used)",
        unused => found += &format!(" ({unused} entries of it are not used)"),
    }
    let mut checks = vec![match args.model {
        None => Check::warning("model", found, embedded::CAVEAT),
        Some(_) => Check::good("model", found),
    }];
    checks.push(memory_for(&opened, memory));
    if quick {
        return checks;
    }
    // Before the test run: unreadable weights and weights that are not finite have their own errors.
    let found = checkpoint.digest(config).and_then(|digest| checkpoint.check_finite().map(|()| digest));
    match found {
        Ok(found) => checks.push(digest(args.model.as_deref(), &found)),
        Err(error) => {
            checks.push(Check::failed("weights", error));
            return checks;
        }
    }
    match run(args, opened) {
        Ok(Tried { run, words }) => checks.extend([Check::good("run", run), Check::good("words", words)]),
        Err(error) => checks.push(Check::failed("run", error)),
    }
    checks.extend(products(&products_off_plan()));
    checks
}

/// Warns if matrix products of the test run depend on the number of their rows.
fn products(off_plan: &[String]) -> Option<Check> {
    let first = off_plan.first()?;
    let found = format!(
        "{} of cuBLASLt's products run by an algorithm of their own, such as {first}",
        off_plan.len()
    );
    let advice =
        "an answer may differ in its last bits with what shares its batch; use the cuBLAS of CUDA 13";
    Some(Check::warning("products", found, advice))
}

/// Checks whether weights and working memory fit into the available memory.
fn memory_for(opened: &OpenedModel, memory: &Memory) -> Check {
    let shapes = opened.checkpoint.names_and_shapes();
    let numbers: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
    let weights = numbers as u64 * 4;
    let working = working_memory(&opened.config);
    let found = format!(
        "about {} of weights and {} of working memory at {CATEGORIES} categories",
        size(weights),
        size(working)
    );
    if weights + working > memory.available {
        let advice = "free some memory, or use a smaller model; fewer categories and a smaller --default-top-k \
                      need less";
        return Check::warning("model memory", found, advice);
    }
    Check::good("model memory", found)
}

/// Estimates the working memory in bytes: the last decoder level is the widest point, and holds about three
/// maps of each pair at once.
fn working_memory(config: &SedConfig) -> u64 {
    let side = config.image_size as u64 / 4;
    let [.., channels] = config.decoder.dims;
    CATEGORIES * 3 * side * side * channels as u64 * 4
}

/// Reports the digest of the weights, and checks the file against its `.sha256`.
fn digest(path: Option<&Path>, digest: &str) -> Check {
    const NAME: &str = "digest";
    match path.map(compare_with_sidecar) {
        None | Some(Ok(None)) => Check::good(NAME, digest),
        Some(Ok(Some(sidecar))) => {
            Check::good(NAME, format!("{digest}, and the file is the one of {}", sidecar.display()))
        }
        Some(Err(error)) => Check::wrong(
            NAME,
            format!("{error:#}"),
            "copy or convert the model again, or take the .sha256 away",
        ),
    }
}

/// Returns the `.sha256` beside the file, if there is one; fails if the file has another digest.
fn compare_with_sidecar(path: &Path) -> Result<Option<PathBuf>> {
    let mut longer = path.as_os_str().to_owned();
    longer.push(".sha256");
    let candidates = [PathBuf::from(longer), path.with_extension("sha256")];
    let Some(sidecar) = candidates.into_iter().find(|candidate| candidate.is_file()) else {
        return Ok(None);
    };
    let line =
        std::fs::read_to_string(&sidecar).with_context(|| format!("cannot read {}", sidecar.display()))?;
    let expected = line.split_whitespace().next().unwrap_or_default();
    let mut hash = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    io::copy(&mut file, &mut HashWriter(&mut hash))?;
    let found = HEXLOWER.encode(&hash.finalize());
    if !found.eq_ignore_ascii_case(expected) {
        bail!("the file has the digest {found}, but {} says {expected}", sidecar.display());
    }
    Ok(Some(sidecar))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The findings of a test run.
struct Tried {
    run: String,
    words: String,
}

/// Loads the model, measures its text tower, and runs its warm-up with a grey picture.
fn run(args: &ModelArgs, opened: OpenedModel) -> Result<Tried> {
    let device = args.one_device()?;
    args.start_threads()?;
    let spinner = progress::spinner("loading and trying the model");
    let begun = Instant::now();
    let model = SedModel::load_as(&opened.checkpoint, opened.config, &device, args.dtype.into())?;
    let loaded = begun.elapsed();
    let words = words::predicted(model.text_tower(), device.is_cpu())?;
    let engine = Engine::start(SedStages::new(model), &EngineConfig::default(), &Telemetry::off())?;
    let begun = Instant::now();
    runtime()?.block_on(async {
        let ready = engine.ready().await;
        engine.shutdown().await;
        ready
    })?;
    spinner.finish_and_clear();
    let [loaded, warm] = [loaded, begun.elapsed()].map(|time| print::time(time.as_secs_f64() * 1e3));
    Ok(Tried { run: format!("loaded in {loaded}, a test picture took {warm}"), words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_that_is_about_another_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.bin");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(compare_with_sidecar(&file).unwrap(), None);

        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for name in ["model.sha256", "model.bin.sha256"] {
            let sidecar = folder.path().join(name);
            std::fs::write(&sidecar, format!("{digest}  model.bin\n")).unwrap();
            assert_eq!(compare_with_sidecar(&file).unwrap(), Some(sidecar));
        }

        std::fs::write(&file, "abd").unwrap();
        assert!(compare_with_sidecar(&file).is_err());
    }

    #[test]
    fn the_estimate_grows_with_the_picture() {
        let working = working_memory(&SedConfig::sed_b());
        assert!((900 << 20..1200 << 20).contains(&working), "{working}");
    }
}
