//! Parameters of the aggregations that make buckets.

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::dates::DatePattern;
use super::read::{required, text};
use super::{
    Aggregation, DateHistogram, Filters, Histogram, Kind, MetricKind, Names, OneRange, Order, OrderBy,
    Ranges, Rounding, Shown, Terms,
};
use crate::dates::{DateFormats, Unit, read_zone};
use crate::error::ApiError;
use crate::json;
use crate::patterns::Pattern;
use crate::query::dsl;

/// Most stated ranges or filters.
const STATED_MAX: usize = 1000;

pub(super) fn terms(params: &Map<String, Value>) -> Result<Kind, ApiError> {
    let mut terms = Terms {
        field: String::new(),
        size: 10,
        order: vec![Order { by: OrderBy::Count, ascending: false }],
        min_doc_count: 1,
        missing: None,
        include: None,
        exclude: None,
    };
    let mut field = None;
    for (key, value) in params {
        match key.as_str() {
            "field" => field = Some(json::string(value, key)?.to_owned()),
            "size" => {
                terms.size = usize::try_from(json::unsigned(value, key)?).unwrap_or(usize::MAX);
                if terms.size == 0 {
                    return Err(ApiError::illegal("[size] must be greater than 0. Found [0] in [terms]"));
                }
            }
            "order" => terms.order = orders(value)?,
            "min_doc_count" => {
                terms.min_doc_count = json::unsigned(value, key)?;
                if terms.min_doc_count == 0 {
                    return Err(ApiError::unsupported("[min_doc_count] of 0 in aggregation [terms]"));
                }
            }
            "missing" => terms.missing = Some(text(value, key)?),
            "include" => terms.include = Some(names(value, key)?),
            "exclude" => terms.exclude = Some(names(value, key)?),
            // These tune how shards work together; here all counts are exact.
            "shard_size"
            | "show_term_doc_count_error"
            | "execution_hint"
            | "collect_mode"
            | "shard_min_doc_count" => {}
            "script" | "value_type" | "format" => {
                return Err(ApiError::unsupported(format!("[{key}] in aggregation [terms]")));
            }
            other => return Err(json::unknown_key("terms", other)),
        }
    }
    terms.field = required(field, "terms")?;
    Ok(Kind::Terms(terms))
}

fn names(value: &Value, key: &str) -> Result<Names, ApiError> {
    match value {
        Value::String(pattern) => {
            Ok(Names::Pattern(Pattern::regex(pattern, false).map_err(ApiError::illegal)?))
        }
        Value::Array(items) => Ok(Names::List(items.iter().map(|i| text(i, key)).collect::<Result<_, _>>()?)),
        _ => Err(ApiError::unsupported(format!("[{key}] by partition in aggregation [terms]"))),
    }
}

fn orders(value: &Value) -> Result<Vec<Order>, ApiError> {
    let one = |value: &Value| {
        let (path, direction) = json::only_entry(json::object(value, "order")?, "order")?;
        let ascending = match json::string(direction, path)?.to_ascii_lowercase().as_str() {
            "asc" => true,
            "desc" => false,
            other => return Err(ApiError::parsing(format!("Unknown order direction [{other}]"))),
        };
        let by = match path {
            "_count" => OrderBy::Count,
            "_key" | "_term" | "_time" => OrderBy::Key,
            path => match path.rsplit_once('.') {
                Some((name, value)) => OrderBy::Metric(name.to_owned(), Some(value.to_owned())),
                None => OrderBy::Metric(path.to_owned(), None),
            },
        };
        Ok(Order { by, ascending })
    };
    match value {
        Value::Array(items) => items.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// An order by a metric needs that metric below.
pub(super) fn check_order(name: &str, kind: &Kind, subs: &[Aggregation]) -> Result<(), ApiError> {
    let orders: &[Order] = match kind {
        Kind::Terms(terms) => &terms.order,
        Kind::Histogram(Histogram { shown, .. }) | Kind::DateHistogram(DateHistogram { shown, .. }) => {
            &shown.order
        }
        _ => &[],
    };
    for order in orders {
        let OrderBy::Metric(path, part) = &order.by else { continue };
        let metric = subs.iter().find(|sub| sub.name == *path).map(|sub| &sub.kind);
        let good = match (metric, part.as_deref()) {
            (Some(Kind::Metric(m)), Some("count" | "min" | "max" | "avg" | "sum")) => {
                m.kind == MetricKind::Stats
            }
            (Some(Kind::Metric(m)), None | Some("value")) => m.kind != MetricKind::Stats,
            (Some(Kind::Filter(_) | Kind::Missing(_)), None | Some("_count" | "doc_count")) => true,
            _ => false,
        };
        if !good {
            let shown = part.as_ref().map_or(path.clone(), |part| format!("{path}.{part}"));
            return Err(ApiError::new(
                400,
                "aggregation_execution_exception",
                format!(
                    "Invalid aggregation order path [{shown}] of [{name}]: it must be a metric right below"
                ),
            ));
        }
    }
    Ok(())
}

fn shown(min_doc_count: u64) -> Shown {
    Shown {
        min_doc_count,
        order: vec![Order { by: OrderBy::Key, ascending: true }],
        keyed: false,
        extended: None,
        missing: None,
    }
}

impl Shown {
    /// Takes a parameter that both histograms have.
    fn take(&mut self, what: &str, key: &str, value: &Value) -> Result<(), ApiError> {
        match key {
            "min_doc_count" => self.min_doc_count = json::unsigned(value, key)?,
            "order" => self.order = orders(value)?,
            "keyed" => self.keyed = json::boolean(value, key)?,
            "missing" => self.missing = Some(text(value, key)?),
            "extended_bounds" => {
                let (mut first, mut last) = (None, None);
                for (side, limit) in json::object(value, key)? {
                    match side.as_str() {
                        "min" => first = Some(text(limit, side)?),
                        "max" => last = Some(text(limit, side)?),
                        other => return Err(json::unknown_key(key, other)),
                    }
                }
                self.extended = Some((first, last));
            }
            "script" | "hard_bounds" => {
                return Err(ApiError::unsupported(format!("[{key}] in aggregation [{what}]")));
            }
            other => return Err(json::unknown_key(what, other)),
        }
        Ok(())
    }
}

pub(super) fn histogram(params: &Map<String, Value>) -> Result<Kind, ApiError> {
    let mut made = Histogram { field: String::new(), interval: 0.0, offset: 0.0, shown: shown(0) };
    let mut field = None;
    for (key, value) in params {
        match key.as_str() {
            "field" => field = Some(json::string(value, key)?.to_owned()),
            "interval" => made.interval = json::float(value, key)?,
            "offset" => made.offset = json::float(value, key)?,
            "format" => return Err(ApiError::unsupported("[format] in aggregation [histogram]")),
            other => made.shown.take("histogram", other, value)?,
        }
    }
    if made.interval <= 0.0 {
        return Err(ApiError::illegal("[interval] must be >0 for histogram aggregation"));
    }
    made.field = required(field, "histogram")?;
    Ok(Kind::Histogram(made))
}

pub(super) fn date_histogram(params: &Map<String, Value>) -> Result<Kind, ApiError> {
    let (mut field, mut rounding, mut shift) = (None, None, 0);
    let (mut zone, mut format, mut shown) = (TimeZone::UTC, None, shown(0));
    for (key, value) in params {
        match key.as_str() {
            "field" => field = Some(json::string(value, key)?.to_owned()),
            "fixed_interval" => rounding = Some(fixed(json::string(value, key)?)?),
            "calendar_interval" => rounding = Some(calendar(json::string(value, key)?)?),
            // The old word means either.
            "interval" => {
                let text = json::string(value, key)?;
                rounding = Some(calendar(text).or_else(|_| fixed(text))?);
            }
            "offset" => {
                let text = json::string(value, key)?;
                let (sign, length) = match text.strip_prefix('-') {
                    Some(rest) => (-1, rest),
                    None => (1, text.strip_prefix('+').unwrap_or(text)),
                };
                shift = duration(length)
                    .ok_or_else(|| ApiError::illegal(format!("failed to parse [offset] of [{text}]")))?
                    * sign;
            }
            "time_zone" => {
                let text = json::string(value, key)?;
                zone = read_zone(text)
                    .ok_or_else(|| ApiError::illegal(format!("unknown time-zone [{text}]")))?;
            }
            "format" => {
                let pattern = DatePattern::read(json::string(value, key)?).map_err(|part| {
                    ApiError::unsupported(format!("date format [{part}] in aggregation [date_histogram]"))
                })?;
                format = Some(pattern);
            }
            other => shown.take("date_histogram", other, value)?,
        }
    }
    let rounding = rounding.ok_or_else(|| {
        ApiError::illegal(
            "Required one of fields [interval, calendar_interval, fixed_interval], but none were specified.",
        )
    })?;
    let rounding = match rounding {
        Rounding::Fixed { millis, .. } => Rounding::Fixed { millis, offset: shift },
        Rounding::Calendar { unit, .. } => Rounding::Calendar { unit, offset: shift },
    };
    let field = required(field, "date_histogram")?;
    Ok(Kind::DateHistogram(DateHistogram { field, rounding, zone, format, shown }))
}

fn calendar(text: &str) -> Result<Rounding, ApiError> {
    let unit = match text {
        "second" | "1s" => Unit::Second,
        "minute" | "1m" => Unit::Minute,
        "hour" | "1h" => Unit::Hour,
        "day" | "1d" => Unit::Day,
        "week" | "1w" => Unit::Week,
        "month" | "1M" => Unit::Month,
        "quarter" | "1q" => Unit::Quarter,
        "year" | "1y" => Unit::Year,
        other => {
            return Err(ApiError::illegal(format!(
                "The supplied interval [{other}] could not be parsed as a calendar interval."
            )));
        }
    };
    Ok(Rounding::Calendar { unit, offset: 0 })
}

fn fixed(text: &str) -> Result<Rounding, ApiError> {
    match duration(text).filter(|millis| *millis > 0) {
        Some(millis) => Ok(Rounding::Fixed { millis, offset: 0 }),
        None => Err(ApiError::illegal(format!(
            "The supplied interval [{text}] could not be parsed as a fixed interval."
        ))),
    }
}

/// `500ms`, `30s`, `5m`, `12h`, `7d` in milliseconds.
fn duration(text: &str) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(at)?;
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // A hundred thousand years are enough.
    digits.parse::<i64>().ok()?.checked_mul(scale).filter(|millis| *millis < 3_200_000_000_000_000)
}

pub(super) fn ranges(params: &Map<String, Value>, dates: bool) -> Result<Kind, ApiError> {
    let what = if dates { "date_range" } else { "range" };
    let mut made = Ranges {
        field: String::new(),
        dates,
        ranges: Vec::new(),
        keyed: false,
        missing: None,
        format: None,
        zone: TimeZone::UTC,
    };
    let mut field = None;
    for (key, value) in params {
        match key.as_str() {
            "field" => field = Some(json::string(value, key)?.to_owned()),
            "keyed" => made.keyed = json::boolean(value, key)?,
            "missing" => made.missing = Some(text(value, key)?),
            "ranges" => {
                made.ranges = json::array(value, key)?.iter().map(one_range).collect::<Result<_, _>>()?;
            }
            "format" if dates => {
                let formats = DateFormats::parse(json::string(value, key)?).map_err(|part| {
                    ApiError::unsupported(format!("date format [{part}] in aggregation [date_range]"))
                })?;
                made.format = Some(formats);
            }
            "time_zone" if dates => {
                let text = json::string(value, key)?;
                made.zone = read_zone(text)
                    .ok_or_else(|| ApiError::illegal(format!("unknown time-zone [{text}]")))?;
            }
            "script" | "format" => {
                return Err(ApiError::unsupported(format!("[{key}] in aggregation [{what}]")));
            }
            other => return Err(json::unknown_key(what, other)),
        }
    }
    if made.ranges.is_empty() || made.ranges.len() > STATED_MAX {
        return Err(ApiError::illegal(format!("[{what}] needs 1 to {STATED_MAX} [ranges]")));
    }
    made.field = required(field, what)?;
    Ok(Kind::Ranges(made))
}

fn one_range(value: &Value) -> Result<OneRange, ApiError> {
    let mut range = OneRange { key: None, from: None, to: None };
    for (key, value) in json::object(value, "ranges")? {
        match key.as_str() {
            "key" => range.key = Some(json::string(value, key)?.to_owned()),
            "from" if value.is_null() => {}
            "to" if value.is_null() => {}
            "from" => range.from = Some(text(value, key)?),
            "to" => range.to = Some(text(value, key)?),
            other => return Err(json::unknown_key("ranges", other)),
        }
    }
    Ok(range)
}

pub(super) fn filters(params: &Map<String, Value>) -> Result<Kind, ApiError> {
    let mut made = Filters { keyed: true, queries: Vec::new(), other: None };
    let mut other_wanted = false;
    for (key, value) in params {
        match (key.as_str(), value) {
            ("filters", Value::Object(named)) => {
                for (name, query) in named {
                    made.queries.push((name.clone(), dsl::read(query)?));
                }
            }
            ("filters", Value::Array(items)) => {
                made.keyed = false;
                for item in items {
                    made.queries.push((String::new(), dsl::read(item)?));
                }
            }
            ("other_bucket", _) => other_wanted |= json::boolean(value, key)?,
            ("other_bucket_key", _) => made.other = Some(json::string(value, key)?.to_owned()),
            (other, _) => return Err(json::unknown_key("filters", other)),
        }
    }
    if other_wanted && made.other.is_none() {
        made.other = Some("_other_".to_owned());
    }
    if made.queries.is_empty() || made.queries.len() > STATED_MAX {
        return Err(ApiError::illegal(format!("[filters] needs 1 to {STATED_MAX} queries")));
    }
    Ok(Kind::Filters(made))
}
