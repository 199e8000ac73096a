use std::path::PathBuf;

use candle_core::{Device, Tensor};

use super::*;
use crate::checkpoint::Checkpoint;

/// Largest difference of unit vectors; the reference's f32 differs from its f64 by about 1e-6 in this reduced
/// model.
const TOLERANCE: f32 = 5e-6;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/nano").join(name)
}

fn nano() -> TextTower {
    let checkpoint = Checkpoint::open(&golden("sed_nano.safetensors")).unwrap();
    let config = checkpoint.config().unwrap();
    TextTower::load(&Weights::new(&checkpoint, &Device::Cpu), &config).unwrap()
}

fn categories(case: &str) -> Vec<Category> {
    let meta: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(golden("meta.json")).unwrap()).unwrap();
    let names: Vec<String> = serde_json::from_value(meta["cases"][case]["classes"].clone()).unwrap();
    names.iter().map(|name| Category::from_official(name)).collect()
}

fn stack(embeddings: &[TextEmbedding]) -> Tensor {
    let rows: Vec<&Tensor> = embeddings.iter().map(TextEmbedding::tensor).collect();
    Tensor::stack(&rows, 0).unwrap()
}

#[track_caller]
fn assert_close(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.shape(), want.shape());
    let difference: f32 =
        (got - want).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap();
    assert!(difference <= tolerance, "differs by {difference}");
}

#[test]
fn every_golden_case_has_the_references_embeddings() {
    let tower = nano();
    // The categories of the third case, b12, are the first twelve of a24.
    assert_eq!(categories("sed_nano.b12"), categories("sed_nano.a24")[..12]);
    for case in ["sed_nano.a24", "sed_nano.c5"] {
        let tensors =
            candle_core::safetensors::load(golden(&format!("{case}.safetensors")), &Device::Cpu).unwrap();
        let embedded = tower.embed(&categories(case)).unwrap();
        assert_close(&stack(&embedded), &tensors["text_features"], TOLERANCE);
    }
}

#[test]
fn a_direction_is_the_mean_of_the_templates_made_unit_length() {
    let embedded = nano().embed(&categories("sed_nano.c5")).unwrap().remove(0);
    let rows: Vec<Vec<f32>> = embedded.tensor().to_vec2().unwrap();
    let direction = embedded.direction().unwrap();
    assert_eq!(direction.len(), rows[0].len());
    let sum = |channel: usize| rows.iter().map(|row| f64::from(row[channel])).sum::<f64>();
    let sums: Vec<f64> = (0..direction.len()).map(sum).collect();
    let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
    for (found, sum) in direction.iter().zip(sums) {
        assert!((f64::from(*found) - sum / length).abs() < 1e-6, "{found}, not {}", sum / length);
    }
}

#[test]
fn prompts_have_the_golden_tokens_in_the_golden_order() {
    let tensors = candle_core::safetensors::load(golden("sed_nano.c5.safetensors"), &Device::Cpu).unwrap();
    let rows: Vec<Vec<i32>> = tensors["tokens"].to_vec2().unwrap();
    let classes: Vec<i32> = tensors["token_class"].to_vec1().unwrap();
    let tokenizer = Tokenizer::new(&SedConfig::sed_b().text).unwrap();
    let mut prompts = Vec::new();
    for (class, category) in (0..).zip(&categories("sed_nano.c5")[..3]) {
        prompts.extend(crate::prompts::prompts(category).into_iter().map(|prompt| (class, prompt)));
    }
    assert_eq!(prompts.len(), rows.len());
    for ((class, prompt), (row, golden_class)) in prompts.iter().zip(rows.iter().zip(classes)) {
        let mut ids: Vec<i32> = tokenizer.encode(prompt).into_iter().map(|id| id as i32).collect();
        ids.resize(77, 0);
        assert_eq!((&ids, *class), (row, golden_class), "{prompt:?}");
    }
}

/// One prompt alone, with all 77 columns and a causal mask, in candle's plain operations.
fn full_length(tower: &TextTower, checkpoint: &Checkpoint, config: &SedConfig, prompt: &str) -> Tensor {
    let mut ids = tower.tokenizer.encode(prompt);
    let end = ids.iter().position(|&id| id == tower.tokenizer.end()).unwrap();
    ids.resize(config.text.context_length, 0);
    let (n, width, heads) = (ids.len(), config.text.width, config.text.heads);
    let clip = Weights::new(checkpoint, &Device::Cpu).at("clip_model");
    let norm = |weights: Weights<'_>, x: &Tensor| {
        let (weight, bias) =
            (weights.tensor("weight", &[width]).unwrap(), weights.tensor("bias", &[width]).unwrap());
        candle_nn::ops::layer_norm(&x.contiguous().unwrap(), &weight, &bias, EPS as f32).unwrap()
    };
    let linear = |x: &Tensor, weight: Tensor, bias: Tensor| {
        x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap()
    };
    let mask: Vec<f32> = (0..n * n).map(|i| if i % n > i / n { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (n, n), &Device::Cpu).unwrap();
    let ids = Tensor::new(ids, &Device::Cpu).unwrap();
    let mut x = (tower.token_embedding.index_select(&ids, 0).unwrap() + &tower.positional_embedding).unwrap();
    for layer in 0..config.text.layers {
        let block = clip.at(&format!("transformer.resblocks.{layer}"));
        let qkv = linear(
            &norm(block.at("ln_1"), &x),
            block.tensor("attn.in_proj_weight", &[3 * width, width]).unwrap(),
            block.tensor("attn.in_proj_bias", &[3 * width]).unwrap(),
        );
        let head = |part: usize| {
            let part = qkv.narrow(1, part * width, width).unwrap();
            part.reshape((n, heads, width / heads)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
        };
        let (q, k, v) = (head(0), head(1), head(2));
        let scores = (q.matmul(&k.t().unwrap()).unwrap() / ((width / heads) as f64).sqrt()).unwrap();
        let attention = candle_nn::ops::softmax(&scores.broadcast_add(&mask).unwrap(), D::Minus1).unwrap();
        let attended = attention.matmul(&v).unwrap().transpose(0, 1).unwrap().reshape((n, width)).unwrap();
        let layer = |x: &Tensor, name: &str, inputs: usize, outputs: usize| {
            let weights = block.at(name);
            let weight = weights.tensor("weight", &[outputs, inputs]).unwrap();
            linear(x, weight, weights.tensor("bias", &[outputs]).unwrap())
        };
        x = (&x + layer(&attended, "attn.out_proj", width, width)).unwrap();
        let hidden = layer(&norm(block.at("ln_2"), &x), "mlp.c_fc", width, 4 * width).gelu_erf().unwrap();
        x = (&x + layer(&hidden, "mlp.c_proj", 4 * width, width)).unwrap();
    }
    let row = norm(clip.at("ln_final"), &x).narrow(0, end, 1).unwrap();
    let projection = clip.tensor("text_projection", &[width, config.embed_dim]).unwrap();
    unit_rows(&row.matmul(&projection).unwrap()).unwrap()
}

#[test]
fn the_tree_equals_each_prompt_alone_at_full_length() {
    let checkpoint = Checkpoint::open(&golden("sed_nano.safetensors")).unwrap();
    let config = checkpoint.config().unwrap();
    let tower = nano();
    // Plain, empty, sharing prefixes with each other and with templates, special ids inside, cut off.
    let long = "word ".repeat(90);
    let phrases = [
        "cat",
        "",
        "cat tree",
        "photo of a cat",
        "a <end_of_text> b",
        "<start_of_text>",
        "&amp; café",
        &long,
    ];
    let embedded = tower.embed_phrases(&phrases).unwrap();
    for (phrase, embedded) in phrases.iter().zip(embedded) {
        for (row, prompt) in phrase_prompts(phrase).enumerate().step_by(7) {
            let alone = full_length(&tower, &checkpoint, &config, &prompt);
            assert_close(&embedded.narrow(0, row, 1).unwrap(), &alone, TOLERANCE);
        }
    }
}

#[test]
fn the_tree_computes_a_sixteenth_of_the_rows_of_full_length() {
    let tower = nano();
    let mut tree = TokenTree::after(&tower.prefixes);
    let categories = crate::prompts::builtin_vocabulary("pascal-voc-20").unwrap();
    for category in &categories {
        for prompt in phrase_prompts(&category.name) {
            tree.insert(Some(&tower.prefixes), &tower.read_tokens(&prompt));
        }
    }
    let full = categories.len() * templates().len() * 77;
    assert!(tree.len() * 16 <= full, "{} of {full} rows", tree.len());
    assert!(tower.prefixes.len() <= 200, "{} rows are computed once per tower", tower.prefixes.len());
}

#[test]
fn an_embedding_does_not_depend_on_what_is_embedded_with_it() {
    let tower = nano();
    let vocabulary = crate::prompts::builtin_vocabulary("ade20k-150").unwrap();
    let phrases = vocabulary.iter().map(|category| category.name.as_str()).collect::<Vec<_>>();
    let together = tower.embed(&vocabulary).unwrap();
    // Three tokens a prompt at least (a word, a full stop, end of text): several chunks.
    assert!(phrases.len() * templates().len() * 3 > 3 * CHUNK_ROWS);
    for index in [0, 1, 17, 80, 149] {
        let alone = tower.embed(&vocabulary[index..=index]).unwrap();
        assert_close(alone[0].tensor(), together[index].tensor(), 1e-6);
    }
}

#[test]
fn synonyms_are_averaged_and_made_unit_length() {
    let tower = nano();
    let parts = tower.embed_phrases(&["bus", "coach"]).unwrap();
    let category = Category { name: "bus".to_owned(), synonyms: vec!["coach".to_owned()] };
    let embedded = tower.embed(&[category]).unwrap();
    let mean = ((&parts[0] + &parts[1]).unwrap() / 2.0).unwrap();
    assert_close(embedded[0].tensor(), &unit_rows(&mean).unwrap(), 1e-7);
    let lengths = embedded[0].tensor().sqr().unwrap().sum(1).unwrap();
    assert_close(&lengths, &Tensor::ones(80, DType::F32, &Device::Cpu).unwrap(), 1e-6);
    assert!(TextEmbedding::combine(&[]).is_err());
}

#[test]
fn no_categories_give_no_embeddings() {
    assert!(nano().embed(&[]).unwrap().is_empty());
}

#[test]
fn rows_are_counted_as_they_are_computed() {
    let tower = nano();
    let mut prefixes = std::collections::HashSet::new();
    for template in templates() {
        let mut tokens = tower.tokenizer.encode(template.split("{}").next().unwrap());
        tokens.pop();
        prefixes.extend((1..=tokens.len()).map(|end| tokens[..end].to_vec()));
    }
    let phrases = ["cat", "catfish", "traffic light"];
    let prompts: Vec<Vec<u32>> = phrases
        .iter()
        .flat_map(|phrase| {
            phrase_prompts(phrase).map(|prompt| tower.read_tokens(&prompt)).collect::<Vec<_>>()
        })
        .collect();
    let begins = prompts.iter().flat_map(|tokens| (1..=tokens.len()).map(|end| tokens[..end].to_vec()));
    let rows: std::collections::HashSet<Vec<u32>> =
        begins.filter(|begin| !prefixes.contains(begin)).collect();
    let want = TextRows {
        rows: rows.len() as u64,
        keys: rows.iter().map(|begin| begin.len() as u64).sum(),
        ends: 3 * 80,
        end_keys: prompts.iter().map(|tokens| tokens.len() as u64).sum(),
    };
    assert_eq!(tower.rows_of(&phrases), want);
    assert_eq!(tower.rows_of(&[]), TextRows::default());
}
