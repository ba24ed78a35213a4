//! The one error type of the crate; `tell` is where it becomes a PostgreSQL ERROR or WARNING.

use pgrx::prelude::*;

use crate::limits::LONGEST_SHOWN;

pub type Result<T> = std::result::Result<T, TrailsError>;

/// An error for the person who wrote the statement: what is wrong, the details, what to do next.
#[derive(Debug, Clone, PartialEq)]
pub struct TrailsError {
    pub code: PgSqlErrorCode,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// What shows how the server is set up, such as a traceback: detail for those who may see its settings, and for
    /// everybody else an entry in its log.
    pub confidential: Option<String>,
}

impl TrailsError {
    pub fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None, confidential: None }
    }

    /// An argument that cannot be used as given.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
    }

    /// Data that cannot be trained on.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, message)
    }

    /// A server that is not set up for Trails.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR, message)
    }

    /// A fault outside the server: the interpreter, the refinement process.
    pub fn external(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, message)
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// See `confidential`.
    pub fn confidential(mut self, text: impl Into<String>) -> Self {
        self.confidential = Some(text.into()).filter(|text| !text.is_empty());
        self
    }

    /// The same for the client, with the fault as its cause and what to do about it.
    pub fn because_of(self, fault: Self) -> Self {
        let Self { detail, hint, confidential, .. } = fault;
        Self { detail, hint, confidential, ..self }
    }

    /// Something that does not end the statement; see `warn`.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_WARNING, message)
    }
}

impl From<std::io::Error> for TrailsError {
    fn from(error: std::io::Error) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_IO_ERROR, error.to_string())
    }
}

impl From<pgrx::spi::Error> for TrailsError {
    fn from(error: pgrx::spi::Error) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, error.to_string())
    }
}

/// The beginning of an argument, for messages.
pub fn shown(argument: &str) -> String {
    cut(argument.to_owned(), LONGEST_SHOWN)
}

/// The first `most` characters, and a sign that there were more.
pub fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The error code for a five-character SQLSTATE, `XX000` when it is not one.
pub fn code_of(sqlstate: &str) -> PgSqlErrorCode {
    let valid = sqlstate.len() == 5 && sqlstate.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if !valid {
        return PgSqlErrorCode::ERRCODE_INTERNAL_ERROR;
    }
    // The server packs six bits a character, counted from '0'.
    let packed = sqlstate.bytes().rev().fold(0i32, |code, b| (code << 6) | (i32::from(b) - i32::from(b'0')) & 0x3f);
    PgSqlErrorCode::from(packed)
}

/// The five characters of an error code; `code_of` the other way round.
pub fn sqlstate_of(code: PgSqlErrorCode) -> String {
    let packed = code as i32;
    (0..5).map(|place| char::from(b'0' + ((packed >> (6 * place)) & 0x3f) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_told_as_they_are_read() {
        for sqlstate in ["00000", "22023", "57014", "XX000", "55P03", "P0001"] {
            assert_eq!(sqlstate_of(code_of(sqlstate)), sqlstate);
        }
    }

    #[test]
    fn arguments_are_shown_by_their_beginning() {
        assert_eq!(shown("short"), "short");
        assert_eq!(shown(&"ä".repeat(100)), "ä".repeat(100));
        assert_eq!(shown(&"ä".repeat(10_000_000)), "ä".repeat(100) + "...");
    }

    #[test]
    fn sqlstates_are_packed_as_the_server_packs_them() {
        assert_eq!(code_of("22023"), PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE);
        assert_eq!(code_of("53400"), PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED);
        assert_eq!(code_of("XX000"), PgSqlErrorCode::ERRCODE_INTERNAL_ERROR);
        assert_eq!(code_of("nonsense"), PgSqlErrorCode::ERRCODE_INTERNAL_ERROR);
    }
}
