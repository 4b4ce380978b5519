//! Rules as they are in force: compiled, with what their alerts say.
//!
//! In: parsed rule files. Out: [`RuleInfo`], [`Correlation`]. Never: YAML.

use std::sync::Arc;

use model::event::Path;

/// What a rule's alerts say; everything of a rule but its matching.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    /// UUID, or the name where the file has none.
    pub id: String,
    /// Name by which correlations refer to it; also the alert's `classname` (else the title).
    pub name: Option<String>,
    /// Title.
    pub title: String,
    /// Sigma level: `informational`, `low`, `medium`, `high`, `critical`.
    pub level: Level,
    /// `INFO`, `NOTICE`, `WARNING`, `ERROR`, `CRITICAL`.
    pub severity: String,
    /// Category of the alert.
    pub category: String,
    /// Tags of the alert.
    pub tags: Vec<String>,
    /// ATT&CK ids, such as `T1110`.
    pub attack: Vec<String>,
    /// Summary template (minijinja), checked when loaded.
    pub summary: String,
    /// Most sample events in an alert.
    pub samples: usize,
    /// Where to announce the alert.
    pub channel: Option<String>,
    /// Explicit `notify_mozdefbot`.
    pub notify: Option<bool>,
    /// Runbook.
    pub url: Option<String>,
    /// Event `source` values whose lateness applies, if known; else the default lateness.
    pub sources: Vec<String>,
    /// Digest of all that the matching compiles to (`rules.md` §7): 32 hex digits.
    pub generation: String,
}

/// Sigma's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `informational` → severity `INFO`.
    Informational,
    /// `low` → `NOTICE`.
    Low,
    /// `medium` → `WARNING`.
    Medium,
    /// `high` → `ERROR`.
    High,
    /// `critical` → `CRITICAL`.
    Critical,
}

impl Level {
    /// Sigma's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Informational => "informational",
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
            Level::Critical => "critical",
        }
    }
}

/// A compiled detection rule, without its matcher.
#[derive(Clone, Debug)]
pub struct Detection {
    /// What its alerts say.
    pub info: Arc<RuleInfo>,
    /// Whether it alerts by itself: it is referred to by no correlation, or one says `generate: true`.
    pub alerts: bool,
}

/// A compiled correlation rule.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// What its alerts say.
    pub info: Arc<RuleInfo>,
    /// What is measured.
    pub kind: Kind,
    /// Positions in the rule set's list of detections.
    pub members: Vec<usize>,
    /// The place of each of them among the rules that are named.
    pub places: Vec<u16>,
    /// Correlations among the rules that are named: place, and position in the rule set's list of correlations, which
    /// is before this one's.
    pub chained: Vec<(u16, usize)>,
    /// How many correlations deep it is: 1 where it names detections only.
    pub depth: u8,
    /// Whether it alerts by itself: it is referred to by no other correlation, or one says `generate: true`.
    pub alerts: bool,
    /// Fields whose values make a group, with the paths where each is looked for, in order.
    pub group_by: Vec<GroupField>,
    /// Fields whose values are counted, or the field whose numbers are taken; empty for the kinds that need none.
    pub measured: Vec<GroupField>,
    /// Fields whose values the summary counts, found like those of the group.
    pub tops: Vec<GroupField>,
    /// Length of the window, in milliseconds; at least 1.
    pub timespan_ms: i64,
    /// When a window is hot, for kinds that count.
    pub condition: Condition,
    /// When a window is hot, for kinds that take numbers, in [`units`](crate::measured::UNITS) of a billionth.
    pub limits: Condition<i128>,
}

/// Kinds of correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Distinct event ids.
    EventCount,
    /// Distinct values of fields.
    ValueCount,
    /// Distinct rules that matched.
    Temporal,
    /// The most rules that matched in the order in which they are named.
    TemporalOrdered,
    /// The sum of a field's numbers.
    Sum,
    /// The average of a field's numbers.
    Average,
    /// A percentile of a field's numbers, between neighbours where it falls between them; 50 is the median.
    Percentile {
        /// 0 to 100.
        per_cent: u8,
    },
}

impl Kind {
    /// Whether numbers of events are taken, not events or values counted.
    pub const fn takes_numbers(self) -> bool {
        matches!(self, Kind::Sum | Kind::Average | Kind::Percentile { .. })
    }

    /// Whether it matters which of the named rules matched.
    pub const fn tells_rules_apart(self) -> bool {
        matches!(self, Kind::Temporal | Kind::TemporalOrdered)
    }
}

/// A group-by field.
#[derive(Clone, Debug)]
pub struct GroupField {
    /// As written in the rule.
    pub name: String,
    /// Where it is looked for; the first that is present counts.
    pub paths: Vec<Path>,
}

/// Bounds of a correlation condition; all given ones must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition<N = u64> {
    /// Greater than.
    pub gt: Option<N>,
    /// Greater than or equal.
    pub gte: Option<N>,
    /// Less than.
    pub lt: Option<N>,
    /// Less than or equal.
    pub lte: Option<N>,
    /// Equal.
    pub eq: Option<N>,
    /// Not equal.
    pub neq: Option<N>,
}

impl<N: Copy + Ord> Condition<N> {
    /// Whether a measure satisfies every bound.
    pub fn holds(&self, measure: N) -> bool {
        self.holds_scaled(measure, |bound| bound)
    }

    /// The same, each bound scaled as the measure is.
    pub fn holds_scaled(&self, measure: N, scale: impl Fn(N) -> N) -> bool {
        self.gt.is_none_or(|n| measure > scale(n))
            && self.gte.is_none_or(|n| measure >= scale(n))
            && self.lt.is_none_or(|n| measure < scale(n))
            && self.lte.is_none_or(|n| measure <= scale(n))
            && self.eq.is_none_or(|n| measure == scale(n))
            && self.neq.is_none_or(|n| measure != scale(n))
    }

    /// Whether a hot time can be told as soon as it appears: only lower bounds (`rules.md` §2).
    pub fn fires_at_once(&self) -> bool {
        self.lt.is_none() && self.lte.is_none() && self.eq.is_none() && self.neq.is_none()
    }
}
