//! Versions of the cluster and of servers: three numbers.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
}

impl Version {
    pub const fn new(major: u64, minor: u64) -> Version {
        Version { major, minor, patch: 0 }
    }

    /// The version without what a cluster does not agree on.
    pub fn minor_only(self) -> Version {
        Version { patch: 0, ..self }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version such as 3.7.0")]
pub struct ParseError(String);

impl FromStr for Version {
    type Err = ParseError;

    /// Reads `major.minor.patch`; what follows the numbers after `-` or `+` is left out of the comparison.
    fn from_str(text: &str) -> Result<Version, ParseError> {
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse::<u64>().ok(),
            false => None,
        });
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Version { major, minor, patch }),
            _ => Err(ParseError(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers() {
        assert_eq!("3.7.12".parse(), Ok(Version { major: 3, minor: 7, patch: 12 }));
        assert_eq!("3.8.0-alpha.0".parse(), Ok(Version::new(3, 8)));
        for wrong in ["", "3", "3.7", "3.7.x", "3.7.0.1", "+3.7.0", "3..0", "-1.0.0"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(Version::new(3, 10) > Version::new(3, 9));
        assert_eq!("3.7.2".parse::<Version>().unwrap().minor_only().to_string(), "3.7.0");
    }
}
