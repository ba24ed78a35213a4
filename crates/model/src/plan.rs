//! In which order a network's operations are computed, and in which registers their values lie until they have been read.

use crate::buffer::padded;
use crate::operations::Kind;
use crate::program::Program;

/// Something that is computed for a block of rows. `of` and `to` are registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// What is embedded, as it is.
    Embed {
        to: usize,
    },
    /// A linear operation that reads what is embedded, numbered among them.
    Leading {
        number: usize,
        to: usize,
        relu: bool,
    },
    Linear {
        weights: usize,
        of: usize,
        to: usize,
        relu: bool,
    },
    Relu {
        of: usize,
        to: usize,
        width: usize,
    },
    Scale {
        weights: usize,
        of: usize,
        to: usize,
    },
    /// A sum of values, which is divided by `by` if that is not 1.
    Add {
        of: Vec<usize>,
        to: usize,
        width: usize,
        by: usize,
    },
    LinearPath {
        weights: usize,
        to: usize,
    },
}

#[derive(Debug)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Floats of each register that a row takes.
    pub registers: Vec<usize>,
    /// Where the last value lies.
    pub last: usize,
    /// Weights of the leading linear operations.
    pub leading: Vec<usize>,
}

impl Plan {
    /// `together` says whether several linear operations may be leading ones, where nothing else reads what is embedded.
    pub fn of(program: &Program, together: bool) -> Self {
        let readers = program.readers();
        let is_linear = |value: usize| value > 0 && program.operations[value - 1].kind == Kind::Linear;
        let mut leading = program.leading();
        if leading.len() > 1 && !together {
            leading.clear();
        }
        let (leads, mut number) = (!leading.is_empty(), 0);
        // A ReLU that alone reads a product is applied as the product is written.
        let mut is_rectified = vec![false; program.widths.len()];
        for operation in &program.operations {
            if operation.kind == Kind::Relu && readers[operation.of[0]] == 1 && is_linear(operation.of[0]) {
                is_rectified[operation.of[0]] = true;
            }
        }
        let mut registers = Registers { widths: Vec::new(), free: Vec::new(), of: vec![0; readers.len()], readers };
        let mut steps = Vec::new();
        if registers.readers[0] > 0 && !leads {
            let to = registers.take(0, program.widths[0]);
            steps.push(Step::Embed { to });
        }
        for (place, operation) in program.operations.iter().enumerate() {
            let (value, width) = (place + 1, padded(program.widths[place + 1]));
            let (weights, relu) = (operation.weights, is_rectified[value]);
            let of: Vec<usize> = operation.of.iter().map(|value| registers.of[*value]).collect();
            if operation.kind == Kind::Relu && is_rectified[operation.of[0]] {
                // Its value is there already.
                registers.of[value] = of[0];
                continue;
            }
            let to = registers.take(value, width);
            steps.push(match operation.kind {
                Kind::Linear if operation.of[0] == 0 && leads => {
                    number += 1;
                    Step::Leading { number: number - 1, to, relu }
                }
                Kind::Linear => Step::Linear { weights, of: of[0], to, relu },
                Kind::Relu => Step::Relu { of: of[0], to, width },
                Kind::Scale => Step::Scale { weights, of: of[0], to },
                Kind::Add => Step::Add { of, to, width, by: 1 },
                Kind::Mean => Step::Add { by: of.len(), of, to, width },
                Kind::LinearPath => Step::LinearPath { weights, to },
            });
            if !(operation.of.first() == Some(&0) && leads) {
                operation.of.iter().for_each(|value| registers.has_read(*value));
            }
        }
        let last = registers.of[program.operations.len()];
        Self { steps, registers: registers.widths, last, leading }
    }
}

struct Registers {
    widths: Vec<usize>,
    free: Vec<usize>,
    /// Of each value where it lies, and how many will still read it.
    of: Vec<usize>,
    readers: Vec<usize>,
}

impl Registers {
    /// A register for a value of as many floats.
    fn take(&mut self, value: usize, width: usize) -> usize {
        let width = padded(width);
        let register = self.free.pop().unwrap_or_else(|| {
            self.widths.push(0);
            self.widths.len() - 1
        });
        self.widths[register] = self.widths[register].max(width);
        self.of[value] = register;
        register
    }

    /// The register is free once the last one has read the value.
    fn has_read(&mut self, value: usize) {
        self.readers[value] -= 1;
        if self.readers[value] == 0 {
            self.free.push(self.of[value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Linear, Operation};

    /// Operations with so many outputs each, all of them as wide as their inputs but the linear ones.
    fn program(operations: &[(Kind, &[usize], usize)]) -> Program {
        let mut made = Program { operations: vec![], widths: vec![5], linear: vec![], scales: vec![], paths: vec![] };
        for (kind, of, width) in operations {
            if *kind == Kind::Linear {
                let inputs = made.widths[of[0]];
                made.linear.push(Linear {
                    inputs,
                    outputs: *width,
                    weight: vec![0.0; inputs * width],
                    bias: vec![0.0; *width],
                });
            }
            let weights = made.linear.len().saturating_sub(1);
            made.operations.push(Operation { kind: *kind, of: of.to_vec(), weights });
            made.widths.push(*width);
        }
        made
    }

    #[test]
    fn layers_take_two_registers_in_turn() {
        use Kind::{Linear, Relu};
        let layers =
            [(Linear, &[0][..], 40), (Relu, &[1], 40), (Linear, &[2], 20), (Relu, &[3], 20), (Linear, &[4], 1)];
        let plan = Plan::of(&program(&layers), false);
        let steps = [
            Step::Leading { number: 0, to: 0, relu: true },
            Step::Linear { weights: 1, of: 0, to: 1, relu: true },
            Step::Linear { weights: 2, of: 1, to: 0, relu: false },
        ];
        assert_eq!((&plan.steps[..], &plan.registers[..], plan.last), (&steps[..], &[48, 32][..], 0));
        assert_eq!(plan.leading, [0]);
    }

    #[test]
    fn a_value_that_is_read_again_keeps_its_register() {
        use Kind::{Add, Linear, Relu};
        // x + linear(relu(x)): the product is read by the sum as well, so that its ReLU is a step of its own.
        let block = [(Linear, &[0][..], 8), (Relu, &[1], 8), (Linear, &[2], 8), (Add, &[1, 3], 8), (Linear, &[4], 1)];
        let plan = Plan::of(&program(&block), false);
        let steps = [
            Step::Leading { number: 0, to: 0, relu: false },
            Step::Relu { of: 0, to: 1, width: 16 },
            Step::Linear { weights: 1, of: 1, to: 2, relu: false },
            Step::Add { of: vec![0, 2], to: 1, width: 16, by: 1 },
            Step::Linear { weights: 2, of: 1, to: 2, relu: false },
        ];
        assert_eq!((&plan.steps[..], plan.registers.len()), (&steps[..], 3));
    }

    #[test]
    fn what_several_products_read_is_embedded_or_had_beforehand() {
        use Kind::{Linear, Mean, Relu};
        let members = program(&[(Linear, &[0][..], 3), (Linear, &[0], 3), (Mean, &[1, 2], 3)]);
        let plan = Plan::of(&members, false);
        assert_eq!((&plan.leading[..], &plan.steps[0]), (&[][..], &Step::Embed { to: 0 }));
        assert_eq!(plan.steps[3], Step::Add { of: vec![1, 2], to: 0, width: 16, by: 2 });

        let plan = Plan::of(&members, true);
        assert_eq!((&plan.leading[..], plan.registers.len()), (&[0, 1][..], 3));
        assert_eq!(plan.steps[1], Step::Leading { number: 1, to: 1, relu: false });

        // A ReLU of what is embedded needs it as it is.
        let other = program(&[(Linear, &[0][..], 5), (Relu, &[0], 5), (Mean, &[1, 2], 5)]);
        assert!(Plan::of(&other, true).leading.is_empty());
    }
}
