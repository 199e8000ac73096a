//! SED-B's stages in the order of the server's device thread, on a driver that writes down what it is asked for.
//! `tests/gpu/predict` runs it and reads the ledger.
//!
//! `SOFTWARE_CUDA_COMPUTE=off SOFTWARE_CUDA_LEDGER=FILE LD_LIBRARY_PATH=... ledger [BATCH ...]` marks each stage as
//! `batch_1/encode` and so on; everything before (loading, a first round) is `warm_up`. Batches of 1 and 16 by default.

// A failure here is a failed measurement.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::ffi::{CString, c_char, c_void};

use candle_core::DType;
use sed_engine::{DecodeRequest, Level, NetworkInput, OutputSpec, Rejection, SedStages, Stages, Thresholds};
use sed_model::SedModel;
use sed_model::allocator::{MiMalloc, keep_freed_memory};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::{PROMPTS, SedConfig};
use sed_model::device::{F32Products, open_gpu};
use sed_model::synthetic;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CATEGORIES: usize = 150;
const TOP_K: u32 = 8;

/// Marks a stage in the ledger.
struct Marker(extern "C" fn(*const c_char));

impl Marker {
    /// Finds the driver's function. The driver is loaded by the first call of CUDA, so a device must be open.
    #[allow(unsafe_code)]
    fn find() -> Self {
        unsafe extern "C" {
            fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
        }
        // SAFETY: the name ends with a zero, and a null handle (RTLD_DEFAULT) searches all libraries.
        let found = unsafe { dlsym(std::ptr::null_mut(), c"softwareCudaStage".as_ptr()) };
        assert!(
            !found.is_null(),
            "libcuda.so.1 is not the software driver: set LD_LIBRARY_PATH to its folder"
        );
        // SAFETY: the driver exports it as `void softwareCudaStage(const char*)`.
        Self(unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(*const c_char)>(found) })
    }

    fn mark(&self, stage: &str) {
        let stage = CString::new(stage).unwrap();
        (self.0)(stage.as_ptr());
    }
}

/// The model and its inputs, made by rule.
struct Subject {
    stages: SedStages,
    side: usize,
    text: Vec<<SedStages as Stages>::TextEmbedding>,
}

impl Subject {
    fn new() -> Self {
        let config = SedConfig::sed_b();
        let (side, width) = (config.image_size, config.embed_dim);
        let device = open_gpu(0, F32Products::default()).unwrap();
        let weights = synthetic::safetensors(&config, 1);
        let checkpoint = Checkpoint::from_bytes(weights, "synthetic").unwrap();
        let stages = SedStages::new(SedModel::load_as(&checkpoint, config, &device, DType::BF16).unwrap());
        let embed = |category: usize| {
            let values = synthetic::values(&format!("category.{category}"), &[PROMPTS, width], 1);
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            stages.combine(&[stages.restore_phrase(&bytes).unwrap()]).unwrap()
        };
        let text = (0..CATEGORIES).map(embed).collect();
        Self { stages, side, text }
    }

    /// All stages for `images` pictures; `mark` is told when one begins.
    fn run(&self, images: usize, mark: impl Fn(&str)) {
        let data = vec![0.5; self.side * self.side * 3];
        let inputs: Vec<NetworkInput> =
            (0..images).map(|_| NetworkInput::new(self.side as u32, data.clone())).collect();
        let output = OutputSpec {
            width: self.side as u32,
            height: self.side as u32,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        };
        mark("encode");
        let features = self.stages.encode(&inputs.iter().collect::<Vec<_>>()).unwrap();
        mark("cost_map");
        let requests: Vec<DecodeRequest<'_>> = features
            .iter()
            .map(|features| DecodeRequest {
                features,
                text: &self.text,
                groups: None,
                rejection: Rejection::from_top_k(TOP_K),
            })
            .collect();
        let mut pairs = self.stages.cost_map(&requests).unwrap();
        for level in Level::ALL {
            mark(&format!("decode_level_{level}"));
            pairs = self.stages.decode(level, pairs).unwrap();
        }
        mark("finish");
        let maps = self.stages.finish(pairs, &vec![output; images]).unwrap();
        mark("end");
        assert_eq!(maps.len(), images);
    }
}

fn main() {
    keep_freed_memory();
    let batches: Vec<usize> = std::env::args().skip(1).map(|text| text.parse().expect("BATCH")).collect();
    let batches = if batches.is_empty() { vec![1, 16] } else { batches };
    let subject = Subject::new();
    let marker = Marker::find();
    for images in batches {
        // The first round loads kernels and fills pools.
        marker.mark("warm_up");
        subject.run(images, |_| ());
        subject.run(images, |stage| marker.mark(&format!("batch_{images}/{stage}")));
        println!("batch of {images} written");
    }
}
