//! Secrets: from a file or an environment variable, never from the configuration itself.
//!
//! In: the names of a file and of a variable. Out: the secret. Never: the secret in an error or a log.

use std::path::{Path, PathBuf};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a secret is not known.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{what} cannot be read from {}: {cause}", file.display())]
    File {
        /// Which secret.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// The variable is not set, or is no text.
    #[error("{what} cannot be read from ${variable}: {source}")]
    Variable {
        /// Which secret.
        what: &'static str,
        /// The variable.
        variable: String,
        /// Why.
        source: std::env::VarError,
    },
    /// No place is named.
    #[error("no place is configured for {what}")]
    Nowhere {
        /// Which secret.
        what: &'static str,
    },
}

/// A secret from a file (without the line's end), else from a variable; `None` where neither is named.
///
/// # Errors
/// [`SecretError`] where the one that is named does not give it.
pub fn read(
    what: &'static str,
    file: Option<&Path>,
    variable: Option<&str>,
) -> Result<Option<String>, SecretError> {
    if let Some(file) = file {
        let failed = |cause: String| SecretError::File { what, file: file.to_owned(), cause };
        let size = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(failed(format!("it has {size} bytes, more than {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let Some(variable) = variable else { return Ok(None) };
    match std::env::var(variable) {
        Ok(secret) => Ok(Some(secret)),
        Err(source) => Err(SecretError::Variable { what, variable: variable.to_owned(), source }),
    }
}

/// As [`read`], where one of the two must be named.
///
/// # Errors
/// [`SecretError`] where neither is named, or does not give it.
pub fn needed(
    what: &'static str,
    file: Option<&Path>,
    variable: Option<&str>,
) -> Result<String, SecretError> {
    read(what, file, variable)?.ok_or(SecretError::Nowhere { what })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_file_comes_before_a_variable_and_loses_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        assert_eq!(read("the password", Some(&file), Some("PATH")).unwrap().as_deref(), Some("s3cret"));
        assert_eq!(read("the password", None, None).unwrap(), None);
        let error = read("the password", None, Some("MOZDEF_NO_SUCH_VARIABLE")).unwrap_err().to_string();
        assert_eq!(
            error,
            "the password cannot be read from $MOZDEF_NO_SUCH_VARIABLE: environment variable not found"
        );
        let error = read("the password", Some(&folder.path().join("x")), None).unwrap_err().to_string();
        assert!(error.starts_with("the password cannot be read from /"), "{error}");
    }
}
