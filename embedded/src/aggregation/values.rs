//! Values of a field in a segment, as aggregations read them, and how they are written.
//!
//! In: mapping and segment. Out: ordinals of strings or numbers. Never: words of text fields.

use tantivy::SegmentReader;
use tantivy::columnar::{Column, StrColumn};

use crate::error::ApiError;
use crate::index::schema::{Fields, float_to_ordered, ordered_to_float};
use crate::mapping::{self, Mapping};

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Ip,
    Boolean,
    Whole,
    Float,
    Date,
}

impl Form {
    /// A value of a column of numbers as the number it stands for.
    pub(crate) fn number(self, stored: i64) -> f64 {
        if self == Form::Float { ordered_to_float(stored) } else { stored as f64 }
    }

    /// A number as a column holds it; fractions of whole numbers are cut off.
    pub(crate) fn stored(self, number: f64) -> i64 {
        if self == Form::Float { float_to_ordered(number) } else { number as i64 }
    }

    /// Values stand in a column of numbers.
    pub(crate) fn is_number(self) -> bool {
        !matches!(self, Form::Text | Form::Ip)
    }
}

/// A field of one index.
#[derive(Clone, Debug)]
pub(crate) struct FieldColumn {
    pub(crate) form: Form,
    column: String,
}

/// Finds a field; `None` when the index does not have it.
pub(crate) fn find(
    mapping: &Mapping,
    index: &str,
    name: &str,
    aggregation: &str,
) -> Result<Option<FieldColumn>, ApiError> {
    let Some(leaf) = mapping.leaf(name) else {
        if name.starts_with('_') {
            return Err(ApiError::unsupported(format!("field [{name}] in aggregation [{aggregation}]")));
        }
        return Ok(None);
    };
    let form = match leaf.kind {
        mapping::Kind::Keyword => Form::Text,
        mapping::Kind::Ip => Form::Ip,
        mapping::Kind::Boolean => Form::Boolean,
        mapping::Kind::Whole(_) => Form::Whole,
        mapping::Kind::Float(_) => Form::Float,
        mapping::Kind::Date(_) => Form::Date,
        mapping::Kind::Text => {
            return Err(search_error(
                index,
                format!(
                    "Text fields are not optimised for operations that require per-document field data like aggregations and sorting, so these operations are disabled by default. Please use a keyword field instead: [{name}]"
                ),
            ));
        }
        mapping::Kind::GeoPoint | mapping::Kind::Binary => {
            return Err(wrong_type(index, name, leaf.kind.name(), aggregation));
        }
    };
    let column =
        if form.is_number() { Fields::number_column(&leaf.key) } else { Fields::keyword_column(&leaf.key) };
    Ok(Some(FieldColumn { form, column }))
}

/// OpenSearch's error for a field of the wrong type.
pub(crate) fn wrong_type(index: &str, name: &str, kind: &str, aggregation: &str) -> ApiError {
    search_error(
        index,
        format!("Field [{name}] of type [{kind}] is not supported for aggregation [{aggregation}]"),
    )
}

fn search_error(index: &str, reason: String) -> ApiError {
    let mut error = ApiError::illegal(reason).on_index(index);
    error.in_search = true;
    error
}

/// Values of a field in one segment.
pub(crate) enum Source {
    Strings(StrColumn),
    Numbers(Column<i64>),
    Nothing,
}

impl Source {
    /// Opens the column; a segment in which no document has the field has none.
    pub(crate) fn open(field: Option<&FieldColumn>, segment: &SegmentReader) -> tantivy::Result<Source> {
        let Some(field) = field else { return Ok(Source::Nothing) };
        if field.form.is_number() {
            let column = segment.fast_fields().column_opt::<i64>(&field.column)?;
            Ok(column.map_or(Source::Nothing, Source::Numbers))
        } else {
            Ok(segment.fast_fields().str(&field.column)?.map_or(Source::Nothing, Source::Strings))
        }
    }

    /// Puts the values of a document into `out`: ordinals, or numbers as their bits.
    pub(crate) fn read(&self, doc: u32, out: &mut Vec<u64>) {
        out.clear();
        match self {
            Source::Strings(column) => out.extend(column.term_ords(doc)),
            Source::Numbers(column) => out.extend(column.values_for_doc(doc).map(i64::cast_unsigned)),
            Source::Nothing => {}
        }
    }

    /// The same, each value once.
    pub(crate) fn read_distinct(&self, doc: u32, out: &mut Vec<u64>) {
        self.read(doc, out);
        if out.len() > 1 {
            out.sort_unstable();
            out.dedup();
        }
    }

    /// How many different strings the segment has; 0 for numbers.
    pub(crate) fn dictionary_len(&self) -> usize {
        match self {
            Source::Strings(column) => column.num_terms(),
            _ => 0,
        }
    }

    /// Texts of ordinals, which must ascend.
    pub(crate) fn texts(&self, ordinals: &[u64]) -> std::io::Result<Vec<Box<str>>> {
        let mut texts = Vec::with_capacity(ordinals.len());
        if let Source::Strings(column) = self {
            column
                .dictionary()
                .sorted_ords_to_term_cb(ordinals, |term| texts.push(String::from_utf8_lossy(term).into()))?;
        }
        Ok(texts)
    }
}
