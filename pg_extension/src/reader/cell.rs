//! Cells as PostgreSQL stores them, and what becomes of each.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::columns::Kind;
use super::numeric;

/// How the cells of one column are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// Variable length: `text`, `varchar`.
    Text,
    /// Variable length, filled up with blanks that mean nothing: `char(n)`.
    BlankPadded,
    Uuid,
    Enum,
    Date,
    /// With or without time zone: both are stored alike.
    Timestamp,
    Time,
    Interval,
}

/// For hints.
pub const READABLE_TYPES: &str = "boolean, integer, floating-point, numeric, text, varchar, char, uuid, enum, date, \
                                  timestamp, time and interval columns";

/// None for a type that the reader does not read.
pub fn cell_of(base_type: pg_sys::Oid) -> Option<Cell> {
    Some(match base_type {
        pg_sys::BOOLOID => Cell::Bool,
        pg_sys::INT2OID => Cell::Int2,
        pg_sys::INT4OID => Cell::Int4,
        pg_sys::INT8OID => Cell::Int8,
        pg_sys::FLOAT4OID => Cell::Float4,
        pg_sys::FLOAT8OID => Cell::Float8,
        pg_sys::NUMERICOID => Cell::Numeric,
        pg_sys::TEXTOID | pg_sys::VARCHAROID => Cell::Text,
        pg_sys::BPCHAROID => Cell::BlankPadded,
        pg_sys::UUIDOID => Cell::Uuid,
        pg_sys::DATEOID => Cell::Date,
        pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Cell::Timestamp,
        pg_sys::TIMEOID => Cell::Time,
        pg_sys::INTERVALOID => Cell::Interval,
        // SAFETY: a look into the server's caches, within the calling transaction; any OID may be asked for.
        other if unsafe { pg_sys::type_is_enum(other) } => Cell::Enum,
        _ => return None,
    })
}

impl Cell {
    /// None for a text, which is found to be of the form `id:value` or not as it is read.
    pub fn kind(self) -> Option<Kind> {
        Some(match self {
            Cell::Bool => Kind::Boolean,
            Cell::Int2 | Cell::Int4 => Kind::Int32,
            Cell::Int8 => Kind::Int64,
            Cell::Float4 => Kind::Float32,
            Cell::Float8 | Cell::Numeric => Kind::Float64,
            Cell::Text | Cell::BlankPadded => return None,
            Cell::Uuid | Cell::Enum => Kind::Text,
            Cell::Date => Kind::Date,
            Cell::Timestamp => Kind::Timestamp,
            Cell::Time => Kind::Time,
            Cell::Interval => Kind::Interval,
        })
    }

    /// Whether a value that is not NULL counts as one: no number, or an end that is open.
    ///
    /// # Safety
    /// The datum is of this cell's type, and not NULL.
    #[inline]
    pub unsafe fn counts_as_null(self, datum: pg_sys::Datum) -> bool {
        match self {
            Cell::Float4 => float4(datum).is_nan(),
            Cell::Float8 => float8(datum).is_nan(),
            // SAFETY: a numeric is of variable length; the copy is let go of here.
            Cell::Numeric => numeric::is_nan(&unsafe { Plain::of(datum) }),
            Cell::Date => date(datum).is_none(),
            Cell::Timestamp => timestamp(datum).is_none(),
            // SAFETY: the caller's promise.
            Cell::Interval => unsafe { interval(datum) }.is_none(),
            _ => false,
        }
    }
}

#[inline]
pub fn float4(datum: pg_sys::Datum) -> f32 {
    f32::from_bits(datum.value() as u32)
}

#[inline]
pub fn float8(datum: pg_sys::Datum) -> f64 {
    f64::from_bits(datum.value() as u64)
}

/// Days since 2000-01-01; None for an infinite date.
#[inline]
pub fn date(datum: pg_sys::Datum) -> Option<i32> {
    let days = datum.value() as i32;
    (days != i32::MIN && days != i32::MAX).then_some(days)
}

/// Microseconds since 2000-01-01; None for an infinite timestamp.
#[inline]
pub fn timestamp(datum: pg_sys::Datum) -> Option<i64> {
    let microseconds = datum.value() as i64;
    (microseconds != i64::MIN && microseconds != i64::MAX).then_some(microseconds)
}

const DAY: f64 = 86_400.0;

/// Seconds, with months of 30 days; None for an infinite interval.
///
/// # Safety
/// The datum is an interval, and not NULL.
#[inline]
pub unsafe fn interval(datum: pg_sys::Datum) -> Option<f64> {
    // SAFETY: the datum of an interval is its address, and any bits are one.
    let pg_sys::Interval { time, day, month } = unsafe { datum.cast_mut_ptr::<pg_sys::Interval>().read_unaligned() };
    let infinite = |low: bool| {
        let (day_end, time_end) = if low { (i32::MIN, i64::MIN) } else { (i32::MAX, i64::MAX) };
        (month, day, time) == (day_end, day_end, time_end)
    };
    if infinite(true) || infinite(false) {
        return None;
    }
    Some(time as f64 / 1e6 + (f64::from(day) + 30.0 * f64::from(month)) * DAY)
}

/// The canonical lower-case text of a UUID's 16 bytes.
#[inline]
pub fn uuid_text(bytes: &[u8; 16]) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut place = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            place += 1;
        }
        text[place] = HEX[usize::from(byte >> 4)];
        text[place + 1] = HEX[usize::from(byte & 15)];
        place += 2;
    }
    text
}

/// As the server spells a value.
///
/// # Safety
/// The datum is of the type, and not NULL.
pub unsafe fn as_text(type_oid: pg_sys::Oid, value: pg_sys::Datum) -> String {
    let (mut output, mut varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: the type's own function spells a value of it, by the caller's promise; the text ends in a NUL byte, and is
    // copied before the memory context of the statement goes.
    unsafe {
        pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut varlena);
        CStr::from_ptr(pg_sys::OidOutputFunctionCall(output, value)).to_string_lossy().into_owned()
    }
}

/// Without trailing blanks.
#[inline]
pub fn without_padding(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

/// The bytes of a value of variable length. One that is compressed or out of line is copied, and the copy freed.
pub struct Plain<'a> {
    bytes: &'a [u8],
    copy: *mut pg_sys::varlena,
}

impl Plain<'_> {
    /// # Safety
    /// The datum is of variable length, not NULL, and lives longer than what is returned.
    #[inline]
    pub unsafe fn of(datum: pg_sys::Datum) -> Self {
        let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the value is there and of variable length, by the caller's promise: its first byte says how it is stored.
        // What is neither compressed nor out of line lies here as it is.
        unsafe {
            if pgrx::varatt_is_1b_e(stored) || pgrx::varatt_is_4b_c(stored) {
                return Self::fetched(stored);
            }
            Self { bytes: bytes_of(stored), copy: std::ptr::null_mut() }
        }
    }

    /// # Safety
    /// The value is compressed or out of line.
    #[cold]
    unsafe fn fetched(stored: *mut pg_sys::varlena) -> Self {
        // SAFETY: a copy of its own, which `drop` frees, because the value was not stored as it is. The bound function is
        // guarded: what it raises unwinds as a panic up to the executor.
        unsafe {
            let copy = pg_sys::pg_detoast_datum_packed(stored);
            Self { bytes: bytes_of(copy), copy }
        }
    }
}

/// # Safety
/// The value is neither compressed nor out of line, and lives as long as what is returned.
unsafe fn bytes_of<'a>(plain: *const pg_sys::varlena) -> &'a [u8] {
    // SAFETY: behind its header there are as many bytes as the header says.
    unsafe { std::slice::from_raw_parts(pgrx::vardata_any(plain).cast(), pgrx::varsize_any_exhdr(plain)) }
}

impl std::ops::Deref for Plain<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Plain<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.copy.is_null() {
            // SAFETY: `fetched` made the copy, and the bytes that are borrowed from it end with `self`.
            unsafe { pg_sys::pfree(self.copy.cast()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_spelt_as_the_server_spells_it() {
        let bytes = *b"\xa0\xee\xbc\x99\x9c\x0b\x4e\xf8\xbb\x6d\x6b\xb9\xbd\x38\x0a\x11";
        assert_eq!(&uuid_text(&bytes), b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        assert_eq!(&uuid_text(&[0; 16]), b"00000000-0000-0000-0000-000000000000");
    }

    #[test]
    fn trailing_blanks_are_cut_and_no_others() {
        assert_eq!(without_padding(b" a b  "), b" a b");
        assert_eq!(without_padding(b"    "), b"");
        assert_eq!(without_padding(b"a\t"), b"a\t");
    }

    #[test]
    fn open_ends_are_no_values() {
        assert_eq!(date(pg_sys::Datum::from(i32::MAX)), None);
        assert_eq!(date(pg_sys::Datum::from(i32::MIN)), None);
        assert_eq!(date(pg_sys::Datum::from(-730_000i32)), Some(-730_000));
        assert_eq!(timestamp(pg_sys::Datum::from(i64::MIN)), None);
        assert_eq!(timestamp(pg_sys::Datum::from(-1i64)), Some(-1));
    }

    #[test]
    fn an_interval_is_so_many_seconds() {
        let seconds = |time, day, month| {
            let interval = pg_sys::Interval { time, day, month };
            // SAFETY: the interval outlives the call.
            unsafe { super::interval(pg_sys::Datum::from(std::ptr::from_ref(&interval))) }
        };
        assert_eq!(seconds(1_500_000, 0, 0), Some(1.5));
        assert_eq!(seconds(-1, 1, -1), Some(-29.0 * 86_400.0 - 1e-6));
        assert_eq!(seconds(i64::MAX, i32::MAX, i32::MAX), None);
        assert_eq!(seconds(i64::MIN, i32::MIN, i32::MIN), None);
        assert!(seconds(i64::MAX, 0, 0).is_some());
    }
}
