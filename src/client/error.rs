//! Why a call had no answer, in the words of etcd's Go client: scripts match them.
//!
//! Writes and reads: nothing but the table of errors.

use tonic::{Code, Status};

use crate::wire::error::Error as Rejection;

#[derive(Clone, Debug)]
pub enum Error {
    /// The member refused, with an error of the table.
    Rejected(Rejection),
    /// Anything else that came as a status.
    Status(Code, String),
    /// The time given for the call ran out.
    DeadlineExceeded,
    NoEndpoints,
    /// The options do not go together, or a file they name cannot be used.
    Options(String),
}

impl Error {
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Error::Rejected(rejection) => Some(*rejection),
            _ => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        match Rejection::from_text(status.message()) {
            Some(rejection) => Error::Rejected(rejection),
            None => Error::Status(status.code(), status.message().to_owned()),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Rejected(rejection) => write!(f, "{rejection}"),
            Error::Status(code, message) => write!(f, "rpc error: code = {} desc = {message}", code_name(*code)),
            Error::DeadlineExceeded => f.write_str("context deadline exceeded"),
            Error::NoEndpoints => f.write_str("etcdclient: no available endpoints"),
            Error::Options(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// Go's name of a code.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// A status made on this side of the wire because the connection broke means "unavailable", whatever code the transport chose.
pub(super) fn normalise(status: Status) -> Status {
    if let Some((size, max)) = too_long(&status) {
        return Status::resource_exhausted(format!("grpc: received message larger than max ({size} vs. {max})"));
    }
    match std::error::Error::source(&status) {
        Some(source) if !is_timeout(&status) => Status::unavailable(format!("connection error: {}", chain(source))),
        _ => status,
    }
}

/// Length and limit of an answer that the decoder refused; it has a code and words of its own for it.
fn too_long(status: &Status) -> Option<(&str, &str)> {
    let rest = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (size, rest) = rest.split_once(" bytes, the limit is: ")?;
    Some((size, rest.strip_suffix(" bytes")?))
}

/// Whether the transport's own timer ended the call: it has no code of its own.
pub(super) fn is_timeout(status: &Status) -> bool {
    status.code() == Code::DeadlineExceeded || (status.code() == Code::Cancelled && status.message() == "Timeout expired")
}

/// An error and its causes, the outermost first, none said twice.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_text_is_shown_bare_and_an_unknown_one_with_its_code() {
        assert_eq!(Error::from(Rejection::LeaseNotFound.status()).to_string(), "etcdserver: requested lease not found");
        assert_eq!(
            Error::from(Status::unknown("not a primary lessor")).to_string(),
            "rpc error: code = Unknown desc = not a primary lessor"
        );
        // ERR-8: this one travels with another code than its own.
        assert_eq!(Error::from(Rejection::RequestTooManyRequests.status()).rejection(), Some(Rejection::RequestTooManyRequests));
    }
}
