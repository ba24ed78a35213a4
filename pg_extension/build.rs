//! Makes constants of `python/trails/limits.toml`: what the extension and the package must agree on is written there once.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

const LIMITS: &str = "../python/trails/limits.toml";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LIMITS}");
    let text = fs::read_to_string(LIMITS).unwrap_or_else(|error| panic!("{LIMITS} cannot be read: {error}"));
    let entries: toml::Table = text.parse().unwrap_or_else(|error| panic!("{LIMITS}: {error}"));
    let mut constants = String::new();
    for (name, entry) in &entries {
        let field = |field: &str| entry.get(field).unwrap_or_else(|| panic!("{LIMITS}: {name} has no {field}"));
        let told =
            |field_name: &str| field(field_name).as_str().unwrap_or_else(|| panic!("{name}: {field_name}")).trim();
        for line in told("what").lines().chain(["", &format!("In {}.", told("unit"))]) {
            writeln!(constants, "/// {line}").expect("a string takes any text");
        }
        let (kind, value) = match field("value") {
            toml::Value::Float(value) => ("f64", format!("{value:?}")),
            toml::Value::Integer(value) => ("usize", value.to_string()),
            other => panic!("{LIMITS}: the value of {name} is no number: {other}"),
        };
        writeln!(constants, "pub const {}: {kind} = {value};", name.to_uppercase()).expect("a string takes any text");
    }
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(directory.join("limits.rs"), constants).expect("cargo's directory can be written to");
}
