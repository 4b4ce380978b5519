//! Zone abbreviations that shippers write. Those with two meanings have the
//! one that logs mostly mean (IST is India, CST and EST are America's).

/// Minutes east of Greenwich of a zone abbreviation, upper or lower case; `None` when it is not known.
pub fn minutes(abbreviation: &str) -> Option<i32> {
    let mut upper = [0_u8; 5];
    let name = upper.get_mut(..abbreviation.len())?;
    name.copy_from_slice(abbreviation.as_bytes());
    name.make_ascii_uppercase();
    let minutes = match &*name {
        b"Z" | b"UTC" | b"GMT" | b"WET" | b"UCT" => 0,
        b"BST" | b"CET" | b"MEZ" | b"WEST" | b"WAT" => 60,
        b"CEST" | b"MESZ" | b"EET" | b"SAST" | b"CAT" => 120,
        b"EEST" | b"MSK" | b"EAT" | b"TRT" => 180,
        b"GST" => 240,
        b"PKT" => 300,
        b"IST" => 330,
        b"ICT" | b"WIB" => 420,
        b"HKT" | b"SGT" | b"AWST" | b"PHT" => 480,
        b"JST" | b"KST" => 540,
        b"ACST" => 570,
        b"AEST" => 600,
        b"ACDT" => 630,
        b"AEDT" => 660,
        b"NZST" => 720,
        b"NZDT" => 780,
        b"NST" => -210,
        b"NDT" => -150,
        b"BRT" | b"ART" | b"ADT" => -180,
        b"AST" | b"EDT" => -240,
        b"EST" | b"CDT" => -300,
        b"CST" | b"MDT" => -360,
        b"MST" | b"PDT" => -420,
        b"PST" | b"AKDT" => -480,
        b"AKST" => -540,
        b"HST" => -600,
        _ => return None,
    };
    Some(minutes)
}
