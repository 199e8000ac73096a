//! SED-B's submissions as the server's device thread makes them, on a driver that writes down what it is asked for.
//! `tests/gpu/predict` runs it and reads the ledger.
//!
//! `SOFTWARE_CUDA_COMPUTE=off SOFTWARE_CUDA_LEDGER=FILE LD_LIBRARY_PATH=... ledger [BATCH ...]` marks each stage as
//! `batch_1/encode` and so on; everything before (loading, the first rounds) is `warm_up`. Work of a server's other
//! threads is marked, too: `fill` before the submission, `maps` behind it. Batches of 1 and 16 by default. With
//! `SED_ARENA=apart` each tensor has an allocation of its own, whose length the ledger can tell.

// A failure here is a failed measurement.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::ffi::{CString, c_char, c_void};

use candle_core::{DType, Device, Tensor};
use sed_model::PinnedInputs;
use sed_model::allocator::{MiMalloc, keep_freed_memory};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::{PROMPTS, SedConfig};
use sed_model::device::{F32Products, open_gpu};
use sed_model::text_tower::TextEmbedding;
use sed_model::{Input, OutputSpec, Question, Rejection, SedModel, Source, Thresholds, synthetic};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CATEGORIES: usize = 150;
const TOP_K: u32 = 8;
/// Rounds before the one that is marked: memory, its slabs, the encoder's graph.
const WARM_UP: usize = 3;

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
    model: SedModel,
    text: Vec<TextEmbedding>,
    pixels: Vec<f32>,
    slots: PinnedInputs,
}

impl Subject {
    fn new() -> Self {
        let config = SedConfig::sed_b();
        let (side, width) = (config.image_size, config.embed_dim);
        let device = open_gpu(0, F32Products::default()).unwrap();
        let weights = synthetic::safetensors(&config, 1);
        let checkpoint = Checkpoint::from_bytes(weights, "synthetic").unwrap();
        let model = SedModel::load_as(&checkpoint, config, &device, DType::BF16).unwrap();
        let embed = |category: usize| {
            let values = synthetic::values(&format!("category.{category}"), &[PROMPTS, width], 1);
            let rows = Tensor::from_vec(values, (PROMPTS, width), &Device::Cpu).unwrap();
            let rows = rows.to_dtype(DType::BF16).unwrap().to_device(&device).unwrap();
            TextEmbedding::combine(&[rows]).unwrap()
        };
        let text = (0..CATEGORIES).map(embed).collect();
        let pixels = vec![0.5; side * side * 3];
        let slots = PinnedInputs::new(&device, DType::BF16, pixels.len(), usize::MAX);
        Self { model, text, pixels, slots }
    }

    /// A submission of `images` pictures; `mark` is told when a stage begins.
    fn run(&self, images: usize, mark: impl Fn(&str)) {
        mark("fill");
        let inputs: Vec<_> = (0..images).map(|_| self.slots.fill(&self.pixels).unwrap()).collect();
        let inputs: Vec<Input<'_>> = inputs.iter().map(Input::Pinned).collect();
        let side = self.model.config().image_size as u32;
        let output = OutputSpec {
            width: side,
            height: side,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        };
        let question = |image| Question {
            image: Source::Input(image),
            text: &self.text,
            groups: None,
            rejection: Rejection::from_top_k(TOP_K),
            output: &output,
        };
        let questions: Vec<Question<'_>> = (0..images).map(question).collect();
        let keep = vec![false; images];
        mark("submit");
        let submitted = self.model.submit_observed(&inputs, &keep, &questions, &mark).unwrap();
        mark("maps");
        let maps: Vec<_> = submitted.answers.into_iter().map(|answer| answer.map.finish().unwrap()).collect();
        mark("end");
        assert_eq!(maps.len(), images);
        assert_eq!(self.model.graphs_spoiled(), Vec::<String>::new());
    }
}

fn main() {
    keep_freed_memory();
    let batches: Vec<usize> = std::env::args().skip(1).map(|text| text.parse().expect("BATCH")).collect();
    let batches = if batches.is_empty() { vec![1, 16] } else { batches };
    let subject = Subject::new();
    let marker = Marker::find();
    for images in batches {
        marker.mark("warm_up");
        (0..WARM_UP).for_each(|_| subject.run(images, |_| ()));
        subject.run(images, |stage| marker.mark(&format!("batch_{images}/{stage}")));
        println!("batch of {images} written");
    }
}
