//! One input of a request: its shape, and its elements in whichever of the two forms they came.

use std::borrow::Cow;

use bytes::{Buf, Bytes};
use sed_proto::{
    inference::{InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor},
    v1::ErrorReason,
};

use crate::{field::Field, request_error::RequestError};

/// The error of an invalid tensor.
pub(super) fn invalid(path: impl Into<Cow<'static, str>>, message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorReason::TensorInvalid, Field::Infer(path.into()), message)
}

/// An input and the place of its elements.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    input: &'a InferInputTensor,
    index: usize,
    /// Its entry of `raw_input_contents`; `None` where the elements are typed.
    raw: Option<&'a Bytes>,
}

/// The inputs of a request, all of one form.
pub(super) fn tensors(request: &ModelInferRequest) -> Result<Vec<Tensor<'_>>, RequestError> {
    let (inputs, raw) = (&request.inputs, &request.raw_input_contents);
    if !raw.is_empty() && raw.len() != inputs.len() {
        let message = format!("has {} entries for {} inputs; give one for each", raw.len(), inputs.len());
        return Err(invalid("raw_input_contents", message));
    }
    let tensors =
        inputs.iter().enumerate().map(|(index, input)| Tensor { input, index, raw: raw.get(index) });
    tensors.map(Tensor::checked).collect()
}

impl<'a> Tensor<'a> {
    fn checked(self) -> Result<Self, RequestError> {
        if !self.input.parameters.is_empty() {
            let field = Field::Infer(self.path("parameters").into());
            return Err(RequestError::option(field, "must be empty; inputs have none here"));
        }
        let typed = self.input.contents.as_ref().map(lengths);
        if self.raw.is_some() && typed.is_some_and(|typed| typed.iter().any(|(_, length)| *length > 0)) {
            // It would be unclear which elements count.
            let message = "must be empty: the elements stand in raw_input_contents";
            return Err(invalid(self.path("contents"), message));
        }
        Ok(self)
    }

    pub(super) fn name(&self) -> &'a str {
        &self.input.name
    }

    pub(super) fn is_typed(&self) -> bool {
        self.raw.is_none()
    }

    /// The path of a field of the input.
    pub(super) fn path(&self, field: &str) -> String {
        format!("inputs[{}].{field}", self.index)
    }

    /// The path of its elements, which are in this field of `contents` where they are typed.
    pub(super) fn contents_path(&self, field: &str) -> String {
        match self.raw {
            Some(_) => format!("raw_input_contents[{}]", self.index),
            None => self.path(&format!("contents.{field}")),
        }
    }

    pub(super) fn check_datatype(&self, datatype: &str) -> Result<(), RequestError> {
        if self.input.datatype == datatype {
            return Ok(());
        }
        Err(invalid(self.path("datatype"), format!("must be {datatype}")))
    }

    /// The shape, if it has `N` dimensions; `expected` says which.
    pub(super) fn shape<const N: usize>(&self, expected: &str) -> Result<[u64; N], RequestError> {
        let sizes: Option<Vec<u64>> = self.input.shape.iter().map(|size| u64::try_from(*size).ok()).collect();
        sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| self.wrong_shape(expected))
    }

    pub(super) fn wrong_shape(&self, expected: &str) -> RequestError {
        invalid(self.path("shape"), format!("must be {expected}"))
    }

    /// The elements of a tensor of UINT8, as many as its shape says.
    pub(super) fn octets(&self, shape: &[u64]) -> Result<Bytes, RequestError> {
        if let Some(raw) = self.raw {
            self.check_count(raw.len(), shape, "bytes", "uint_contents")?;
            return Ok(raw.clone());
        }
        let elements = self.typed("uint_contents")?.map_or(&[][..], |contents| &contents.uint_contents);
        self.check_count(elements.len(), shape, "elements", "uint_contents")?;
        let octet = |(index, value): (usize, &u32)| {
            let field = || format!("{}[{index}]", self.contents_path("uint_contents"));
            u8::try_from(*value).map_err(|_| invalid(field(), "must be at most 255, as UINT8 is"))
        };
        elements.iter().enumerate().map(octet).collect()
    }

    /// The elements of a tensor of BYTES, as many as its shape says.
    pub(super) fn texts(&self, shape: &[u64]) -> Result<Vec<Bytes>, RequestError> {
        if let Some(raw) = self.raw {
            return self.split(raw, shape);
        }
        let elements = self.typed("bytes_contents")?.map_or(&[][..], |contents| &contents.bytes_contents);
        self.check_count(elements.len(), shape, "elements", "bytes_contents")?;
        Ok(elements.to_vec())
    }

    /// Raw elements of BYTES: each behind its length, 32 bits, little endian.
    fn split(&self, raw: &Bytes, shape: &[u64]) -> Result<Vec<Bytes>, RequestError> {
        let count = elements(shape);
        let mut rest = raw.clone();
        let mut texts = Vec::new();
        while !rest.is_empty() && (texts.len() as u128) < count {
            let cut = |what: &str| {
                let message = format!("ends within {what} of element {}", texts.len());
                invalid(self.contents_path("bytes_contents"), message)
            };
            let length = rest.try_get_u32_le().map_err(|_| cut("the length"))?;
            if length as usize > rest.len() {
                return Err(cut("the bytes"));
            }
            texts.push(rest.split_to(length as usize));
        }
        if !rest.is_empty() {
            let message = format!("goes on behind the {count} elements of the shape {shape:?}");
            return Err(invalid(self.contents_path("bytes_contents"), message));
        }
        self.check_count(texts.len(), shape, "elements", "bytes_contents")?;
        Ok(texts)
    }

    /// The typed contents, which must hold nothing outside this field.
    fn typed(&self, field: &str) -> Result<Option<&'a InferTensorContents>, RequestError> {
        let Some(contents) = &self.input.contents else { return Ok(None) };
        let strange = lengths(contents).into_iter().find(|(name, length)| *name != field && *length > 0);
        if let Some((name, _)) = strange {
            let message = format!("must be empty: elements of {} stand in {field}", self.input.datatype);
            return Err(invalid(self.path(&format!("contents.{name}")), message));
        }
        Ok(Some(contents))
    }

    fn check_count(&self, found: usize, shape: &[u64], unit: &str, field: &str) -> Result<(), RequestError> {
        if found as u128 == elements(shape) {
            return Ok(());
        }
        let message = format!("has {found} {unit}, but the shape {shape:?} has {}", elements(shape));
        Err(invalid(self.contents_path(field), message))
    }
}

/// Number of elements of a shape, saturating.
fn elements(shape: &[u64]) -> u128 {
    shape.iter().fold(1, |count: u128, size| count.saturating_mul(u128::from(*size)))
}

fn lengths(contents: &InferTensorContents) -> [(&'static str, usize); 8] {
    [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ]
}
