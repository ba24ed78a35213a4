//! The tensors of a model blob: looked up by name, checked for type and shape, copied out.

use std::cell::RefCell;
use std::collections::HashSet;

use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::error::{fail, Error, Result};
use crate::memory::with_room;

/// Bytes of the table of contents, which the header is part of.
const LARGEST_CONTENTS: u64 = 32 << 20;

/// What is called every few milliseconds while a model is read: whoever reads one may have to stop, which they do by
/// unwinding.
pub type Pause<'a> = &'a dyn Fn();

/// Bytes, numbers or multiply-adds after which there is a pause: some milliseconds of any of them.
pub const PAUSE: usize = 1 << 20;

/// SHA-256: tells blobs apart and finds corrupted ones.
pub fn digest(blob: &[u8], pause: Pause<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in blob.chunks(PAUSE) {
        hasher.update(part);
        pause();
    }
    hasher.finalize().into()
}

/// A blob whose table of contents has been read and checked.
pub struct Blob<'a> {
    tensors: SafeTensors<'a>,
    /// The JSON text that describes the model.
    pub header: String,
    /// Names of the tensors that were asked for.
    read: RefCell<HashSet<String>>,
    pub pause: Pause<'a>,
}

impl<'a> Blob<'a> {
    pub fn open(bytes: &'a [u8], pause: Pause<'a>) -> Result<Self> {
        let unreadable =
            |error: safetensors::SafeTensorError| Error::Invalid(format!("the blob is not safetensors: {error}"));
        if let Some(length) = bytes.first_chunk().map(|begin| u64::from_le_bytes(*begin)) {
            if length > LARGEST_CONTENTS {
                fail!("the blob is not safetensors: its table of contents is {length} bytes long, and {LARGEST_CONTENTS} are possible");
            }
        }
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get("trails")).cloned();
        let Some(header) = header else {
            fail!("the blob is not a model of Trails: its header has no entry \"trails\"")
        };
        let tensors = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        Ok(Self { tensors, header, read: RefCell::default(), pause })
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// Refuses a blob with tensors that nobody has asked for.
    pub fn check_all_read(&self) -> Result<()> {
        let read = self.read.borrow();
        match self.tensors.names().into_iter().find(|name| !read.contains(*name)) {
            Some(name) => fail!("the model has the tensor {name:?}, which it has no use for"),
            None => Ok(()),
        }
    }

    pub fn matrix(&self, name: &str) -> Result<(Vec<f32>, usize, usize)> {
        let (bytes, shape) = self.find(name, Dtype::F32)?;
        let [rows, columns] = shape[..] else { fail!("tensor {name} has {} dimensions, not 2", shape.len()) };
        Ok((self.floats(name, bytes)?, rows, columns))
    }

    pub fn floats_of(&self, name: &str) -> Result<Vec<f32>> {
        self.floats(name, self.vector(name, Dtype::F32)?)
    }

    pub fn i64s(&self, name: &str) -> Result<Vec<i64>> {
        self.elements(self.vector(name, Dtype::I64)?, i64::from_le_bytes)
    }

    pub fn u32s(&self, name: &str) -> Result<Vec<u32>> {
        self.elements(self.vector(name, Dtype::U32)?, u32::from_le_bytes)
    }

    pub fn f64s(&self, name: &str) -> Result<Vec<f64>> {
        self.elements(self.vector(name, Dtype::F64)?, f64::from_le_bytes)
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
        self.read.borrow_mut().insert(name.to_owned());
        Ok((tensor.data(), tensor.shape().to_vec()))
    }

    fn floats(&self, name: &str, bytes: &[u8]) -> Result<Vec<f32>> {
        let numbers: Vec<f32> = self.elements(bytes, f32::from_le_bytes)?;
        for part in numbers.chunks(PAUSE) {
            (self.pause)();
            if !part.iter().all(|x| x.is_finite()) {
                fail!("tensor {name} holds numbers that are not finite");
            }
        }
        Ok(numbers)
    }

    /// Numbers that may lie at any address; `SafeTensors` has checked that their bytes are as many as the shape says.
    fn elements<const N: usize, T>(&self, bytes: &[u8], number: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let mut numbers = with_room(bytes.len() / N)?;
        for part in bytes.chunks(N * PAUSE) {
            (self.pause)();
            let chunks = part.chunks_exact(N);
            numbers.extend(chunks.map(|chunk| number(chunk.try_into().expect("chunks are of this size"))));
        }
        Ok(numbers)
    }
}
