//! Work around a submission of one 768×768 picture that other threads than the device's do: the pixels' way
//! into a slot, and the map's way out of the words that the device leaves. Slots are plain memory here, as in
//! tests; those of a GPU are pinned, and cached by the processor as well.
//! `cargo bench -p sed-kernels --bench host`

#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{DType, Device};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sed_kernels::allocator::{MiMalloc, keep_freed_memory};
use sed_kernels::submission::PinnedInputs;
use sed_kernels::{EntryThresholds, FinishPlan, FinishSpec, emulate_cuda};

/// As in the programs.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const SIDE: usize = 768;
/// Survivors of 150 categories.
const PAIRS: usize = 42;

/// `[S, S, 3]` of f32 in, the same in the model's format out.
fn fill(c: &mut Criterion) {
    let values: Vec<f32> = (0..SIDE * SIDE * 3).map(|i| (i % 256) as f32 / 64.0 - 2.0).collect();
    let mut group = c.benchmark_group("fill a slot");
    group.throughput(Throughput::Elements(values.len() as u64));
    for dtype in [DType::BF16, DType::F16, DType::F32] {
        let slots = PinnedInputs::new(&Device::Cpu, dtype, values.len(), 1);
        group.bench_function(dtype.as_str(), |b| b.iter(|| slots.fill(&values).unwrap()));
    }
    group.finish();
}

/// All of `RawMap::finish` but the sums over each category.
fn unpack(c: &mut Criterion) {
    let mut group = c.benchmark_group("take a map");
    group.throughput(Throughput::Elements((SIDE * SIDE) as u64));
    for sureness in [false, true] {
        let thresholds = EntryThresholds::Same(0.0);
        let (crop, labels) = (None, None);
        let spec =
            FinishSpec { width: SIDE, height: SIDE, crop, vocabulary: 150, labels, thresholds, sureness };
        let plan = FinishPlan::new(&[spec], PAIRS, (SIDE / 4, SIDE / 4)).unwrap();
        let block = vec![0; plan.words()];
        let name = if sureness { "with sureness" } else { "indices alone" };
        group.bench_function(name, |b| b.iter(|| plan.unpack(0, &block, 0..PAIRS).unwrap()));
    }
    group.finish();
}

fn start(c: &mut Criterion) {
    keep_freed_memory();
    emulate_cuda(true);
    fill(c);
    unpack(c);
}

criterion_group!(benches, start);
criterion_main!(benches);
