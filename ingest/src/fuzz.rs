//! How many inputs the fuzzing tests of inputs try.

/// `default`, or a hundred thousand where `MOZDEF_LONG` is set.
pub(crate) fn cases(default: u32) -> u32 {
    if std::env::var_os("MOZDEF_LONG").is_some() { 100_000 } else { default }
}
