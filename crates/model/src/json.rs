//! JSON of bounded extent, whose entries are of the types that are asked for.

use serde_json::{Map, Value};

use crate::error::{fail, Result};

/// Bytes of the JSON text, values in it (about: commas and opening brackets outside of texts), and how deep they nest.
const MOST_BYTES: usize = 16 << 20;
const MOST_VALUES: usize = 1 << 18;
const DEEPEST: usize = 32;
/// Bytes of one text that prediction reads, such as a name or a label: every predicted row holds a label.
pub const LONGEST_TEXT: usize = 1_000;

/// An object of the header, whose entries are of the types that are asked for.
pub struct Object<'a> {
    pub entries: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub fn of(value: &'a Value, what: &str) -> Result<Self> {
        match value {
            Value::Object(entries) => Ok(Self { entries }),
            _ => fail!("{what} is no JSON object"),
        }
    }

    pub fn entry(&self, name: &str) -> Result<&'a Value> {
        match self.entries.get(name) {
            Some(value) => Ok(value),
            None => fail!("the model's header has no \"{name}\""),
        }
    }

    pub fn object(&self, name: &str) -> Result<Self> {
        Self::of(self.entry(name)?, name)
    }

    pub fn list(&self, name: &str) -> Result<&'a [Value]> {
        match self.entry(name)? {
            Value::Array(values) => Ok(values),
            _ => fail!("\"{name}\" of the model's header is no list"),
        }
    }

    pub fn each<T>(&self, name: &str, read: impl Fn(&Self) -> Result<T>) -> Result<Vec<T>> {
        self.list(name)?.iter().map(|value| read(&Self::of(value, name)?)).collect()
    }

    /// A list of numbers as `whole` has them.
    pub fn wholes(&self, name: &str) -> Result<Vec<u64>> {
        match self.list(name)?.iter().map(Value::as_u64).collect() {
            Some(numbers) => Ok(numbers),
            None => fail!("\"{name}\" of the model's header is no list of whole numbers"),
        }
    }

    pub fn text(&self, name: &str) -> Result<String> {
        text_of(self.entry(name)?, name)
    }

    /// A number without sign, point and exponent, of at most 64 bits.
    pub fn whole(&self, name: &str) -> Result<u64> {
        match self.entry(name)?.as_u64() {
            Some(number) => Ok(number),
            None => fail!("\"{name}\" of the model's header is no whole number"),
        }
    }

    /// JSON has finite numbers only.
    pub fn number(&self, name: &str) -> Result<f64> {
        match self.entry(name)?.as_f64() {
            Some(number) if number.is_finite() => Ok(number),
            _ => fail!("\"{name}\" of the model's header is no number"),
        }
    }

    pub fn deviation(&self) -> Result<f64> {
        match self.number("std")? {
            std if std > 0.0 => Ok(std),
            std => fail!("a standard deviation of the model's header is {std}"),
        }
    }

    pub fn one_of<T: Copy>(&self, name: &str, all: &[T], name_of: impl Fn(T) -> &'static str) -> Result<T> {
        let given = self.text(name)?;
        match all.iter().find(|one| name_of(**one) == given) {
            Some(one) => Ok(*one),
            None => fail!("the model's header has the {name} \"{given}\", which there is not"),
        }
    }
}

pub fn text_of(value: &Value, name: &str) -> Result<String> {
    match value {
        Value::String(text) => {
            check_length(text)?;
            Ok(text.clone())
        }
        _ => fail!("\"{name}\" of the model's header is no text"),
    }
}

pub fn check_length(text: &str) -> Result<()> {
    if text.len() > LONGEST_TEXT {
        fail!("a text of the model is {} bytes long, and {LONGEST_TEXT} are possible", text.len());
    }
    Ok(())
}

/// Refuses, before it is taken apart, a text that would take much memory or a deep stack.
pub fn check_extent(text: &str) -> Result<()> {
    if text.len() > MOST_BYTES {
        fail!("the model's header is {} bytes long, and {MOST_BYTES} are possible", text.len());
    }
    let (mut depth, mut values) = (0usize, 0usize);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b',' => values += 1,
            b'[' | b'{' => {
                values += 1;
                depth += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            fail!("the model's header nests more than {DEEPEST} deep");
        }
        if values > MOST_VALUES {
            fail!("the model's header holds more than {MOST_VALUES} values");
        }
    }
    Ok(())
}

/// No text of the server holds a NUL character. The recursion is as deep as `DEEPEST`.
pub fn check_texts(value: &Value) -> Result<()> {
    let whole = |text: &str| match text.contains('\0') {
        true => fail!("a text of the model's header holds a NUL character"),
        false => Ok(()),
    };
    match value {
        Value::String(text) => whole(text),
        Value::Array(values) => values.iter().try_for_each(check_texts),
        Value::Object(entries) => entries.iter().try_for_each(|(name, value)| {
            whole(name)?;
            check_texts(value)
        }),
        _ => Ok(()),
    }
}
