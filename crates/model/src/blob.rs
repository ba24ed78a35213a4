//! The tensors of a model blob: looked up by name, checked for type and shape, copied out.

use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::error::{fail, Error, Result};

/// SHA-256: tells blobs apart and finds corrupted ones.
pub fn digest(blob: &[u8]) -> [u8; 32] {
    Sha256::digest(blob).into()
}

/// A blob whose table of contents has been read and checked.
pub struct Blob<'a> {
    tensors: SafeTensors<'a>,
    /// The JSON text that describes the model.
    pub header: String,
}

impl<'a> Blob<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let unreadable = |error: safetensors::SafeTensorError| Error(format!("the blob is not safetensors: {error}"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get("trails")).cloned();
        let Some(header) = header else {
            fail!("the blob is not a model of Trails: its header has no entry \"trails\"")
        };
        Ok(Self { tensors: SafeTensors::deserialize(bytes).map_err(unreadable)?, header })
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    pub fn matrix(&self, name: &str) -> Result<(Vec<f32>, usize, usize)> {
        let (bytes, shape) = self.find(name, Dtype::F32)?;
        let [rows, columns] = shape[..] else { fail!("tensor {name} has {} dimensions, not 2", shape.len()) };
        let numbers: Vec<f32> = elements(bytes, f32::from_le_bytes);
        if !numbers.iter().all(|x| x.is_finite()) {
            fail!("tensor {name} holds numbers that are not finite");
        }
        Ok((numbers, rows, columns))
    }

    pub fn biases(&self, name: &str) -> Result<Vec<f32>> {
        let numbers = elements(self.vector(name, Dtype::F32)?, f32::from_le_bytes);
        if !numbers.iter().all(|x| x.is_finite()) {
            fail!("tensor {name} holds numbers that are not finite");
        }
        Ok(numbers)
    }

    pub fn i64s(&self, name: &str) -> Result<Vec<i64>> {
        Ok(elements(self.vector(name, Dtype::I64)?, i64::from_le_bytes))
    }

    pub fn u32s(&self, name: &str) -> Result<Vec<u32>> {
        Ok(elements(self.vector(name, Dtype::U32)?, u32::from_le_bytes))
    }

    pub fn f64s(&self, name: &str) -> Result<Vec<f64>> {
        Ok(elements(self.vector(name, Dtype::F64)?, f64::from_le_bytes))
    }

    pub fn bytes(&self, name: &str) -> Result<&'a [u8]> {
        self.vector(name, Dtype::U8)
    }

    fn vector(&self, name: &str, dtype: Dtype) -> Result<&'a [u8]> {
        let (bytes, shape) = self.find(name, dtype)?;
        if shape.len() != 1 {
            fail!("tensor {name} has {} dimensions, not 1", shape.len());
        }
        Ok(bytes)
    }

    fn find(&self, name: &str, dtype: Dtype) -> Result<(&'a [u8], Vec<usize>)> {
        let Ok(tensor) = self.tensors.tensor(name) else { fail!("the model has no tensor {name}") };
        if tensor.dtype() != dtype {
            fail!("tensor {name} is of type {:?}, not {dtype:?}", tensor.dtype());
        }
        Ok((tensor.data(), tensor.shape().to_vec()))
    }
}

/// Numbers that may lie at any address; `SafeTensors` has checked that their bytes are as many as the shape says.
fn elements<const N: usize, T>(bytes: &[u8], number: fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|chunk| number(chunk.try_into().expect("chunks are of this size"))).collect()
}
