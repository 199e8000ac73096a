//! All that a GPU runs for tests/gpu, in one program, so that what the parts share is carried to the GPU once.
//!
//! Named by a link or by the first argument:
//!
//! - `sed-serve ...`: the product's command line
//! - `beside FOLDER FORMAT DEVICE`: the network driven by `tests/parity`
//! - `reduced DEVICE FILE [f32|bf16|f16|company|submission ...]`: the reduced model beside the reference outputs, a
//!   request beside the same in company, and submissions beside their stages
//! - `full DEVICE FILE PICTURE ...`: SED-B at full size beside the reference outputs
//!
//! The last two print every figure as it comes, rewrite FILE (JSON) after every part, and exit with 1 if a figure is
//! out of bounds. The kernels' tests are a program of their own (`sed_kernels`): they test private functions, so they
//! are unit tests with the test harness. What they share with this program is stored once by the archive's compression.

// A failure here is a failed check.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use candle_core::{DType, Device};
use sed_model::allocator::MiMalloc;
use sed_model::products_off_plan;
use sed_tests::findings::Findings;
use sed_tests::full_parity::{self, Variant};
use sed_tests::{beside, device, reduced_parity, submission_parity};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "usage: evidence sed-serve|beside|reduced|full ...; see tests/gpu/evidence.rs";
const REDUCED: [&str; 5] = ["f32", "bf16", "f16", "company", "submission"];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().collect();
    let called = arguments.first().and_then(|path| Path::new(path).file_name()?.to_str()).map(str::to_owned);
    match called {
        // A link's name is the command.
        Some(name) if matches!(name.as_str(), "sed-serve" | "beside") => arguments[0] = name,
        _ => drop(arguments.drain(..1)),
    }
    let rest = arguments.get(1..).unwrap_or_default().to_vec();
    match arguments.first().map(String::as_str) {
        Some("sed-serve") => sed_serve::run(arguments.into_iter().map(Into::into)),
        Some("beside") => {
            beside::run(rest.into_iter());
            ExitCode::SUCCESS
        }
        Some("reduced") => reduced(&rest),
        Some("full") => full(&rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn reduced(arguments: &[String]) -> ExitCode {
    let (device, file, parts) = split(arguments);
    let parts = if parts.is_empty() { REDUCED.map(str::to_owned).to_vec() } else { parts };
    let mut all = Findings::default();
    for part in &parts {
        println!("\n== {part}");
        all.append(part, reduced_part(part, &device));
        save(&all, &file);
    }
    products(&mut all, &file);
    verdict(&all)
}

/// Products whose rows may depend on their number, among all that have run.
fn products(all: &mut Findings, file: &str) {
    let off_plan = products_off_plan();
    off_plan.iter().for_each(|product| println!("off its plan: {product}"));
    all.at_most("products off their plan", off_plan.len() as f64, 0.0);
    save(all, file);
}

fn reduced_part(part: &str, device: &Device) -> Findings {
    match part {
        "f32" => reduced_parity::f32(device),
        "bf16" => reduced_parity::sixteen_bits(device, DType::BF16),
        "f16" => reduced_parity::sixteen_bits(device, DType::F16),
        "company" => reduced_parity::company(device),
        "submission" => submissions(device),
        other => panic!("part `{other}`; expected one of {REDUCED:?}"),
    }
}

fn submissions(device: &Device) -> Findings {
    let mut all = Findings::default();
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        all.append(dtype.as_str(), submission_parity::check(device, dtype));
    }
    all
}

fn full(arguments: &[String]) -> ExitCode {
    let (device, file, pictures) = split(arguments);
    let mut all = Findings::default();
    for picture in &pictures {
        all.append(picture, full_parity::check(Variant::SedB, &device, &[picture]));
        save(&all, &file);
    }
    products(&mut all, &file);
    verdict(&all)
}

/// The device, the file and what is behind them.
fn split(arguments: &[String]) -> (Device, String, Vec<String>) {
    let [device, file, rest @ ..] = arguments else { panic!("{USAGE}") };
    (device::named(device), file.clone(), rest.to_vec())
}

fn save(findings: &Findings, file: &str) {
    fs::write(file, serde_json::to_string(findings).unwrap()).unwrap();
}

fn verdict(findings: &Findings) -> ExitCode {
    let (all, bad) = (findings.findings.len(), findings.bad().len());
    println!("\n{} of {all} figures are within bounds", all - bad);
    if all > 0 && bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
