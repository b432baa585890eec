//! Errors of the system with a sentence on what was attempted.

use std::fmt;
use std::io;

/// A failed call together with what it was for. Travels inside an [`io::Error`].
#[derive(Debug)]
struct Failure {
    what: String,
    cause: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// `cause`, introduced by `what` was attempted and where.
pub(super) fn failed(what: impl Into<String>, cause: impl Into<io::Error>) -> io::Error {
    let cause = cause.into();
    io::Error::new(cause.kind(), Failure { what: what.into(), cause })
}

/// The number that the system gave the error, also from inside an error with a sentence.
pub fn os_code(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let failure = error.get_ref()?.downcast_ref::<Failure>()?;
        os_code(&failure.cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_keeps_kind_and_number() {
        let cause = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let error = failed("listen on 127.0.0.1:6379", cause);
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(os_code(&error), Some(libc::EADDRINUSE));
        assert!(error.to_string().starts_with("listen on 127.0.0.1:6379: Address already in use"));
        assert_eq!(os_code(&io::Error::other("no number")), None);
    }
}
