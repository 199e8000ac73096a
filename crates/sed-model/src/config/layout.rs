//! The tensors of a model of given sizes, by their names in the official checkpoints.

use super::{PROMPTS, SedConfig, VisualHead};

/// Prefix of every tensor name in an official SED checkpoint.
pub const ROOT: &str = "sem_seg_head.predictor";

/// A tensor that a checkpoint should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// The full key.
    pub name: String,
    /// Its shape, in PyTorch's layout: linear `[out, in]`, convolution `[out, in, height, width]`, transposed
    /// convolution `[in, out, height, width]`, depthwise `[channels, 1, height, width]`.
    pub shape: Vec<usize>,
    /// False if inference does not read the tensor; it may then be absent.
    pub used: bool,
}

/// Collects names under a prefix.
struct Layout {
    tensors: Vec<ExpectedTensor>,
}

impl Layout {
    fn add(&mut self, name: String, shape: &[usize]) {
        self.tensors.push(ExpectedTensor {
            name: format!("{ROOT}.{name}"),
            shape: shape.to_vec(),
            used: true,
        });
    }

    /// A weight of `shape` and a bias of its output channels.
    fn layer(&mut self, name: &str, shape: &[usize], outputs: usize) {
        self.add(format!("{name}.weight"), shape);
        self.add(format!("{name}.bias"), &[outputs]);
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.layer(name, &[outputs, inputs], outputs);
    }

    fn conv(&mut self, name: &str, inputs: usize, outputs: usize, kernel: usize) {
        self.layer(name, &[outputs, inputs, kernel, kernel], outputs);
    }

    fn norm(&mut self, name: &str, channels: usize) {
        self.layer(name, &[channels], channels);
    }

    fn text(&mut self, config: &SedConfig) {
        let (width, text) = (config.text.width, &config.text);
        let clip = "clip_model";
        self.add(format!("{clip}.positional_embedding"), &[text.context_length, width]);
        self.add(format!("{clip}.text_projection"), &[width, config.embed_dim]);
        self.tensors.push(ExpectedTensor {
            name: format!("{ROOT}.{clip}.logit_scale"),
            shape: Vec::new(),
            used: false, // the official forward pass reads it and does not apply it
        });
        self.add(format!("{clip}.token_embedding.weight"), &[text.vocab_size, width]);
        self.norm(&format!("{clip}.ln_final"), width);
        for layer in 0..text.layers {
            let block = format!("{clip}.transformer.resblocks.{layer}");
            self.norm(&format!("{block}.ln_1"), width);
            self.add(format!("{block}.attn.in_proj_weight"), &[3 * width, width]);
            self.add(format!("{block}.attn.in_proj_bias"), &[3 * width]);
            self.linear(&format!("{block}.attn.out_proj"), width, width);
            self.norm(&format!("{block}.ln_2"), width);
            self.linear(&format!("{block}.mlp.c_fc"), width, 4 * width);
            self.linear(&format!("{block}.mlp.c_proj"), 4 * width, width);
        }
    }

    fn vision(&mut self, config: &SedConfig) {
        let (dims, visual) = (config.vision.dims, "clip_model.visual");
        self.conv(&format!("{visual}.trunk.stem.0"), 3, dims[0], 4);
        self.norm(&format!("{visual}.trunk.stem.1"), dims[0]);
        for (index, (&dim, &depth)) in dims.iter().zip(&config.vision.depths).enumerate() {
            let stage = format!("{visual}.trunk.stages.{index}");
            if index > 0 {
                self.norm(&format!("{stage}.downsample.0"), dims[index - 1]);
                self.conv(&format!("{stage}.downsample.1"), dims[index - 1], dim, 2);
            }
            for block in 0..depth {
                let block = format!("{stage}.blocks.{block}");
                self.add(format!("{block}.gamma"), &[dim]);
                self.conv(&format!("{block}.conv_dw"), 1, dim, 7);
                self.norm(&format!("{block}.norm"), dim);
                self.linear(&format!("{block}.mlp.fc1"), dim, 4 * dim);
                self.linear(&format!("{block}.mlp.fc2"), 4 * dim, dim);
            }
        }
        self.norm(&format!("{visual}.trunk.head.norm"), dims[3]);
        match config.vision.head {
            VisualHead::Linear => {
                self.add(format!("{visual}.head.proj.weight"), &[config.embed_dim, dims[3]]);
            }
            VisualHead::Mlp { hidden } => {
                self.linear(&format!("{visual}.head.mlp.fc1"), dims[3], hidden);
                self.add(format!("{visual}.head.mlp.fc2.weight"), &[config.embed_dim, hidden]);
            }
        }
    }

    fn decoder(&mut self, config: &SedConfig) {
        let decoder = &config.decoder;
        self.conv("transformer.conv1", PROMPTS, decoder.hidden_dim, 7);
        let mut corr_inputs = PROMPTS;
        for level in 0..3 {
            let guidance = decoder.guidance_dims[level];
            let name = format!("transformer.decoder_guidance_projection.{level}.0");
            self.conv(&name, config.vision.dims[2 - level], guidance, 3);
            let corr = decoder.corr_guidance_dims[level];
            let name = format!("transformer.decoder_corr_guidance_projection.{level}.0");
            self.layer(&name, &[corr_inputs, corr, 2, 2], corr);
            corr_inputs = corr;
        }
        for (level, input) in decoder.level_inputs().into_iter().enumerate() {
            self.level(config, level, input);
        }
        let [first, second, third] = decoder.dims;
        for (head, channels) in
            [("head0", decoder.hidden_dim), ("head1", first), ("head2", second), ("head", third)]
        {
            self.conv(&format!("transformer.{head}"), channels, 1, 3);
        }
    }

    /// One decoder level: up-convolution, double convolution, feature aggregation, category attention.
    fn level(&mut self, config: &SedConfig, level: usize, input: usize) {
        let decoder = &config.decoder;
        let (output, guidance) = (decoder.dims[level], decoder.guidance_dims[level]);
        let name = format!("transformer.decoder{}", level + 1);
        let up = input - guidance;
        self.layer(&format!("{name}.up"), &[input, up, 2, 2], up);
        let fused = up + guidance + decoder.corr_guidance_dims[level];
        self.add(format!("{name}.conv.double_conv.0.weight"), &[output, fused, 3, 3]);
        self.norm(&format!("{name}.conv.double_conv.1"), output);
        self.add(format!("{name}.conv.double_conv.3.weight"), &[output, output, 3, 3]);
        self.norm(&format!("{name}.conv.double_conv.4"), output);
        self.add(format!("{name}.cnext.gamma"), &[input]);
        self.conv(&format!("{name}.cnext.dwconv"), 1, input, decoder.kernel_size);
        self.norm(&format!("{name}.cnext.norm"), input);
        self.linear(&format!("{name}.cnext.pwconv1"), input, 4 * input);
        self.linear(&format!("{name}.cnext.pwconv2"), 4 * input, input);
        for projection in ["q", "k", "v"] {
            self.linear(&format!("{name}.attention.attention.{projection}"), input, input);
        }
        self.linear(&format!("{name}.attention.MLP.0"), input, 4 * input);
        self.linear(&format!("{name}.attention.MLP.2"), 4 * input, input);
        self.norm(&format!("{name}.attention.norm1"), input);
        self.norm(&format!("{name}.attention.norm2"), input);
    }
}

impl SedConfig {
    /// Every tensor that a checkpoint of these sizes should hold: 608 for SED-B, 658 for SED-L.
    pub fn expected_tensors(&self) -> Vec<ExpectedTensor> {
        let mut layout = Layout { tensors: Vec::new() };
        layout.text(self);
        layout.vision(self);
        layout.decoder(self);
        layout.tensors
    }
}
