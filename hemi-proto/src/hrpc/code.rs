//! What has become of a call.

use std::fmt;

/// What has become of a call: 0 to 16 are those of gRPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

impl Code {
    /// All went well.
    pub const OK: Self = Self(0);
    /// The caller does not want it any more.
    pub const CANCELLED: Self = Self(1);
    /// An error that says nothing more about itself.
    pub const UNKNOWN: Self = Self(2);
    /// The argument can't be understood.
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// It took too long.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// What is asked for is not there.
    pub const NOT_FOUND: Self = Self(5);
    /// It is there already.
    pub const ALREADY_EXISTS: Self = Self(6);
    /// The caller may not do it.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// There is too much of something.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// Things are not so that it could be done.
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// Somebody else was faster.
    pub const ABORTED: Self = Self(10);
    /// It is beyond what there is.
    pub const OUT_OF_RANGE: Self = Self(11);
    /// There is no such service or method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// Something is broken.
    pub const INTERNAL: Self = Self(13);
    /// It can't be done now.
    pub const UNAVAILABLE: Self = Self(14);
    /// Data is lost.
    pub const DATA_LOSS: Self = Self(15);
    /// Nobody knows who the caller is.
    pub const UNAUTHENTICATED: Self = Self(16);
    /// The call was not looked at: it may be made again.
    pub const REFUSED: Self = Self(256);
    /// The other side does not keep to the protocol.
    pub const PROTOCOL: Self = Self(257);

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::OK => "ok",
            Self::CANCELLED => "cancelled",
            Self::UNKNOWN => "unknown",
            Self::INVALID_ARGUMENT => "invalid argument",
            Self::DEADLINE_EXCEEDED => "deadline exceeded",
            Self::NOT_FOUND => "not found",
            Self::ALREADY_EXISTS => "already exists",
            Self::PERMISSION_DENIED => "permission denied",
            Self::RESOURCE_EXHAUSTED => "resource exhausted",
            Self::FAILED_PRECONDITION => "failed precondition",
            Self::ABORTED => "aborted",
            Self::OUT_OF_RANGE => "out of range",
            Self::UNIMPLEMENTED => "unimplemented",
            Self::INTERNAL => "internal",
            Self::UNAVAILABLE => "unavailable",
            Self::DATA_LOSS => "data loss",
            Self::UNAUTHENTICATED => "unauthenticated",
            Self::REFUSED => "refused",
            Self::PROTOCOL => "protocol error",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}
