//! One field: what a column, or a part of it, is looked up as.

use crate::blob::Blob;
use crate::calendar;
use crate::columns::{Data, Family};
use crate::error::{fail, Result};
use crate::header::{Encoding, FieldHeader, Part};
use crate::json::LONGEST_TEXT;
use crate::lookup::Lookup;
use crate::ordered::{below, between};
use crate::slots::{FIRST_SLOT, NULL};

/// Standardised values are cut here, as in training.
const LONGEST_FACTOR: f64 = 10.0;
/// Categories that a description shows.
const EXAMPLES: usize = 10;

#[derive(Debug)]
enum Coding {
    Categories(Lookup),
    Bins(Vec<f64>),
    Scaled {
        mean: f64,
        std: f64,
    },
    /// In order, and the last less the first is finite.
    Interpolated(Vec<f64>),
}

/// What a row of a field has beside its embedding row, with where it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside<T> {
    Nothing,
    /// What the vector is multiplied by.
    Factor(T),
    /// From 0 to 1: how much of the vector is the next embedding row's.
    Share(T),
}

impl Beside<()> {
    /// The same with the next place, if it needs one.
    pub fn placed(self, places: &mut impl Iterator<Item = usize>) -> Beside<usize> {
        let mut place = || places.next().expect("there are as many as fields");
        match self {
            Beside::Nothing => Beside::Nothing,
            Beside::Factor(()) => Beside::Factor(place()),
            Beside::Share(()) => Beside::Share(place()),
        }
    }
}

#[derive(Debug)]
pub struct Field {
    /// Place of its column among the model's.
    pub column: usize,
    pub header: FieldHeader,
    /// First embedding row.
    base: u32,
    coding: Coding,
    pub categories: usize,
    /// The first categories as text.
    pub examples: Vec<String>,
}

impl Field {
    /// The field numbered `number`, whose rows begin at `first`; `room` is the memory left for tables of keys.
    pub fn read(
        blob: &Blob<'_>,
        number: usize,
        header: &FieldHeader,
        column: usize,
        first: u64,
        room: &mut usize,
    ) -> Result<Self> {
        if header.first != first {
            fail!("field {number} begins at embedding row {}, not {first}", header.first);
        }
        let possible = match header.encoding {
            Encoding::Categories => !matches!(header.family, Family::Number | Family::Interval),
            Encoding::Bins | Encoding::Scaled | Encoding::Interpolated => {
                header.part == Part::Value && !matches!(header.family, Family::Boolean | Family::Text | Family::IdValue)
            }
        };
        let has_part = match header.part {
            Part::Value => true,
            Part::Month | Part::Weekday => matches!(header.family, Family::Date | Family::Timestamp),
            Part::Hour => header.family == Family::Timestamp,
        };
        if !possible || !has_part {
            let (family, part, encoding) = (header.family.name(), header.part.name(), header.encoding.name());
            fail!("field {number} is the {part} of a {family} as {encoding}, which there is not");
        }
        // What values are divided by, in single precision: so no quotient of finite ones is infinite.
        if !(1.0..=f64::from(f32::MAX)).contains(&header.scale) {
            fail!("field {number} has the scale {}", header.scale);
        }
        if header.encoding != Encoding::Categories && header.buckets != 0 {
            fail!("field {number} has buckets and no categories");
        }

        let base = u32::try_from(first).unwrap_or(u32::MAX);
        let mut examples = Vec::new();
        let mut categories = 0;
        let check = |slots: u64| -> Result<()> {
            if header.slots != slots || first.checked_add(slots).is_none_or(|end| end > i32::MAX as u64) {
                fail!("field {number} has {} embedding rows and needs {slots}", header.slots);
            }
            Ok(())
        };
        let coding = match header.encoding {
            Encoding::Categories => {
                let keys = blob.i64s(&format!("fields.{number}.categories"))?;
                if header.buckets > i32::MAX as u64 {
                    fail!("field {number} has {} buckets", header.buckets);
                }
                check(u64::from(FIRST_SLOT) + keys.len() as u64 + header.buckets)?;
                if !keys.windows(2).all(|pair| pair[0] < pair[1]) {
                    fail!("the categories of field {number} are not in order");
                }
                categories = keys.len();
                examples = examples_of(blob, number, header, &keys)?;
                Coding::Categories(Lookup::new(&keys, base, header.buckets as u32, room, blob.pause)?)
            }
            Encoding::Bins => {
                let edges = blob.f64s(&format!("fields.{number}.edges"))?;
                check(u64::from(FIRST_SLOT) + 1 + edges.len() as u64)?;
                if !edges.iter().all(|edge| edge.is_finite()) || !edges.windows(2).all(|pair| pair[0] < pair[1]) {
                    fail!("the edges of field {number} are not in order");
                }
                Coding::Bins(edges)
            }
            Encoding::Scaled => {
                check(u64::from(FIRST_SLOT) + 1)?;
                Coding::Scaled { mean: header.mean, std: header.std }
            }
            Encoding::Interpolated => {
                let knots = blob.f64s(&format!("fields.{number}.knots"))?;
                check(u64::from(FIRST_SLOT) + knots.len() as u64)?;
                let (Some(low), Some(high)) = (knots.first(), knots.last()) else {
                    fail!("field {number} has no knots")
                };
                // A NaN among them is in no order.
                if !(high - low).is_finite() || !knots.windows(2).all(|pair| pair[0] < pair[1]) {
                    fail!("the knots of field {number} are not in order, or too far apart");
                }
                Coding::Interpolated(knots)
            }
        };
        Ok(Self { column, header: header.clone(), base, coding, categories, examples })
    }

    pub fn slots(&self) -> usize {
        self.header.slots as usize
    }

    /// Where bins end, or the knots that a number lies between.
    pub fn edges(&self) -> &[f64] {
        match &self.coding {
            Coding::Bins(edges) | Coding::Interpolated(edges) => edges,
            _ => &[],
        }
    }

    /// What its rows have beside an id.
    pub fn beside(&self) -> Beside<()> {
        match self.coding {
            Coding::Interpolated(_) => Beside::Share(()),
            Coding::Scaled { .. } => Beside::Factor(()),
            _ if self.header.family == Family::IdValue => Beside::Factor(()),
            _ => Beside::Nothing,
        }
    }

    pub fn bytes(&self) -> usize {
        let coding = match &self.coding {
            Coding::Categories(lookup) => lookup.bytes(),
            Coding::Bins(edges) | Coding::Interpolated(edges) => std::mem::size_of_val(&edges[..]),
            Coding::Scaled { .. } => 0,
        };
        coding + self.examples.iter().map(String::capacity).sum::<usize>() + std::mem::size_of::<Self>()
    }

    /// Embedding rows of a column. The caller has checked that data, mask and both outputs have one length and that the
    /// data are of the field's family. `numbers` is there for fields that have something beside the ids.
    pub fn encode(&self, data: &Data<'_>, nulls: Option<&[u8]>, ids: &mut [u32], mut numbers: Option<&mut [f32]>) {
        let null = self.base + NULL;
        let first = self.base + FIRST_SLOT;
        match (&self.coding, &mut numbers) {
            (Coding::Categories(lookup), _) => self.look_up(lookup, data, ids),
            (Coding::Bins(edges), _) => {
                let bin = |x: f64| if x.is_nan() { null } else { first + below(edges, x) };
                for_each_number(data, |place, x| ids[place] = bin(x));
            }
            (Coding::Interpolated(knots), Some(shares)) => for_each_number(data, |place, x| {
                let (knot, share) = between(knots, x);
                (ids[place], shares[place]) = if x.is_nan() { (null, 0.0) } else { (first + knot, share) };
            }),
            (Coding::Scaled { .. } | Coding::Interpolated(_), _) => {
                for_each_number(data, |place, x| ids[place] = if x.is_nan() { null } else { first });
            }
        }
        if let Some(nulls) = nulls {
            for (id, is_null) in ids.iter_mut().zip(nulls) {
                *id = if *is_null != 0 { null } else { *id };
            }
        }
        if let Some(numbers) = numbers {
            let is_share = matches!(self.coding, Coding::Interpolated(_));
            if !is_share {
                self.find_factors(data, ids, numbers);
            }
            if let Some(nulls) = nulls {
                let of_null = if is_share { 0.0 } else { 1.0 };
                for (number, is_null) in numbers.iter_mut().zip(nulls) {
                    *number = if *is_null != 0 { of_null } else { *number };
                }
            }
        }
    }

    /// A factor for every row, and the NULL slot where there is no finite one.
    fn find_factors(&self, data: &Data<'_>, ids: &mut [u32], factors: &mut [f32]) {
        match (&self.coding, data) {
            (Coding::Scaled { mean, std }, _) => for_each_number(data, |place, x| {
                let factor = ((x - mean) / std).clamp(-LONGEST_FACTOR, LONGEST_FACTOR) as f32;
                factors[place] = if factor.is_nan() { 1.0 } else { factor };
            }),
            (_, Data::IdValue { values: Some(values), .. }) => {
                let scale = self.header.scale as f32;
                for ((factor, id), value) in factors.iter_mut().zip(ids).zip(*values) {
                    *factor = value / scale;
                    if !factor.is_finite() {
                        (*id, *factor) = (self.base + NULL, 1.0);
                    }
                }
            }
            // A batch whose numbers are all 1 must predict what it would among others.
            (_, Data::IdValue { values: None, .. }) => factors.fill(1.0 / self.header.scale as f32),
            _ => factors.fill(1.0),
        }
    }

    fn look_up(&self, lookup: &Lookup, data: &Data<'_>, ids: &mut [u32]) {
        let wide = |v: &i32| i64::from(*v);
        match (self.header.part, data) {
            (Part::Value, Data::Boolean(v) | Data::Int32(v) | Data::Date(v)) => {
                lookup.rows_of(v.iter().map(wide), ids);
            }
            (Part::Value, Data::IdValue { ids: v, .. }) => lookup.rows_of(v.iter().map(wide), ids),
            (Part::Value, Data::Int64(v) | Data::Text(v) | Data::Timestamp(v) | Data::Time(v)) => {
                lookup.rows_of(v.iter().copied(), ids);
            }
            (Part::Month, Data::Date(v)) => lookup.rows_of(v.iter().map(|d| calendar::month_of(wide(d))), ids),
            (Part::Weekday, Data::Date(v)) => lookup.rows_of(v.iter().map(|d| calendar::weekday_of(wide(d))), ids),
            (Part::Month, Data::Timestamp(v)) => {
                lookup.rows_of(v.iter().map(|t| calendar::month_of(calendar::day_of(*t))), ids);
            }
            (Part::Weekday, Data::Timestamp(v)) => {
                lookup.rows_of(v.iter().map(|t| calendar::weekday_of(calendar::day_of(*t))), ids);
            }
            (Part::Hour, Data::Timestamp(v)) => lookup.rows_of(v.iter().map(|t| calendar::hour_of(*t)), ids),
            // Refused when the model was read, or by the caller.
            _ => ids.fill(self.base),
        }
    }
}

/// Calls `put` with every row's value as a number, as far as the family has numbers.
#[inline]
fn for_each_number(data: &Data<'_>, mut put: impl FnMut(usize, f64)) {
    match data {
        Data::Int32(v) | Data::Date(v) => v.iter().enumerate().for_each(|(place, x)| put(place, f64::from(*x))),
        Data::Int64(v) | Data::Timestamp(v) | Data::Time(v) => {
            v.iter().enumerate().for_each(|(place, x)| put(place, *x as f64));
        }
        Data::Float32(v) => v.iter().enumerate().for_each(|(place, x)| put(place, f64::from(*x))),
        Data::Float64(v) | Data::Interval(v) => v.iter().enumerate().for_each(|(place, x)| put(place, *x)),
        Data::Boolean(_) | Data::Text(_) | Data::IdValue { .. } => {}
    }
}

fn examples_of(blob: &Blob<'_>, number: usize, header: &FieldHeader, keys: &[i64]) -> Result<Vec<String>> {
    if header.family != Family::Text {
        let shown = |key: &i64| match (header.family, header.part, key) {
            (Family::Boolean, _, 0) => "false".to_owned(),
            (Family::Boolean, _, 1) => "true".to_owned(),
            _ => key.to_string(),
        };
        return Ok(keys.iter().take(EXAMPLES).map(shown).collect());
    }
    let (ends, bytes) = (blob.u32s(&format!("fields.{number}.ends"))?, blob.bytes(&format!("fields.{number}.bytes"))?);
    let mut begin = 0;
    let mut examples = Vec::new();
    for &end in &ends {
        let end = end as usize;
        if end < begin || end > bytes.len() {
            fail!("the texts of field {number} end where there are none");
        }
        let Ok(text) = std::str::from_utf8(&bytes[begin..end]) else { fail!("a text of field {number} is not UTF-8") };
        if text.len() > LONGEST_TEXT || text.contains('\0') {
            fail!("a text of field {number} holds a NUL character or more than {LONGEST_TEXT} bytes");
        }
        // A text whose spelling was not kept is empty here.
        if !text.is_empty() && examples.len() < EXAMPLES {
            examples.push(text.to_owned());
        }
        begin = end;
    }
    if ends.len() != keys.len() || begin != bytes.len() {
        fail!("field {number} has {} categories and {} texts", keys.len(), ends.len());
    }
    Ok(examples)
}
