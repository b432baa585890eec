//! The digest of `requirepass`, compared in constant time.
//!
//! Digests have one length, so the comparison tells neither how long the password is nor how far
//! a guess was right.

use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The password of the server, if there is one.
#[derive(Default)]
pub(super) struct Password(RwLock<Option<[u8; 32]>>);

impl Password {
    /// Replaces the password; an empty one means none.
    pub(super) fn set(&self, text: &[u8]) {
        let digest = (!text.is_empty()).then(|| digest(text));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = digest;
    }

    /// True when there is a password and `guess` is it.
    pub(super) fn matches(&self, guess: &[u8]) -> bool {
        let stored = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        stored.is_some_and(|stored| stored.ct_eq(&digest(guess)).into())
    }
}

fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_matches() {
        let password = Password::default();
        assert!(!password.matches(b""), "no password is no empty password");
        password.set(b"se\0cret");
        assert!(password.matches(b"se\0cret"));
        assert!(!password.matches(b"se\0cre"));
        assert!(!password.matches(b""));
        password.set(b"");
        assert!(!password.matches(b"se\0cret"));
    }
}
