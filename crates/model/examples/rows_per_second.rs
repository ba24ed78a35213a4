//! Rows a second on one core, for a table like Frappe's: `cargo run --release --example rows_per_second [WIDTHS]`.

#[allow(dead_code)]
#[path = "../src/testing.rs"]
mod testing;

use std::time::Instant;

use testing::{categories, Parts, Random};
use trails_model::{ColumnData, Data, Encoded, Kernels, Model, Workspace};

/// Categories of Frappe's ten columns.
const CARDINALITIES: [usize; 10] = [957, 4082, 7, 7, 2, 3, 2, 9, 80, 233];
const BATCH: usize = 8192;
const REPEATS: usize = 41;

/// The median, and the best, which others who use the machine disturb least.
fn summary(mut seconds: Vec<f64>) -> (f64, f64) {
    seconds.sort_by(f64::total_cmp);
    (seconds[seconds.len() / 2], seconds[0])
}

fn main() {
    let widths = std::env::args().nth(1).unwrap_or("128-128-128-128".into());
    let widths: Vec<usize> = widths.split('-').map(|width| width.parse().expect("widths as 128-64")).collect();
    let mut first = 0i64;
    let fields = CARDINALITIES.iter().enumerate().map(|(number, &many)| {
        let keys: Vec<i64> = (first..first + many as i64).collect();
        first += many as i64;
        categories(&format!("c{number}"), "integer", "value", &keys, 0, 1.0)
    });
    let blob = Parts::new(fields.collect(), 10, &widths, "binary", 1, 1).blob();
    let mut random = Random(2);
    let mut low = 0;
    let cells: Vec<Vec<i32>> = CARDINALITIES
        .iter()
        .map(|&many| {
            low += many;
            (0..BATCH).map(|_| (low - many + random.below(many)) as i32).collect()
        })
        .collect();
    for kernels in [Kernels::best(), Kernels::portable()] {
        let began = Instant::now();
        let model = Model::parse_for(&blob, kernels, &|| ()).expect("a model just made");
        let loading = began.elapsed().as_secs_f64();
        let (mut encoded, mut workspace, mut outputs) = (Encoded::default(), Workspace::default(), Vec::new());
        println!("{kernels:?}: loaded in {:.2} ms, {} KiB", loading * 1e3, model.bytes() >> 10);
        for rows in [BATCH, 1] {
            let column = |place: usize| ColumnData { data: Data::Int32(&cells[place][..rows]), nulls: None };
            let (mut encoding, mut computing) = (Vec::new(), Vec::new());
            let rounds = if rows == 1 { 200 } else { 1 };
            for _ in 0..REPEATS {
                let began = Instant::now();
                for _ in 0..rounds {
                    model.encode(rows, column, &mut encoded).expect("columns of the right kinds");
                }
                encoding.push(began.elapsed().as_secs_f64() / rounds as f64);
                let began = Instant::now();
                for _ in 0..rounds {
                    model.forward(&encoded, &mut workspace, &mut outputs).expect("memory for a batch");
                }
                computing.push(began.elapsed().as_secs_f64() / rounds as f64);
            }
            let (encoding, computing) = (summary(encoding), summary(computing));
            for (name, encoding, computing) in [("median", encoding.0, computing.0), ("best", encoding.1, computing.1)]
            {
                println!(
                    "  {rows} rows, {name}: encode {:.2} us, forward {:.2} us, together {:.0} rows/s",
                    encoding * 1e6,
                    computing * 1e6,
                    rows as f64 / (encoding + computing)
                );
            }
        }
    }
}
