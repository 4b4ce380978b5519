//! Names of severities and facilities, as syslog-ng writes them to MozDef.

/// The severity's name of a priority, upper case.
pub(super) fn of_priority(priority: u8) -> &'static str {
    match priority & 7 {
        0 => "EMERG",
        1 => "ALERT",
        2 => "CRIT",
        3 => "ERR",
        4 => "WARNING",
        5 => "NOTICE",
        6 => "INFO",
        _ => "DEBUG",
    }
}

/// The facility's name of a priority.
pub(super) fn facility_of(priority: u8) -> &'static str {
    const NAMES: [&str; 24] = [
        "kern",
        "user",
        "mail",
        "daemon",
        "auth",
        "syslog",
        "lpr",
        "news",
        "uucp",
        "cron",
        "authpriv",
        "ftp",
        "ntp",
        "security",
        "console",
        "solaris-cron",
        "local0",
        "local1",
        "local2",
        "local3",
        "local4",
        "local5",
        "local6",
        "local7",
    ];
    NAMES.get(usize::from(priority >> 3)).copied().unwrap_or("unknown")
}

/// The severity that a word names, whatever its case.
pub(super) fn of_word(word: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 18] = [
        ("emerg", "EMERG"),
        ("emergency", "EMERG"),
        ("panic", "EMERG"),
        ("alert", "ALERT"),
        ("crit", "CRIT"),
        ("critical", "CRIT"),
        ("fatal", "CRIT"),
        ("err", "ERR"),
        ("error", "ERR"),
        ("warning", "WARNING"),
        ("warn", "WARNING"),
        ("notice", "NOTICE"),
        ("info", "INFO"),
        ("information", "INFO"),
        ("informational", "INFO"),
        ("debug", "DEBUG"),
        ("trace", "DEBUG"),
        ("verbose", "DEBUG"),
    ];
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, name)| *name)
}
