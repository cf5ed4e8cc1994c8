//! From a password to a key: Argon2id, version 0x13 (RFC 9106).
//!
//! Always true here: parameters that come from storage are checked against limits before any memory is
//! taken, so that a hostile key bundle costs at most [`MAX_MEMORY_KIB`].

use super::{CryptoError, Secret};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroize;

/// The most memory that a key bundle may ask for, in KiB.
pub const MAX_MEMORY_KIB: u32 = 1 << 20;
/// The most passes that a key bundle may ask for.
pub const MAX_PASSES: u32 = 32;
/// The most lanes that a key bundle may ask for.
pub const MAX_LANES: u32 = 16;

/// Costs of the password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes; this implementation computes them one behind the other.
    pub lanes: u32,
}

impl Default for PasswordCost {
    /// 64 MiB, 3 passes, 1 lane: above OWASP's advice of 19 MiB and 2 passes, about 0.15 s.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

impl PasswordCost {
    /// Checks the limits.
    ///
    /// # Errors
    /// [`CryptoError::PasswordParameter`] names the one that is outside.
    pub fn check(&self) -> Result<(), CryptoError> {
        let outside = |parameter, expected, found| Err(CryptoError::PasswordParameter { parameter, expected, found });
        if self.lanes == 0 || self.lanes > MAX_LANES {
            return outside("lanes", "1 to 16", self.lanes);
        }
        if self.memory_kib < 8 * self.lanes || self.memory_kib > MAX_MEMORY_KIB {
            return outside("memory in KiB", "8 for each lane to 1048576", self.memory_kib);
        }
        if self.passes == 0 || self.passes > MAX_PASSES {
            return outside("passes", "1 to 32", self.passes);
        }
        Ok(())
    }
}

/// A password as it was typed or read; wipes itself and prints nothing.
#[derive(Clone)]
pub struct Password(zeroize::Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes as they are, without trimming.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(zeroize::Zeroizing::new(bytes))
    }

    /// The bytes. The caller must not print or store them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// True when there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The key that opens a bundle protected by `password`.
///
/// # Errors
/// [`CryptoError::PasswordParameter`], [`CryptoError::PasswordMemory`].
pub fn password_key(password: &Password, salt: &[u8; 16], cost: PasswordCost) -> Result<Secret, CryptoError> {
    cost.check()?;
    let memory = CryptoError::PasswordMemory { needed_kib: cost.memory_kib };
    let parameters = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|_| {
        CryptoError::PasswordParameter {
            parameter: "combination",
            expected: "what RFC 9106 allows",
            found: cost.memory_kib,
        }
    })?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(&password.0, salt, &mut key)
        .map_err(|_| memory)?;
    let secret = Secret::new(key);
    key.zeroize();
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked_before_memory_is_taken() {
        let password = Password::new(b"x".to_vec());
        for cost in [
            PasswordCost { memory_kib: u32::MAX, passes: 1, lanes: 1 },
            PasswordCost { memory_kib: 7, passes: 1, lanes: 1 },
            PasswordCost { memory_kib: 64, passes: 0, lanes: 1 },
            PasswordCost { memory_kib: 64, passes: 33, lanes: 1 },
            PasswordCost { memory_kib: 64, passes: 1, lanes: 0 },
            PasswordCost { memory_kib: 1024, passes: 1, lanes: 17 },
        ] {
            assert!(matches!(password_key(&password, &[0; 16], cost), Err(CryptoError::PasswordParameter { .. })));
        }
    }

    #[test]
    fn password_salt_and_cost_all_count() {
        let cost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };
        let key =
            |text: &[u8], salt, cost| password_key(&Password::new(text.to_vec()), &[salt; 16], cost).expect("key");
        let base = key(b"a", 1, cost);
        assert_eq!(base, key(b"a", 1, cost));
        assert_ne!(base, key(b"b", 1, cost));
        assert_ne!(base, key(b"a", 2, cost));
        assert_ne!(base, key(b"a", 1, PasswordCost { passes: 2, ..cost }));
    }
}
