//! The search library's schema: the same for every index, whatever its mapping says.
//!
//! | field | holds |
//! |---|---|
//! | `_id` | the document's id, one term |
//! | `_source` | the document as it was sent, stored |
//! | `_version`, `_seq_no` | columns |
//! | `k` | strings of keyword and ip fields, as terms and columns under the field's key |
//! | `n` | numbers, booleans (0, 1), dates (ms), floats (ordered bits): columns |
//! | `t` | words of text fields, with positions |
//! | `_names` | names of fields that have no column but a value |
//! | `_ignored` | names of fields whose value was kept in the source only, stored |
//!
//! Never: types guessed from values; an ip is 32 hex digits, so that its order is that of the address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use tantivy::Term;
use tantivy::schema::{
    FAST, Field, IndexRecordOption, JsonObjectOptions, STORED, Schema, TextFieldIndexing, TextOptions,
};

/// Longest keyword in bytes; Lucene's limit. Longer ones are kept in the source only, and said to be so.
pub(crate) const KEYWORD_BYTES_MAX: usize = 32_766;

/// The schema and its fields.
pub(crate) struct Fields {
    pub(crate) schema: Schema,
    pub(crate) id: Field,
    pub(crate) source: Field,
    pub(crate) version: Field,
    pub(crate) seq_no: Field,
    pub(crate) keywords: Field,
    pub(crate) numbers: Field,
    pub(crate) text: Field,
    pub(crate) names: Field,
    pub(crate) ignored: Field,
}

static FIELDS: LazyLock<Fields> = LazyLock::new(Fields::build);

/// The one schema.
pub(crate) fn fields() -> &'static Fields {
    &FIELDS
}

impl Fields {
    fn build() -> Fields {
        let terms = || {
            TextFieldIndexing::default()
                .set_tokenizer("raw")
                .set_index_option(IndexRecordOption::Basic)
                .set_fieldnorms(false)
        };
        let words = TextFieldIndexing::default()
            .set_tokenizer(super::analyzer::NAME)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let mut builder = Schema::builder();
        let id =
            builder.add_text_field("_id", TextOptions::default().set_indexing_options(terms()).set_stored());
        let source = builder.add_bytes_field("_source", STORED);
        let version = builder.add_u64_field("_version", FAST);
        let seq_no = builder.add_u64_field("_seq_no", FAST);
        let keywords = builder.add_json_field(
            "k",
            JsonObjectOptions::default()
                .set_indexing_options(terms())
                .set_fast("raw")
                .set_expand_dots_enabled(),
        );
        let numbers = builder.add_json_field("n", JsonObjectOptions::from(FAST).set_expand_dots_enabled());
        let text = builder.add_json_field(
            "t",
            JsonObjectOptions::default().set_indexing_options(words).set_expand_dots_enabled(),
        );
        let names = builder.add_text_field("_names", TextOptions::default().set_indexing_options(terms()));
        let ignored = builder
            .add_text_field("_ignored", TextOptions::default().set_indexing_options(terms()).set_stored());
        Fields {
            schema: builder.build(),
            id,
            source,
            version,
            seq_no,
            keywords,
            numbers,
            text,
            names,
            ignored,
        }
    }

    /// The term of a document's id.
    pub(crate) fn id_term(&self, id: &str) -> Term {
        Term::from_field_text(self.id, id)
    }

    /// The term of a string of a keyword or ip field.
    pub(crate) fn keyword_term(&self, key: &str, value: &str) -> Term {
        let mut term = Term::from_field_json_path(self.keywords, key, true);
        term.append_type_and_str(value);
        term
    }

    /// The term of a word of a text field.
    pub(crate) fn word_term(&self, key: &str, word: &str) -> Term {
        let mut term = Term::from_field_json_path(self.text, key, true);
        term.append_type_and_str(word);
        term
    }

    /// Name of a field's column of strings, as the search library's readers take it.
    pub(crate) fn keyword_column(key: &str) -> String {
        format!("k.{key}")
    }

    /// Name of a field's column of numbers.
    pub(crate) fn number_column(key: &str) -> String {
        format!("n.{key}")
    }
}

/// The form in which an address is kept: IPv4 is mapped into IPv6.
pub(crate) fn ip_to_text(ip: IpAddr) -> String {
    format!("{:032x}", ip_to_bits(ip))
}

/// The address as a number: IPv4 is mapped into IPv6.
pub(crate) fn ip_to_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address that [`ip_to_text`] wrote.
pub(crate) fn ip_from_text(text: &str) -> Option<IpAddr> {
    let v6 = Ipv6Addr::from_bits(u128::from_str_radix(text, 16).ok()?);
    Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
}

/// A float as a whole number with the same order.
pub(crate) fn float_to_ordered(value: f64) -> i64 {
    // Minus zero equals zero.
    let bits = (value + 0.0).to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// The float that [`float_to_ordered`] took.
pub(crate) fn ordered_to_float(ordered: i64) -> f64 {
    let bits = if ordered < 0 { ordered ^ i64::MAX } else { ordered };
    f64::from_bits(bits.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::{fields, float_to_ordered, ip_from_text, ip_to_text, ordered_to_float};

    #[test]
    fn addresses_keep_their_order_as_text() {
        let texts: Vec<String> = ["9.255.255.255", "10.0.0.0", "10.0.0.1", "192.168.1.1", "2001:db8::1"]
            .iter()
            .map(|ip| ip_to_text(ip.parse().unwrap()))
            .collect();
        assert!(texts.is_sorted());
        assert_eq!(ip_from_text(&texts[1]).unwrap().to_string(), "10.0.0.0");
        assert_eq!(ip_from_text(&texts[4]).unwrap().to_string(), "2001:db8::1");
    }

    #[test]
    fn floats_keep_their_order_as_whole_numbers() {
        let values = [f64::MIN, -1.5, -1.0, 0.0, 1e-300, 1.0, 1.5, f64::MAX];
        let ordered: Vec<i64> = values.iter().map(|v| float_to_ordered(*v)).collect();
        assert!(ordered.is_sorted());
        assert_eq!(float_to_ordered(-0.0), float_to_ordered(0.0));
        for value in values {
            assert_eq!(ordered_to_float(float_to_ordered(value)), value);
        }
    }

    #[test]
    fn terms_carry_the_whole_path() {
        let term = fields().keyword_term("details.ip", "x");
        assert_eq!(term.serialized_value_bytes(), b"details\x01ip\x00sx");
    }
}
