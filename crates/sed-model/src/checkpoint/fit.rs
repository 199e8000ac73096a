//! Compares a checkpoint with a configuration.

use std::collections::BTreeMap;

use super::Checkpoint;
use crate::config::{ExpectedTensor, ROOT, SedConfig};
use crate::error::{ModelError, Result};

/// Disagreements that are spelled out; the rest is counted.
const SHOWN: usize = 20;

/// Contents of a fitting checkpoint that inference does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Known tensors that inference does not read.
    pub unused: Vec<String>,
    /// Names of the file's entries besides the weights.
    pub ignored: Vec<String>,
}

impl Checkpoint {
    /// Checks that the checkpoint holds every tensor that a model of these sizes needs, in its shape, and no
    /// tensor that it does not know.
    ///
    /// # Errors
    /// [`ModelError::NotSed`] when no key has the official prefix, otherwise [`ModelError::DoesNotFit`] with
    /// every missing, mis-shaped and unknown tensor.
    pub fn check(&self, config: &SedConfig) -> Result<Fit> {
        if let Some(first) = self.tensors.keys().next()
            && !self.tensors.keys().any(|name| name.starts_with(ROOT))
        {
            return Err(ModelError::NotSed {
                reason: format!(
                    "no key starts with `{ROOT}.` as the official ones do; the first is `{first}`"
                ),
            });
        }
        let expected = config.expected_tensors();
        let mut problems: Vec<String> = expected
            .iter()
            .filter_map(|tensor| self.disagreement(tensor))
            .map(|error| error.to_string())
            .collect();
        let known: BTreeMap<&str, bool> =
            expected.iter().map(|tensor| (tensor.name.as_str(), tensor.used)).collect();
        let extra = self.tensors.iter().filter(|(name, _)| !known.contains_key(name.as_str()));
        problems.extend(extra.map(|(name, stored)| {
            format!(
                "tensor `{name}` with shape {:?} is unknown; this configuration has no such tensor",
                stored.shape
            )
        }));
        if problems.is_empty() {
            let unused = self.tensors.keys().filter(|name| known.get(name.as_str()) == Some(&false));
            return Ok(Fit { unused: unused.cloned().collect(), ignored: self.ignored.clone() });
        }
        let hidden = problems.len().saturating_sub(SHOWN);
        if hidden > 0 {
            problems.truncate(SHOWN);
            problems.push(format!("and {hidden} more"));
        }
        Err(ModelError::DoesNotFit { config: config.name.clone(), problems })
    }

    fn disagreement(&self, expected: &ExpectedTensor) -> Option<ModelError> {
        let (name, shape) = (expected.name.clone(), expected.shape.clone());
        match self.tensors.get(&expected.name) {
            None if expected.used => Some(ModelError::MissingTensor { name, expected: shape }),
            Some(stored) if stored.shape != shape => {
                Some(ModelError::MisshapenTensor { name, found: stored.shape.clone(), expected: shape })
            }
            _ => None,
        }
    }
}
