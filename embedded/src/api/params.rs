//! Parameters of the query string: each is taken by the endpoint that knows it; one that nobody takes is an error.

use std::time::Duration;

use crate::catalog::names::Lenient;
use crate::error::ApiError;
use crate::search::body::duration;

/// Parameters that change nothing here, on any endpoint.
const WITHOUT_EFFECT: &[&str] =
    &["human", "error_trace", "master_timeout", "cluster_manager_timeout", "source_content_type"];

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `a=1&b=2`.
    pub(super) fn read(query: &str) -> Result<Params, ApiError> {
        let mut list = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(&name.replace('+', " "))?;
            if !WITHOUT_EFFECT.contains(&name.as_str()) {
                list.push((name, decode(&value.replace('+', " "))?));
            }
        }
        Ok(Params(list))
    }

    /// Takes a parameter; the last of several counts.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let found = self.0.iter().rposition(|(n, _)| n == name)?;
        let (_, value) = self.0.remove(found);
        self.0.retain(|(n, _)| n != name);
        Some(value)
    }

    /// Takes a parameter that is true when it has no value.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("" | "true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::illegal(format!(
                "Failed to parse value [{other}] of parameter [{name}] as only [true] or [false] are allowed."
            ))),
        }
    }

    /// Takes a whole number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let number = text.parse().map_err(|_| {
            ApiError::illegal(format!("Failed to parse int parameter [{name}] with value [{text}]"))
        })?;
        Ok(Some(number))
    }

    /// Takes a time such as `5m`.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<Duration>, ApiError> {
        self.take(name).map(|text| duration(&text, name)).transpose()
    }

    /// Takes the parameters that say how names of indices are read.
    pub(super) fn lenient(&mut self) -> Result<Lenient, ApiError> {
        let mut lenient = Lenient::default();
        if let Some(flag) = self.flag("ignore_unavailable")? {
            lenient.ignore_unavailable = flag;
        }
        if let Some(flag) = self.flag("allow_no_indices")? {
            lenient.allow_no_indices = flag;
        }
        match self.take("expand_wildcards").as_deref() {
            None | Some("open" | "all" | "open,hidden" | "open,closed") => Ok(lenient),
            Some(other) => Err(ApiError::unsupported(format!("[expand_wildcards] of [{other}]"))),
        }
    }

    /// Drops parameters that change nothing on this endpoint.
    pub(super) fn drop(&mut self, names: &[&str]) {
        self.0.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Fails when a parameter is left.
    pub(super) fn finish(self, path: &str) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(ApiError::illegal(format!("request [{path}] contains unrecognized parameter: [{name}]")))
            }
        }
    }
}

/// Takes percent-encoding out.
pub(super) fn decode(text: &str) -> Result<String, ApiError> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or_default()),
            _ => {
                return Err(ApiError::illegal(format!(
                    "broken percent-encoding in [{}]",
                    crate::json::cut(text, 100)
                )));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::illegal("percent-encoded text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn parameters_are_taken_or_named() {
        let mut params = Params::read("pretty&size=5&q=a%3Ab+c&human=false&x").unwrap();
        assert_eq!(params.flag("pretty").unwrap(), Some(true));
        assert_eq!(params.number("size").unwrap(), Some(5));
        assert_eq!(params.take("q").as_deref(), Some("a:b c"));
        let error = params.finish("/_search").unwrap_err();
        assert_eq!(error.reason, "request [/_search] contains unrecognized parameter: [x]");
        assert!(Params::read("a=%zz").is_err());
        assert!(Params::read("a=%ff").is_err());
        assert!(Params::read("size=x").unwrap().number("size").is_err());
    }
}
