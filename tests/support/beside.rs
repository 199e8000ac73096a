//! The network as a program that another implementation is compared with and timed beside, one piece of work after
//! the other.
//!
//! `beside FOLDER [f32|bf16|f16] [cpu|cuda|cuda:N]` loads `config.json` and `weights.safetensors` of the folder. Then each line of
//! standard input is one piece of work (a JSON object, see [`Work`]) and each line of standard output its answer:
//! `seconds`, and what the work found out. Tensors come from and go to `.safetensors` files, outside of the time.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor, safetensors};
use sed_model::allocator::keep_freed_memory;
use sed_model::checkpoint::Checkpoint;
use sed_model::config::SedConfig;
use sed_model::device::{F32Products, open_gpu};
use sed_model::prompts::{Category, prompts};
use sed_model::text_tower::TextEmbedding;
use sed_model::{DecodeRequest, ImageFeatures, OutputSpec, Rejection, SedModel, Thresholds, parallel};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::stages::decode_all;

const USAGE: &str = "usage: beside FOLDER [f32|bf16|f16] [cpu|cuda|cuda:N]";

/// A piece of work. Its tensors are written to the file `write`, if there is one.
#[derive(Deserialize)]
#[serde(tag = "work", rename_all = "snake_case", deny_unknown_fields)]
enum Work {
    /// Reads `pixels [1, S, S, 3]` and text embeddings `text [N, 80, D]` from a file.
    Load { file: PathBuf },
    /// Pixels to image features. Writes `dense [1, h, w, D]`.
    Encode { write: Option<PathBuf> },
    /// The features of the last encoding and the first so many embeddings to an index map. Answers the survivors of
    /// the three rejections. Writes `logits [kept, S/4, S/4]` and `map [height, width]`.
    Decode { categories: usize, top_k: Option<u32>, height: u32, width: u32, write: Option<PathBuf> },
    /// Words (official lines: a comma and a space part synonyms) to embeddings. Writes `text [N, 80, D]`, and for
    /// each category `i` the token ids of its prompts `tokens.i [80 * phrases, context length]`.
    Embed { words: Vec<String>, write: Option<PathBuf> },
}

struct Beside {
    model: SedModel,
    pixels: Option<Tensor>,
    text: Vec<TextEmbedding>,
    features: Option<ImageFeatures>,
}

impl Beside {
    fn new(folder: &Path, dtype: DType, device: &Device) -> Self {
        let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let config = SedConfig::from_json(&config, "config.json").unwrap();
        let checkpoint = Checkpoint::open(&folder.join("weights.safetensors")).unwrap();
        let model = SedModel::load_as(&checkpoint, config, device, dtype).unwrap();
        Self { model, pixels: None, text: Vec::new(), features: None }
    }

    fn answer(&mut self, work: Work) -> Value {
        match work {
            Work::Load { file } => self.load(&file),
            Work::Encode { write } => self.encode(write.as_deref()),
            Work::Decode { categories, top_k, height, width, write } => {
                let rejection = Rejection::from_top_k(top_k.unwrap_or(0));
                let output = OutputSpec {
                    width,
                    height,
                    crop: None,
                    thresholds: Thresholds::Same(0.0),
                    score_maps: false,
                    sureness: false,
                };
                self.decode(&self.text[..categories], rejection, output, write.as_deref())
            }
            Work::Embed { words, write } => self.embed(&words, write.as_deref()),
        }
    }

    fn load(&mut self, file: &Path) -> Value {
        let (device, dtype) = (self.model.device().clone(), self.model.dtype());
        let mut inputs = safetensors::load(file, &device).unwrap();
        let text = inputs.remove("text").expect("the file holds `text`");
        let embedding = |i| TextEmbedding::combine(&[text.get(i).unwrap()]).unwrap().to_dtype(dtype).unwrap();
        self.text = (0..text.dim(0).unwrap()).map(embedding).collect();
        self.pixels = inputs.remove("pixels");
        self.features = None;
        json!({ "categories": self.text.len() })
    }

    fn encode(&mut self, write: Option<&Path>) -> Value {
        let pixels = self.pixels.as_ref().expect("load `pixels` first");
        let start = Instant::now();
        let features = self.model.encode(pixels).unwrap().remove(0);
        self.model.device().synchronize().unwrap();
        let seconds = start.elapsed().as_secs_f64();
        self.features = Some(features);
        if let Some(file) = write {
            let dense = self.model.encoder().forward(pixels).unwrap().dense;
            save(file, [("dense".to_owned(), dense)].into());
        }
        json!({ "seconds": seconds })
    }

    fn decode(
        &self,
        text: &[TextEmbedding],
        rejection: Rejection,
        output: OutputSpec,
        write: Option<&Path>,
    ) -> Value {
        let features = self.features.as_ref().expect("encode first");
        let request = DecodeRequest { features, text, groups: None, rejection };
        let start = Instant::now();
        let (pairs, kept) = decode_all(&self.model, &[request]);
        let map = self.model.finish(&pairs, std::slice::from_ref(&output)).unwrap().remove(0);
        let seconds = start.elapsed().as_secs_f64();
        if let Some(file) = write {
            let indices: Vec<u32> = map.indices.iter().map(|&index| u32::from(index)).collect();
            let map =
                Tensor::from_vec(indices, (output.height as usize, output.width as usize), &Device::Cpu)
                    .unwrap();
            let logits = pairs.logits().unwrap().clone();
            let tensors = [("logits", logits), ("map", map)];
            save(file, tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into());
        }
        // The last level rejects nothing.
        let kept: Vec<&[u32]> = kept.iter().take(3).map(|images| images[0].as_slice()).collect();
        json!({ "seconds": seconds, "survivors": kept })
    }

    fn embed(&self, words: &[String], write: Option<&Path>) -> Value {
        let categories: Vec<Category> = words.iter().map(|line| Category::from_official(line)).collect();
        let start = Instant::now();
        let text = self.model.embed_categories(&categories).unwrap();
        self.model.device().synchronize().unwrap();
        let seconds = start.elapsed().as_secs_f64();
        if let Some(file) = write {
            let rows: Vec<&Tensor> = text.iter().map(TextEmbedding::tensor).collect();
            let mut tensors = HashMap::from([("text".to_owned(), Tensor::stack(&rows, 0).unwrap())]);
            for (i, category) in categories.iter().enumerate() {
                tensors.insert(format!("tokens.{i}"), self.tokens(category));
            }
            save(file, tensors);
        }
        json!({ "seconds": seconds })
    }

    /// The ids of all prompts of a category, zeros behind the end of text.
    fn tokens(&self, category: &Category) -> Tensor {
        let columns = self.model.config().text.context_length;
        let prompts = prompts(category);
        let mut ids = Vec::with_capacity(prompts.len() * columns);
        for prompt in &prompts {
            let row = self.model.text_tower().tokenizer().encode(prompt);
            let padding = columns - row.len();
            ids.extend(row.into_iter().chain(std::iter::repeat_n(0, padding)));
        }
        Tensor::from_vec(ids, (prompts.len(), columns), &Device::Cpu).unwrap()
    }
}

/// Writes tensors in f32 (numbers that count things stay as they are).
fn save(file: &Path, tensors: HashMap<String, Tensor>) {
    let plain = |tensor: Tensor| {
        let tensor = tensor.to_device(&Device::Cpu).unwrap();
        if tensor.dtype() == DType::U32 { tensor } else { tensor.to_dtype(DType::F32).unwrap() }
    };
    let tensors: HashMap<String, Tensor> = tensors.into_iter().map(|(k, v)| (k, plain(v))).collect();
    safetensors::save(&tensors, file).unwrap();
}

/// Answers standard input line by line, with the command line's `arguments` (without the program's name).
pub fn run(mut arguments: impl Iterator<Item = String>) {
    keep_freed_memory();
    let folder = PathBuf::from(arguments.next().expect(USAGE));
    let dtype = match arguments.next().as_deref() {
        None | Some("f32") => DType::F32,
        Some("bf16") => DType::BF16,
        Some("f16") => DType::F16,
        Some(other) => panic!("number format {other}; {USAGE}"),
    };
    let device = match arguments.next().as_deref() {
        None | Some("cpu") => Device::Cpu,
        Some("cuda") => open_gpu(0, F32Products::Exact).unwrap(),
        Some(name) => crate::device::named(name),
    };
    parallel::start_threads(rayon::current_num_threads()).unwrap(); // as many as its caller said to rayon
    let mut beside = Beside::new(&folder, dtype, &device);
    println!("{}", json!({ "threads": parallel::threads() }));
    for line in std::io::stdin().lock().lines() {
        let work: Work = serde_json::from_str(&line.unwrap()).unwrap();
        println!("{}", beside.answer(work));
    }
}
