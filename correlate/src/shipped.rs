//! The rules, log sources and field maps that are part of the program, so
//! that the bare binary can judge events.
//!
//! In: the files of `rules/`, when the program is built. Out: their texts.
//! Never: a file of that folder left out; a test compares.

use crate::load::{Role, SourceFile, role_of};

/// Path below `rules/`, and content.
const FILES: &[(&str, &str)] = &[
    (
        "cloud/cloudtrail_logging_disabled.yaml",
        include_str!("../../rules/cloud/cloudtrail_logging_disabled.yaml"),
    ),
    ("fields/cloud.yaml", include_str!("../../rules/fields/cloud.yaml")),
    ("fields/cloudtrail.yaml", include_str!("../../rules/fields/cloudtrail.yaml")),
    ("fields/linux.yaml", include_str!("../../rules/fields/linux.yaml")),
    ("fields/web.yaml", include_str!("../../rules/fields/web.yaml")),
    ("fields/windows.yaml", include_str!("../../rules/fields/windows.yaml")),
    ("fields/zeek.yaml", include_str!("../../rules/fields/zeek.yaml")),
    ("linux/ssh_bruteforce.yaml", include_str!("../../rules/linux/ssh_bruteforce.yaml")),
    ("linux/ssh_user_guessing.yaml", include_str!("../../rules/linux/ssh_user_guessing.yaml")),
    ("linux/su_failures.yaml", include_str!("../../rules/linux/su_failures.yaml")),
    ("linux/sudo_refused.yaml", include_str!("../../rules/linux/sudo_refused.yaml")),
    ("logsources.yaml", include_str!("../../rules/logsources.yaml")),
    ("mozdef/plugin_quarantined.yaml", include_str!("../../rules/mozdef/plugin_quarantined.yaml")),
    ("network/suricata_high_severity.yaml", include_str!("../../rules/network/suricata_high_severity.yaml")),
    ("network/zeek_scan.yaml", include_str!("../../rules/network/zeek_scan.yaml")),
];

/// The shipped files of some roles, in order of their names.
pub fn files(wanted: impl Fn(Role) -> bool) -> Vec<SourceFile> {
    FILES
        .iter()
        .map(|(path, text)| (*path, role_of(path), *text))
        .filter(|(_, role, _)| wanted(*role))
        .map(|(path, role, text)| SourceFile {
            name: format!("shipped:{path}").into(),
            role,
            text: text.into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::FILES;

    fn below(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(root, &path, found);
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
        let mut found = Vec::new();
        below(&root, &root, &mut found);
        found.sort();
        assert_eq!(FILES.iter().map(|(path, _)| *path).collect::<Vec<_>>(), found);
    }
}
