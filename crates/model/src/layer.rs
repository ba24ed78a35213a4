//! A layer of the network, its weights laid out as the loops read them.

use crate::blob::{Pause, PAUSE};
use crate::buffer::{padded, Floats, LINE};
use crate::error::Result;
use crate::kernels::{Kernels, Tile, PANEL, TILE};

/// Layers with at most so many outputs are inner products, row by row: a panel would be mostly padding.
const NARROW: usize = 4;

// What the loops take for granted: a padded row is whole panels, and a narrow layer's outputs are one line.
const _: () = assert!(LINE == PANEL && NARROW <= LINE);

#[derive(Debug)]
enum Weights {
    /// Panel by panel, [inputs, PANEL] each.
    Panels(Floats),
    /// A padded row an output.
    Rows(Floats),
}

#[derive(Debug)]
pub struct Layer {
    inputs: usize,
    outputs: usize,
    weights: Weights,
    bias: Floats,
}

/// What a layer's sums start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Bias,
    /// What is in the output already.
    Output,
}

impl Layer {
    /// `weight` is [inputs, outputs]; without biases the sums start from what is there.
    pub fn new(inputs: usize, outputs: usize, weight: &[f32], bias: &[f32], pause: Pause<'_>) -> Result<Self> {
        assert_eq!((weight.len(), bias.len()), (inputs * outputs, outputs));
        assert!(inputs > 0 && outputs > 0);
        let weights = if outputs <= NARROW {
            let mut rows = Floats::zeros(outputs * padded(inputs))?;
            for (place, w) in weight.iter().enumerate() {
                if place % PAUSE == 0 {
                    pause();
                }
                rows[place % outputs * padded(inputs) + place / outputs] = *w;
            }
            Weights::Rows(rows)
        } else {
            let mut panels = Floats::zeros(padded(outputs) * inputs)?;
            for (place, w) in weight.iter().enumerate() {
                if place % PAUSE == 0 {
                    pause();
                }
                let (input, output) = (place / outputs, place % outputs);
                panels[output / PANEL * inputs * PANEL + input * PANEL + output % PANEL] = *w;
            }
            Weights::Panels(panels)
        };
        let mut padded_bias = Floats::zeros(padded(outputs))?;
        padded_bias[..outputs].copy_from_slice(bias);
        Ok(Self { inputs, outputs, weights, bias: padded_bias })
    }

    /// Floats that a row of the output takes.
    pub fn stride(&self) -> usize {
        padded(self.outputs)
    }

    pub fn multiply_adds(&self) -> usize {
        self.inputs * self.outputs
    }

    pub fn bytes(&self) -> usize {
        let (Weights::Panels(weights) | Weights::Rows(weights)) = &self.weights;
        weights.bytes() + self.bias.bytes()
    }

    /// `rows` rows of padded inputs to as many of padded outputs. What pads the inputs must be finite.
    pub fn apply(&self, kernels: Kernels, rows: usize, x: &Floats, out: &mut [f32], start: Start, relu: bool) {
        let (x_stride, out_stride) = (padded(self.inputs), self.stride());
        assert!(x.len() >= rows * x_stride && out.len() >= rows * out_stride);
        match &self.weights {
            Weights::Panels(panels) if rows == 1 => {
                let out = out.as_mut_ptr();
                let tile = Tile {
                    x: x.as_ptr(),
                    x_stride,
                    inputs: self.inputs,
                    panel: panels.as_ptr(),
                    start: if start == Start::Bias { self.bias.as_ptr() } else { out.cast_const() },
                    start_stride: 0,
                    out,
                    out_stride,
                    relu,
                };
                // SAFETY: all of them hold `out_stride` floats, or that many panels of weights.
                unsafe { kernels.row(&tile, out_stride / PANEL) };
            }
            Weights::Panels(panels) => {
                for (number, panel) in panels.chunks_exact(self.inputs * PANEL).enumerate() {
                    for row in (0..rows).step_by(TILE) {
                        // SAFETY: rows of both lie within the slices, whose lengths were checked; the panel holds
                        // `inputs` times PANEL weights, and bias and output a panel more for every panel.
                        unsafe {
                            let out = out.as_mut_ptr().add(row * out_stride + number * PANEL);
                            let (start, start_stride) = match start {
                                Start::Bias => (self.bias.as_ptr().add(number * PANEL), 0),
                                Start::Output => (out.cast_const(), out_stride),
                            };
                            let tile = Tile {
                                x: x.as_ptr().add(row * x_stride),
                                x_stride,
                                inputs: self.inputs,
                                panel: panel.as_ptr(),
                                start,
                                start_stride,
                                out,
                                out_stride,
                                relu,
                            };
                            kernels.tile(TILE.min(rows - row), &tile);
                        }
                    }
                }
            }
            Weights::Rows(weights) => {
                for (x, out) in x.chunks_exact(x_stride).zip(out.chunks_exact_mut(LINE)).take(rows) {
                    for (number, weights) in weights.chunks_exact(x_stride).enumerate() {
                        // SAFETY: both are padded rows of this length.
                        let product = unsafe { kernels.dot(x.as_ptr(), weights.as_ptr(), x_stride) };
                        let begin = if start == Start::Bias { self.bias[number] } else { out[number] };
                        let sum = begin + product;
                        out[number] = if relu { sum.max(0.0) } else { sum };
                    }
                    // What was there before may be infinite, and what reads this row reads all of it.
                    out[self.outputs..].fill(0.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{every_kernel, Random};

    /// Every shape at the edges of tiles and panels, from the bias and from what is there, on every set of loops.
    #[test]
    fn every_shape_gives_the_product() {
        for kernels in every_kernel() {
            for (inputs, outputs) in [(1, 1), (3, 4), (7, 5), (16, 16), (17, 17), (33, 40), (128, 128), (5, 3), (64, 2)]
            {
                for rows in [1, 2, 3, 4, 5, 6, 7, 11, 12, 25] {
                    check(kernels, inputs, outputs, rows);
                }
            }
        }
    }

    fn check(kernels: Kernels, inputs: usize, outputs: usize, rows: usize) {
        let mut random = Random((inputs * 1000 + outputs * 100 + rows) as u64);
        let weight: Vec<f32> = (0..inputs * outputs).map(|_| random.float()).collect();
        let bias: Vec<f32> = (0..outputs).map(|_| random.float()).collect();
        let layer = Layer::new(inputs, outputs, &weight, &bias, &|| ()).unwrap();
        let mut x = Floats::zeros(rows * padded(inputs)).unwrap();
        x.iter_mut().for_each(|x| *x = random.float());
        for start in [Start::Bias, Start::Output] {
            for relu in [false, true] {
                let mut out = Floats::zeros(rows * layer.stride()).unwrap();
                out.iter_mut().for_each(|x| *x = random.float());
                let before = out.to_vec();
                layer.apply(kernels, rows, &x, &mut out, start, relu);
                for row in 0..rows {
                    for output in 0..outputs {
                        let place = row * layer.stride() + output;
                        let begin = if start == Start::Bias { bias[output] } else { before[place] };
                        let product =
                            |input| f64::from(x[row * padded(inputs) + input] * weight[input * outputs + output]);
                        let mut wanted = f64::from(begin) + (0..inputs).map(product).sum::<f64>();
                        if relu {
                            wanted = wanted.max(0.0);
                        }
                        let found = f64::from(out[place]);
                        assert!((found - wanted).abs() < 1e-4, "{kernels:?} {inputs}x{outputs}: {found} {wanted}");
                    }
                }
            }
        }
    }
}
