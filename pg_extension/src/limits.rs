//! What the extension and the package must agree on. `python/trails/limits.toml` holds the numbers, and what each is.

include!(concat!(env!("OUT_DIR"), "/limits.rs"));
